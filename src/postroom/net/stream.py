"""One TCP conversation, with TLS from the start or by STARTTLS, and a deadline on every wait.

The stream writes what it receives straight into the buffer that a codec lends (``Receiver``) and stops reading when that is
full, so that a fast server never fills our memory. Nothing is parsed here, and nothing in the background: the one who reads
asks for ``more``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, cast

from postroom.errors import ConnectError, Lost, NetworkError, TimedOut, TlsError
from postroom.net.deflate import Deflater, Inflating
from postroom.net.flow import Flow
from postroom.net.proxied import open_through
from postroom.settings import ProxySettings

_ENDED = "the conversation was ended here"


class Receiver(Protocol):
    """Lends room for octets (``wire.imap.fragments.Fragments`` is one)."""

    @property
    def full(self) -> bool: ...

    def get_buffer(self) -> memoryview: ...

    def received(self, count: int) -> None: ...


@dataclass
class Dialer:
    """Makes connections; keeps one TLS context for each file of authorities, read again when the file changes.

    ``count`` is told of the octets that its connections receive.
    """

    _contexts: dict[tuple[Path | None, int], ssl.SSLContext] = field(default_factory=dict)
    count: Callable[[int], None] | None = None

    def counting(self, count: Callable[[int], None]) -> Dialer:
        """The same, with ``count`` told of what is received."""
        return replace(self, count=count)

    async def connect(
        self,
        host: str,
        port: int,
        receiver: Receiver,
        *,
        tls: bool,
        ca_file: Path | None,
        timeout: float,
        via: ProxySettings | None = None,
    ) -> Stream:
        """Connect, through a proxy where one is named, with TLS at once where asked for.

        Raises ``ConnectError``, ``TlsError``, ``ProxyError``, ``TimedOut``.
        """
        context = self.context(ca_file) if tls else None
        loop = asyncio.get_running_loop()
        place = placed(host, port, via)
        stream = Stream(receiver, place, host, self.count)
        name = host if tls else None
        try:
            async with asyncio.timeout(timeout):
                if via is None:
                    await loop.create_connection(lambda: stream, host, port, ssl=context, server_hostname=name)
                else:
                    sock = await open_through(via, host, port)
                    await loop.create_connection(lambda: stream, sock=sock, ssl=context, server_hostname=name)
        except (OSError, TimeoutError) as error:
            stream.abort()
            raise translated(error, place, timeout) from error
        return stream

    async def resolve(self, host: str, port: int, timeout: float) -> list[str]:
        """The addresses of a host, for a person who asks. Raises ``ConnectError``, ``TimedOut``."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError) as error:
            raise translated(error, host, timeout) from error
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    async def reach(self, host: str, port: int, timeout: float, via: ProxySettings | None = None) -> None:
        """Connect and let go again, for a person who asks. Raises ``ConnectError``, ``ProxyError``, ``TimedOut``."""
        try:
            async with asyncio.timeout(timeout):
                if via is not None:
                    (await open_through(via, host, port)).close()
                    return
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            raise translated(error, placed(host, port, via), timeout) from error
        writer.close()

    def context(self, ca_file: Path | None) -> ssl.SSLContext:
        """Checks names and dates always; trusts the system's authorities and those of ``ca_file``. Raises ``TlsError``."""
        try:
            stamp = 0 if ca_file is None else ca_file.stat().st_mtime_ns
            context = self._contexts.get((ca_file, stamp))
            if context is None:
                context = ssl.create_default_context()
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                if ca_file is not None:
                    context.load_verify_locations(cafile=str(ca_file))
                self._contexts[ca_file, stamp] = context
        except (OSError, ssl.SSLError) as error:
            raise TlsError(f"tls-ca-file {ca_file}: {error}", remedy="Name a file with certificates in PEM form.") from error
        return context


def placed(host: str, port: int, via: ProxySettings | None) -> str:
    """How errors name a server, and the proxy that leads there."""
    return f"{host}:{port}" if via is None else f"{host}:{port} (through the {via.place})"


def translated(error: BaseException, place: str, timeout: float = 0) -> NetworkError:
    """The network's error in our own words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsError(f"{place}: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return TlsError(
            f"{place}: {error.reason or error}",
            remedy="Check port and pop-connection-security: ssl-tls speaks TLS at once (993), start-tls begins in clear (143); "
            "by POP3 995 and 110; of an smtp-client smtp-connection-security, 465 and 587.",
        )
    if isinstance(error, TimeoutError):
        return TimedOut(f"{place} within {round(timeout, 2):g} s")
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno:
        words = os.strerror(error.errno)
    return ConnectError(f"{place}: {words}")


class Stream(Flow, asyncio.BufferedProtocol):
    """A conversation. One task reads it. Octets are counted both ways as they cross the network, TLS not included."""

    def __init__(self, receiver: Receiver, place: str, host: str, count: Callable[[int], None] | None = None) -> None:
        super().__init__()
        self._receiver = receiver
        self._count = count
        self._place = place
        self._host = host
        self._fresh = False  # octets came that no one was told of
        self._paused = False
        self._gone: str | None = None  # how the conversation ended
        self._inflating: Inflating | None = None
        self._deflater: Deflater | None = None
        self.octets_in = 0
        self.octets_out = 0

    # --- what the reader calls

    async def more(self, timeout: float) -> None:
        """Return when octets came. Raises ``Lost`` when the conversation is over, ``TimedOut``, ``RemoteProtocolError`` for
        a compressed stream that is broken; all end it."""
        if not await self.more_within(timeout):
            self.abort()
            raise TimedOut(f"{self._place} within {round(timeout, 2):g} s")

    async def more_within(self, seconds: float) -> bool:
        """True when octets came, False after so long a silence. Raises ``Lost``, ``RemoteProtocolError``."""
        if self._inflating is not None and self._inflating.inflate():
            self._fresh = True
        if self._fresh:
            self._fresh = False
            return True
        self._check_inflating()
        if self._gone is not None:
            raise Lost(f"{self._place}: {self._gone}")
        if self._paused and not self._receiver.full and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        try:
            await self._woken(seconds)
        except TimeoutError:
            return False
        if not self._fresh:
            self._check_inflating()
        if not self._fresh and self._gone is not None:
            raise Lost(f"{self._place}: {self._gone}")
        self._fresh = False
        return True

    def _check_inflating(self) -> None:
        if self._inflating is not None and self._inflating.broken is not None:
            self.abort()
            raise self._inflating.broken

    async def write(self, octets: bytes, timeout: float) -> None:
        """Send; return when the peer keeps up. Raises ``Lost``, ``TimedOut``."""
        if self._transport is None or self._gone is not None:
            raise Lost(f"{self._place}: {self._gone or 'closed'}")
        if self._deflater is not None:
            octets = self._deflater.deflate(octets)
        self.octets_out += len(octets)
        self._transport.write(octets)
        try:
            await self._taken(timeout)
        except TimeoutError:
            self.abort()
            raise TimedOut(f"{self._place} takes nothing for {timeout:g} s") from None

    async def start_tls(self, dialer: Dialer, ca_file: Path | None, timeout: float) -> None:
        """Go on under TLS. The caller has seen to it that nothing in clear is left. Raises ``TlsError``, ``TimedOut``."""
        if self._transport is None:
            raise Lost(f"{self._place}: {self._gone or 'closed'}")
        context = dialer.context(ca_file)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                transport = await loop.start_tls(self._transport, self, context, server_hostname=self._host)
        except (OSError, TimeoutError) as error:
            self.abort()
            raise translated(error, self._place, timeout) from error
        if transport is None:
            raise Lost(f"{self._place}: closed during STARTTLS")
        self._transport = transport

    def start_deflate(self, received: bytes) -> None:
        """Go on deflated, both ways. ``received`` came behind the server's word for it, and is deflated already."""
        self._inflating = Inflating(self._receiver)
        self._deflater = Deflater()
        self._receiver = self._inflating
        self._inflating.feed(received)
        self._fresh = False

    @property
    def deflates(self) -> bool:
        """True once octets are deflated, both ways."""
        return self._deflater is not None

    @property
    def protection(self) -> str:
        """The TLS version and cipher of the conversation; empty where it is in clear."""
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        return f"{tls.version()} {tls.cipher()[0]}" if tls is not None else ""

    @property
    def open(self) -> bool:
        """False once the conversation ended."""
        return self._transport is not None and self._gone is None

    @property
    def own_address(self) -> str:
        """The address of our end; empty where it has none."""
        name = self._transport.get_extra_info("sockname") if self._transport is not None else None
        return str(name[0]) if isinstance(name, tuple) else ""

    def abort(self) -> None:
        """End the conversation at once."""
        if self._transport is not None:
            self._gone = self._gone or _ENDED
            self._transport.abort()

    def close(self) -> None:
        """End the conversation once what was written has left."""
        if self._transport is not None:
            self._gone = self._gone or _ENDED
            self._transport.close()

    # --- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._receiver.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._receiver.received(nbytes)
        self.octets_in += nbytes
        if self._count is not None:
            self._count(nbytes)
        self._fresh = True
        if self._receiver.full and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._gone = self._gone or "the server closed the connection"
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        words = str(exc) if exc is not None else "the server closed the connection"
        self._gone = self._gone or words
        self._transport = None  # there is nothing left to end
        self._wake()
        self.resume_writing()


Trace = Callable[[str, bytes], None]
"""Is told each line of a conversation, "C" or "S", with secrets already masked."""
