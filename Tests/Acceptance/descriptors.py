#!/usr/bin/env python3
"""More clients than descriptors: those that wait cost nothing, and are served as soon as one leaves.

First a server that may have 200 descriptors, which makes its connection cap 100, and 300 clients.
Then a server whose descriptor limit is lowered while it runs until accepting fails with EMFILE. In
both cases the server must use less than 2 % of a core, in the second write at most one report a
second, and when 20 clients leave 20 others must have their answers within 0.3 s, as must all that
wait when the limit is raised again. Five rounds of leaving in each; 50 with SLUICE_LONG=1.
"""
import resource
import select
import sys
import time

from kit import (IS_LONG, Server, at_most, build_program, connect, expect, raise_descriptor_limit,
                 until_still)

ROUNDS = 50 if IS_LONG else 5
LEAVING = 20
WATCHED = 5 if IS_LONG else 3  # seconds
CPU_PERCENT = 2
RECOVERY = 0.3  # seconds


class Crowd:
    """Clients that have each sent a request; those that were answered are served."""

    def __init__(self, server, count):
        self.server = server
        self.waiting, self.served = {}, []
        self.more(count)

    def more(self, count):
        for _ in range(count):
            client = connect(self.server.port)
            client.sendall(b"hello\n")
            self.waiting[client.fileno()] = client

    def look(self, seconds=0.0):
        """Sorts out who has been answered; returns how many are served."""
        for number in select.select(list(self.waiting), [], [], seconds)[0]:
            client = self.waiting.pop(number)
            expect(b"hello\n", client.recv(100), "the answer")
            self.served.append(client)
        return len(self.served)

    def settle(self):
        return until_still(self.look, "clients being served")

    def until(self, count):
        """Seconds until `count` are served."""
        began = time.monotonic()
        while self.look(0.05) < count:
            if time.monotonic() > began + 10:
                sys.exit(f"only {len(self.served)} of {count} are served after 10 s")
        return time.monotonic() - began

    def some_leave(self):
        leaving, self.served = self.served[:LEAVING], self.served[LEAVING:]
        for client in leaving:
            client.close()

    def recovery(self):
        """20 leave, 20 others are served, again and again: the longest time that took."""
        longest = 0
        for _ in range(ROUNDS):
            before = self.look()
            self.some_leave()
            expect(before - LEAVING, len(self.served), "served after some have left")
            longest = max(longest, self.until(before))
            expect(before, self.settle(), "served again")
            self.more(LEAVING)
        at_most(RECOVERY, longest, "seconds until 20 that waited are served")
        return longest


def limited_from_the_start(path):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    with Server(path, prepare=limit) as server:
        crowd = Crowd(server, 300)
        expect(100, crowd.settle(), "clients served of 300")
        percent = server.processor_percent(WATCHED)
        at_most(CPU_PERCENT, percent, "processor time in percent while 200 wait")
        longest = crowd.recovery()
        expect([], server.reports(), "reports of a server that is merely full")
    print(f"200 descriptors, 300 clients: 100 served, {percent:.1f} % of a core while 200 wait, "
          f"20 served after 20 have left in {longest:.3f} s at most")
    return percent, longest


def limited_while_it_runs(path):
    with Server(path) as server:
        soft, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        crowd = Crowd(server, 30)
        expect(30, crowd.settle(), "clients served before")
        # Descriptors are counted by number, and the lowest free one is taken.
        limit = server.descriptors() + 10
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, hard))
        crowd.more(60)
        expect(40, crowd.settle(), "clients served under the lower limit")
        lines, began = len(server.reports()), time.monotonic()
        if not lines or "Too many open files" not in server.reports()[-1]:
            sys.exit(f"nothing was reported: {server.reports()}")
        percent = server.processor_percent(WATCHED)
        at_most(CPU_PERCENT, percent, "processor time in percent while out of descriptors")
        reported = len(server.reports()) - lines
        at_most(int(time.monotonic() - began) + 1, reported, f"reports in {WATCHED} s")
        longest = crowd.recovery()
        rest = len(crowd.waiting)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        raised = crowd.until(len(crowd.served) + rest)
        at_most(RECOVERY, raised, f"seconds until all {rest} that waited are served")
    print(f"limit lowered while running: {percent:.1f} % of a core, {reported} reports in "
          f"{WATCHED} s, 20 served after 20 have left in {longest:.3f} s at most, "
          f"all {rest} that waited {raised:.3f} s after the limit was raised")
    return percent, longest


def main():
    raise_descriptor_limit()
    path = build_program("Replies")
    full, until_served = limited_from_the_start(path)
    starved, until_recovered = limited_while_it_runs(path)
    print(f"descriptors: full {full:.1f} % of a core, next served in {until_served:.3f} s; "
          f"EMFILE {starved:.1f} %, recovered in {until_recovered:.3f} s")


if __name__ == "__main__":
    main()
