"""Take the way to a mailbox one step at a time, so that a person sees which works and which is the first that does not.

The steps are the same for every protocol; what a server of each has to tell is said by its ``Approach``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from postroom.clock import Clock
from postroom.drivers import First, Step, first_read_words
from postroom.drivers.provider import Place
from postroom.errors import ImapStatus, Pop3Error, PostroomError
from postroom.model import Preview
from postroom.net.credentials import Credentials
from postroom.net.stream import Dialer, Stream, Trace
from postroom.settings import Security


class Approach(Protocol):
    """A session of a protocol on its way to the mailbox. Each of its steps is taken once, in this order."""

    looks: ClassVar[str]  # what the step is called in which the mailbox is looked at
    secured_by: ClassVar[str]  # the option that says how the connection is protected
    stream: Stream

    async def greet(self, dialer: Dialer) -> None:
        """Greeting and capabilities, with TLS between them where it begins after the greeting."""

    @property
    def speaks(self) -> str:
        """The version of the protocol, as the capabilities tell it."""

    @property
    def mechanisms(self) -> Sequence[str]:
        """How one can log in."""

    async def log_in(self, credentials: Credentials) -> None:
        """The login."""

    @property
    def told(self) -> list[str]:
        """What is worth telling of a server that let us in."""

    async def look(self, folders: tuple[str, ...]) -> str:
        """What is there, in words; changes nothing."""

    async def preview(self, folder: str, first: First) -> Preview:
        """What a first read would take."""

    async def close(self) -> None:
        """End politely."""


Connect = Callable[[Place, Dialer, Clock, Trace | None], Awaitable[Approach]]


@dataclass
class Probing:
    """The way to one mailbox. ``steps`` may be asked for once."""

    connect: Connect
    place: Place
    credentials: Credentials | None  # None: without a login
    dialer: Dialer
    clock: Clock
    trace: Trace | None
    _session: Approach | None = None

    async def steps(self, folders: tuple[str, ...], first: Mapping[str, First]) -> AsyncIterator[Step]:
        """The steps in order, the first that fails being the last."""
        way: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("dns", self._dns),
            ("tcp", self._tcp),
            ("tls", self._tls),
            ("capabilities", self._capabilities),
            ("token", self._token),
            ("login", self._login),
            ("", lambda: self._talking.look(folders)),
            ("first-read", lambda: self._preview(first)),
        ]
        try:
            for name, take in way:
                named = name or self._talking.looks
                try:
                    words = await take()
                except PostroomError as error:
                    if self._session is not None:  # a conversation that failed is never used again
                        self._session.stream.abort()
                        self._session = None
                    yield Step(named, "", error)
                    return
                if words:
                    yield Step(named, words)
        finally:
            if self._session is not None:
                await self._session.close()

    async def _dns(self) -> str:
        place = self.place
        if (via := place.via) is not None:
            name, port = via.address
            found = await self.dialer.resolve(name, port, place.connect_timeout)
            return f"the {via.place} is at {', '.join(found[:4])}; it finds {place.host} by itself"
        try:
            ipaddress.ip_address(place.host)
        except ValueError:
            addresses = await self.dialer.resolve(place.host, place.port, place.connect_timeout)
            return f"{place.host} is at {', '.join(addresses[:4])}"
        return f"{place.host} is an address"

    async def _tcp(self) -> str:
        place = self.place
        await self.dialer.reach(place.host, place.port, place.connect_timeout, place.via)
        # a proxy tells that it is connected, and no more
        says = "answers" if place.via is None else f"is connected to, says the {place.via.place}"
        return f"{place.host}:{place.port} {says}"

    async def _tls(self) -> str:
        self._session = await self.connect(self.place, self.dialer, self.clock, self.trace)
        if self.place.security is Security.START_TLS:
            await self._session.greet(self.dialer)
        protection = self._session.stream.protection
        return protection or f"none: everything crosses the network in clear ({self._session.secured_by} = none)"

    async def _capabilities(self) -> str:
        session = self._talking
        if self.place.security is not Security.START_TLS:
            await session.greet(self.dialer)
        return f"{session.speaks}; logins by {', '.join(session.mechanisms) or 'no mechanism'}"

    async def _token(self) -> str:
        return await self.credentials.prepare(self._talking.mechanisms) if self.credentials is not None else ""

    async def _login(self) -> str:
        if self.credentials is None:
            return "none: enable-authentication is false"
        await self._talking.log_in(self.credentials)
        return "; ".join([f"as {self.credentials.user}", *self._talking.told])

    async def _preview(self, first: Mapping[str, First]) -> str:
        found = []
        for folder, choice in first.items():
            try:
                preview = await self._talking.preview(folder, choice)
            except (ImapStatus, Pop3Error) as refused:
                found.append(f"{folder} was never read; how much there is the server does not tell: {refused.detail}")
            else:
                found.append(first_read_words(folder, choice, preview))
        return "; ".join(found)

    @property
    def _talking(self) -> Approach:
        assert self._session is not None
        return self._session
