#!/usr/bin/env python3
"""What a user's first programs need: a package of its own that depends on this one by path.

In Swift 6 mode, with warnings as errors, it must build README's server as it stands there, a
handler that reads and writes in two child tasks, and a broadcast over stored writers. Then each is
run and spoken to. Prints what it saw; exits non-zero if anything is not so. The other scripts here
use the servers built by it. SLUICE_BUILD names a folder to build in, else one is made and removed.
"""
import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAMS = ["FullDuplex", "Broadcast", "Replies"]
README_PORT = 8888
SECONDS = 60  # for whatever is waited for: it judges nothing, it ends what hangs

MANIFEST = """// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "Fresh",
    dependencies: [.package(name: "Sluice", path: "{root}")],
    targets: {names}.map {{ name in
        .executableTarget(
            name: name, dependencies: [.product(name: "Sluice", package: "Sluice")],
            swiftSettings: [.treatAllWarnings(as: .error)])
    }},
    swiftLanguageModes: [.v6]
)
"""


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


def write(path, text):
    """Leaves a file alone that has the text already, so that nothing is built twice."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path) or open(path).read() != text:
        with open(path, "w") as file:
            file.write(text)


def build(names):
    """Builds these programs in a fresh package and returns where their executables are."""
    folder = os.environ.get("SLUICE_BUILD")
    if not folder:
        folder = tempfile.mkdtemp(prefix="sluice-acceptance-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    package = os.path.join(folder, "fresh-package")
    every = '["' + '", "'.join(["TenLines", *PROGRAMS]) + '"]'
    write(os.path.join(package, "Package.swift"), MANIFEST.format(root=ROOT, names=every))
    for name in PROGRAMS:
        with open(os.path.join(HERE, "programs", name + ".swift")) as source:
            write(os.path.join(package, "Sources", name, "main.swift"), source.read())
    ten_lines = os.path.join(package, "Sources", "TenLines", "main.swift")
    if "TenLines" in names or not os.path.exists(ten_lines):
        write(ten_lines, readme_program()[0])
    for name in names:
        run = subprocess.run(
            ["swift", "build", "-c", "release", "--package-path", package, "--product", name],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode or "warning:" in run.stdout:
            sys.exit(f"{run.stdout}\nfresh package: {name} did not build without warnings")
    return os.path.join(package, ".build", "release")


class Server:
    """A running program; use with `with`. `ports` are those it printed."""

    def __init__(self, path, listening=1):
        words = path if isinstance(path, list) else [path]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        # A program that hangs, or a server that hangs its client, ends here.
        self.watch = threading.Timer(float(os.environ.get("SLUICE_SCRIPT_SECONDS", 900)), self.stop)
        self.watch.daemon = True
        self.watch.start()
        self.ports = []
        for _ in range(listening):
            line = self.process.stdout.readline()
            if not line.startswith("listening on 127.0.0.1:"):
                self.stop()
                sys.exit(f"{path} printed {line!r} instead of where it listens")
            self.ports.append(int(line.rsplit(":", 1)[1]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.watch.cancel()
        self.stop()

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def expect(wanted, got, what):
    if wanted != got:
        sys.exit(f"{what}: {str(got)[:200]} instead of {str(wanted)[:200]}")


def eventually(condition, what):
    """Waits until it holds."""
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"{what}: not so after {SECONDS} s")
        time.sleep(0.01)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), SECONDS)


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
    programs = build(["TenLines", "FullDuplex", "Broadcast"])
    with open(os.path.join(os.path.dirname(programs), "..", "Sources", "TenLines", "main.swift")) as f:
        port = int(f.read().split("port: ", 1)[1].split(")", 1)[0])
    check_ten_lines(os.path.join(programs, "TenLines"), port)
    check_full_duplex(os.path.join(programs, "FullDuplex"))
    check_broadcast(os.path.join(programs, "Broadcast"))


if __name__ == "__main__":
    main()
