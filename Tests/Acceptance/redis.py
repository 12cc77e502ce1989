#!/usr/bin/env python3
"""redis-benchmark -P 16 -t ping,set,get against a release build of MiniRedis, then redis-server.

20,000 requests a test; 500,000 with SLUICE_LONG=1; or as many as the first argument says. Each test
has to complete against MiniRedis, which afterwards ends at SIGTERM with 0. The rates stand beside
those of redis-server and judge nothing. SLUICE_BUILD names a folder to build in, else one is made
and removed. Needs Debian's redis-tools and redis-server.
"""
import os
import shlex
import signal
import subprocess
import sys

from fresh_package import is_free
from kit import IS_LONG, ROOT, SECONDS, Server, build_example, connect, eventually

sys.dont_write_bytecode = True
sys.path.append(os.path.join(ROOT, "Benchmarks", "tools"))
from redis_table import SERVERS, TESTS, benchmark  # noqa: E402


def rates(port, count, name):
    """Requests a second by test; ends the script unless all tests were completed."""
    try:
        return benchmark(port, count)
    except RuntimeError as error:
        sys.exit(f"{error}\nredis: with {name} it was not completed")


def is_listening(port):
    try:
        connect(port).close()
        return True
    except OSError:
        return False


def redis_server_rates(count):
    port = is_free(0)
    words = shlex.split(SERVERS["redis-server"].format(port=port))
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: is_listening(port), "redis-server listens")
        return rates(port, count, "redis-server")
    finally:
        process.kill()
        process.wait()


def main():
    count = 500_000 if IS_LONG else 20_000
    if len(sys.argv) > 1:
        count = int(sys.argv[1])
    with Server(build_example("MiniRedis"), "0") as server:
        ours = rates(server.port, count, "MiniRedis")
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(SECONDS)
        if status != 0:
            sys.exit(f"redis: MiniRedis ended with {status} at SIGTERM")
    theirs = redis_server_rates(count)
    print(f"redis: -P 16, {count:,} requests each, a second with MiniRedis (redis-server): "
          + ", ".join(f"{test} {ours[test]:,.0f} ({theirs[test]:,.0f})" for test in TESTS))


if __name__ == "__main__":
    main()
