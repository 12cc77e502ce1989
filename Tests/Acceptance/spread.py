#!/usr/bin/env python3
"""2,000 connections to a server on two loops: they must be spread within 10 %, and stay in place.

Each asks which loop serves it, twice. Then a random half leaves and others come, and all are asked
again. One round of that; ten with SLUICE_LONG=1.
"""
import random

from kit import (IS_LONG, Server, at_most, build_program, connect, expect, raise_descriptor_limit,
                 until_still)

CONNECTIONS = 2_000
LOOPS = 2
WITHIN = 0.1


class Client:
    def __init__(self, port):
        self.socket = connect(port)
        self.replies = self.socket.makefile("rb")
        self.loop = None

    def ask(self):
        self.socket.sendall(b"loop\n")
        return int(self.replies.readline())

    def leave(self):
        self.replies.close()
        self.socket.close()


def spread(clients):
    """Asks all; returns how many each loop serves."""
    for client in clients:
        number = client.ask()
        if client.loop is not None:
            expect(client.loop, number, "the loop of a connection")
        client.loop = number
    counts = [sum(client.loop == number for client in clients) for number in range(LOOPS)]
    expect(len(clients), sum(counts), "connections on known loops")
    at_most(int(min(counts) * (1 + WITHIN)), max(counts), f"connections on one loop of {counts}")
    return counts


def main():
    raise_descriptor_limit()
    chance = random.Random(7)
    with Server(build_program("Service"), str(LOOPS)) as server:
        clients = [Client(server.port) for _ in range(CONNECTIONS)]
        first = spread(clients)
        spread(clients)
        for _ in range(10 if IS_LONG else 1):
            chance.shuffle(clients)
            for client in clients[CONNECTIONS // 2:]:
                client.leave()
            del clients[CONNECTIONS // 2:]
            until_still(server.descriptors, "descriptors")
            clients += [Client(server.port) for _ in range(CONNECTIONS // 2)]
            last = spread(clients)
        print(f"spread: {CONNECTIONS:,} connections on {LOOPS} loops: {first}, after a random half "
              f"was replaced {last}")


if __name__ == "__main__":
    main()
