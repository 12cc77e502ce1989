#!/usr/bin/env python3
"""What a user's first programs need: a package of its own that depends on this one by path.

In Swift 6 mode, with warnings as errors, it must build README's server as it stands there, a
handler that reads and writes in two child tasks, and a broadcast over stored writers. Then each is
run and spoken to. Prints what it saw; exits non-zero if anything is not so.
"""
import os
import socket
import subprocess

from kit import ROOT, Server, build, connect, eventually, expect

README_PORT = 8888


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return probe.getsockname()[1]
        except OSError:
            return None


def readme_program():
    """The first Swift block of README; its port is replaced if another process has it."""
    with open(os.path.join(ROOT, "README.md")) as readme:
        text = readme.read().split("```swift\n", 1)[1].split("```", 1)[0]
    port = is_free(README_PORT) or is_free(0)
    return text.replace(str(README_PORT), str(port)), port


def check_ten_lines(path, port):
    process = subprocess.Popen([path], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: not is_free(port), f"README's server listens on {port}")
        with connect(port) as client:
            client.sendall(b"hello\nthere")
            client.shutdown(socket.SHUT_WR)
            expect(b"hello\nthere", client.makefile("rb").read(), "README's server")
    finally:
        process.kill()
        process.wait()
    print(f"README's server: built without warnings, line came back on port {port}")


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
    program, port = readme_program()
    programs = build(["TenLines", "FullDuplex", "Broadcast"], {"TenLines": program})
    check_ten_lines(os.path.join(programs, "TenLines"), port)
    check_full_duplex(os.path.join(programs, "FullDuplex"))
    check_broadcast(os.path.join(programs, "Broadcast"))


if __name__ == "__main__":
    main()
