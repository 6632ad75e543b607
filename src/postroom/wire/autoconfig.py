"""Automatic configuration documents as Thunderbird reads them (``config-v1.1.xml``), without I/O.

::

    clientConfig
        emailProvider id="example.com"
            domain, displayName
            incomingServer type="imap" | "pop3"      in the order of the provider's preference
                hostname  port  socketType (SSL, STARTTLS, plain)  username  authentication (repeated; OAuth2 among them)
            outgoingServer type="smtp"
        oAuth2
            issuer  scope  authURL  tokenURL

Whoever publishes such a document may write anything. What is no document is a ValueError that says why; a server without
host, port or a protection that is known is left out; a document type declaration is refused, and with it all entities.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.parsers import expat

from postroom.settings import Security

LARGEST = 256 * 1024  # octets of a document
ADDRESS = "%EMAILADDRESS%"  # stands for the whole address in a user name

_SOCKETS = {"ssl": Security.SSL_TLS, "starttls": Security.START_TLS, "plain": Security.NONE}
_DOMAIN = "%EMAILDOMAIN%"
_PLACEHOLDER = re.compile(r"%EMAIL(?:ADDRESS|LOCALPART|DOMAIN)%")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_PORT = re.compile(r"[0-9]{1,5}")
_LONGEST = 320  # characters of a value: an address is no longer (RFC 3696 erratum 1690)
_DEEPEST = 64  # elements in one another


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """One server of a document."""

    type: str  # as written, in lower case: imap, pop3, smtp, …
    host: str  # may hold %EMAILDOMAIN%
    port: int
    security: Security
    username: str  # with the placeholders that ``filled`` knows; empty where the document is silent
    authentication: tuple[str, ...]  # as written, in the order of preference

    @property
    def oauth(self) -> bool:
        """Whether a token may be used to log in."""
        return any(word.lower() == "oauth2" for word in self.authentication)


@dataclass(frozen=True, slots=True)
class Autoconfig:
    """What a document says. Servers stand in the order of the document."""

    name: str = ""  # of the provider, for people
    domains: tuple[str, ...] = ()
    incoming: tuple[ServerEntry, ...] = ()
    outgoing: tuple[ServerEntry, ...] = ()
    issuer: str = ""  # the OAuth 2.0 authority; a bare host at most providers
    scope: str = ""


def read_autoconfig(document: bytes) -> Autoconfig:
    """Read a document. ValueError where it is none; what is missing in it is missing in the result."""
    if len(document) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} octets")
    reading = _Reading()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.characters
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise ValueError(f"it is not XML: {error}") from None
    return reading.result()


def filled(template: str, address: str) -> str:
    """A user name or host for one address. What the address itself holds is not filled again."""
    local, _, domain = address.rpartition("@")
    values = {ADDRESS: address, "%EMAILLOCALPART%": local, _DOMAIN: domain}
    return _PLACEHOLDER.sub(lambda found: values[found[0]], template)


def _refuse_doctype(*_: object) -> None:
    raise ValueError("it declares a document type, which is not read")


class _Reading:
    """The state between two events of the parser."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._text: list[str] = []
        self._type = ""  # of the server that is being read
        self._fields: dict[str, list[str]] = {}  # of the server or authority that is being read
        self._name = ""
        self._domains: list[str] = []
        self._servers: dict[str, list[ServerEntry]] = {"incomingServer": [], "outgoingServer": []}
        self._authority: dict[str, list[str]] = {}

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        name = name.rpartition(":")[2]
        if not self._path and name != "clientConfig":
            raise ValueError(f"its outermost element is {name[:40]!r} and not 'clientConfig'")
        if len(self._path) == _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} elements stand in one another")
        self._path.append(name)
        self._text.clear()
        if name in self._servers or name == "oAuth2":
            self._type = attributes.get("type", "").strip().lower()
            self._fields = {}

    def characters(self, text: str) -> None:
        """Text within the element that began last."""
        self._text.append(text)

    def end(self, name: str) -> None:
        """An element ends."""
        name = self._path.pop()
        text = "".join(self._text).strip()
        self._text.clear()
        parent = self._path[-1] if self._path else ""
        if name in self._servers and parent == "emailProvider":
            entry = _entry(self._type, self._fields)
            if entry is not None:
                self._servers[name].append(entry)
        elif name == "oAuth2":
            self._authority = self._authority or self._fields
        elif parent == "emailProvider" and name == "displayName":
            self._name = self._name or _clean(text)
        elif parent == "emailProvider" and name == "domain":
            self._domains.append(_clean(text).lower())
        elif parent in self._servers or parent == "oAuth2":
            self._fields.setdefault(name, []).append(_clean(text))

    def result(self) -> Autoconfig:
        """What was read."""
        return Autoconfig(
            name=self._name,
            domains=tuple(domain for domain in self._domains if domain),
            incoming=tuple(self._servers["incomingServer"]),
            outgoing=tuple(self._servers["outgoingServer"]),
            issuer=_first(self._authority, "issuer"),
            scope=_first(self._authority, "scope"),
        )


def _entry(kind: str, fields: Mapping[str, list[str]]) -> ServerEntry | None:
    """A server; None where it cannot be reached by what is written."""
    host = _first(fields, "hostname").lower().removesuffix(".")
    port = _first(fields, "port")
    security = _SOCKETS.get(_first(fields, "socketType").lower())
    if not kind or not _HOST.fullmatch(host.replace(_DOMAIN.lower(), "x")) or security is None:
        return None
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        return None
    authentication = tuple(word for word in fields.get("authentication", ()) if word)
    host = host.replace(_DOMAIN.lower(), _DOMAIN)
    return ServerEntry(kind, host, int(port), security, _first(fields, "username"), authentication)


def _first(fields: Mapping[str, list[str]], name: str) -> str:
    return next((value for value in fields.get(name, ()) if value), "")


def _clean(text: str) -> str:
    """A value on one printable line; nothing where it is none."""
    return text if len(text) <= _LONGEST and text.isprintable() else ""
