"""A proxy that delays what clients send, as a distance does: each request gets some milliseconds more of latency.

    python bench/delay.py --to 127.0.0.1:9000 [--delay 0.02]

It prints the port on which it listens, and serves until it is ended. Bytes are passed on as they are, so signatures and
the ``Host`` header hold. A new connection waits once more, for its handshake. How much passes a second is not limited.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator

_CHUNK = 1 << 16
_Pending = asyncio.Queue[tuple[float, bytes] | None]


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Pass bytes on, each ``delay`` seconds after it came; reading goes on meanwhile."""
    pending: _Pending = asyncio.Queue(256)
    clock = asyncio.get_running_loop().time

    async def send() -> None:
        while (chunk := await pending.get()) is not None:
            due, data = chunk
            await asyncio.sleep(max(0.0, due - clock()))
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    sending = asyncio.create_task(send())
    try:
        while data := await reader.read(_CHUNK):
            await pending.put((clock() + delay, data))
    finally:
        await pending.put(None)
        await sending


@contextlib.asynccontextmanager
async def delaying(host: str, port: int, delay: float) -> AsyncIterator[int]:
    """Serve a proxy in front of a server.

    Parameters
    ----------
    host, port
        Of the server behind it.
    delay : float
        Seconds by which each byte of a client is late. Answers are passed on at once.

    Yields
    ------
    int
        The port on 127.0.0.1 on which it listens.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await asyncio.sleep(delay)
            answers, requests = await asyncio.open_connection(host, port)
            await asyncio.gather(
                _pass_on(reader, requests, delay), _pass_on(answers, writer, 0.0), return_exceptions=True
            )
            requests.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _serve_for_ever(host: str, port: int, delay: float) -> None:
    async with delaying(host, port, delay) as listening:
        print(listening, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--delay", type=float, default=0.02)
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    asyncio.run(_serve_for_ever(host, int(port), options.delay))


if __name__ == "__main__":
    main()
