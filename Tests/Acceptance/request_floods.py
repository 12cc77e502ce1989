#!/usr/bin/env python3
"""A server of requests keeps its memory: 100,000 requests on one connection leave nothing behind, and
a client that floods it and reads no answers costs less than twice the mark of 1 MiB, while others are
answered."""
import socket
import sys

from kit import Server, build_program, connect, until_still

MARK = 1024  # KiB
PAYLOAD = bytes(range(64))


def request(tag, payload=PAYLOAD):
    """A request of type 0: its size, its tag, the word of a request, the type."""
    body = number(tag) + b"\x02\x01" + payload
    return number(len(body)) + body


def number(value):
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | value & 0x7F)
    return bytes(reversed(groups))


def ask(client, first, count):
    """Sends so many requests at once and takes their answers."""
    client.sendall(b"".join(request(tag) for tag in range(first, first + count)))
    missing = sum(len(request(tag)) - 1 for tag in range(first, first + count))
    while missing:
        missing -= len(client.recv(min(missing, 1 << 16)) or sys.exit("requests: cut off"))


def ask_many(server):
    with connect(server.port) as client:
        ask(client, 2, 6_000)
        before = until_still(server.own_kib, "memory")
        for first in range(6_002, 106_002, 1_000):
            ask(client, first, 1_000)
        grown = until_still(server.own_kib, "memory") - before
    if grown > 64:
        sys.exit(f"requests: 100,000 requests left {grown} KiB behind")
    print(f"requests: 100,000 on one connection left {max(0, grown)} KiB behind")


def flood(server):
    with connect(server.port) as other, connect(server.port) as client:
        ask(other, 2, 10)
        before = until_still(server.own_kib, "memory")
        client.setblocking(False)
        chunk = b"".join(request(2 + index, bytes(1_024)) for index in range(64))
        sent, stuck = 0, 0
        while stuck < 20 and sent < 512 << 20:
            try:
                sent += client.send(chunk[sent % len(chunk):])
                stuck = 0
            except BlockingIOError:
                ask(other, 12 + stuck, 1)
                stuck += 1
        grown = until_still(server.own_kib, "memory") - before
        ask(other, 100, 10)
    if stuck < 20:
        sys.exit(f"requests: a flood of {sent >> 20} MiB was taken to its end")
    if grown >= 2 * MARK:
        sys.exit(f"requests: a flood cost {grown} KiB; {2 * MARK} are allowed")
    print(f"requests: a flood of {sent >> 10:,} KiB cost {grown} KiB, and others were answered")


def main():
    with Server(build_program("Requests")) as server:
        ask_many(server)
        flood(server)


if __name__ == "__main__":
    main()
