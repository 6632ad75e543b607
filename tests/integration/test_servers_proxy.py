"""What the proxy does to time: nothing is lost or overtaken, and it is told apart from a whole connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from servers.proxy import Counters, Cut, FaultProxy, Trickle

OCTETS = bytes(range(256)) * 40


class Echo:
    """Says back what it hears, and counts its connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def echoing() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    try:
        yield echo
    finally:
        server.close()


async def said_back(proxy: FaultProxy, octets: bytes) -> tuple[bytes, list[bytes]]:
    """What comes back until the end, and as which chunks."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(octets)
    writer.write_eof()
    chunks = []
    while chunk := await reader.read(65536):
        chunks.append(chunk)
    writer.close()
    return b"".join(chunks), chunks


async def test_half_open_the_target_is_not_asked_and_the_client_hears_nothing() -> None:
    async with echoing() as echo, FaultProxy("127.0.0.1", echo.port) as proxy:
        proxy.half_open = True
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(OCTETS)
        await writer.drain()
        proxy.half_open = False
        whole, _ = await said_back(proxy, OCTETS)  # another connection comes and goes meanwhile
        assert whole == OCTETS
        assert (echo.connections, proxy.connections) == (1, 2)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_a_trickle_comes_in_drops_and_whole() -> None:
    async with echoing() as echo, FaultProxy("127.0.0.1", echo.port, trickle=Trickle(7, 0.002)) as proxy:
        whole, chunks = await said_back(proxy, OCTETS[:200])
        assert whole == OCTETS[:200]
        assert len(chunks) > 5  # some drops may meet on the way
        assert proxy.total == Counters(200, 200, 1)


async def test_a_trickle_can_be_cut() -> None:
    async with echoing() as echo, FaultProxy("127.0.0.1", echo.port, trickle=Trickle(7, 0.0)) as proxy:
        proxy.cut_next(Cut("to_client", after=50))
        whole, _ = await said_back(proxy, OCTETS)
        assert whole == OCTETS[:50]


async def test_drops_to_the_server() -> None:
    trickle = Trickle(100, 0.0, "to_server")
    async with echoing() as echo, FaultProxy("127.0.0.1", echo.port, trickle=trickle) as proxy:
        assert (await said_back(proxy, OCTETS))[0] == OCTETS


@pytest.mark.parametrize("seed", range(3))
async def test_jitter_loses_nothing_and_keeps_the_order(seed: int) -> None:
    async with echoing() as echo, FaultProxy("127.0.0.1", echo.port, jitter=0.02, seed=seed) as proxy:
        conversations = await asyncio.gather(*(said_back(proxy, OCTETS[number:]) for number in range(5)))
        assert [whole for whole, _ in conversations] == [OCTETS[number:] for number in range(5)]
        assert max(len(chunks) for _, chunks in conversations) > 1
        assert proxy.total.to_server == proxy.total.to_client == sum(len(OCTETS) - number for number in range(5))


def test_the_lot_repeats_with_its_seed() -> None:
    def draw(seed: int) -> list[bytes]:
        return FaultProxy("127.0.0.1", 1, jitter=1.0, seed=seed)._parts(OCTETS)

    assert draw(1) == draw(1) != draw(2)
    assert b"".join(draw(1)) == OCTETS


async def test_connections_are_reordered_by_lot() -> None:
    """Of many that ask at once, some that asked later are answered earlier."""
    async with echoing() as echo, FaultProxy("127.0.0.1", echo.port, jitter=0.1, seed=1) as proxy:
        ended: list[int] = []

        async def ask(number: int) -> None:
            await said_back(proxy, OCTETS)
            ended.append(number)

        await asyncio.gather(*(ask(number) for number in range(10)))
        assert ended != sorted(ended)
