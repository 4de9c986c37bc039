"""A store that is far away: a TCP proxy, a process of its own, that answers late and gives each connection so much and no more.

    python benchmarks/farproxy.py HOST:PORT [--latency SECONDS] [--rate BYTES]

Prints the port it listens on, and ends with its standard input. ``--latency``: before the first bytes that a client sends after an
answer (a request waits once, however long it is); ``--rate``: bytes per second of each connection, each way.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress

CHUNK = 64 << 10


class Far:
    def __init__(self, host: str, port: int, latency: float, rate: float) -> None:
        self.host, self.port, self.latency, self.rate = host, port, latency, rate

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        answered = asyncio.Event()
        answered.set()
        try:
            server, there = await asyncio.open_connection(self.host, self.port)
            with suppress(ConnectionError):
                await asyncio.gather(self._up(client, there, answered), self._down(server, back, answered))
            there.close()
        except OSError:
            pass
        back.close()

    async def _up(self, client: asyncio.StreamReader, there: asyncio.StreamWriter, answered: asyncio.Event) -> None:
        while data := await client.read(CHUNK):
            if answered.is_set():
                answered.clear()
                await asyncio.sleep(self.latency)
            there.write(data)
            await there.drain()
            await self._pace(len(data))
        there.close()

    async def _down(self, server: asyncio.StreamReader, back: asyncio.StreamWriter, answered: asyncio.Event) -> None:
        while data := await server.read(CHUNK):
            answered.set()
            back.write(data)
            await back.drain()
            await self._pace(len(data))
        back.close()

    async def _pace(self, n: int) -> None:
        if self.rate:
            await asyncio.sleep(n / self.rate)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target")
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    host, _, port = options.target.rpartition(":")
    far = Far(host, int(port), options.latency, options.rate)
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
