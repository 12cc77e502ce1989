#!/usr/bin/env python3
"""A peak must not stay in memory: idle connections own no buffer, and closed ones nothing at all.

2,000 connections each exchange a line of 60,000 bytes, all at once, of which the server holds all
but the end for a while. Then they fall silent, and the server's resident set must be at most 1.2
times what it was before those lines. Then all close, and it must be at most 1.2 times what it was
before them. 9,000 connections with SLUICE_LONG=1.
"""
import sys

from kit import (IS_LONG, Server, at_most, build_program, connect, eventually,
                 raise_descriptor_limit)

CONNECTIONS = 9_000 if IS_LONG else 2_000
LINE = b"x" * 60_000 + b"\n"
TIMES = 1.2


def exchange(clients, line):
    """All send all but the LF, which comes once the server has everything."""
    for client in clients:
        client.sendall(line[:-1])
    for client in clients:
        client.sendall(b"\n")
    for client in clients:
        rest = len(line)
        while rest:
            received = len(client.recv(rest))
            if not received:
                sys.exit("peak: a connection was closed")
            rest -= received


def hold(server, count):
    """Opens connections and lets them exchange a word, some at a time."""
    clients = []
    for _ in range(0, count, 50):
        some = [connect(server.port) for _ in range(50)]
        exchange(some, b"hello\n")
        clients += some
    return clients


def until_at_most(server, limit, what):
    eventually(lambda: server.resident_kib() <= limit, f"{what} within {limit:,} KiB")
    return server.resident_kib()


def main():
    raise_descriptor_limit()
    with Server(build_program("Service")) as server:
        for client in hold(server, 100):  # code and pools come in
            exchange([client], LINE)
            client.close()
        eventually(lambda: server.figures()["current"] == 1, "the first ones are closed")
        empty = server.resident_kib()
        clients = hold(server, CONNECTIONS)
        held = server.resident_kib()
        server.begin_peak()
        exchange(clients, LINE)
        peak = server.peak_kib()
        at_most(peak, held + CONNECTIONS * 30, "KiB of a peak that is none")
        idle = until_at_most(server, int(TIMES * held), "idle connections")
        for client in clients:
            client.close()
        after = until_at_most(server, int(TIMES * empty), "a server without connections")
        print(f"peak: {CONNECTIONS:,} connections hold {held:,} KiB, {peak:,} KiB with 60 kB lines "
              f"under way, {idle:,} KiB when idle again; {empty:,} KiB before them, {after:,} KiB "
              f"after")


if __name__ == "__main__":
    main()
