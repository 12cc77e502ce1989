#!/usr/bin/env python3
"""A peer whose cable is pulled: found while idle by keep-alive, with data by the user timeout.

Two network namespaces of the script's own are joined by a veth pair; the far end is set down while
one connection is idle and one has data on the way. The knobs are short: by default it takes two
minutes and 30 s. Without the right to make namespaces the script says so and passes.
"""
import atexit
import os
import subprocess
import sys
import time

from kit import Server, build_program

NEAR, FAR = f"sluice-near-{os.getpid()}", f"sluice-far-{os.getpid()}"
MARK = 10  # seconds; keep-alive needs 1 + 2 x 1, the user timeout 2

CLIENT = """
import socket, sys
clients = []
for word in ("idle", "data"):
    client = socket.create_connection(("10.99.0.1", int(sys.argv[1])), 20)
    client.sendall(word.encode() + b"\\n")
    assert client.makefile("rb").readline() == b"ready\\n"
    clients.append(client)
print("ready", flush=True)
sys.stdin.read()
"""


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True)


def make_namespaces():
    """False if that is not allowed here."""
    for name in (NEAR, FAR):
        atexit.register(ip, "netns", "del", name)
        if ip("netns", "add", name).returncode:
            return False
    steps = [
        ["link", "add", "near", "netns", NEAR, "type", "veth", "peer", "name", "far", "netns", FAR],
        ["-n", NEAR, "address", "add", "10.99.0.1/24", "dev", "near"],
        ["-n", FAR, "address", "add", "10.99.0.2/24", "dev", "far"],
        ["-n", NEAR, "link", "set", "near", "up"],
        ["-n", FAR, "link", "set", "far", "up"],
    ]
    return all(ip(*step).returncode == 0 for step in steps)


def main():
    try:
        allowed = make_namespaces()
    except FileNotFoundError:
        allowed = False
    if not allowed:
        print("cable pull: not run, for network namespaces cannot be made here")
        return
    inside = ["ip", "netns", "exec"]
    with Server(*inside, NEAR, build_program("Pulled")) as server:
        client = subprocess.Popen(
            [*inside, FAR, sys.executable, "-c", CLIENT, str(server.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if client.stdout.readline() != "ready\n":
                sys.exit("cable pull: the clients were not answered")
            if ip("-n", FAR, "link", "set", "far", "down").returncode:
                sys.exit("cable pull: the link could not be set down")
            pulled = time.monotonic()
            found = {}
            while len(found) < 2:
                words = server.process.stdout.readline().split()
                seconds = time.monotonic() - pulled
                if words[:1] != ["lost"] or seconds > MARK:
                    sys.exit(f"cable pull: {words} after {seconds:.1f} s; {MARK} are allowed")
                found[words[1].rstrip(":")] = seconds
        finally:
            client.kill()
            client.wait()
    print(f"cable pull: an idle peer was found gone after {found['idle']:.1f} s, one with data "
          f"after {found['data']:.1f} s")


if __name__ == "__main__":
    main()
