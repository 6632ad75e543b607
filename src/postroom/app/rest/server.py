"""uvicorn on the service's own loop: it takes no signal, writes no log, and waits for nobody for ever."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from postroom.app.binding import unbound
from postroom.app.core import Core
from postroom.app.observing import Log
from postroom.app.rest.application import web_app
from postroom.app.rest.problems import MEDIA_TYPE, document
from postroom.errors import ConnectError
from postroom.settings import WebSettings

_IDLE = 30  # seconds that a connection may stand without a request
_HEAD = 10.0  # seconds within which a request's head must be here
_LONGEST_HEAD = 64 * 1024  # octets
_CONNECTIONS = 1000
_END = 5  # seconds that answers under way may take when the service ends


class _Protocol(HttpToolsProtocol):
    """HTTP with bounds where uvicorn has none: a head must be short and soon here, and there are so many connections."""

    _head: asyncio.TimerHandle | None = None
    _octets = 0
    _in_body = False  # what comes is the rest of a body, perhaps of a request that is answered already

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > _CONNECTIONS:
            self._refuse(b"503 Service Unavailable", "There are too many connections.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()
        if self._head is not None and not self._in_body:
            self._octets += len(data)
            if self._octets > _LONGEST_HEAD and self._head_is_long(data):
                self._refuse(b"431 Request Header Fields Too Large", f"A request's head may have {_LONGEST_HEAD} octets.")
                return
        super().data_received(data)

    def _head_is_long(self, data: bytes) -> bool:
        """A body may come in the same piece as the end of its head."""
        end = data.find(b"\r\n\r\n")
        return end < 0 or self._octets - len(data) + end > _LONGEST_HEAD

    def on_message_begin(self) -> None:
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_is_here()
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body, self._octets = False, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(b"400 Bad Request", "This is not HTTP.")

    def _await_head(self) -> None:
        if self._head is None:
            self._octets = 0
            self._head = self.loop.call_later(_HEAD, self._too_slow)

    def _too_slow(self) -> None:
        self._head = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # it is the next request's, and an answer is still under way
            self._await_head()

    def _head_is_here(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _refuse(self, status: bytes, words: str) -> None:
        body = _json(document(int(status[:3]), words, "none"))
        head = b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, MEDIA_TYPE.encode(), len(body)) + body)
        self.transport.close()


def _json(value: dict[str, Any]) -> bytes:
    import json

    return json.dumps(value).encode()


@asynccontextmanager
async def serving(core: Core, log: Log, reload: Callable[[], None]) -> AsyncIterator[str]:
    """Serve within the block; yields the address. ``reload`` reads the file again.

    Raises ``ConnectError`` when the port is taken or the TLS files do not fit each other.
    """
    web = core.live.configuration.web
    with contextlib.closing(_listening(web)) as sock:
        address = web.address(sock.getsockname()[1])
        config = uvicorn.Config(
            web_app(core, log, address, reload),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # the guard tells of every request, and of every error
            access_log=False,
            proxy_headers=False,  # whom to believe them nobody said
            server_header=False,
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=_END,
            ssl_certfile=web.tls_certificate,
            ssl_keyfile=web.tls_key,
        )
        try:
            config.load()
        except (ssl.SSLError, OSError) as error:
            remedy = "tls-key must be the private key of the first certificate in tls-certificate."
            raise ConnectError(f"web.tls-certificate {web.tls_certificate}: {error}", remedy=remedy) from error
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup([sock])
        ticking = asyncio.create_task(_tick(server))
        try:
            yield address
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
            await server.shutdown([sock])


async def _tick(server: uvicorn.Server) -> None:
    """Keep the header Date current. uvicorn's own loop wakes ten times a second for it."""
    while True:
        await server.on_tick(0)
        await asyncio.sleep(1)


def _listening(web: WebSettings) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(web.host, web.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        sock = socket.socket(family, kind, number)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
        except OSError:
            sock.close()
            raise
        return sock
    except OSError as error:
        raise unbound("web.listen", web.host, web.port, error) from error
