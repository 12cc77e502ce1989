"""One measurement: a server on one core, the load generator on another, loopback only."""
import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import time

from cells import CELLS, TOOLS, places

CORES = sorted(os.sched_getaffinity(0))[:2]


def words(command, port, mode):
    return shlex.split(command.format(port=port, mode=mode, **places()))


def locked():
    """One measurement at a time on this machine, as far as others use the same lock."""
    folder = os.environ.get("BENCH_BUILD") or TOOLS
    os.makedirs(folder, exist_ok=True)
    lock = open(os.path.join(folder, "lock"), "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def alone_on(core):
    """For preexec_fn: that core, and ahead of other work where that is allowed."""
    def prepare():
        os.sched_setaffinity(0, {core})
        os.setsid()
        if os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, 0, -20)
            try:
                with open("/proc/self/autogroup", "w") as group:
                    group.write("-20")
            except OSError:
                pass
    return prepare


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running server; use with `with`."""

    def __init__(self, command, mode):
        self.port = free_port()
        self.log = open(os.path.join(TOOLS, "server.log"), "w+")
        self.process = subprocess.Popen(
            words(command, self.port, mode), stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, preexec_fn=alone_on(CORES[0]))

    def __enter__(self):
        end = time.monotonic() + 15
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                time.sleep(0.1)  # the probe's end is behind it
                return self
            except OSError:
                time.sleep(0.02)
        self.__exit__()
        self.log.seek(0)
        raise RuntimeError("the server did not start: " + self.log.read()[-200:])

    def __exit__(self, *_):
        for step in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(step)
                try:
                    self.process.wait(1.5)
                except subprocess.TimeoutExpired:
                    pass


def load_words(server, cell, secs, warm, idle):
    return [os.path.join(TOOLS, "loadgen"), *CELLS[cell][1].format(idle=idle).split(),
            "-p", str(server.port), "-P", str(server.process.pid), "-d", str(secs),
            "-w", str(warm), "-u", str(CORES[-1])]


def result(run):
    """The load generator's JSON line; it has checked every byte that came back."""
    try:
        row = json.loads(run.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        row = {}
    if run.returncode:
        row.setdefault("error", (run.stdout + run.stderr)[-200:])
    return row


def measure(command, cell, secs, warm, idle):
    """A row of figures, or one with `error`."""
    with locked():
        try:
            with Server(command, CELLS[cell][0]) as server:
                return result(subprocess.run(
                    load_words(server, cell, secs, warm, idle), capture_output=True, text=True,
                    timeout=90, preexec_fn=alone_on(CORES[-1])))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return {"error": str(error)[-200:]}
