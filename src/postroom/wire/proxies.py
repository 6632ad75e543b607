"""How a proxy is asked for a way to a server: SOCKS version 5 (RFC 1928, RFC 1929) and CONNECT (RFC 9110 section 9.3.6).

Each is a generator that yields what to send and how much to read: so many octets, or the head of an answer of HTTP
(``HEAD``). It is given what was read, and returns when the way is open. It never asks for an octet more: what follows is the
server's, which speaks first in IMAP and POP3.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Generator

from postroom.errors import ProxyError, ProxyRefused
from postroom.secret import Secret

HEAD = -1  # read up to the empty line, and no further
HEAD_LONGEST = 16384  # octets

Opening = Generator[tuple[bytes, int], bytes, None]

_NOBODY, _PASSWORD, _NO_METHOD = 0, 2, 0xFF  # RFC 1928 section 3
_NAME, _ADDRESSES = 3, {4: 1, 6: 4}  # section 5
_BOUND = {1: 4, 4: 16}  # octets of an address that an answer holds
_REPLIES = {  # section 6
    1: "general failure",
    2: "its rules do not allow this connection",
    3: "it cannot reach the server's network",
    4: "it cannot reach the server",
    5: "the server refused its connection",
    6: "the time to live of its packets ran out",
    7: "it does not know the command",
    8: "it does not know this sort of address",
}
_NOT_ALLOWED = 2

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: (.*))?")


def socks5(host: str, port: int, user: str | None, password: Secret | None) -> Opening:
    """Log in where there is a user, then ask for the way. Raises ``ProxyError``, ``ProxyRefused``."""
    methods = bytes([_NOBODY]) if user is None else bytes([_NOBODY, _PASSWORD])
    version, method = yield bytes([5, len(methods)]) + methods, 2
    if version != 5:
        raise ProxyError("does not answer as a SOCKS proxy of version 5", remedy=_OTHER_TYPE)
    if method == _NO_METHOD:
        raise ProxyRefused("wants a login" if user is None else "accepts neither a name with a password nor no login")
    if method not in methods:
        raise ProxyError(f"chose login method {method}, which was not offered")
    if method == _PASSWORD:
        name, word = (user or "").encode(), (password.reveal() if password else "").encode()
        _, status = yield bytes([1, len(name)]) + name + bytes([len(word)]) + word, 2  # RFC 1929 section 2
        if status != 0:
            raise ProxyRefused("does not accept user and password")
    # RFC 1928 section 4; a name goes as it is, and the proxy finds its address
    _, reply = yield bytes([5, 1, 0]) + _address(host) + port.to_bytes(2, "big"), 2
    if reply != 0:
        words = _REPLIES.get(reply, f"reply {reply}")
        raise ProxyError(f"opens no way: {words}", remedy=_RULES if reply == _NOT_ALLOWED else _TARGET)
    _, kind = yield b"", 2
    if kind == _NAME:
        (length,) = yield b"", 1
    elif kind in _BOUND:
        length = _BOUND[kind]
    else:
        raise ProxyError("answers with an address of an unknown sort")
    yield b"", length + 2


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = _ascii(host).encode()
        return bytes([_NAME, len(name)]) + name
    return bytes([_ADDRESSES[address.version]]) + address.packed


def connect(host: str, port: int, user: str | None, password: Secret | None) -> Opening:
    """CONNECT, with Basic where there is a user (RFC 7617). Raises ``ProxyError``, ``ProxyRefused``."""
    target = f"[{host}]:{port}" if ":" in host else f"{_ascii(host)}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if user is not None:
        pair = f"{user}:{password.reveal() if password else ''}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
    head = yield ("\r\n".join(lines) + "\r\n\r\n").encode(), HEAD
    first, *fields = head.splitlines()
    status = _STATUS.fullmatch(first)
    if status is None:
        raise ProxyError("does not answer as an HTTP proxy", remedy=_OTHER_TYPE)
    if status[1].startswith(b"2"):  # any 2xx; after its head the way is open, whatever the fields say
        return
    words = f"{status[1].decode()} {(status[2] or b'').decode('utf-8', 'replace')}".strip()
    if status[1] in (b"407", b"401"):  # tinyproxy says 401 where RFC 9110 section 15.5.8 has 407, after a wrong password
        wanted = [line.partition(b":")[2].split()[:1] for line in fields if line.lower().startswith(b"proxy-authenticate:")]
        schemes = ", ".join(each[0].decode("utf-8", "replace")[:40] for each in wanted if each)
        does = "wants a login" if user is None else "does not accept user and password"
        raise ProxyRefused(f"{does}: {words[:200]}{f' (it takes {schemes}; Basic is what is given)' if schemes else ''}")
    raise ProxyError(f"opens no way: {words[:200]}", remedy=_RULES if status[1] in (b"403", b"405") else _TARGET)


def _ascii(host: str) -> str:
    """A host's name as the name system has it (RFC 5890)."""
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise ProxyError(f"{host}: no name of a host") from None


_OTHER_TYPE = "Check type and port in the proxy section: another service seems to answer there."
_RULES = (
    "The proxy's own rules forbid this server or port: have it allowed there, or name the server in exclude of the proxy section."
)
_TARGET = (
    "The proxy answers and does not reach the server: check server and port of the client, and whether the proxy finds that name. "
    "It is tried again by itself."
)
