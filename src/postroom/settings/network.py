"""The section ``proxy``: through whom connections are made. A mailbox may have one of its own (``mail.<type>.proxy.host``)."""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from postroom.secret import Secret
from postroom.settings import values
from postroom.settings.option import Effect, Surroundings, option

_WHOLE = "The option."
_LONGEST = 255  # octets of a name or password (RFC 1929 section 2)
_EXCLUDE = "hosts, domains (*.example.com or .example.com), addresses and networks (10.0.0.0/8), with commas between them"


class ProxyType(enum.Enum):
    """How a proxy is spoken to."""

    SOCKS = "SOCKS"  # version 5 (RFC 1928)
    HTTP = "HTTP"  # CONNECT (RFC 9110 section 9.3.6)


_PORTS = {ProxyType.SOCKS: 1080, ProxyType.HTTP: 8080}  # RFC 1928 section 3; http-alt at IANA


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts as ``exclude`` names them."""

    names: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()  # each with its dot in front: the hosts within, not the domain's own name
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def __contains__(self, host: str) -> bool:
        """Whether a host is meant. A name is compared as it is written: the proxy alone finds its address."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            name = host.lower().removesuffix(".")
            return name in self.names or name.endswith(self.domains or ("\0",))
        return any(address in network for network in self.networks)


def _hosts(value: str, surroundings: Surroundings) -> Hosts:
    names, domains, networks = [], [], []
    for word in (part.strip() for part in value.split(",") if value):
        if not word:
            raise ValueError("has an empty name between its commas")
        if word == "*":
            raise ValueError("excludes everything, which is said by useProxy = false")
        try:
            networks.append(ipaddress.ip_network(word.removeprefix("[").removesuffix("]"), strict=False))
            continue
        except ValueError:
            pass
        name = values.host(word.removeprefix("*").removeprefix("."), surroundings).lower().removesuffix(".")
        if word.startswith(("*.", ".")):
            domains.append(f".{name}")
        else:
            names.append(name)
    return Hosts(tuple(names), tuple(domains), tuple(networks))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """The section's record, and a mailbox's own proxy."""

    use_proxy: bool = option(
        "useProxy",
        values.boolean,
        default="false",
        valid=values.BOOLEAN,
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="Whether mailboxes and token authorities are reached through the proxy. If the section has a fault, its clients "
        "stand still; they do not go past the proxy.",
    )
    type: ProxyType = option(
        "type",
        values.one_of(ProxyType),
        default="SOCKS",
        valid="SOCKS, HTTP",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="How the proxy is spoken to: SOCKS version 5, or CONNECT over HTTP. Either way the proxy finds the server's "
        "address by its name.",
    )
    host: str | None = option(
        "host",
        values.host,
        valid="the name or address of the proxy",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="Where the proxy is. It must be written where `useProxy = true`.",
    )
    port: int | None = option(
        "port",
        values.integer(1, 65535),
        default_words="By type: SOCKS 1080, HTTP 8080",
        valid="1..65535",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="The proxy's port.",
    )
    user: str | None = option(
        "user",
        values.text,
        valid="the login name at the proxy; up to 255 octets, with HTTP without a colon",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="Who logs in to the proxy: by RFC 1929 with SOCKS, by Basic with HTTP. Without it nobody does.",
    )
    password: Secret | None = option(
        "password",
        values.secret,
        valid=f"the password at the proxy, as {values.SECRET_FORMS}",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        secret=True,
        sentence="The password of `user`. It crosses the network to the proxy in clear, as both protocols have it.",
    )
    exclude: Hosts = option(
        "exclude",
        _hosts,
        default="",
        default_words="This machine alone",
        valid=_EXCLUDE,
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="Which servers are reached without the proxy. This machine (localhost, 127.0.0.0/8, ::1) always is: to a proxy "
        "these names mean itself. A domain stands for the hosts within it; networks are compared with servers that are written "
        "as addresses.",
    )

    def for_host(self, host: str) -> ProxySettings | None:
        """The proxy, where a host is to be reached through it."""
        direct = not self.use_proxy or values.is_loopback(host) or host in self.exclude
        return None if direct else self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host or "", self.port or _PORTS[self.type]

    @property
    def place(self) -> str:
        """How errors name it."""
        return f"{self.type.value} proxy {self.address[0]}:{self.address[1]}"


def complaints(proxy: ProxySettings, lacking: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """What the options of a proxy have wrong together: field, problem and what is valid. ``lacking`` are not written."""
    if not proxy.use_proxy:
        return
    if "host" in lacking:
        yield "host", "useProxy = true needs a proxy, and none is written", "the name or address of the proxy"
    if ("user" in lacking) != ("password" in lacking):
        missing, there = ("user", "password") if "user" in lacking else ("password", "user")
        yield missing, f"{there} is written and {missing} is not: a proxy wants both or neither", ""
    if proxy.type is ProxyType.HTTP and ":" in (proxy.user or ""):
        yield "user", "has a colon in it, which Basic cannot carry (RFC 7617 section 2)", "a name without a colon"
    if proxy.type is ProxyType.SOCKS:
        for field, text in (("user", proxy.user), ("password", proxy.password and proxy.password.reveal())):
            if len((text or "").encode()) > _LONGEST:
                yield field, f"is longer than {_LONGEST} octets, the most that SOCKS carries (RFC 1929 section 2)", ""
