"""COMPRESS=DEFLATE (RFC 4978) at servers that go by it, and at servers that do not."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from fakes import HandClock, kit, place
from postroom.drivers.imap_session import ImapSession
from postroom.errors import LimitExceeded, Lost, RemoteProtocolError, TimedOut
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret

HELLO = b"* PREAUTH [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] hello\r\n"


class Far:
    """The server's end, once octets are deflated."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.inflater = zlib.decompressobj(-15)
        self.deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.heard = b""

    def say(self, octets: bytes) -> bytes:
        """Octets as they cross the network."""
        return self.deflater.compress(octets) + self.deflater.flush(zlib.Z_SYNC_FLUSH)

    async def hear(self) -> bytes:
        """The client's next line."""
        while b"\n" not in self.heard:
            octets = await self._reader.read(4096)
            if not octets:
                return b""
            self.heard += self.inflater.decompress(octets)
        line, _, self.heard = self.heard.partition(b"\n")
        return line + b"\n"


Play = Callable[[Far, bytes], Awaitable[None]]


@asynccontextmanager
async def session(
    play: object, *, timeout: float = 5.0, compress: bool = True, answer: bytes = b"OK"
) -> AsyncIterator[ImapSession]:
    """A session of a server that agrees with ``answer``, and then plays; without a play nothing is wanted of it."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(HELLO)
            if play is not None:
                assert await reader.readline() == b"P1 COMPRESS DEFLATE\r\n"
                await play(Far(reader, writer), b"P1 " + answer + b" go on\r\n")
            else:
                assert await reader.readline() == b"P1 NOOP\r\n"
                writer.write(b"P1 OK done\r\n")
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        clock = HandClock()
        credentials = PasswordCredentials("user", Secret("pw"), (), "", "pop-client-a")
        there = replace(place(server.sockets[0].getsockname()[1], timeout=timeout), compress=play is not None)
        opened = await ImapSession.open(there, credentials, kit(clock).dialer, clock, None)
        yield opened
        opened.stream.abort()


async def test_it_is_not_asked_for_unless_wanted() -> None:
    async with session(None) as opened:
        await opened.command(b"NOOP")
        assert not opened.stream.deflates


@pytest.mark.parametrize("answer", [b"NO [COMPRESSIONACTIVE]", b"BAD"])
async def test_a_refusal_leaves_all_in_clear(answer: bytes) -> None:
    async def play(far: Far, agreed: bytes) -> None:
        far.writer.write(agreed)

    async with session(play, answer=answer) as opened:
        assert not opened.stream.deflates


async def test_what_comes_with_the_word_for_it_is_deflated_already() -> None:
    """One packet: the tagged OK in clear, and news behind it deflated (RFC 4978 section 3)."""

    async def play(far: Far, agreed: bytes) -> None:
        far.writer.write(agreed + far.say(b"* OK [ALERT] news\r\n"))
        assert await far.hear() == b"P2 NOOP\r\n"
        far.writer.write(far.say(b"P2 OK done\r\n"))

    async with session(play) as opened:
        [told] = await opened.command(b"NOOP")
        assert getattr(told, "text", "") == "news"


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
async def test_octets_in_any_pieces(cut: int) -> None:
    async def play(far: Far, agreed: bytes) -> None:
        far.writer.write(agreed)
        await far.writer.drain()
        assert await far.hear() == b"P2 NOOP\r\n"
        octets = far.say(b"* 5 EXISTS\r\n" * 20 + b"P2 OK done\r\n")
        for start in range(0, len(octets), cut):
            far.writer.write(octets[start : start + cut])
            await far.writer.drain()

    async with session(play) as opened:
        assert len(await opened.command(b"NOOP")) == 20


@pytest.mark.parametrize(
    ("octets", "error", "words"),
    [
        (b"\xff\xff\xff\xff", RemoteProtocolError, "corrupt"),
        (b"* BYE in clear\r\n", RemoteProtocolError, "corrupt"),
        (zlib.compress(b"* 5 EXISTS\r\nP2 OK done\r\n"), RemoteProtocolError, "corrupt"),  # with zlib's own head (RFC 1950)
        (b"", Lost, "closed"),
    ],
)
async def test_a_stream_that_is_none(octets: bytes, error: type[Exception], words: str) -> None:
    async def play(far: Far, agreed: bytes) -> None:
        far.writer.write(agreed)
        await far.hear()
        far.writer.write(octets)
        far.writer.close()

    async with session(play) as opened:
        with pytest.raises(error, match=words):
            await opened.command(b"NOOP")


async def test_a_farewell_is_heard_before_the_end() -> None:
    async def play(far: Far, agreed: bytes) -> None:
        far.writer.write(agreed + far.say(b"* BYE going down\r\n"))
        far.writer.close()

    async with session(play) as opened:
        with pytest.raises(Lost, match="going down"):
            await opened.command(b"NOOP")


async def test_a_server_that_falls_silent_in_the_middle() -> None:
    async def play(far: Far, agreed: bytes) -> None:
        far.writer.write(agreed + far.say(b"* OK half of a pie")[:-6])

    async with session(play, timeout=0.1) as opened:
        with pytest.raises(TimedOut):
            await opened.command(b"NOOP")


@pytest.mark.parametrize("lines", [False, True])
async def test_a_bomb_is_refused_or_read_over_in_bounded_memory(lines: bool) -> None:
    """A hundred megabytes deflated to a hundred kilobytes: as a line that never ends, and as a literal that nobody wants."""
    size = 100 * 1024 * 1024

    async def play(far: Far, agreed: bytes) -> None:
        begin = b"* OK " if lines else b"* 1 FETCH (BODY[] {%d}\r\n" % size
        end = b"" if lines else b")\r\nP2 OK done\r\n"
        far.writer.write(agreed + far.say(begin + b"a" * size + end))

    async with session(play, timeout=20) as opened:
        if lines:
            with pytest.raises(LimitExceeded):
                await opened.command(b"NOOP")
        else:
            await opened.command(b"NOOP")
        assert len(opened.fragments._buffer) <= 300_000
