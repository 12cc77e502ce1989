"""redis-benchmark against MiniRedis and redis-server: the same client, one server after the other."""
import csv
import os
import shutil
import subprocess
import sys

from cells import PACKAGE, TOOLS
from measure import CORES, Server, alone_on, locked

ROOT = os.path.dirname(PACKAGE)
TESTS = ["PING_INLINE", "PING_MBULK", "SET", "GET"]
BUILD = os.path.join(TOOLS, "redis")
SERVERS = {
    "redis-server": "redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no",
    "MiniRedis": os.path.join(BUILD, "release", "MiniRedis") + " {port}",
}


def is_installed():
    return all(shutil.which(tool) for tool in ("redis-benchmark", "redis-server"))


def build(is_static):
    static = ["--static-swift-stdlib"] if is_static else []
    subprocess.run(["swift", "build", "-c", "release", "--package-path", ROOT, "--product",
                    "MiniRedis", "--scratch-path", BUILD, *static], check=True, stdout=sys.stderr)


def benchmark(port, count, prepare=None):
    """Runs the client to its end: requests a second by test. Raises RuntimeError if one failed."""
    run = subprocess.run(
        ["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-P", "16", "-t", "ping,set,get",
         "-n", str(count), "--csv"], capture_output=True, text=True, timeout=600,
        preexec_fn=prepare)
    rows = [row for row in csv.reader(run.stdout.splitlines()) if len(row) > 1]
    # Before Redis 7 the second one is called PING_BULK.
    rates = {row[0].replace("PING_BULK", "PING_MBULK"): float(row[1])
             for row in rows if row[0] != "test"}
    if run.returncode or list(rates) != TESTS or min(rates.values()) <= 0:
        raise RuntimeError(f"redis-benchmark: {run.returncode}\n{run.stdout}{run.stderr}"[-500:])
    return rates


def processor_seconds(pid):
    """User and system time of a process so far, proc(5)."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(command, count):
    """Requests a second by test, and the server's processor time a request in microseconds."""
    with locked(), Server(command, "") as server:
        before = processor_seconds(server.process.pid)
        rates = benchmark(server.port, count, alone_on(CORES[-1]))
        spent = processor_seconds(server.process.pid) - before
    return rates | {"us": spent / (count * len(TESTS)) * 1e6}


def print_table(rounds, count, servers=SERVERS):
    """The best round of each server in each column."""
    rows = {name: [] for name in servers}
    for number in range(rounds):
        for name, command in servers.items():
            rows[name].append(measure(command, count))
            print(f"[{number}] redis      {name:16} {rows[name][-1]}", file=sys.stderr, flush=True)
    print(f"\n### redis-benchmark -P 16 -t ping,set,get -n {count:,}: requests a second\n")
    print("| server | " + " | ".join(TESTS) + " | processor time, us/request |")
    print("| --- |" + " ---: |" * (len(TESTS) + 1))
    for name, figures in rows.items():
        best = [f"{max(row[test] for row in figures):,.0f}" for test in TESTS]
        spent = min(row["us"] for row in figures)
        print(f"| {name} | " + " | ".join(best) + f" | {spent:.2f} |")
