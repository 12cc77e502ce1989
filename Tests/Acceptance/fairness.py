#!/usr/bin/env python3
"""One client that floods and 50 that ping, all served by one loop: the flood must not drown them.

Each of the 50 sends a line every 5 ms or so and waits for it; the flooding one sends lines as fast
as they are taken. The 99th percentile of the round trips with the flood must be less than 5 times
that without, and so must their median, which says more on a machine that others disturb. Rounds
alternate, and the median of the rounds counts.
Five rounds of one second each way; eleven of three with SLUICE_LONG=1.
"""
import os
import statistics
import subprocess
import sys

from kit import IS_LONG, Server, at_most, build_program, build_tool

ROUNDS, SECONDS = (11, 3) if IS_LONG else (5, 1)
TIMES = 5
CORES = sorted(os.sched_getaffinity(0))


def on(core):
    """For preexec_fn: the server on one core, its clients on another one, ahead of other work."""
    def prepare():
        os.sched_setaffinity(0, {core})
        os.setsid()
        if os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, 0, -20)
            try:
                with open("/proc/self/autogroup", "w") as group:  # sched(7)
                    group.write("-20")
            except OSError:
                pass
    return prepare


def ping(tool, port, with_flood):
    """Median and 99th percentile in microseconds, lines of the flood for each of the pingers'."""
    run = subprocess.run([tool, "ping", str(port), str(SECONDS), str(int(with_flood))], check=True,
                         stdout=subprocess.PIPE, text=True, preexec_fn=on(CORES[-1]))
    count, median, worst, flooded = map(float, run.stdout.split())
    return median, worst, flooded / count


def main():
    tool = build_tool("load")
    rows = {False: [], True: []}
    with Server(build_program("Service"), prepare=on(CORES[0])) as server:
        ping(tool, server.port, True)
        for _ in range(ROUNDS):
            for with_flood in rows:
                rows[with_flood].append(ping(tool, server.port, with_flood))
    (quiet, quiet99, _), (loud, loud99, flooded) = (
        [statistics.median(column) for column in zip(*rows[with_flood])] for with_flood in rows)
    if flooded < 10:
        sys.exit(f"fairness: only {flooded:.1f} lines of the flood to each ping are no flood")
    print(f"fairness: 50 pingers' p99 {quiet99:,.0f} us alone, {loud99:,.0f} us beside a flood of "
          f"{flooded:,.0f} lines to each of theirs: {loud99 / quiet99:.2f} times; medians "
          f"{quiet:,.0f} and {loud:,.0f} us")
    at_most(TIMES, loud99 / quiet99, "times the p99 without the flood")
    at_most(TIMES, loud / quiet, "times the median without the flood")


if __name__ == "__main__":
    main()
