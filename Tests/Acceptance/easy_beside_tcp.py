"""EasyNetwork 1.2.0 elsewhere than on TCP, for easy_network.py: JSON in datagrams, and descriptors
that pass over a Unix socket.

With the line "hi" the writing ends of three pipes leave; the peer writes into them, and answers
"hi" with the reading ends of three others, which it has written into. A line without descriptors
comes back as it is, and without any.
"""
import asyncio
import json
import os
import select

from kit import SECONDS, expect

PIPES = 3
ROW = 10  # datagrams on their way at once: every buffer holds them, so loopback loses none


async def running(server, body):
    """A server of EasyNetwork's while `body` runs, whose result is returned."""
    up = asyncio.Event()
    task = asyncio.create_task(server.serve_forever(is_up_event=up))
    await asyncio.wait_for(up.wait(), SECONDS)
    try:
        return await body()
    finally:
        await server.shutdown()
        await asyncio.wait([task], timeout=SECONDS)


# Datagrams

def values():
    """Any sort of JSON text, one of them as long as a datagram nearly can be."""
    return [{}, [], "\"\\\n/é漢🦜", {"none": None, "é": [{}, [], True], "": ""}, -2**63, -0.5, 1e300,
            None, False, "", {"y": "y" * 60_000}]


def text(value):
    """For comparing: Python takes True for 1, and 1 for 1.0, but their texts differ."""
    return json.dumps(value, sort_keys=True)


def datagram_protocol():
    from easynetwork.protocol import DatagramProtocol
    from easynetwork.serializers import JSONSerializer

    return DatagramProtocol(JSONSerializer())


async def ask_datagrams(port, rows):
    """EasyNetwork's client: returns how many packets came back."""
    from easynetwork.clients import AsyncUDPNetworkClient

    count = 0
    async with AsyncUDPNetworkClient(("127.0.0.1", port), datagram_protocol()) as client:
        for row in [[value] for value in values()] + [values()[:ROW]] * rows:
            for packet in row:
                await client.send_packet(packet)
            for packet in row:
                got = await asyncio.wait_for(client.recv_packet(), SECONDS)
                expect(text(packet), text(got), "EasyNetwork's UDP client got")
                count += 1
    return count


async def serve_datagrams(body):
    """EasyNetwork's server, which sends back what it gets, while `body` runs with its port."""
    from easynetwork.servers import AsyncUDPNetworkServer
    from easynetwork.servers.handlers import AsyncDatagramRequestHandler

    class Echo(AsyncDatagramRequestHandler):
        async def handle(self, client):
            packet = yield
            await client.send_packet(packet)

    async with AsyncUDPNetworkServer("127.0.0.1", 0, datagram_protocol(), Echo()) as server:
        return await running(server, lambda: body(server.get_addresses()[0].port))


# Descriptors

def words(index, way):
    """What goes through one of the pipes."""
    return f"{way} through pipe {index}\n".encode()


def say(way, descriptors):
    """Writes into each of the pipes and closes them."""
    for index, descriptor in enumerate(descriptors):
        os.write(descriptor, words(index, way))
        os.close(descriptor)


def hear(way, descriptors):
    """Reads each of the pipes to its end, which comes only when nobody has its other end open."""
    for index, descriptor in enumerate(descriptors):
        said = b""
        while True:
            if not select.select([descriptor], [], [], SECONDS)[0]:
                expect("its end", "nothing", f"pipe {index} of what was {way} got")
            piece = os.read(descriptor, 4096)
            if not piece:
                break
            said += piece
        os.close(descriptor)
        expect(words(index, way), said, f"EasyNetwork's side of pipe {index} got")


def beside(descriptors):
    from easynetwork.lowlevel.socket import SocketAncillary

    ancillary = SocketAncillary()
    ancillary.add_fds(descriptors)
    return ancillary


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def line_protocol():
    from easynetwork.protocol import StreamProtocol
    from easynetwork.serializers import StringLineSerializer

    return StreamProtocol(StringLineSerializer(encoding="utf-8"))


async def ask_descriptors(path, rounds):
    """EasyNetwork's client: returns how many packets came back."""
    from easynetwork.clients.async_unix_stream import AsyncUnixStreamClient

    async def receive(client):
        ancillary = beside([])
        line = await asyncio.wait_for(client.recv_packet(ancillary_data=ancillary), SECONDS)
        return line, list(ancillary.iter_fds())

    async with AsyncUnixStreamClient(path, line_protocol()) as client:
        before = open_descriptors()
        for _ in range(rounds):
            pipes = [os.pipe() for _ in range(PIPES)]
            await client.send_packet("hi", ancillary_data=beside([pipe[1] for pipe in pipes]))
            for pipe in pipes:
                os.close(pipe[1])
            line, descriptors = await receive(client)
            expect(("hi", PIPES), (line, len(descriptors)), "EasyNetwork's Unix client got")
            hear("asked", [pipe[0] for pipe in pipes])
            hear("answered", descriptors)
            await client.send_packet("plain")
            expect(("plain", []), await receive(client), "EasyNetwork's Unix client got")
        expect(before, open_descriptors(), "descriptors left open by EasyNetwork's client")
    return 2 * rounds


async def serve_descriptors(path, body):
    """EasyNetwork's server, which answers descriptors with others, while `body` runs."""
    from easynetwork.lowlevel.request_handler import RecvAncillaryDataParams, RecvParams
    from easynetwork.servers.async_unix_stream import AsyncUnixStreamServer
    from easynetwork.servers.handlers import AsyncStreamRequestHandler

    class Passing(AsyncStreamRequestHandler):
        async def handle(self, client):
            ancillary = beside([])
            line = yield RecvParams(
                timeout=SECONDS,
                recv_with_ancillary=RecvAncillaryDataParams(ancillary.update_from_raw))
            descriptors = list(ancillary.iter_fds())
            if not descriptors:
                await client.send_packet(line)
                return
            expect(("hi", PIPES), (line, len(descriptors)), "EasyNetwork's Unix server got")
            say("asked", descriptors)
            pipes = [os.pipe() for _ in range(PIPES)]
            say("answered", [pipe[1] for pipe in pipes])
            await client.send_packet_with_ancillary(
                "hi", beside([pipe[0] for pipe in pipes]).as_raw())
            for pipe in pipes:
                os.close(pipe[0])

    before = open_descriptors()
    async with AsyncUnixStreamServer(path, line_protocol(), Passing()) as server:
        answered = await running(server, body)
    expect(before, open_descriptors(), "descriptors left open by EasyNetwork's server")
    return answered
