"""The proxy that delays what clients send."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def through_proxy(delay: float, use: Callable[[int], Awaitable[None]]) -> None:
    """Use a proxy in front of a server that says what it is told."""

    async def run() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with importlib.import_module("delay").delaying("127.0.0.1", port, delay) as listening:
                await use(listening)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_bytes_arrive_whole_and_in_order() -> None:
    sent = bytes(range(256)) * 8192  # more than both sides buffer

    async def use(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        received = asyncio.create_task(reader.read(-1))
        writer.write(sent)
        await writer.drain()
        writer.write_eof()
        assert await received == sent
        writer.close()

    through_proxy(0.005, use)


def test_each_request_waits_and_a_new_connection_once_more() -> None:
    async def use(port: int) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(3):
            writer.write(b"%d" % number)
            assert await reader.readexactly(1) == b"%d" % number
        assert clock() - began >= 4 * 0.05 - 0.01  # never less, whatever the machine does; asyncio's clock is coarse
        writer.close()

    through_proxy(0.05, use)


def test_a_connection_that_says_nothing_holds_up_no_other() -> None:
    async def use(port: int) -> None:
        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x")
            answer = await reader.readexactly(1)
            writer.close()
            return answer

        _, silent = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.gather(*(ask() for _ in range(20))) == [b"x"] * 20
        silent.close()

    through_proxy(0.02, use)


def test_a_server_that_is_not_there_ends_the_connection() -> None:
    async def run() -> None:
        async with importlib.import_module("delay").delaying("127.0.0.1", 1, 0.0) as listening:
            reader, writer = await asyncio.open_connection("127.0.0.1", listening)
            assert await reader.read() == b""
            writer.close()

    asyncio.run(asyncio.wait_for(run(), 60))
