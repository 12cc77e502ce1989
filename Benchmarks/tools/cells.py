"""What is measured, and against whom."""
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.dirname(HERE)
TOOLS = os.path.join(PACKAGE, ".build-tools")
OURS = os.path.join(PACKAGE, ".build", "release", "bench-server")

# cell: (server mode, loadgen arguments, what it is)
CELLS = {
    "echo1": ("echo", "echo -c 1 -m 64", "64 B, 1 connection"),
    "echo50": ("echo", "echo -c 50 -m 64", "64 B, 50 connections"),
    "echo50x16": ("echo", "echo -c 50 -m 64 -q 16", "64 B, 50 connections, pipeline 16"),
    "echo16k": ("echo", "echo -c 50 -m 16384", "16 KiB, 50 connections"),
    "lines": ("lines", "lines -c 50 -q 16", "lines of 10-200 B, 50 connections, pipeline 16"),
    "frames": ("frames", "frames -c 50 -q 16 -m 128", "frames of 4+128 B, the same"),
    "churn": ("echo", "churn -c 50 -m 64", "connect, 64 B echo, close; 50 at a time"),
    "sink": ("sink", "sink -c 1", "client sends, server counts"),
    "source": ("source", "source -c 1", "server sends, client discards"),
    "idle": ("echo", "idle -c {idle} -m 64", "idle connections after a message each"),
}

# The bare loop comes twice: how far it differs from itself is today's noise.
OWN = {
    "limit": TOOLS + "/limit_epoll {port} {mode}",
    "limit-again": TOOLS + "/limit_epoll {port} {mode}",
    "sluice": OURS + " {port} {mode}",
    "sluice-span": OURS + " {port} {mode}-span",
    "sluice-endpoint": OURS + " {port} {mode}-endpoint",
}

# What the -endpoint modes speak.
ENDPOINT_CELLS = ("lines", "frames")


def speaks(server, cell):
    """Whether a server has a mode for a cell."""
    return server != "sluice-endpoint" or cell in ENDPOINT_CELLS


def of_loops(count):
    """The same server on one loop, and twice on several: by these alone `--loops` compares."""
    return {
        "1 loop": OURS + " {port} {mode}",
        "1 loop again": OURS + " {port} {mode}",
        f"{count} loops": OURS + " {port} {mode} " + str(count),
    }


# Left out when not installed. {bin} is $BENCH_BUILD/bin: peers built elsewhere, PORT MODE each.
PEERS = {
    "libuv": "{bin}/uv_server stream {port} {mode}",
    "libevent": "{bin}/ev_server {port} {mode}",
    "go": "env GOMAXPROCS=1 {bin}/go_server {port} {mode}",
    "tokio": "{bin}/tokio-server buf {port} {mode}",
    "nio-handler": "{bin}/nio-server handler {port} {mode}",
    "nio-async": "{bin}/nio-server async {port} {mode}",
    "uvloop-streams": "{python} {here}/peers/streams.py uvloop {port} {mode}",
    "asyncio-streams": "{python} {here}/peers/streams.py asyncio {port} {mode}",
    "node": "node {here}/peers/server.js {port} {mode}",
}


def places():
    """What stands for {bin} and {python}."""
    elsewhere = os.environ.get("BENCH_BUILD", "")
    python = os.path.join(elsewhere, "venv", "bin", "python")
    return {
        "bin": os.path.join(elsewhere, "bin") if elsewhere else "",
        "python": python if os.access(python, os.X_OK) else sys.executable,
        "here": HERE,
    }


def is_installed(name, words):
    """Whether a peer's command can be started here."""
    program = next(word for word in words if word != "env" and "=" not in word)
    if name == "uvloop-streams":
        return os.system(f"'{program}' -c 'import uvloop' 2>/dev/null") == 0
    return shutil.which(program) is not None
