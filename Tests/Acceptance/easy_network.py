#!/usr/bin/env python3
"""EasyNetwork 1.2.0 as a peer, client and server, in every wire format that there is a codec for.

Its client sends packets to InteropPeer and compares what comes back: one by one, small and large,
and many in a row. InteropPeer then does the same to its server. Where its serializers can be made
to, it sends something wrong in between, which must not cost the packets behind it; and a bomb of
zlib's must not cost memory. Then both do the same with JSON in datagrams, and pass descriptors to
each other. Python 3.11 or later with a virtual environment for the package, which is made below the
build folder; the package comes by pip.
"""
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import zlib

import easy_beside_tcp as beside_tcp
from kit import (IS_LONG, SECONDS, Server, at_most, build_interop_peer, connect, expect,
                 python_with)

VERSION = "1.2.0"
SIGNING_KEY = bytes(range(32))
PEAK_KIB = 40 << 10


def environment():
    """Goes on with the Python of a virtual environment that has the package."""
    if os.environ.get("SLUICE_VENV"):
        return
    python = python_with("easynetwork", f"easynetwork=={VERSION}")
    # A child, so that a build folder that was made for this run is removed behind it.
    sys.exit(subprocess.run([python, *sys.argv], env=dict(os.environ, SLUICE_VENV="1")).returncode)


def modes():
    """For each mode of InteropPeer the same protocol, and packets to send."""
    import base64
    import typing

    from easynetwork import serializers
    from easynetwork.protocol import StreamProtocol
    from easynetwork.serializers import wrapper

    class Pair(typing.NamedTuple):
        first: int
        second: int

    thing = {"id": 1, "name": "a \" \\ \n é 漢", "values": [0.5, -3, 1e300]}
    large = dict(thing, name="n" * 40_000)
    things = [dict(thing, name="", values=[]), thing, dict(thing, part=[thing, dict(thing, id=2)]),
              dict(thing, id=-2**63), large]
    texts = ["hello", "two words", "x", "é 漢", "long " * 12_000]
    pairs = [Pair(0, 0), Pair(-2**31, 2**31 - 1), Pair(-1, 10)]
    text = serializers.StringLineSerializer(encoding="utf-8")
    json_lines = serializers.JSONSerializer()
    signed = base64.urlsafe_b64encode(SIGNING_KEY)
    coded = wrapper.Base64EncoderSerializer
    zipped = wrapper.ZlibCompressorSerializer
    found = {
        "lines-lf": (text, texts),
        "lines-crlf": (serializers.StringLineSerializer("CRLF", encoding="utf-8"), texts),
        "json-lines": (json_lines, things),
        "json": (serializers.JSONSerializer(use_lines=False), things),
        "struct": (serializers.NamedTupleStructSerializer(
            Pair, {"first": "i", "second": "i"}, format_endianness="!"), pairs),
        "base64": (coded(json_lines), things),
        "base64-sha256": (coded(json_lines, alphabet="standard", checksum=True), things),
        "base64-hmac": (coded(text, checksum=signed), [""] + texts[:-1]),
        "zlib": (zipped(json_lines), things),
        "zlib-text": (zipped(text), [""] + texts),
        "zlib-base64": (coded(zipped(json_lines)), things),
    }
    return {name: (lambda serializer=serializer: StreamProtocol(serializer), packets)
            for name, (serializer, packets) in found.items()}


async def ask(protocol, port, packets, rows):
    """EasyNetwork's client: returns how many packets came back."""
    from easynetwork.clients import AsyncTCPNetworkClient

    count = 0
    async with AsyncTCPNetworkClient(("127.0.0.1", port), protocol()) as client:
        async def expect_next(packet):
            nonlocal count
            expect(packet, await client.recv_packet(), "EasyNetwork's client got")
            count += 1

        for packet in packets:
            await client.send_packet(packet)
            await expect_next(packet)
        row = packets[:4] * rows + packets

        async def send():
            for packet in row:
                await client.send_packet(packet)
            await client.send_eof()

        sending = asyncio.create_task(send())
        for packet in row:
            await expect_next(packet)
        await sending
    return count


async def serve(protocol, body):
    """EasyNetwork's server, which sends back what it gets, while `body` runs with its port."""
    from easynetwork.servers import AsyncTCPNetworkServer
    from easynetwork.servers.handlers import AsyncStreamRequestHandler

    class Echo(AsyncStreamRequestHandler):
        async def handle(self, client):
            packet = yield
            await client.send_packet(packet)

    async with AsyncTCPNetworkServer("127.0.0.1", 0, protocol(), Echo()) as server:
        return await beside_tcp.running(server, lambda: body(server.get_addresses()[0].port))


async def asked_by(program, mode, place):
    """InteropPeer's client: returns how many packets came back."""
    process = await asyncio.create_subprocess_exec(
        program, "ask", mode, str(place), stdout=subprocess.PIPE)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    except asyncio.TimeoutError:
        process.kill()
        sys.exit(f"easynetwork: {mode}: InteropPeer did not end")
    if process.returncode:
        sys.exit(f"easynetwork: {mode}: InteropPeer ended with {process.returncode}")
    return int(output.split()[0])


# What is wrong in a format, and the answers to it and to the good packet behind: none, the same.
WRONG = {
    "lines-lf": (b"\xff\xfe\n", b"good\n"),
    "lines-crlf": (b"a\nb\xff\r\n" + b"z" * 70_000 + b"\r\n", b"good\r\n"),
    "json-lines": (b"{\n\n" + b"[" * 60_000 + b"\n" + b"9" * 5_000 + b"\n" + b"x" * 90_000 + b"\n",
                   b'{"id":1,"name":"","values":[]}\n'),
    "json": (b"]nul [[1,]] " + b"[" * 50_000 + b"]" * 50_000, b'{"id":1,"name":"","values":[]}'),
    "base64-sha256": (b"Zm9v\r\n!!!!\r\nZm9v\n" + b"A" * 64 + b"\r\n", None),
}


def check_wrong(program, mode):
    """Bytes that make no packet, by a plain socket, then a good packet."""
    wrong, good = WRONG[mode]
    if good is None:
        import hashlib
        import base64
        plain = b'{"id":1,"name":"","values":[]}'
        good = base64.standard_b64encode(plain + hashlib.sha256(plain).digest()) + b"\r\n"
    with Server(program, "serve", mode) as server, connect(server.port) as client:
        client.sendall(good + wrong + good)
        client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").read()
        expect([good, good], split(answer, good), f"{mode}, behind what is wrong,")


def split(answer, good):
    """An answer as packets: JSON may have its members in another order."""
    if not good.startswith(b"{"):
        return [answer[:len(good)], answer[len(good):]]
    decoder, packets, text = json.JSONDecoder(), [], answer.decode().strip()
    while text:
        packet, end = decoder.raw_decode(text)
        packets.append(good if packet == json.loads(good) else packet)
        text = text[end:].strip()
    return packets


def check_bomb(program):
    """A packet of 256 MiB in 256 KiB: refused, within the memory that the limit of 1 MiB asks."""
    bomb = zlib.compress(bytes(256 << 20), 9)
    with Server(program, "serve", "zlib-text") as server:
        with connect(server.port) as client:  # what it needs for a packet as large as allowed
            fair = zlib.compress(b"x" * (1 << 20))
            client.sendall(fair)
            while fair:
                fair = fair[len(client.recv(1 << 16)):]
        server.begin_peak()
        before = server.peak_kib()
        for _ in range(10):
            with connect(server.port) as client:
                try:
                    client.sendall(bomb)
                    expect(b"", client.recv(1), "a bomb was answered by")
                except ConnectionError:
                    pass  # closed with the rest of it unread
        grown = server.peak_kib() - before
    at_most(PEAK_KIB, grown, "easynetwork: KiB for 10 bombs of 256 MiB each")
    return grown


def check_wrong_datagrams(port):
    """Datagrams that make no packet, before and behind good ones: they alone are not answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        client.connect(("127.0.0.1", port))
        for datagram in (b"]", b"[1]", b"{", b"\xff\xfe", b"", b"[2]"):
            client.send(datagram)
        expect([b"[1]", b"[2]"], [client.recv(100), client.recv(100)], "udp-json got")


def check_beside_tcp(program, rows):
    """JSON in datagrams and descriptors over a Unix socket, each with EasyNetwork as client and as
    server. Returns for both how many packets came back to it, and to InteropPeer."""
    def run(coroutine):
        return asyncio.run(asyncio.wait_for(coroutine, SECONDS))

    with Server(program, "serve", "udp-json") as server:
        asked = run(beside_tcp.ask_datagrams(server.port, rows))
        check_wrong_datagrams(server.port)
    answered = run(beside_tcp.serve_datagrams(
        lambda port: asked_by(program, "udp-json", port)))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ours")
        with Server(program, "serve", "unix-descriptors", path, listening=0) as server:
            expect(f"listening on {path}\n", server.process.stdout.readline(), "InteropPeer")
            run(beside_tcp.ask_descriptors(path, 1))
            before = server.idle_descriptors()
            passed = run(beside_tcp.ask_descriptors(path, rows))
            expect(before, server.idle_descriptors(), "descriptors left open by InteropPeer")
        path = os.path.join(folder, "theirs")
        taken = run(beside_tcp.serve_descriptors(
            path, lambda: asked_by(program, "unix-descriptors", path)))
    return (asked, answered), (passed, taken)


def main():
    environment()
    program = build_interop_peer()
    rows = 1_000 if IS_LONG else 100
    every = modes()
    asked = answered = 0
    for mode, (protocol, packets) in every.items():
        with Server(program, "serve", mode) as server:
            asked += asyncio.run(
                asyncio.wait_for(ask(protocol, server.port, packets, rows), SECONDS))
        answered += asyncio.run(asyncio.wait_for(
            serve(protocol, lambda port: asked_by(program, mode, port)), SECONDS))
    datagrams, passages = check_beside_tcp(program, rows)
    for mode in WRONG:
        check_wrong(program, mode)
    grown = check_bomb(program)
    print(f"easynetwork: {VERSION}, {len(every)} formats: its clients got {asked:,} packets back, "
          f"ours {answered:,} from its servers; in UDP JSON {datagrams[0]:,} and {datagrams[1]:,}, "
          f"with Unix descriptors {passages[0]:,} and {passages[1]:,}; "
          f"{len(WRONG)} formats go on behind what is wrong; "
          f"10 bombs of 256 MiB took {grown:,} KiB")


if __name__ == "__main__":
    main()
