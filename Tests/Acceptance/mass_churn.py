#!/usr/bin/env python3
"""Connections that come, ask and go, and clients killed in mid-line: nothing of them may stay.

18,000 and 2,000; with SLUICE_LONG=1 1,000,000 and 100,000, or fewer where that would take more than
five minutes, which is then said. Half of the first close in order (FIN), half reset (RST), 20 at a
time; the others are killed 500 at a time with a line begun. Afterwards descriptors, handlers and
what the loop holds must be as before, accepted must be closed and current together, and memory may
have drifted by 1 MB (the allocator's and the runtime's own). Measured after a warm-up.
"""
import subprocess
import time

from kit import (IS_LONG, Server, at_most, build_program, build_tool, eventually, expect,
                 raise_descriptor_limit)

CHURNED = 1_000_000 if IS_LONG else 18_000
KILLED = CHURNED // 10 if IS_LONG else 2_000
PORTION = 50_000
WARM_UP = 20_000 if IS_LONG else 4_000
KILLED_AT_ONCE = 500
BUDGET = 280  # seconds
DRIFT_KIB = 976  # less than 1 MB
HELD = ["current", "handlers", "members", "timers", "blocks"]


class Mass:
    """Runs the clients and counts them."""

    def __init__(self, server):
        self.server, self.tool = server, build_tool("load")
        self.churned = self.killed = 0

    def run(self, mode, *numbers):
        subprocess.run([self.tool, mode, str(self.server.port), *map(str, numbers)], check=True)

    def churn(self, count):
        self.run("churn", count)
        self.churned += count

    def kill(self, count):
        self.run("vanish", count, KILLED_AT_ONCE)
        self.killed += count

    def settled(self, held):
        """The figures once every connection is over."""
        def is_over():
            figures = self.server.figures()
            return all(figures[name] == held[name] for name in HELD)
        eventually(is_over, f"{self.server.figures()} as {held}")
        return self.server.figures()


def in_portions(step, count, until):
    """How many of `count` were done by then."""
    done = 0
    while done < count and time.monotonic() < until:
        portion = min(PORTION, count - done)
        step(portion)
        done += portion
    return done


def main():
    raise_descriptor_limit()
    with Server(build_program("Service")) as server:
        mass = Mass(server)
        fresh = server.figures()
        held = {name: fresh[name] for name in HELD}
        idle = server.idle_descriptors()
        mass.churn(WARM_UP)
        mass.kill(WARM_UP)
        before = mass.settled(held)
        memory, resident = server.own_kib(), server.resident_kib()
        began = time.monotonic()
        churned = in_portions(mass.churn, CHURNED, began + BUDGET * 0.8)
        seconds = time.monotonic() - began
        killed = in_portions(mass.kill, KILLED, began + BUDGET)
        killing = time.monotonic() - began - seconds
        after = mass.settled(held)
        expect(idle, server.idle_descriptors(), "descriptors")
        expect(after["accepted"], after["closed"] + after["current"], "closed and current together")
        expect(mass.churned + mass.killed + server.asked, after["accepted"], "accepted")
        expect(killed, after["truncated"] - before["truncated"], "lines cut off")
        drift = server.own_kib() - memory
        at_most(DRIFT_KIB, drift, "KiB of memory more than before")
        fewer = "" if (churned, killed) == (CHURNED, KILLED) else \
            f" (fewer than {CHURNED:,} and {KILLED:,}: slow machine)"
        print(f"mass churn: {churned:,} connections in {seconds:.0f} s, {killed:,} killed in "
              f"mid-line in {killing:.0f} s{fewer}; descriptors {idle} and everything held as "
              f"before, accepted {after['accepted']:,} = closed {after['closed']:,} + current "
              f"{after['current']}, memory {memory:,} KiB {drift:+,} "
              f"KiB (resident set {server.resident_kib() - resident:+,} KiB)")


if __name__ == "__main__":
    main()
