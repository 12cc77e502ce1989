#!/usr/bin/env python3
"""Connections that come, ask and go: descriptors and memory of the server must be as before.

3,000 connections; 100,000 with SLUICE_LONG=1; or as many as the first argument says. Half of them
close in order (FIN), half reset (RST); 20 are open at a time. Measured after 2,000 connections of
warm-up. Memory may drift by 1 MiB (the allocator's and the runtime's own), which in the long form
is 10 bytes a connection.
"""
import os
import socket
import struct
import sys
import time

from kit import SECONDS, Server, build, eventually

WARM_UP = 2_000
DRIFT_KIB = 1_024
AT_ONCE = 20
BIND_ADDRESS_NO_PORT = 24  # ip(7)


def opened(port, number):
    """From many addresses, so that ports in TIME_WAIT do not run out."""
    client = socket.socket()
    client.settimeout(SECONDS)
    client.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
    client.bind((f"127.0.1.{1 + number % 32}", 0))
    client.connect(("127.0.0.1", port))
    return client


def churn(port, count):
    reset = struct.pack("ii", 1, 0)
    for start in range(0, count, AT_ONCE):
        clients = [opened(port, start + i) for i in range(min(AT_ONCE, count - start))]
        for client in clients:
            client.sendall(b"request\n")
        for number, client in enumerate(clients):
            reply = client.recv(100)
            if reply != b"request\n":
                sys.exit(f"connection {start + number}: {reply!r}")
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            client.close()


def main():
    count = 100_000 if os.environ.get("SLUICE_LONG") else 3_000
    if len(sys.argv) > 1:
        count = int(sys.argv[1])
    path = os.path.join(build(["Replies"]), "Replies")
    with Server(path) as server:
        idle = server.descriptors()
        churn(server.ports[0], WARM_UP)
        eventually(lambda: server.descriptors() == idle, "descriptors after the warm-up")
        memory = server.resident_kib()
        began = time.monotonic()
        churn(server.ports[0], count)
        seconds = time.monotonic() - began
        eventually(lambda: server.descriptors() == idle, f"descriptors are {idle} as before")
        drift = server.resident_kib() - memory
        print(f"churn: {count:,} connections in {seconds:.0f} s, descriptors {idle} as before, "
              f"resident set {memory:,} KiB {drift:+,} KiB")
        if drift > DRIFT_KIB:
            sys.exit(f"churn: memory grew by more than {DRIFT_KIB:,} KiB")


if __name__ == "__main__":
    main()
