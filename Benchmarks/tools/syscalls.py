"""System calls per message: by perf's tracepoints where they may be used, else by strace."""
import os
import re
import shutil
import signal
import subprocess
import time

from cells import CELLS, TOOLS, speaks
from measure import CORES, Server, alone_on, load_words, locked, result

CALLS = ("read readv recvfrom recvmsg write writev sendto sendmsg epoll_wait epoll_pwait "
         "epoll_pwait2 epoll_ctl futex accept4 accept close setsockopt getsockopt getsockname "
         "getpeername fcntl ioctl shutdown sched_yield madvise mmap munmap brk").split()


def counter():
    """`perf`, `strace` or None."""
    if shutil.which("perf"):
        probe = subprocess.run(
            ["perf", "stat", "-x", ";", "-e", "raw_syscalls:sys_enter", "true"],
            capture_output=True, text=True)
        if probe.returncode == 0 and re.match(r"\d", probe.stderr.strip()):
            return "perf"
    return "strace" if shutil.which("strace") else None


def count(tool, command, cell, secs):
    """Messages, and calls by name."""
    with locked(), Server(command, CELLS[cell][0]) as server:
        row, calls = traced(tool, load_words(server, cell, secs, 0, 0), server.process.pid)
    return row.get("msgs") or 1, calls


def traced(tool, load, pid=None):
    """Runs a load. Returns its row, and the calls by name of the process `pid`; without one, those
    of the load itself. strace slows what it looks at, which changes its batches."""
    out = os.path.join(TOOLS, f"syscalls.{os.getpid()}")
    tracer = None
    if tool == "perf":
        events = ",".join("syscalls:sys_enter_" + call for call in CALLS)
        watched = ["-p", str(pid)] if pid else []
        load = ["perf", "stat", "-x", ";", "-o", out, "-e", events + ",raw_syscalls:sys_enter",
                *watched, "--", *load]
    elif pid is None:
        load = ["strace", "-f", "-c", "-o", out, *load]
    else:
        tracer = subprocess.Popen(["strace", "-f", "-c", "-o", out, "-p", str(pid)],
                                  stderr=subprocess.DEVNULL)
        time.sleep(0.5)  # strace says nothing to a file when it has attached
    row = result(subprocess.run(load, capture_output=True, text=True, timeout=60,
                                preexec_fn=alone_on(CORES[-1])))
    if tracer:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    with open(out) as text:
        calls = parse_perf(text) if tool == "perf" else parse_strace(text)
    os.unlink(out)
    if "error" in row:
        raise RuntimeError(row["error"])
    return row, calls


def parse_perf(text):
    calls = {}
    for line in text:
        field = line.split(";")
        if len(field) > 2 and field[0].isdigit() and int(field[0]):
            calls[field[2].split(":")[1].replace("sys_enter_", "")] = int(field[0])
    calls["all"] = calls.pop("sys_enter", 0)
    return calls


def parse_strace(text):
    calls = {}
    for line in text:
        field = line.split()
        if len(field) >= 5 and field[3].isdigit():
            calls["all" if field[-1] == "total" else field[-1]] = int(field[3])
    return calls


def print_table(peers, cells, secs):
    tool = counter()
    if tool is None:
        print("\nsystem calls: neither perf nor strace can be used here")
        return
    for cell in cells:
        print(f"\n### System calls per message, {cell}: {CELLS[cell][2]} ({tool})\n\n"
              "| server | all | which |\n| --- | ---: | --- |", flush=True)
        for name, command in peers.items():
            if not speaks(name, cell):
                continue
            try:
                messages, calls = count(tool, command, cell, secs)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                print(f"| {name} | | failed: {error} |", flush=True)
                continue
            every = calls.pop("all", 0) / messages
            parts = sorted(((n / messages, call) for call, n in calls.items()), reverse=True)
            which = ", ".join(f"{call} {n:.3f}" for n, call in parts if n >= 0.004)
            print(f"| {name} | {every:.2f} | {which} |", flush=True)
