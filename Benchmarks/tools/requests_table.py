"""Requests on one connection: processor time of a request beside the bare loop's, with many in
flight and with one, as server and as client."""
import json
import os
import shutil
import subprocess
import sys

from cells import HERE, OURS, PACKAGE, TOOLS
from measure import CORES, Server, alone_on, locked, measure, result, words
from syscalls import counter, traced

ROOT = os.path.dirname(PACKAGE)
INTEROP = os.path.join(ROOT, "Tests", "Interop")
DEPTH = 64
SEQUENTIAL_ROUNDS = 10
LIMIT = TOOLS + "/limit_epoll {port} "
LOAD = TOOLS + "/load_requests {form} -m 64 -p {port} -P {pid} -q {depth} -d {secs} -w {warm}"
OUR_CLIENT = os.path.join(os.path.dirname(OURS), "bench-requests") + " {port} {count} {depth} {pid}"
GO = os.path.join(TOOLS, "rpc")
VENV = os.path.join(TOOLS, "packetstream-venv")
STOCK = os.path.join(VENV, "bin", "python3")

# A server, and the load that it gets. The bare loop speaks two formats: a length and the bytes,
# which is the least, and the requests' own. It comes twice: how far it differs from itself is
# today's noise.
SERVERS = {
    "limit, frames": (LIMIT + "frames", LOAD, "frames"),
    "limit, frames again": (LIMIT + "frames", LOAD, "frames"),
    "limit, requests": (LIMIT + "requests", LOAD, "requests"),
    "sluice": (OURS + " {port} requests", LOAD, "requests"),
    "go net/rpc, requests": ("env GOMAXPROCS=1 " + GO + " {port} requests", LOAD, "requests"),
    "go net/rpc, gob": ("env GOMAXPROCS=1 " + GO + " {port} gob", "env GOMAXPROCS=1 " + GO
                        + " {port} load {depth} {secs} {warm} {pid}", ""),
    "asyncio streams, frames": ("{python} {here}/peers/streams.py asyncio {port} frames", LOAD,
                                "frames"),
    "cs.packetstream": (STOCK + " " + INTEROP + "/cs_server.py {port} --ttl 600", LOAD, "requests"),
}
# Clients of the bare loop, which answers their requests.
CLIENTS = {"load_requests": LOAD, "sluice": OUR_CLIENT}
PEERS = [name for name in SERVERS if not name.startswith(("limit", "sluice"))]
SEQUENTIAL_SERVERS = ("limit, frames", "limit, frames again", "limit, requests", "sluice")


def build():
    """The peers that can be had here: Go's with its toolchain, the stock library by pip."""
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-Wall", "-Wextra", "-o",
                    os.path.join(TOOLS, "load_requests"), os.path.join(HERE, "load_requests.c")],
                   check=True)
    try:
        subprocess.run(["go", "build", "-o", GO, os.path.join(HERE, "peers", "rpc.go")], check=True,
                       env=dict(os.environ, GO111MODULE="off"))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"requests: Go's net/rpc is left out: {error}", file=sys.stderr)
    try:
        if not os.path.exists(STOCK):
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        # Without the libraries' own wishes: one of them names a package that does not exist.
        subprocess.run([STOCK, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                        "--no-deps", "-r", os.path.join(INTEROP, "requirements.txt")], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"requests: cs.packetstream is left out: {error}", file=sys.stderr)
        shutil.rmtree(VENV, ignore_errors=True)


def chosen():
    """The servers that are there."""
    missing = {name for name, program in (("go", GO), ("cs", STOCK)) if not os.path.exists(program)}
    return [name for name in SERVERS if name[:2] not in missing]


def client_words(command, form, server, depth, secs, warm, rate=20_000):
    """A client's command; one that counts requests gets as many as `secs` need at this rate."""
    return words(command.replace("{form}", form).replace("{pid}", str(server.process.pid))
                 .replace("{depth}", str(depth)).replace("{secs}", str(secs))
                 .replace("{warm}", str(warm)).replace("{count}", str(int(secs * rate))),
                 server.port, "")


def ask(server_name, client, depth, secs, rate=20_000):
    """One measurement: a row of figures, or one with `error`."""
    command, own_client, form = SERVERS[server_name]
    with locked():
        try:
            with Server(command, "") as server:
                return result(subprocess.run(
                    client_words(client or own_client, form, server, depth, secs, 0.5, rate),
                    capture_output=True, text=True, timeout=90, preexec_fn=alone_on(CORES[-1])))
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            return {"error": str(error)[-200:]}


class Best:
    """The least disturbed round of each row, what failed, and whether one of ours is among that."""

    def __init__(self):
        self.rows, self.failed, self.has_all = {}, [], True

    def add(self, name, row, key):
        print(f"requests {name:40} {json.dumps(row)}", file=sys.stderr, flush=True)
        if "error" in row:
            self.fail(name, row["error"])
        elif name not in self.rows or row[key] < self.rows[name][key]:
            self.rows[name] = row

    def fail(self, name, error):
        self.failed.append(f"{name}: {error}")
        self.has_all &= name in PEERS

    def figure(self, name, key):
        return self.rows[name][key] if name in self.rows else None


def ratio(value, base):
    return f"{value / base:.2f}" if value and base else ""


def print_pipelined(best, secs, rounds):
    """64 in flight: servers beside the bare loop, clients beside the load generator."""
    there, here = "server_cpu_us_per_request", "client_cpu_us_per_request"
    cell = "limit, the cell frames"
    for _ in range(rounds):
        row = measure(LIMIT + "{mode}", "frames", secs, 0.5, 0)
        if "error" not in row:
            row = {"requests_per_s": row["msgs_per_s"], there: row["server_cpu_us_per_msg"]}
        best.add(cell, row, there)
        for name in chosen():
            best.add(name, ask(name, None, DEPTH, secs), there)
        for name, client in CLIENTS.items():
            rate = 400_000  # so that it takes about as long as the others
            best.add("client " + name, ask("limit, requests", client, DEPTH, secs, rate), here)
        best.add("both", ask("sluice", OUR_CLIENT, DEPTH, secs, 400_000), there)
    base, same = best.figure(cell, there), best.figure("limit, frames", there)
    print(f"\n### Requests of 64 bytes, {DEPTH} in flight on one connection, best round\n\n"
          "| server | requests/s | server, us/request | x the cell frames | x frames, same load |\n"
          "| --- | ---: | ---: | ---: | ---: |")
    for name in [cell, *chosen()]:
        value = best.figure(name, there)
        if value is None:
            print(f"| {name} | failed | | | |")
            continue
        print(f"| {name} | {best.figure(name, 'requests_per_s'):,.0f} | {value:.3f} "
              f"| {ratio(value, base)} | {ratio(value, same)} |")
    print("\n| client of the bare loop | requests/s | client, us/request | x load_requests |\n"
          "| --- | ---: | ---: | ---: |")
    least = best.figure("client load_requests", here)
    for name in CLIENTS:
        value = best.figure("client " + name, here)
        if value is not None:
            print(f"| {name} | {best.figure('client ' + name, 'requests_per_s'):,.0f} "
                  f"| {value:.3f} | {ratio(value, least)} |")
    if "both" in best.rows:
        row = best.rows["both"]
        print(f"\nSluice at both ends: {row['requests_per_s']:,.0f} requests/s, {row[there]:.3f} us "
              f"of the server and {row[here]:.3f} us of the client for each.")


def print_calls(best):
    """System calls of either side, one request at a time."""
    tool = counter()
    if tool is None:
        return print("\nsystem calls: neither perf nor strace can be used here")
    print(f"\n| system calls of a round trip ({tool}) | server | client |\n| --- | --- | --- |")
    for name, server, client in (("bare at both ends", "limit, requests", LOAD),
                                 ("sluice at both ends", "sluice", OUR_CLIENT)):
        try:
            print(f"| {name} | {counted(tool, server, client, True)} "
                  f"| {counted(tool, server, client, False)} |", flush=True)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            best.fail(f"system calls, {name}", error)


def counted(tool, server_name, client, is_server):
    """The calls of one side for a request, as text."""
    with locked(), Server(SERVERS[server_name][0], "") as server:
        load = client_words(client, "requests", server, 1, 1, 0)
        row, calls = traced(tool, load, server.process.pid if is_server else None)
    count = row.get("requests_in_all", row["requests"])
    parts = sorted(((n / count, call) for call, n in calls.items()), reverse=True)
    return ", ".join(f"{call} {n:.2f}" for n, call in parts if n >= 0.01)


def print_sequential(best, secs):
    """One in flight: both sides beside a bare ping-pong of the same three calls."""
    there, here = "server_cpu_us_per_request", "client_cpu_us_per_request"
    for _ in range(SEQUENTIAL_ROUNDS):
        for name in SEQUENTIAL_SERVERS:
            best.add("1: " + name, ask(name, None, 1, secs), there)
        for name, client in CLIENTS.items():
            best.add("1: client " + name, ask("limit, requests", client, 1, secs), here)
    print(f"\n### One request of 64 bytes at a time, best of {SEQUENTIAL_ROUNDS}\n\n"
          "| side | us/request | x the bare one |\n| --- | ---: | ---: |")
    base = best.figure("1: limit, frames", there)
    for name in SEQUENTIAL_SERVERS:
        value = best.figure("1: " + name, there)
        print(f"| server: {name} | " + (f"{value:.2f} | {ratio(value, base)} |" if value
                                        else "failed | |"))
    base = best.figure("1: client load_requests", here)
    for name in CLIENTS:
        value = best.figure("1: client " + name, here)
        print(f"| client: {name} | " + (f"{value:.2f} | {ratio(value, base)} |" if value
                                        else "failed | |"))
    print_calls(best)


def print_table(rounds, secs):
    """Returns whether all but peers could be measured."""
    best = Best()
    print_pipelined(best, secs, rounds)
    print_sequential(best, min(secs, 1))
    for line in best.failed:
        print("\n" + line)
    return best.has_all
