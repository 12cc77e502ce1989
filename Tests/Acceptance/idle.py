#!/usr/bin/env python3
"""An idle connection costs at most 2,560 bytes of the server's memory: EchoServer, built to run.

5,000 clients send a line each, get it back, and stay. What a suspended handler keeps is one task
slab; a frame that grows by a few bytes too much takes a second one, and then this script fails.
"""
import sys

from kit import Server, build_example, connect, raise_descriptor_limit, until_still

CLIENTS, MARK = 5_000, 2_560


def main():
    raise_descriptor_limit()
    with Server(build_example("EchoServer"), "0") as server:
        warm = [connect(server.port) for _ in range(100)]
        for client in warm:
            client.sendall(b"warm\n")
            client.recv(100)
        before = until_still(server.own_kib, "memory")
        clients = [connect(server.port) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(b"a line that comes back\n")
        for client in clients:
            client.recv(100)
        bytes_each = (until_still(server.own_kib, "memory") - before) * 1024 / CLIENTS
        for client in warm + clients:
            client.close()
    if bytes_each > MARK:
        sys.exit(f"idle: {bytes_each:,.0f} bytes a connection; {MARK:,} are allowed")
    print(f"idle: {bytes_each:,.0f} bytes a connection")


if __name__ == "__main__":
    main()
