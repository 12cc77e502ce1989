#!/usr/bin/env python3
"""An idle connection costs at most 2,560 bytes of the server's memory, an idle packet endpoint at
most 3,072, with a closure for its handler or a service's methods, an idle packet connection at most
4,096: EchoServer, and programs that echo, built to run. An idle request connection is to cost 4,096,
and costs more so far.

5,000 clients send a line each, get it back, and stay; of the others 10,000, if the descriptor limit
allows. What a suspended handler keeps is one task slab; a frame that grows by a few bytes too much
takes a second one, and then this script fails.
"""
import resource
import sys

from kit import (Server, build_example, build_program, connect, raise_descriptor_limit,
                 until_still)


LINE = b"a line that comes back\n"
# A request of type 0 with the tag 2, and its answer: a size, and what follows it.
REQUEST = b"\x0c\x02\x02\x01come back"
ANSWER = b"\x0b\x02\x04come back"


def exchange(clients, message, answer):
    """All of it comes back: a byte that is left over would keep a block of the server's."""
    for client in clients:
        client.sendall(message)
    for client in clients:
        came = b""
        while len(came) < len(answer):
            more = client.recv(100)
            if not more:
                break
            came += more
        if came != answer:
            sys.exit(f"idle: {came!r} came back, not {answer!r}")


def measure(path, arguments, clients, mark, what, message=LINE, answer=LINE):
    with Server(path, *arguments) as server:
        warm = [connect(server.port) for _ in range(100)]
        exchange(warm, message, answer)
        before = until_still(server.own_kib, "memory")
        idle = [connect(server.port) for _ in range(clients)]
        exchange(idle, message, answer)
        bytes_each = (until_still(server.own_kib, "memory") - before) * 1024 / clients
        for client in warm + idle:
            client.close()
    if bytes_each > mark:
        sys.exit(f"idle: {bytes_each:,.0f} bytes {what}; {mark:,} are allowed")
    print(f"idle: {bytes_each:,.0f} bytes {what}, of {clients:,}")


def main():
    raise_descriptor_limit()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    measure(build_example("EchoServer"), ["0"], 5_000, 2_560, "a connection")
    clients = min(9_800, limit - 500)
    measure(build_program("Endpoints"), [], clients, 3_072, "an endpoint")
    # It counts the lines of each client.
    measure(
        build_program("Handlers"), [], clients, 3_072, "a service's endpoint", LINE, b"1 " + LINE)
    measure(build_program("Connections"), [], clients, 4_096, "a packet connection")
    measure(
        build_program("Requests"), [], clients, 4_096, "a request connection", REQUEST, ANSWER)


if __name__ == "__main__":
    main()
