"""A connection through a proxy: a socket from which the next octet is the server's."""

from __future__ import annotations

import asyncio
import os
import socket

from postroom.errors import ProxyError
from postroom.settings import ProxySettings, ProxyType
from postroom.wire import proxies

_CODECS = {ProxyType.SOCKS: proxies.socks5, ProxyType.HTTP: proxies.connect}


async def open_through(proxy: ProxySettings, host: str, port: int) -> socket.socket:
    """Have the proxy connect to a server. Raises ``ProxyError``, ``ProxyRefused``. The caller sets the time."""
    sock = await _reached(proxy)
    try:
        await _asked(sock, proxy, host, port)
    except BaseException:
        sock.close()
        raise
    return sock


async def _reached(proxy: ProxySettings) -> socket.socket:
    """The proxy's addresses one after the other."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(*proxy.address, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ProxyError(f"{proxy.place}: {error.strerror or error}", remedy=_UNREACHED) from error
    problem = ""
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            problem = os.strerror(error.errno) if error.errno else str(error)
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise ProxyError(f"{proxy.place}: {problem}", remedy=_UNREACHED)


async def _asked(sock: socket.socket, proxy: ProxySettings, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    opening = _CODECS[proxy.type](host, port, proxy.user, proxy.password)
    try:
        octets, count = next(opening)
        while True:
            if octets:
                await loop.sock_sendall(sock, octets)
            octets, count = opening.send(await _read(sock, count))
    except StopIteration:
        return
    except ProxyError as error:
        error.detail = f"{proxy.place}, on the way to {host}:{port}, {error.detail}"
        raise
    except OSError as error:
        words = os.strerror(error.errno) if error.errno else str(error)
        raise ProxyError(f"{proxy.place}, on the way to {host}:{port}: {words}", remedy=_UNREACHED) from error


async def _read(sock: socket.socket, count: int) -> bytes:
    """So many octets, or the head of an answer. That has no length, and behind it the server speaks: one octet at a time."""
    loop = asyncio.get_running_loop()
    found = b""
    while len(found) < count or (count == proxies.HEAD and not found.endswith((b"\r\n\r\n", b"\n\n"))):
        more = await loop.sock_recv(sock, 1 if count == proxies.HEAD else count - len(found))
        if not more:
            raise ProxyError("closes the connection", remedy=_CLOSED)
        found += more
        if len(found) > proxies.HEAD_LONGEST:
            raise ProxyError("answers without an end", remedy=_UNREACHED)
    return found


_UNREACHED = (
    "Check host, port and type in the proxy section (or the client's mail.<type>.proxy and socks properties), and that the proxy "
    "runs. It is tried again by itself."
)
_CLOSED = (
    "The proxy took the connection and gave it up: check type and port in the proxy section, and whether it lets this machine in."
)
