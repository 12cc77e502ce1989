#!/usr/bin/env python3
"""Examples/BlockStore, a package of its own, built and used as its users would.

Blocks go in and out by its command line and by requests written here byte by byte; two clients add
the same blocks at once; they are there after a restart, and those that a killed server had begun
are whole or not there; a damaged one is reported, never served, and mended by adding it again.
Prints what it saw; exits non-zero if anything is not so.
"""
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading

from kit import ROOT, SECONDS, Server, build_folder, connect, eventually, expect

ADD, GET, CONTAINS, COUNT = range(4)
SHA256 = b"\x01"


def integer(value):
    """Base 128, the most significant group first."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def sized(data):
    return integer(len(data)) + data


def add(block):
    return SHA256 + sized(block)


def name(block):
    return SHA256 + hashlib.sha256(block).digest()


class Client:
    """Speaks cs.packetstream's wire format, one request at a time."""

    def __init__(self, server):
        self.socket = connect(server.port)
        self.replies = self.socket.makefile("rb")
        self.tag = 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.replies.close()
        self.socket.close()

    def receive_integer(self):
        value = 0
        while True:
            byte = self.replies.read(1)[0]
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value

    def ask(self, kind, payload=b""):
        """Whether it was fulfilled, the answer's flags, and its payload."""
        self.tag += 1
        tag = integer(self.tag)
        self.socket.sendall(sized(tag + b"\x02" + integer(kind + 1) + payload))
        answer = self.replies.read(self.receive_integer())
        assert answer.startswith(tag), answer[:40]
        word, rest = 0, answer[len(tag):]
        while True:
            byte, rest = rest[0], rest[1:]
            word = word << 7 | byte & 0x7F
            if byte < 0x80:
                return bool(word & 4), word >> 3, rest

    def expect(self, wanted, kind, payload=b""):
        expect(wanted, self.ask(kind, payload), f"request {kind}")


def build():
    """Path of the command; built without warnings."""
    scratch = os.path.join(build_folder(), "block-store")
    run = subprocess.run(
        ["swift", "build", "--package-path", os.path.join(ROOT, "Examples", "BlockStore"),
         "--scratch-path", scratch, "--product", "block-store"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ours = [line for line in run.stdout.splitlines() if ROOT in line and "warning:" in line]
    if run.returncode or ours:
        sys.exit(f"{run.stdout}\nBlockStore did not build without warnings")
    return os.path.join(scratch, "debug", "block-store")


def serve(command, folder):
    return Server(command, "serve", "--directory", folder, "--port", "0")


def run(command, server, *words):
    """Exit status, standard output, standard error."""
    done = subprocess.run(
        [command, *words, "--port", str(server.port)], capture_output=True, timeout=SECONDS)
    return done.returncode, done.stdout, done.stderr


def check_requests(server):
    with Client(server) as client:
        client.expect((True, 0, b"\x00"), COUNT)
        for block in b"", b"hello", random.randbytes(1 << 20):
            client.expect((True, 0, b""), GET, name(block))
            client.expect((True, 0, b""), CONTAINS, name(block))
            for _ in range(2):
                client.expect((True, 0, name(block)), ADD, add(block))
            client.expect((True, 1, b""), CONTAINS, name(block))
            client.expect((True, 1, block), GET, name(block))
        client.expect((True, 0, b"\x03"), COUNT)
        refused = (False, 0, b"exception during handler")
        for wrong in b"\x02" + sized(b"x"), SHA256 + b"\x05four", add(b"x") + b"y", b"":
            client.expect(refused, ADD, wrong)
        for wrong in name(b"x")[:-1], name(b"x") + b"y", b"\x00" + name(b"x")[1:]:
            client.expect(refused, GET, wrong)
        client.expect((False, 0, b"unknown request type 9"), 9)
        client.expect((True, 0, b"\x03"), COUNT)
    print("block store: blocks of 0 B to 1 MiB by requests, what is none refused")


def check_same_blocks(server, folder):
    """Two clients add the same 50 blocks at the same time."""
    blocks, before = [random.randbytes(100_000) for _ in range(50)], len(os.listdir(folder))
    barrier, seen = threading.Barrier(2), []

    def adder():
        with Client(server) as client:
            for block in blocks:
                barrier.wait(SECONDS)
                seen.append(client.ask(ADD, add(block)) == (True, 0, name(block)))
    adders = [threading.Thread(target=adder) for _ in range(2)]
    for thread in adders:
        thread.start()
    for thread in adders:
        thread.join()
    expect([True] * 100, seen, "two clients that add the same blocks")
    expect(before + 50, len(os.listdir(folder)), "files after that")
    print("block store: 50 blocks added by two clients at once are 50 files")


def check_command_line(command, server, folder):
    block = random.randbytes(3 << 20)
    digest = hashlib.sha256(block).hexdigest()
    file = os.path.join(os.path.dirname(folder), "file")
    with open(file, "wb") as output:
        output.write(block)
    expect((1, b"no\n", b""), run(command, server, "contains", digest), "contains")
    expect((0, f"{digest}\n".encode(), b""), run(command, server, "add", file), "add")
    expect((0, b"yes\n", b""), run(command, server, "contains", digest), "contains")
    expect((0, block, b""), run(command, server, "get", digest), "get")
    count = len(os.listdir(folder))
    expect((0, b"%d\n" % count, b""), run(command, server, "length"), "length")
    expect((1, b"", b"Error: there is no such block\n"), run(command, server, "get", "0" * 64),
           "get of what is not there")
    for wrong in "x", "0" * 63, "z" * 64:
        expect(64, run(command, server, "get", wrong)[0], "exit status for a hash that is none")
    print("block store: a file of 3 MiB went in and out by the command line")
    return digest, block


def check_damage(command, server, folder, digest, block):
    path = os.path.join(folder, digest)
    words = f"the block {digest} is damaged"
    for damage in (lambda file: (file.seek(1 << 20), file.write(b"xx")),
                   lambda file: file.truncate(100), lambda file: file.truncate(0)):
        with open(path, "r+b") as file:
            damage(file)
        with Client(server) as client:
            client.expect((False, 0, words.encode()), GET, name(block))
            client.expect((True, 1, b""), CONTAINS, name(block))
        status, output, errors = run(command, server, "get", digest)
        expect((1, b""), (status, output), "get of a damaged block")
        if words not in errors.decode():
            sys.exit(f"get of a damaged block said {errors}")
        with Client(server) as client:
            client.expect((True, 0, name(block)), ADD, add(block))
            client.expect((True, 1, block), GET, name(block))
    print("block store: a damaged block is reported, not served, and mended by adding it")


def check_kill(command, folder):
    """The server is killed while four clients add; every file is a whole block then."""
    stop = threading.Event()

    def adder(server):
        try:
            with Client(server) as client:
                while not stop.is_set():
                    client.ask(ADD, add(random.randbytes(300_000)))
        except (OSError, IndexError):
            pass  # the server is gone
    before = len(os.listdir(folder))
    with serve(command, folder) as server:
        adders = [threading.Thread(target=adder, args=[server]) for _ in range(4)]
        for thread in adders:
            thread.start()
        eventually(lambda: len(os.listdir(folder)) > before + 20, "blocks are added")
        server.stop()
        stop.set()
        for thread in adders:
            thread.join()
    with serve(command, folder) as server, Client(server) as client:
        names = os.listdir(folder)
        for file in names:
            with open(os.path.join(folder, file), "rb") as block:
                expect(file, hashlib.sha256(block.read()).hexdigest(), "a file's name")
        client.expect((True, 0, integer(len(names))), COUNT)
    print(f"block store: killed while adding, it left {len(names)} blocks, all of them whole")


def main():
    command = build()
    with tempfile.TemporaryDirectory() as base:
        folder = os.path.join(base, "blocks")
        with serve(command, folder) as server:
            check_requests(server)
            check_same_blocks(server, folder)
            digest, block = check_command_line(command, server, folder)
            server.process.send_signal(signal.SIGTERM)
            expect(0, server.process.wait(SECONDS), "exit status after SIGTERM")
        with open(os.path.join(folder, "unfinished-x"), "wb") as leftover:
            leftover.write(b"half a blo")
        with serve(command, folder) as server:
            expect(False, os.path.exists(leftover.name), "a file that was left half-written")
            with Client(server) as client:
                client.expect((True, 1, block), GET, name(block))
                client.expect((True, 1, b"hello"), GET, name(b"hello"))
            check_damage(command, server, folder, digest, block)
        check_kill(command, folder)


if __name__ == "__main__":
    main()
