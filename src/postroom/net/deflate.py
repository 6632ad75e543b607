"""Deflated octets both ways (RFC 1951), as COMPRESS=DEFLATE lays them between TLS and the protocol (RFC 4978).

``Inflating`` stands before the codec that the stream fills and is a ``Receiver`` itself: it inflates only as far as the codec
lends room, and keeps the rest deflated. However little a peer sends that would become however much, what is held is a
buffer of this side's choice and the codec's own.
"""

from __future__ import annotations

import zlib
from typing import Protocol

from postroom.errors import RemoteProtocolError

_BUFFER = 16 * 1024  # octets of the deflated stream that are held

# "wbits" of -15: raw, with the window of 32 kB that a peer may use. What we write is short and wants no such window: 2**10
# and the least memLevel hold 5 kB where the defaults hold 256 kB (zlib.h: (1 << (wbits+2)) + (1 << (memLevel+9))).
_INFLATE_WBITS = -15
_DEFLATE_WBITS = -10
_DEFLATE_MEMORY = 1


class _Codec(Protocol):
    @property
    def full(self) -> bool: ...

    def get_buffer(self) -> memoryview: ...

    def received(self, count: int) -> None: ...


class Inflating:
    """Takes deflated octets and hands them on inflated, as far as there is room."""

    def __init__(self, codec: _Codec) -> None:
        self._codec = codec
        self._inflater = zlib.decompressobj(_INFLATE_WBITS)
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._waiting = b""  # deflated octets for which there was no room
        self._more = False  # the inflater may hold more, even of octets that it has taken
        self.broken: RemoteProtocolError | None = None

    @property
    def full(self) -> bool:
        """True while octets wait for room: none more should be received."""
        return bool(self._waiting) or self._more

    def get_buffer(self) -> memoryview:
        """Room for deflated octets."""
        return self._view

    def received(self, count: int) -> None:
        """So many octets were written to the buffer lent last. A broken stream shows in ``broken``."""
        self._waiting += bytes(self._view[:count])
        self.inflate()

    def feed(self, octets: bytes) -> None:
        """Take octets that are at hand."""
        self._waiting += octets
        self.inflate()

    def inflate(self) -> bool:
        """Hand on what there is room for; True when anything was."""
        handed = False
        while (self._waiting or self._more) and self.broken is None and not self._codec.full:
            room = self._codec.get_buffer()
            if not room:
                break
            try:
                octets = self._inflater.decompress(self._waiting, len(room))
            except zlib.error as error:
                self.broken = RemoteProtocolError(f"the compressed stream is corrupt: {error}")
                break
            if self._inflater.eof:  # the server may flush, but never end the stream (RFC 4978 section 3)
                self.broken = RemoteProtocolError("the compressed stream ended before the conversation")
            self._waiting = self._inflater.unconsumed_tail
            self._more = len(octets) == len(room)
            if octets:
                room[: len(octets)] = octets
                self._codec.received(len(octets))
                handed = True
        return handed


class Deflater:
    """Deflates what is sent; each write can be read at once."""

    def __init__(self) -> None:
        self._deflater = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, _DEFLATE_WBITS, _DEFLATE_MEMORY)

    def deflate(self, octets: bytes) -> bytes:
        """The octets with all that was not sent yet (RFC 4978 section 4: Z_SYNC_FLUSH)."""
        return self._deflater.compress(octets) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
