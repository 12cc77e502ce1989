"""What the scripts here share: programs built in a package of their own, servers, waits, limits.

SLUICE_BUILD names a folder to build in, else one is made and removed. With SLUICE_LONG=1 the
scripts take their long form.
"""
import atexit
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
IS_LONG = os.environ.get("SLUICE_LONG") == "1"
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


def write(path, text):
    """Leaves a file alone that has the text already, so that nothing is built twice."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path) or open(path).read() != text:
        with open(path, "w") as file:
            file.write(text)


def build_folder():
    """Where to build; one and the same for a script."""
    folder = os.environ.get("SLUICE_BUILD")
    if not folder:
        folder = os.environ["SLUICE_BUILD"] = tempfile.mkdtemp(prefix="sluice-acceptance-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def build(names, sources=None):
    """Builds these programs in a fresh package and returns where their executables are. Those of
    the folder `programs` are known to it; `sources` are more of them, by name."""
    package = os.path.join(build_folder(), "fresh-package")
    for file in sorted(os.listdir(os.path.join(HERE, "programs"))):
        with open(os.path.join(HERE, "programs", file)) as source:
            name = os.path.splitext(file)[0]
            write(os.path.join(package, "Sources", name, "main.swift"), source.read())
    for name, source in (sources or {}).items():
        write(os.path.join(package, "Sources", name, "main.swift"), source)
    every = sorted(os.listdir(os.path.join(package, "Sources")))
    manifest = os.path.join(package, "Package.swift")
    write(manifest, MANIFEST.format(root=ROOT, names='["' + '", "'.join(every) + '"]'))
    os.utime(manifest)  # or files that are new in the repository would not be seen
    for name in names:
        run = subprocess.run(
            ["swift", "build", "-c", "release", "--package-path", package, "--product", name],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode or "warning:" in run.stdout:
            sys.exit(f"{run.stdout}\nfresh package: {name} did not build without warnings")
    return os.path.join(package, ".build", "release")


def build_program(name):
    """Path of one executable of the folder `programs`."""
    return os.path.join(build([name]), name)


def build_example(name):
    """Path of one of the repository's examples, where Tests/run has built the floors already."""
    scratch = os.path.join(build_folder(), "release")
    run = subprocess.run(
        ["swift", "build", "-c", "release", "--package-path", ROOT, "--product", name,
         "--scratch-path", scratch], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode:
        sys.exit(f"{run.stdout}\n{name} did not build")
    return os.path.join(scratch, "release", name)


def build_interop_peer():
    """Path of the program that speaks to other packages' programs, with the trait that brings
    swift-crypto: as Tests/run has built it for its debug step already, since it takes minutes."""
    scratch = os.path.join(build_folder(), "debug")
    run = subprocess.run(
        ["swift", "build", "--package-path", ROOT, "--product", "InteropPeer",
         "--traits", "Crypto", "--scratch-path", scratch],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode:
        sys.exit(f"{run.stdout}\nInteropPeer did not build")
    return os.path.join(scratch, "debug", "InteropPeer")


def python_with(name, *packages):
    """Path of the Python of a virtual environment below the build folder, which has these packages,
    by pip."""
    folder = os.path.join(build_folder(), name + "-venv")
    python = os.path.join(folder, "bin", "python3")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    *packages], check=True)
    return python


def build_tool(name):
    """Path of a C program of the folder `tools`."""
    path = os.path.join(build_folder(), name)
    subprocess.run(
        [os.environ.get("CC", "gcc"), "-O2", "-Wall", "-Wextra", "-Werror", "-o", path,
         os.path.join(HERE, "tools", name + ".c")], check=True)
    return path


def raise_descriptor_limit():
    """For this process and the servers it starts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Server:
    """A running program; use with `with`. `ports` are those it printed."""

    def __init__(self, path, *arguments, listening=1, prepare=None):
        self.asked = 0  # connections of `figures`
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [path, *arguments], stdout=subprocess.PIPE, stderr=self.errors, text=True,
            preexec_fn=prepare)
        # A program that hangs, or a server that hangs its client, ends here.
        self.watch = threading.Timer(float(os.environ.get("SLUICE_SCRIPT_SECONDS", 900)), self.stop)
        self.watch.daemon = True
        self.watch.start()
        self.ports = []
        for _ in range(listening):
            line = self.process.stdout.readline()
            if not line.startswith("listening on 127.0.0.1:"):
                self.stop()
                sys.exit(f"{path} printed {line!r} instead of where it listens: {self.reports()}")
            self.ports.append(int(line.rsplit(":", 1)[1]))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.watch.cancel()
        if kind:
            print("".join(self.reports()[-20:]), file=sys.stderr)
        self.stop()
        self.process.stdout.close()
        self.errors.close()

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def port(self):
        return self.ports[0]

    def reports(self):
        """The lines it has written to its standard error."""
        with open(f"/proc/self/fd/{self.errors.fileno()}") as file:
            return file.readlines()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def idle_descriptors(self):
        """Their number once those of earlier clients have gone."""
        return until_still(self.descriptors, "descriptors")

    def status_kib(self, name):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(name + ":"))

    def resident_kib(self):
        return self.status_kib("VmRSS")

    def own_kib(self):
        """Resident memory without pages of the program's and libraries' files, which come and go
        with what code happens to run."""
        return self.status_kib("RssAnon")

    def begin_peak(self):
        """From now on `peak_kib` is the largest resident set since; proc(5), clear_refs."""
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as file:
            file.write("5")

    def peak_kib(self):
        return self.status_kib("VmHWM")

    def processor_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def processor_percent(self, seconds):
        """Of one core, over so many seconds from now."""
        began, before = time.monotonic(), self.processor_seconds()
        time.sleep(seconds)
        return 100 * (self.processor_seconds() - before) / (time.monotonic() - began)

    def figures(self):
        """What the program Service counts, by name."""
        self.asked += 1
        with connect(self.port) as client:
            client.sendall(b"figures\n")
            words = client.makefile("r").readline().split()
        return {name: int(value) for name, value in zip(words[::2], words[1::2])}


def expect(wanted, got, what):
    if wanted != got:
        sys.exit(f"{what}: {str(got)[:200]} instead of {str(wanted)[:200]}")


def at_most(limit, got, what):
    """A mark: exits if it is missed."""
    if got > limit:
        sys.exit(f"{what}: {got:,} where {limit:,} are allowed")


def eventually(condition, what):
    """Waits until it holds; returns the seconds that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + SECONDS:
            sys.exit(f"{what}: not so after {SECONDS} s")
        time.sleep(0.01)
    return time.monotonic() - began


def until_still(value, what, still=0.5):
    """Waits until a value has not changed for `still` seconds, and returns it."""
    seen, since = value(), time.monotonic()
    began = since
    while time.monotonic() < since + still:
        if time.monotonic() > began + SECONDS:
            sys.exit(f"{what}: still changing after {SECONDS} s")
        time.sleep(0.02)
        now = value()
        if now != seen:
            seen, since = now, time.monotonic()
    return seen


def connect(port):
    return socket.create_connection(("127.0.0.1", port), SECONDS)


def reset(client):
    """Closes so that the peer gets a reset at once, whatever is queued; socket(7), SO_LINGER."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
