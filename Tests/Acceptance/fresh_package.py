#!/usr/bin/env python3
"""What a user's first programs need: a package of its own that depends on this one by path.

In Swift 6 mode, with warnings as errors, it must build README's servers as they stand there, of
bytes, of packets and of requests, a handler that reads and writes in two child tasks, and a
broadcast over stored writers. Then each is run and spoken to. Prints what it saw; exits non-zero if
anything is not so.
"""
import contextlib
import os
import socket
import subprocess

from kit import ROOT, Server, at_most, build, connect, eventually, expect

# README's programs: the name each gets here, the words it is known by there, and its port.
README = {"TenLines": ("reader, writer", 8888), "TenLinesOfPackets": ("packets:", 8891),
          "TenLinesOfRequests": ("request, client", 8892)}


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return probe.getsockname()[1]
        except OSError:
            return None


def readme_program(name):
    """The first Swift block of README with these words, which may have ten lines; its port is
    replaced if another process has it."""
    words, port = README[name]
    with open(os.path.join(ROOT, "README.md")) as readme:
        blocks = [part.split("```", 1)[0] for part in readme.read().split("```swift\n")[1:]]
    text = next(block for block in blocks if words in block)
    at_most(10, text.count("\n"), f"lines of README's {name}")
    if "import Sluice\n" not in text:
        text = "import Sluice\n" + text
    free = is_free(port) or is_free(0)
    return text.replace(str(port), str(free)), free


@contextlib.contextmanager
def readme_client(programs, name, port):
    """Runs one of README's servers and connects to it."""
    process = subprocess.Popen([os.path.join(programs, name)], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: not is_free(port), f"README's {name} listens on {port}")
        with connect(port) as client:
            yield client
    finally:
        process.kill()
        process.wait()


def check_bytes(client):
    client.sendall(b"hello\nthere")
    client.shutdown(socket.SHUT_WR)
    expect(b"hello\nthere", client.makefile("rb").read(), "README's server")


def check_packets(client):
    """A length of two bytes, an id, a text; in one piece and byte by byte."""
    sent = b"".join(b"%c%c\x01%s" % (0, len(text) + 1, text) for text in (b"hello", b"", b"there"))
    replies = client.makefile("rb")
    client.sendall(sent)
    expect(sent, replies.read(len(sent)), "README's server of packets")
    for byte in sent:
        client.sendall(bytes([byte]))
    client.shutdown(socket.SHUT_WR)
    expect(sent, replies.read(), "README's server of packets, byte by byte")


def check_requests(client):
    """Packets of cs.packetstream: size, tag, flags with what it is, type + 1, payload. The second
    request makes the server ask, whose tag is its own first one, and which is answered here."""
    def packet(*words):
        body = b"".join(word if isinstance(word, bytes) else bytes([word]) for word in words)
        return bytes([len(body)]) + body
    replies = client.makefile("rb")

    def receive():
        return replies.read(replies.read(1)[0])
    client.sendall(packet(2, 2, 1, b"echo") + packet(3, 2, 2) + packet(4, 2, 9))
    got = sorted(receive() for _ in range(3))
    wanted = sorted([b"\x02\x04echo", b"\x02\x02\x01", b"\x04\x00there is no request 8"])
    expect(wanted, got, "README's server of requests")
    client.sendall(packet(2, 4, b"peer"))
    expect(b"\x03\x04hello, peer", receive(), "README's server of requests, having asked")


def check_full_duplex(path):
    with Server(path, listening=2) as server:
        for port, how in zip(server.ports, ("a task group", "async let")):
            with connect(port) as client:
                replies = client.makefile("rb")
                said = []
                for number in range(500):
                    client.sendall(b"line %d\n" % number)
                    said.append(replies.readline())
                client.shutdown(socket.SHUT_WR)
                said += replies.read().splitlines(keepends=True)
            ticks = [line for line in said if line.startswith(b"tick")]
            heard = [line for line in said if line.startswith(b"heard")]
            expect([b"tick %d\n" % number for number in range(1000)], ticks, "ticks by " + how)
            expect([b"heard line %d\n" % n for n in range(500)], heard, "answers by " + how)
            print(f"full duplex by {how}: 1,000 lines out while 500 were read and answered")


def check_broadcast(path):
    with Server(path) as server:
        clients, files = [], []
        for _ in range(20):  # each is known to the server once its own line came back
            clients.append(connect(server.ports[0]))
            files.append(clients[-1].makefile("rb"))
            clients[-1].sendall(b"here\n")
            for file in files:
                expect(b"here\n", file.readline(), "a line of one who came later")
        for number, client in enumerate(clients):
            client.sendall(b"line %d\n" % number)
            for file in files:
                expect(b"line %d\n" % number, file.readline(), "a broadcast line")
    print("broadcast: 20 lines reached 20 clients each")


def main():
    sources, ports = {}, {}
    for name in README:
        sources[name], ports[name] = readme_program(name)
    programs = build([*README, "FullDuplex", "Broadcast"], sources)
    for name, check in zip(README, (check_bytes, check_packets, check_requests)):
        with readme_client(programs, name, ports[name]) as client:
            check(client)
        print(f"README's {name}: built without warnings, answered on port {ports[name]}")
    check_full_duplex(os.path.join(programs, "FullDuplex"))
    check_broadcast(os.path.join(programs, "Broadcast"))


if __name__ == "__main__":
    main()
