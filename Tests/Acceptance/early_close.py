#!/usr/bin/env python3
"""A reply of 8 MB, closed while the client keeps sending 1 MB more: all of it must arrive.

Rounds differ: the reply is written at once or in pieces, the client sends on as fast as it can or
holds half of its megabyte back until it has seen the server's end. Every byte is compared. 50
rounds; 1,000 with SLUICE_LONG=1; or as many as the first argument says.
"""
import selectors
import sys
import time

from kit import IS_LONG, SECONDS, Server, build_program, connect, eventually

REPLY = bytes((i * 31 + (i >> 8)) & 255 for i in range(8_000_000))
MORE = 1_000_000


def exchange(port, number):
    """One round: what came back, and how much of the megabyte was taken."""
    received = bytearray()
    is_patient = number % 4 >= 2
    with connect(port) as client:
        client.sendall(b"whole\n" if number % 2 == 0 else b"pieces\n")
        client.setblocking(False)
        sent, ended = 0, False
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while not ended or sent < MORE:
                wait_for_end = is_patient and sent >= MORE // 2 and not ended
                writes = 0 if wait_for_end or sent == MORE else selectors.EVENT_WRITE
                reads = 0 if ended else selectors.EVENT_READ
                selector.modify(client, reads | writes)
                events = selector.select(SECONDS)
                if not events:
                    sys.exit(f"round {number}: nothing moves; {len(received)} bytes received")
                if events[0][1] & selectors.EVENT_READ:
                    chunk = client.recv(1 << 18)
                    ended = not chunk
                    received += chunk
                if events[0][1] & selectors.EVENT_WRITE:
                    sent += client.send(bytes(min(16_384, MORE - sent)))
    return received, sent


def main():
    rounds = 1_000 if IS_LONG else 50
    if len(sys.argv) > 1:
        rounds = int(sys.argv[1])
    with Server(build_program("Replies")) as server:
        before = server.descriptors()
        began = time.monotonic()
        for number in range(rounds):
            try:
                received, sent = exchange(server.ports[0], number)
            except OSError as error:
                sys.exit(f"round {number}: {error}")
            if received != REPLY:
                sys.exit(f"round {number}: {len(received)} of {len(REPLY)} bytes, or wrong ones")
        eventually(lambda: server.descriptors() == before, "all descriptors are closed")
        print(f"early close: {rounds} rounds, each {len(REPLY):,} of {len(REPLY):,} bytes received "
              f"while {sent:,} more were sent; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
