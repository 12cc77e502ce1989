#!/usr/bin/env python3
"""cs.packetstream 20240630 and pak 1.1.2 as peers, each as client and as server.

cs_client.py asks InteropPeer, with many requests in flight, on a channel, with large payloads, and
is called back by it; InteropPeer then asks cs_server.py in the same ways, on one channel and on
four. pak_peer.py holds a session with InteropPeer at either side. All of them compare every value,
and every connection ends in the orderly way. Python 3.11 or later with a virtual environment for
the packages, which is made below the build folder; they come by pip.
"""
import json
import os
import subprocess
import sys
import threading

from kit import IS_LONG, ROOT, SECONDS, Server, build_interop_peer, expect, python_with

INTEROP = os.path.join(ROOT, "Tests", "Interop")
REQUESTS = "20000" if IS_LONG else "2000"
# What the stock client is run with, beside how many requests.
CLIENT_RUNS = (
    ["--depth", "64"],
    ["--depth", "64", "--channel", "3"],
    ["--depth", "64", "--size", "4096"],
    ["--depth", "64", "--big", "4194304"],
    ["--depth", "1"],
)
# What its server is run with, and the mode that asks it.
SERVER_RUNS = (
    ([], "requests"),
    (["--channels", "4"], "requests-channels"),
    (["--grace", "0.005"], "requests"),
)


STUCK = 2  # what cs_client.py ends with at its deadline


def script(name):
    return os.path.join(INTEROP, name)


def asked_by_stock(python, program):
    """The stock client against ours: returns how many checks it made."""
    checks = 0
    with Server(program, "serve", "requests") as server:
        for arguments in CLIENT_RUNS:
            command = [python, script("cs_client.py"), str(server.port), REQUESTS, *arguments,
                       "--timeout", str(SECONDS // 2)]
            for _ in range(3):
                run = subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS)
                # A request may stay in its own buffer: it counts what it queues a moment late, and
                # its sender believes that more are coming. Rare; nothing that a server could see.
                if run.returncode != STUCK:
                    break
            expect(0, run.returncode, f"cs_client.py {arguments} ended, after {run.stdout}, with")
            report = json.loads(run.stdout)
            expect("ok", report["result"], f"cs_client.py {arguments}")
            checks += len(report["checks"])
    return checks


class Peer:
    """A running server of another package's, which ends by itself; use with `with`."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.watch = threading.Timer(2 * SECONDS, self.process.kill)
        self.watch.daemon = True
        self.watch.start()
        line = self.process.stdout.readline().split()
        if line[:1] != ["LISTENING"]:
            self.process.kill()
            sys.exit(f"{command} printed {line} instead of where it listens")
        self.port = line[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.watch.cancel()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def rest(self):
        """What it prints up to its end, and its exit status."""
        text = self.process.stdout.read()
        return text, self.process.wait()


def ask(program, mode, port):
    """InteropPeer's client: returns how many answers or packets were compared."""
    run = subprocess.run([program, "ask", mode, port], capture_output=True, text=True,
                         timeout=2 * SECONDS)
    if run.returncode:
        sys.exit(f"packet streams: {mode}: InteropPeer ended with {run.returncode}: {run.stderr}")
    return int(run.stdout.split()[0])


def asks_stock(python, program):
    """Ours against the stock server: returns how many answers were compared."""
    answers = 0
    for arguments, mode in SERVER_RUNS:
        with Peer(python, script("cs_server.py"), "0", "--max-conns", "1", "--ttl",
                  str(2 * SECONDS), *arguments) as peer:
            answers += ask(program, mode, peer.port)
            expect(("CLOSED 0 ok\n", 0), peer.rest(), f"cs_server.py {arguments}")
    return answers


def with_pak(python, program):
    """A session at either side: returns how many packets came to pak, and to InteropPeer."""
    with Server(program, "serve", "pak") as server:
        run = subprocess.run([python, script("pak_peer.py"), "client", str(server.port)],
                             capture_output=True, text=True, timeout=2 * SECONDS)
        expect(0, run.returncode, f"pak_peer.py client ended, after {run.stderr}, with")
        theirs = int(run.stdout.split()[1])
        # It prints so for a client that has sent what it should, and was sent what it should be.
        expect(f"ok {theirs} packets\n", server.process.stdout.readline(), "InteropPeer")
    with Peer(python, script("pak_peer.py"), "server") as peer:
        ours = ask(program, "pak", peer.port)
        expect((f"ok {ours} packets\n", 0), peer.rest(), "pak_peer.py server")
    return theirs, ours


def main():
    requirements = os.path.join(INTEROP, "requirements.txt")
    # Without the packages' own wishes: one of them names a package that does not exist.
    python = python_with("packetstream", "--no-deps", "-r", requirements, "pak==1.1.2")
    program = build_interop_peer()
    checks = asked_by_stock(python, program)
    answers = asks_stock(python, program)
    theirs, ours = with_pak(python, program)
    print(f"packet streams: cs.packetstream 20240630: {len(CLIENT_RUNS)} runs of its client made "
          f"{checks} checks of ours, our client compared {answers:,} answers of its server, all "
          f"closed in order; pak 1.1.2: {theirs} packets came to its client, {ours} to ours")


if __name__ == "__main__":
    main()
