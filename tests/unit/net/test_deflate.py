"""Deflated octets between a stream and a codec: all arrive, whatever the cuts, and no more is held than was decided here."""

from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.net.deflate import Deflater, Inflating


class Codec:
    """Takes what it has room for; ``take`` empties it."""

    def __init__(self, room: int = 64) -> None:
        self._buffer = bytearray(room)
        self._held = 0
        self.taken = b""

    @property
    def full(self) -> bool:
        return self._held == len(self._buffer)

    def get_buffer(self) -> memoryview:
        return memoryview(self._buffer)[self._held :]

    def received(self, count: int) -> None:
        self._held += count

    def take(self) -> None:
        self.taken += bytes(self._buffer[: self._held])
        self._held = 0


def deflated(octets: bytes, *, finish: bool = False) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(octets) + deflater.flush(zlib.Z_FINISH if finish else zlib.Z_SYNC_FLUSH)


def receive(inflating: Inflating, codec: Codec, octets: bytes, cuts: random.Random) -> None:
    """As a stream does: never more while it is full."""
    while octets:
        while inflating.full and inflating.broken is None:
            codec.take()
            inflating.inflate()
        if inflating.broken is not None:
            return
        room = inflating.get_buffer()
        count = min(len(room), len(octets), cuts.randrange(1, 50))
        room[:count] = octets[:count]
        inflating.received(count)
        octets = octets[count:]
    codec.take()
    while inflating.inflate():
        codec.take()


TEXTS = st.binary(max_size=300) | st.integers(0, 5000).map(lambda count: b"a" * count)


@given(st.lists(TEXTS, max_size=5), st.integers(1, 300), st.integers())
def test_what_is_sent_arrives(texts: list[bytes], room: int, seed: int) -> None:
    codec = Codec(room)
    inflating = Inflating(codec)
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    for text in texts:
        octets = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
        receive(inflating, codec, octets, random.Random(seed))
    assert codec.taken == b"".join(texts)
    assert not inflating.full
    assert inflating.broken is None


@given(st.lists(TEXTS, max_size=5))
def test_each_write_can_be_read_at_once(texts: list[bytes]) -> None:
    deflater, inflater = Deflater(), zlib.decompressobj(-15)
    for text in texts:
        assert inflater.decompress(deflater.deflate(text)) == text


@given(st.binary(min_size=1, max_size=200), st.integers())
def test_noise_is_refused_or_inflated(octets: bytes, seed: int) -> None:
    codec = Codec(50)
    receive(Inflating(codec), codec, octets, random.Random(seed))


def test_a_corrupt_stream_is_broken_and_stays_so() -> None:
    codec = Codec()
    inflating = Inflating(codec)
    inflating.feed(deflated(b"* OK fine\r\n"))
    inflating.feed(b"\xff\xff\xff\xff" + deflated(b"* OK never\r\n"))
    codec.take()
    assert codec.taken == b"* OK fine\r\n"
    assert "corrupt" in str(inflating.broken)
    inflating.feed(deflated(b"* OK never\r\n"))
    codec.take()
    assert codec.taken == b"* OK fine\r\n"


def test_a_stream_that_ends_is_broken() -> None:
    codec = Codec()
    inflating = Inflating(codec)
    inflating.feed(deflated(b"* BYE\r\n", finish=True))
    codec.take()
    assert codec.taken == b"* BYE\r\n"
    assert "ended before the conversation" in str(inflating.broken)


def test_a_bomb_waits_deflated() -> None:
    """Two hundred megabytes in two hundred kilobytes: what is held is the window, a buffer, and what came."""
    bomb = deflated(bytes(200 * 1024 * 1024))
    assert len(bomb) < 220_000
    codec = Codec(4096)
    tracemalloc.start()
    try:
        inflating = Inflating(codec)
        inflating.feed(bomb)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert inflating.full
    assert peak < 900_000  # twice the bomb itself and what zlib needs; tracemalloc counts both
    codec.take()
    assert inflating.inflate()
    assert codec.full
    assert held < 600_000


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128])
def test_octets_that_the_inflater_has_taken_already_are_not_forgotten(count: int) -> None:
    """All input is taken and the codec is full to the octet: more may be inside all the same."""
    codec = Codec(64)
    inflating = Inflating(codec)
    inflating.feed(deflated(b"x" * count))
    for _ in range(4):
        codec.take()
        inflating.inflate()
    codec.take()
    assert codec.taken == b"x" * count
    assert not inflating.full
