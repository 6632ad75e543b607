"""A connection that somebody made to us, read line by line; with TLS from the start or from the middle on."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, cast

from postroom.errors import LimitExceeded, Lost, TimedOut, TlsError
from postroom.net.flow import Flow

_MOST = 256 * 1024  # octets that wait to be taken; more are not read


class Accepted(Flow, asyncio.Protocol):
    """One connection. ``talk`` begins as a task when it is made, reads it alone, and ends with it closed."""

    def __init__(self, talk: Callable[[Accepted], Coroutine[Any, Any, None]]) -> None:
        super().__init__()
        self._talk = talk
        self._buffer = bytearray()
        self._reading = True
        self._gone = ""  # how it ended
        self.task: asyncio.Task[None] | None = None

    @property
    def peer(self) -> str:
        """The address at the other end; empty where it is gone."""
        name = None if self._transport is None else self._transport.get_extra_info("peername")
        return str(name[0]) if name else ""

    @property
    def waits(self) -> bool:
        """Whether the task waits for octets, and nothing is under way."""
        return self._waiter is not None

    @property
    def empty(self) -> bool:
        """Whether all that came was read."""
        return not self._buffer

    @property
    def has_line(self) -> bool:
        """Whether a whole line waits to be read."""
        return b"\n" in self._buffer

    async def line(self, longest: int, timeout: float) -> bytes:
        """The next line without the LF that ends it. Raises ``LimitExceeded``, ``Lost``, ``TimedOut``."""
        scanned = 0
        while (end := self._buffer.find(b"\n", scanned, longest)) < 0:
            scanned = len(self._buffer)
            if scanned >= longest:
                raise LimitExceeded(f"a line of more than {longest} octets")
            await self._more(timeout)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def some(self, timeout: float) -> bytes:
        """The octets that came, one at least. Raises ``Lost``, ``TimedOut``."""
        if not self._buffer:
            await self._more(timeout)
        octets = bytes(self._buffer)
        self._buffer.clear()
        return octets

    def give_back(self, octets: bytes) -> None:
        """Have them read again, before all that came since."""
        self._buffer[:0] = octets

    async def write(self, octets: bytes, timeout: float) -> None:
        """Send; return when the peer keeps up. Raises ``Lost``, ``TimedOut``."""
        if self._transport is None or self._gone:
            raise Lost(self._gone or "closed")
        self._transport.write(octets)
        try:
            await self._taken(timeout)
        except TimeoutError:
            raise TimedOut(f"nothing is taken for {timeout:g} s") from None

    async def start_tls(self, context: ssl.SSLContext, timeout: float) -> None:
        """Go on under TLS. Raises ``TlsError``; also where octets in clear came behind the request for it.

        They were not protected, and would be read as if they were (RFC 3207 section 4.2).
        """
        assert self._transport is not None
        if self._buffer:
            raise TlsError("octets in clear behind STARTTLS")
        loop = asyncio.get_running_loop()
        try:
            # Until its first wait this runs with nothing in between: no octet in clear can come after the look above.
            transport = await loop.start_tls(self._transport, self, context, server_side=True, ssl_handshake_timeout=timeout)
        except (OSError, TimeoutError) as error:
            raise TlsError(str(error)) from error
        if transport is None:
            raise TlsError("closed during the handshake")
        self._transport = transport

    def close(self) -> None:
        """End it once what was written has left."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _more(self, timeout: float) -> None:
        if self._gone:
            raise Lost(self._gone)
        if not self._reading and len(self._buffer) < _MOST and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()
        try:
            await self._woken(timeout)
        except TimeoutError:
            raise TimedOut(f"nothing came for {timeout:g} s") from None

    # --- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.task = asyncio.get_running_loop().create_task(self._talk(self))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= _MOST and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._gone = self._gone or "the client closed the connection"
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = self._gone or str(exc or "the connection was closed")
        self._wake()
        self.resume_writing()
