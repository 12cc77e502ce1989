"""UDP echo: the processor time of a packet, beside a bare loop of recvmmsg and sendmmsg."""
import os
import socket
import subprocess
import sys
import time

from cells import OURS, TOOLS
from measure import CORES, Server, alone_on, locked, result

# The bare loop comes twice: how far it differs from itself is today's noise.
SERVERS = {
    "limit": TOOLS + "/limit_udp {port}",
    "limit-again": TOOLS + "/limit_udp {port}",
    "sluice": OURS + " {port} udp-echo",
    "sluice-server": OURS + " {port} udp-server",
}
LOADS = {
    "1 socket, 1 in flight, 64 B": "-c 1 -q 1 -m 64",
    "50 sockets, 1 in flight, 64 B": "-c 50 -q 1 -m 64",
    "50 sockets, 4 in flight, 64 B": "-c 50 -q 4 -m 64",
    "50 sockets, 1 in flight, 1,000 B": "-c 50 -q 1 -m 1000",
}


class DatagramServer(Server):
    """A running server that answers datagrams; use with `with`."""

    def __enter__(self):
        end = time.monotonic() + 15
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.05)
            probe.connect(("127.0.0.1", self.port))
            while time.monotonic() < end and self.process.poll() is None:
                try:
                    probe.send(b"anybody?")
                    probe.recv(100)
                    return self
                except OSError:
                    time.sleep(0.02)
        self.__exit__()
        raise RuntimeError("the server did not start")


def measure(command, load, secs):
    with locked():
        try:
            with DatagramServer(command, "") as server:
                return result(subprocess.run(
                    [os.path.join(TOOLS, "load_udp"), "-p", str(server.port), "-P",
                     str(server.process.pid), "-d", str(secs), *load.split()],
                    capture_output=True, text=True, timeout=90, preexec_fn=alone_on(CORES[-1])))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return {"error": str(error)[-200:]}


def print_table(rounds, secs):
    """One row a load: the best round of each server. Returns whether all could be measured."""
    best, failed = {}, []
    for number in range(rounds):
        for load, words in LOADS.items():
            for name, command in SERVERS.items():
                row = measure(command, words, secs)
                if "error" in row:
                    failed.append(f"{name}, {load}: {row['error']}")
                    continue
                figure = row["server_cpu_us_per_packet"]
                best[load, name] = min(best.get((load, name), figure), figure)
                print(f"[{number}] udp {load:34} {name:14} {row}", file=sys.stderr, flush=True)
    others = [name for name in SERVERS if name != "limit"]
    print("\n### UDP echo: processor time of a packet, best round: limit itself, the others x limit\n")
    print("| load | limit | " + " | ".join(others) + " |")
    print("| --- | ---: |" + " ---: |" * len(others))
    for load in LOADS:
        base = best.get((load, "limit"))
        line = [f"{best[load, name] / base:.2f}" if base and (load, name) in best else "failed"
                for name in others]
        print(f"| {load} | {f'{base:.2f} us' if base else 'failed'} | " + " | ".join(line) + " |")
    for line in failed:
        print("\n" + line)
    return not failed
