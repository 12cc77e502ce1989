#!/usr/bin/env python3
"""A Swift service in a C program's own poll loop: Examples/EmbedInC, built and spoken to.

Four clients exchange lines while the program's own timer ticks; the program must have one thread,
and after SIGTERM it must end by itself. Then the same under strace(1), where that is installed and
may trace: every system call must come from that one thread, and no thread may ever be made. 2,000
lines a client; 20,000 with SLUICE_LONG=1; or as many as the first argument says.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

from kit import IS_LONG, SECONDS, build_example, build_folder, connect, eventually

CLIENTS = 4
TICK_MILLISECONDS = 5
THREAD_CALLS = re.compile(r" (?:clone|clone3|fork|vfork)\(")
IO_CALLS = re.compile(r" (?:recv|send|accept|epoll_|poll|read|write)\w*\(")


class Host:
    """The running C program, perhaps under a tracer; `ticks` is the last one it printed."""

    def __init__(self, path, tracer=()):
        self.process = subprocess.Popen(
            [*tracer, path, "0", str(TICK_MILLISECONDS)], stdout=subprocess.PIPE, text=True)
        self.watch = threading.Timer(10 * SECONDS, self.process.kill)
        self.watch.daemon = True
        self.watch.start()
        line = self.process.stdout.readline()
        if not line.startswith("listening on 127.0.0.1:"):
            self.process.kill()
            sys.exit(f"embed in C: it printed {line!r} instead of where it listens")
        self.port = int(line.rsplit(":", 1)[1])
        self.pid = self.process.pid
        if tracer:
            with open(f"/proc/{self.pid}/task/{self.pid}/children") as children:
                self.pid = int(children.read().split()[0])
        self.ticks, self.last = 0, ""
        self.output = threading.Thread(target=self.read, daemon=True)
        self.output.start()

    def read(self):
        for self.last in self.process.stdout:
            if self.last.startswith("tick "):
                if int(self.last.split()[1]) != self.ticks + 1:
                    sys.exit(f"embed in C: {self.last!r} after tick {self.ticks}")
                self.ticks += 1

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def end(self):
        os.kill(self.pid, signal.SIGTERM)
        self.process.wait(SECONDS)
        self.output.join(SECONDS)
        self.watch.cancel()
        wanted = f"stopped after {self.ticks} ticks\n"
        if self.process.returncode != 0 or self.last != wanted:
            sys.exit(f"embed in C: it ended with {self.process.returncode}, saying {self.last!r}")


def exchange(host, lines):
    """The clients' lines, one at a time in turn; the program's own timer goes on meanwhile."""
    clients = [connect(host.port) for _ in range(CLIENTS)]
    replies = [client.makefile("rb") for client in clients]
    before = host.ticks
    for number in range(1, lines + 1):
        for index, client in enumerate(clients):
            client.sendall(b"line %d of client %d\n" % (number, index))
        for index, reply in enumerate(replies):
            line = reply.readline()
            if line != b"%d line %d of client %d\n" % (number, number, index):
                sys.exit(f"embed in C: line {number} of client {index} came back as {line!r}")
    eventually(lambda: host.ticks >= before + 3, "the program's own timer ticks")
    threads = host.threads()
    for client, reply in zip(clients, replies):
        reply.close()
        client.close()
    if threads != 1:
        sys.exit(f"embed in C: the program has {threads} threads, not one")


def traced(path, scratch, lines):
    """The same under strace: what it saw, in words."""
    if not shutil.which("strace"):
        return "strace is not installed: SKIPPED"
    log = os.path.join(scratch, "embed-in-c.strace")
    probe = subprocess.run(["strace", "-f", "-o", log, "true"], stderr=subprocess.PIPE, text=True)
    if probe.returncode:
        return f"strace cannot trace here ({probe.stderr.strip().splitlines()[-1]}): SKIPPED"
    host = Host(path, tracer=["strace", "-f", "-o", log])
    exchange(host, lines)
    host.end()
    with open(log) as file:
        calls = file.readlines()
    others = [call for call in calls if int(call.split()[0]) != host.pid]
    made = [call for call in calls if THREAD_CALLS.search(call)]
    if others or made:
        sys.exit(f"embed in C: a second thread: {(others + made)[0]}")
    count = sum(bool(IO_CALLS.search(call)) for call in calls)
    if count < 2 * CLIENTS * lines:
        sys.exit(f"embed in C: strace saw {count} calls only")
    return f"strace: {count:,} I/O calls, all by that thread, and no other was ever made"


def main():
    lines = 20_000 if IS_LONG else 2_000
    if len(sys.argv) > 1:
        lines = int(sys.argv[1])
    path = build_example("EmbedInC")
    host = Host(path)
    exchange(host, lines)
    host.end()
    words = traced(path, build_folder(), 200)
    print(f"embed in C: {CLIENTS * lines:,} lines answered beside {host.ticks} ticks of the "
          f"program's own timer, in 1 thread; {words}")


if __name__ == "__main__":
    main()
