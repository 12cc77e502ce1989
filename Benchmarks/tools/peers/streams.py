#!/usr/bin/env python3
"""A peer: asyncio streams, on asyncio's own loop or uvloop.   streams.py asyncio|uvloop PORT MODE"""
import asyncio
import gc
import resource
import struct
import sys

LOOP, PORT, MODE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
CHUNK = bytes(range(256)) * 256


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def lines(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


async def frames(reader, writer):
    while True:
        header = await reader.readexactly(4)
        payload = await reader.readexactly(int.from_bytes(header, "big"))
        writer.write(header + payload)
        await writer.drain()


async def sink(reader, writer):
    total = 0
    while data := await reader.read(65536):
        total += len(data)
    writer.write(struct.pack(">Q", total))
    await writer.drain()


async def source(reader, writer):
    while True:
        writer.write(CHUNK)
        await writer.drain()


async def client(reader, writer):
    try:
        await globals()[MODE](reader, writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(client, "127.0.0.1", PORT, backlog=4096)
    await server.serve_forever()


resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
gc.freeze()
if LOOP == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
