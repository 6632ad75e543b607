"""Take the way to a mailbox one step at a time, so that a person sees which works and which is the first that does not."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from postroom.clock import Clock
from postroom.drivers import First, Step, first_read_words, imap_first
from postroom.drivers.imap_session import ImapSession
from postroom.drivers.provider import Place
from postroom.errors import ImapStatus, PostroomError
from postroom.net.credentials import Credentials
from postroom.net.stream import Dialer, Trace
from postroom.settings import Security
from postroom.wire.imap.quirks import NEWEST, Quirk

_NAME = 60  # characters of what a server calls itself


class ImapProbe:
    """The way to one mailbox. ``steps`` may be asked for once."""

    def __init__(self, place: Place, credentials: Credentials, dialer: Dialer, clock: Clock, trace: Trace | None) -> None:
        self._place = place
        self._credentials = credentials
        self._dialer = dialer
        self._clock = clock
        self._trace = trace
        self._session: ImapSession | None = None

    async def steps(self, folders: tuple[str, ...], first: Mapping[str, First]) -> AsyncIterator[Step]:
        """The steps in order, the first that fails being the last."""
        way: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("dns", self._dns),
            ("tcp", self._tcp),
            ("tls", self._tls),
            ("capabilities", self._capabilities),
            ("token", self._token),
            ("login", self._login),
            ("select", lambda: self._select(folders)),
            ("first-read", lambda: self._preview(first)),
        ]
        try:
            for name, take in way:
                try:
                    words = await take()
                except PostroomError as error:
                    if self._session is not None:  # a conversation that failed is never used again
                        self._session.stream.abort()
                        self._session = None
                    yield Step(name, "", error)
                    return
                if words:
                    yield Step(name, words)
        finally:
            if self._session is not None:
                await self._session.close()

    async def _dns(self) -> str:
        if (via := self._place.via) is not None:
            name, port = via.address
            found = await self._dialer.resolve(name, port, self._place.connect_timeout)
            return f"the {via.place} is at {', '.join(found[:4])}; it finds {self._place.host} by itself"
        try:
            ipaddress.ip_address(self._place.host)
        except ValueError:
            addresses = await self._dialer.resolve(self._place.host, self._place.port, self._place.connect_timeout)
            return f"{self._place.host} is at {', '.join(addresses[:4])}"
        return f"{self._place.host} is an address"

    async def _tcp(self) -> str:
        via = self._place.via
        await self._dialer.reach(self._place.host, self._place.port, self._place.connect_timeout, via)
        # a proxy tells that it is connected, and no more
        says = "answers" if via is None else f"is connected to, says the {via.place}"
        return f"{self._place.host}:{self._place.port} {says}"

    async def _tls(self) -> str:
        self._session = await ImapSession.connect(self._place, self._dialer, self._clock, self._trace)
        if self._place.security is Security.START_TLS:
            await self._session.greet(self._dialer)
        protection = self._session.stream.protection
        return protection or "none: everything crosses the network in clear (pop-connection-security = none)"

    async def _capabilities(self) -> str:
        session = self._talking
        if self._place.security is not Security.START_TLS:
            await session.greet(self._dialer)
        version = "IMAP4rev2" if "IMAP4REV2" in session.capabilities else "IMAP4rev1"
        return f"{version}; logins by {', '.join(session.mechanisms) or 'no mechanism'}"

    async def _token(self) -> str:
        return await self._credentials.prepare(self._talking.mechanisms)

    async def _login(self) -> str:
        session = self._talking
        await session.log_in(self._credentials)
        calls_itself = " ".join(session.server_id.get(field, "") for field in ("name", "version")).strip()
        told = [f"as {self._credentials.user}"]
        told += [f"the server is {calls_itself[:_NAME]}"] if calls_itself else []
        told += ["octets are compressed"] if session.stream.deflates else []
        return "; ".join(told)

    async def _select(self, folders: tuple[str, ...]) -> str:
        found = []
        for folder in folders:
            selected = await self._talking.select(folder)
            found.append(f"{folder} {selected.exists}" + self._remark(folder, selected.exists))
        return ", ".join(found)

    def _remark(self, folder: str, exists: int) -> str:
        session = self._talking
        remarks = [session.folders.remarks[folder]] if folder in session.folders.remarks else []
        if Quirk.NEWEST_ONLY in session.quirks and exists == NEWEST:
            remarks.append(f"the server shows the newest {NEWEST:,} only")
        return f" ({'; '.join(remarks)})" if remarks else ""

    async def _preview(self, first: Mapping[str, First]) -> str:
        found = []
        for folder, choice in first.items():
            try:
                preview = await imap_first.preview(self._talking, folder, choice)
            except ImapStatus as refused:
                found.append(f"{folder} was never read; how much there is the server does not tell: {refused.detail}")
            else:
                found.append(first_read_words(folder, choice, preview))
        return "; ".join(found)

    @property
    def _talking(self) -> ImapSession:
        assert self._session is not None
        return self._session
