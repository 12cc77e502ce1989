#!/usr/bin/env python3
"""Interop peer: a game's packets over pak 1.1.2's io.Connection, on a loopback TCP port.

usage: pak_peer.py server | pak_peer.py client PORT

The server prints "LISTENING <port>", serves one client, and both print "ok <n> packets" when every
value that came was the one that should come; else they end with a traceback and status 1.

The client logs in and watches for the welcome. It sends moves, a bag and a packet that the server
does not know; all come back changed by rules that both sides know. Meanwhile the server pings and
watches for the pong. On the client's farewell the server reports and closes.
"""
import asyncio
import enum
import sys

import pak

SECONDS = 30


class Rights(enum.Enum):
    GUEST = 0
    PLAYER = 1
    KEEPER = 200


class Marks(pak.BitField):
    is_heavy: 1
    kind: 3
    count: 4


class GamePacket(pak.Packet):
    class Header(pak.Packet.Header):
        size: pak.UInt16
        id: pak.UInt8


class Login(GamePacket):
    id = 0x01
    name: pak.PrefixedString(pak.UInt8)
    version: pak.UInt16


class Welcome(GamePacket):
    id = 0x02
    token: pak.ULEB128
    rights: pak.Enum(pak.UInt8, Rights)
    motto: pak.TerminatedString


class Move(GamePacket):
    id = 0x10
    x: pak.Int32
    y: pak.Int32.big_endian()
    speed: pak.Float32
    sneaks: pak.Bool


class Bag(GamePacket):
    id = 0x11
    counts: pak.UInt16[pak.UInt8]
    label: pak.StaticTerminatedString(8)
    marks: Marks.Type(pak.UInt8)
    weight: pak.Float64
    bonus: pak.Optional(pak.UInt8, pak.Bool)
    change: pak.LEB128
    n: pak.UInt8
    slots: pak.Int16["n"]
    rest: pak.RawByte[None]


class Ping(GamePacket):
    id = 0x20
    number: pak.UInt64


class Pong(GamePacket):
    id = 0x21
    number: pak.UInt64


class Bye(GamePacket):
    id = 0x30


class Report(GamePacket):
    id = 0x31
    packets: pak.UInt32
    sum: pak.Int64


UNKNOWN = GamePacket.GenericWithID(0x77)


class Connection(pak.io.Connection):
    """Three bytes of header, then as many as they say."""

    async def _read_next_packet(self):
        head = await self.read_data(3)
        if head is None:
            return None
        header = GamePacket.Header.unpack(head, ctx=self.ctx)
        body = await self.read_data(header.size)
        if body is None:
            return None
        kind = GamePacket.subclass_with_id(header.id, ctx=self.ctx)
        return (kind or GamePacket.GenericWithID(header.id)).unpack(body, ctx=self.ctx)

    async def write_packet_instance(self, packet):
        await self.write_data(packet.pack(ctx=self.ctx))

    async def watch(self, kind):
        """A task that watches already: what arrives from now on is not missed."""
        task = asyncio.create_task(self.watch_for_packet(kind))
        await asyncio.sleep(0)
        assert self.is_watching_for_packet(kind)
        return task


# What the client sends, and what the server makes of it

LOGIN = Login(name="Zo\u00eb", version=1_200)
WELCOME = Welcome(token=4 << 32 | 1_200, rights=Rights.KEEPER, motto="be kind, Zo\u00eb")
PING, PONG = 2**63 + 1, 2**63 + 4
REST = bytes(i * i % 251 for i in range(60_000))


def moves():
    return [Move(x=i * 1_000 - 25_000, y=-i, speed=i / 4, sneaks=i % 2 == 0) for i in range(50)]


def bags():
    return [
        Bag(),
        Bag(counts=[1, 2, 65_535], label="sack", marks=Marks(is_heavy=True, kind=5, count=9),
            weight=-2.5e300, bonus=7, change=-65, n=3, slots=[-32_768, 0, 32_767],
            rest=bytes(range(256))),
        Bag(counts=list(range(255)), label="1234567", marks=Marks(kind=7, count=15), weight=0.1,
            bonus=255, change=2**40, n=255, slots=list(range(255)), rest=REST),
    ]


def every():
    return [*moves(), *bags(), UNKNOWN(data=bytes(range(100)))]


def changed(packet):
    if isinstance(packet, Move):
        return Move(x=-packet.x, y=packet.y * 2, speed=packet.speed + 0.5, sneaks=not packet.sneaks)
    if isinstance(packet, Bag):
        marks = Marks(is_heavy=not packet.marks.is_heavy, kind=packet.marks.kind,
                      count=packet.marks.count)
        return Bag(counts=packet.counts[::-1], label=packet.label[::-1], marks=marks,
                   weight=-packet.weight, bonus=1 if packet.bonus is None else None,
                   change=-packet.change, n=packet.n, slots=packet.slots[::-1],
                   rest=packet.rest[::-1])
    return packet


def expect(wanted, got):
    assert wanted == got and type(wanted) is type(got), f"{str(got)[:200]} not {str(wanted)[:200]}"


# The two sides

async def serve(connection):
    """Returns how many packets came."""
    async with connection:
        pong, wanted, count, sum_of_x = None, iter(every()), 0, 0
        async for packet in connection.continuously_read_packets():
            count += 1
            if isinstance(packet, Login):
                expect(LOGIN, packet)
                await connection.write_packet_instance(WELCOME)
                pong = await connection.watch(Pong)
                await connection.write_packet(Ping, number=PING)
            elif isinstance(packet, Pong):
                pass  # the watch has it
            elif isinstance(packet, Bye):
                expect(Pong(number=PONG), await pong)
                await connection.write_packet(Report, packets=count, sum=sum_of_x)
                break
            else:
                expect(next(wanted), packet)
                sum_of_x += getattr(packet, "x", 0)
                await connection.write_packet_instance(changed(packet))
        expect(None, next(wanted, None))
    return count


async def ask(connection):
    """Returns how many packets came."""
    async with connection:
        welcome, report = await connection.watch(Welcome), await connection.watch(Report)
        came = asyncio.create_task(listen(connection))
        await connection.write_packet_instance(LOGIN)
        expect(WELCOME, await welcome)
        for packet in every():
            await connection.write_packet_instance(packet)
        count = await came
        expect(Report(packets=len(every()) + 3, sum=-25_000), await report)
    return count


async def listen(connection):
    """Reads to the end, and says Bye when everything has come."""
    count, wanted, is_ponged = 0, [changed(packet) for packet in every()], False
    async for packet in connection.continuously_read_packets():
        count += 1
        if isinstance(packet, Ping):
            expect(Ping(number=PING), packet)
            await connection.write_packet(Pong, number=packet.number + 3)
            is_ponged = True
        elif not isinstance(packet, (Welcome, Report)):
            expect(wanted.pop(0), packet)
            if not wanted:
                assert is_ponged, "no ping came"
                await connection.write_packet(Bye)
    return count


async def main():
    context = GamePacket.Context()
    if sys.argv[1] == "client":
        reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
        count = await ask(Connection(reader=reader, writer=writer, ctx=context))
    else:
        served = asyncio.get_running_loop().create_future()

        async def client(reader, writer):
            try:
                connection = Connection(reader=reader, writer=writer, ctx=context)
                served.set_result(await serve(connection))
            except BaseException as error:
                served.set_exception(error)

        server = await asyncio.start_server(client, "127.0.0.1", 0)
        print("LISTENING", server.sockets[0].getsockname()[1], flush=True)
        count = await served
        server.close()
    print(f"ok {count} packets", flush=True)


asyncio.run(asyncio.wait_for(main(), SECONDS))
