#!/usr/bin/env python3
"""Peers that never read, and readers that never read: both sides stay within their bounds.

20 clients ask for 20 MB each and never read. With flow control the server must hold no more than
the high-water mark and one write for each, without it no more than the hard cap and one write. Then
20 clients send to handlers that never read: they must be stalled with no more accepted than the
kernel's buffers hold, and the server must hold no more than what was read ahead. The peak of the
resident set counts. One round; five with SLUICE_LONG=1, over which nothing may add up.
"""
import sys

from kit import (IS_LONG, Server, at_most, build_program, connect, eventually, expect, reset,
                 until_still)

CLIENTS = 20
BYTES = 20_000_000 // 65_536 * 65_536  # to each, in pieces of 64 KiB
PIECE = 65_536
HIGH_WATER_MARK = 65_536
HARD_CAP = 1 << 20
READ_AHEAD = 2 * 65_536  # two receives
BESIDES_KIB = 1_024  # the allocator's and the runtime's own
CPU_PERCENT = 2


def kernel_bytes():
    """The most that one connection's two ends hold in the kernel; tcp(7)."""
    total = 0
    for name in ("tcp_wmem", "tcp_rmem"):
        with open("/proc/sys/net/ipv4/" + name) as file:
            total += int(file.read().split()[2])
    return total


def leave(server, clients, descriptors):
    for client in clients:
        reset(client)  # in order, the end would have to wait behind what nobody reads
    eventually(lambda: server.descriptors() == descriptors, "descriptors as before")
    eventually(lambda: server.figures()["handlers"] == 1, "handlers have ended")


def flood(server, how, cap):
    """Returns by how many KiB the server grew, and how much was written of what was wanted."""
    before, descriptors = server.figures(), server.idle_descriptors()
    memory = server.resident_kib()
    server.begin_peak()
    clients = [connect(server.port) for _ in range(CLIENTS)]
    for client in clients:
        client.sendall(how + b"\n")
    eventually(lambda: server.figures()["written"] > before["written"] + CLIENTS * cap, "it writes")
    written = until_still(lambda: server.figures()["written"], how.decode()) - before["written"]
    refused = server.figures()["refused"] - before["refused"]
    if written >= CLIENTS * BYTES:
        sys.exit(f"{how.decode()}: all was written to clients that read nothing")
    if how == b"ignore":
        expect(CLIENTS * BYTES, written + refused * PIECE, "written or refused")
    percent = server.processor_percent(1)
    at_most(CPU_PERCENT, percent, f"{how.decode()}: processor time in percent while all wait")
    grown = server.peak_kib() - memory
    at_most(CLIENTS * (cap + PIECE) // 1024 + BESIDES_KIB, grown, f"{how.decode()}: growth in KiB")
    leave(server, clients, descriptors)
    return grown, written, refused


def stall(server):
    """Returns how much of 20 MB each was taken from clients whose server does not read."""
    descriptors = server.idle_descriptors()
    memory = server.resident_kib()
    server.begin_peak()
    clients = [connect(server.port) for _ in range(CLIENTS)]
    for client in clients:
        client.sendall(b"deaf\n")
        client.setblocking(False)
    sent = [0] * CLIENTS
    data = bytes(PIECE)

    def send():
        for number, client in enumerate(clients):
            try:
                while sent[number] < BYTES:
                    sent[number] += client.send(data)
            except BlockingIOError:
                pass
        return sum(sent)

    until_still(send, "what the kernel takes")
    at_most(kernel_bytes() + READ_AHEAD, max(sent), "bytes taken of one client")
    if max(sent) >= BYTES:
        sys.exit("a client sent all it had to a handler that does not read")
    grown = server.peak_kib() - memory
    at_most(CLIENTS * READ_AHEAD // 1024 + BESIDES_KIB, grown, "deaf: growth in KiB")
    at_most(CPU_PERCENT, server.processor_percent(1), "deaf: processor time in percent")
    leave(server, clients, descriptors)
    return grown, max(sent)


def main():
    with Server(build_program("Service")) as server:
        for _ in range(50):  # what the first connections need of the runtime
            server.figures()
        for _ in range(5 if IS_LONG else 1):
            drained, _, _ = flood(server, b"drain", HIGH_WATER_MARK)
            ignored, _, refused = flood(server, b"ignore", HARD_CAP)
            deaf, sent = stall(server)
        print(f"slow readers: 20 x 20 MB unread: {drained:+,} KiB with drain, {ignored:+,} KiB "
              f"without ({refused:,} writes refused); a deaf reader stalls its peer after at most "
              f"{sent:,} bytes, {deaf:+,} KiB")


if __name__ == "__main__":
    main()
