"""One conversation with an IMAP server: greeting, TLS, login, SELECT, SEARCH.

``ImapSession.open`` takes these steps: connect; read the greeting; STARTTLS where asked for, and forget all that was said
in clear; log in, once more with a fresh token when the first was refused; read the capabilities again; agree on extensions.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from functools import cached_property
from typing import Self

from postroom.clock import Clock
from postroom.drivers.imap_conversation import Conversation, Login, Selected, words_of
from postroom.drivers.imap_folders import Folders
from postroom.drivers.imap_introduce import OURSELVES, introduce
from postroom.drivers.opening import begin, dial
from postroom.drivers.provider import Place
from postroom.drivers.refused import passing, refused, throttled_by
from postroom.errors import ImapStatus, Lost, PostroomError, RemoteProtocolError, TlsError
from postroom.net.credentials import Answer, Credentials
from postroom.net.stream import Dialer, Trace
from postroom.settings import Security
from postroom.wire.imap import commands, types
from postroom.wire.imap.fragments import Fragments
from postroom.wire.imap.numbers import Numbers
from postroom.wire.imap.quirks import Quirk
from postroom.wire.masking import Masks
from postroom.wire.sasl import OAuthError, conclusion, decoded

__all__ = ["ImapSession", "Selected", "identifier", "uid_of"]

_NOT_CONNECTED = re.compile(r"not connected", re.IGNORECASE)
_UNSAFE = re.compile(r"unsafe login", re.IGNORECASE)
_SASL = frozenset({"AUTH=PLAIN", "AUTH=LOGIN", "AUTH=XOAUTH2", "AUTH=OAUTHBEARER"})  # what we can answer
_STRETCH = 20_000  # messages searched at once: the answer, at eleven octets each, is a line that is held


def identifier(validity: int, uid: int) -> str:
    """UIDVALIDITY and UID (RFC 9051 section 2.3.1.1): the server's own identity of a message."""
    return f"{validity}/{uid}"


def uid_of(name: str) -> int:
    """The UID within an identifier."""
    return int(name.partition("/")[2])


class ImapSession(Conversation):
    """A logged-in conversation. One task uses it; after an error it is closed and never used again."""

    read_only: bool = False  # folders are opened so that nothing there changes
    _authenticated = False
    _credentials: Credentials | None = None

    @classmethod
    async def open(cls, place: Place, credentials: Credentials, dialer: Dialer, clock: Clock, trace: Trace | None) -> ImapSession:
        """Connect and log in. Raises the network's errors, ``AuthError``, ``Throttled``, ``ImapStatus``."""
        session = await cls.connect(place, dialer, clock, trace)
        await begin(session, dialer, credentials)
        return session

    @classmethod
    async def connect(cls, place: Place, dialer: Dialer, clock: Clock, trace: Trace | None) -> Self:
        """The first step of ``open``: the connection, with TLS where it begins with it. Raises ``ConnectError``, ``TimedOut``."""
        fragments = Fragments()
        return cls(await dial(place, dialer, fragments), fragments, place, clock, trace)

    async def greet(self, dialer: Dialer) -> None:
        """The second: greeting, STARTTLS, capabilities."""
        greeting = await self.response()
        if not isinstance(greeting, types.StatusResponse) or greeting.status is types.Status.BAD:
            raise RemoteProtocolError(f"{self.place.host}:{self.place.port} does not greet as an IMAP server")
        if greeting.status is types.Status.BYE:
            words = words_of(greeting).removeprefix("BYE ")
            raise throttled_by(self.place.host, words) or Lost(f"{self.place.host}: {words}")
        self.greeting = greeting.text
        self._authenticated = greeting.status is types.Status.PREAUTH
        if self.place.security is Security.START_TLS:
            await self._start_tls(dialer)
        if not self.capabilities:
            await self.command(b"CAPABILITY")

    async def log_in(self, credentials: Credentials) -> None:
        """The last: the login, unless the server holds us for known (PREAUTH), and what is agreed on behind it."""
        if not self._authenticated:
            await self._log_in(credentials)
        self._credentials = credentials
        await introduce(self)

    @property
    def mechanisms(self) -> list[str]:
        """The SASL mechanisms that the server offers; LOGIN stands for the command too, where there is nothing else for us."""
        announced = sorted(name[5:] for name in self.capabilities if name.startswith("AUTH="))
        return [*announced, "LOGIN"] if self._by_command else announced

    @property
    def _by_command(self) -> bool:
        """A server need not know SASL: then the command is the login, unless it is disabled (RFC 9051 section 6.2.3)."""
        return self.capabilities.isdisjoint((*_SASL, "LOGINDISABLED"))

    async def _start_tls(self, dialer: Dialer) -> None:
        if self._authenticated:
            raise TlsError("the server is logged in before TLS could begin")  # RFC 9051 section 6.2.1
        if not self.capabilities:
            await self.command(b"CAPABILITY")
        if "STARTTLS" not in self.capabilities:
            raise TlsError(
                f"{self.place.host}:{self.place.port} does not offer STARTTLS",
                remedy="Set pop-connection-security = ssl-tls (port 993), or ask the provider. Nothing was sent in clear.",
            )
        await self.command(b"STARTTLS")
        if not self.fragments.empty:
            raise TlsError("the server sent more before TLS began; somebody may be in between")
        await self.stream.start_tls(dialer, self.place.ca_file, self.place.connect_timeout)
        self.capabilities = frozenset()  # what was said in clear counts for nothing (RFC 9051 section 6.2.1)

    # --- login

    async def _log_in(self, credentials: Credentials) -> None:
        self.masks = Masks(credentials.user)
        for attempt in (1, 2):
            offered = self.capabilities
            answer = await credentials.answer(self.mechanisms, self.place.host, self.place.port)
            apart = answer.mechanism == "XOAUTH2" and self.place.manners.two_lines
            if self._by_command:
                status, oauth = await self._log_in_by_command(answer), None
            else:
                self.capabilities = frozenset()  # they may change with the login (RFC 9051 section 6.2.2)
                status, oauth = await self._authenticate(answer, at_once="SASL-IR" in offered and not apart)
            if status.status is types.Status.OK:
                self.login = Login(answer.version, answer.valid_until, self.clock.now())
                if not self.capabilities:
                    await self.command(b"CAPABILITY")
                return
            said = f"{self.place.host}: {words_of(status)}" + (f" ({oauth})" if oauth is not None else "")
            challenge = f" {oauth.challenge}" if oauth is not None else ""
            explained = await credentials.explain(words_of(status) + challenge)
            if (trouble := passing(explained, said, _as_status(status, said))) is not None:
                raise trouble
            if attempt == 1 and await credentials.refused(answer.version):
                await self.command(b"CAPABILITY")
                continue
            raise refused(await credentials.explain(words_of(status) + challenge), said)

    async def _log_in_by_command(self, answer: Answer) -> types.StatusResponse:
        """LOGIN (RFC 9051 section 6.2.3): the two answers of the SASL mechanism of that name, in one command."""
        next(answer.exchange)
        user, password = answer.exchange.send(b"User Name") or b"", answer.exchange.send(b"Password") or b""
        self.masks.hide(password)
        line = b"LOGIN " + commands.string(user) + b" " + commands.string(password)
        tag = await self.send(line, shown=b"LOGIN *** ***")
        self.capabilities = frozenset()  # they may change with the login
        while True:
            response = self._refused.pop(tag, None) or await self.response()
            if isinstance(response, types.StatusResponse) and response.tag == tag:
                return response

    async def _authenticate(self, answer: Answer, *, at_once: bool) -> tuple[types.StatusResponse, OAuthError | None]:
        """AUTHENTICATE (RFC 9051 section 6.2.2); ``at_once``: the initial response goes with the command (RFC 4959)."""
        exchange = answer.exchange
        pending = next(exchange)
        self.masks.hide(pending or b"")
        at_once = at_once and pending is not None
        line = commands.authenticate(answer.mechanism, pending if at_once else None)
        tag = await self.send(line, shown=f"AUTHENTICATE {answer.mechanism} ***".encode())
        if at_once:
            pending = None
        while True:
            response = await self.response()
            if isinstance(response, types.StatusResponse) and response.tag == tag:
                return response, conclusion(exchange)
            if not isinstance(response, types.Continuation):
                continue
            if pending is not None:
                reply, pending = pending, None
            else:
                try:
                    reply = exchange.send(decoded(response.text)) or b""
                except StopIteration:
                    raise RemoteProtocolError("the server goes on asking after the last answer") from None
            self.masks.hide(reply)
            await self.write(commands.response(reply), shown=b"***")

    # --- folders

    @cached_property
    def folders(self) -> Folders:
        """Where the server has the folders of ``folder-path``."""
        return Folders(self)

    async def select(self, folder: str) -> Selected:
        """Open a folder (RFC 9051 sections 6.3.2, 6.3.3). Raises ``ImapStatus``, and ``LoginRefused`` for a login that was none."""
        try:
            selected = await self._select(folder, await self.folders.name(folder))
        except ImapStatus as refused:
            await self._explain_not_connected(refused)
            if _UNSAFE.search(refused.text) and Quirk.ID_BEFORE_SELECT not in self.quirks:
                await self.command(commands.identification(OURSELVES))
                return await self._select(folder, await self.folders.name(folder))
            selected = await self._select_elsewhere(folder, refused)
        return selected

    async def _select_elsewhere(self, folder: str, refused: ImapStatus) -> Selected:
        for name in await self.folders.elsewhere(folder, refused):
            try:
                selected = await self._select(folder, name)
            except ImapStatus:
                continue
            self.folders.found(folder, name)
            return selected
        raise refused

    async def _select(self, folder: str, name: bytes) -> Selected:
        self.selected = selected = Selected(folder)
        await self.command(commands.select(name, condstore="CONDSTORE" in self.capabilities, read_only=self.read_only))
        selected.opened = True
        if not selected.validity or not selected.lasting:
            # None, or 0 against RFC 9051 section 2.3.1.1, or UIDNOTSTICKY (RFC 4315 section 3): UIDs hold until the next SELECT
            selected.lasting, selected.validity = False, 0
        return selected

    async def _explain_not_connected(self, error: ImapStatus) -> None:
        """Exchange lets a token in and says at SELECT that it opens nothing: "User is authenticated but not connected."."""
        if self._credentials is None or not _NOT_CONNECTED.search(error.text):
            return
        explained = await self._credentials.explain(error.detail)
        said = f"{self.place.host}: {error.detail}"
        raise passing(explained, said, _as_status(error, said)) or refused(explained, said) from None

    async def status(self, folder: str, items: list[bytes]) -> types.MailboxStatus | None:
        """What the server says of a folder that is not open (RFC 9051 section 6.3.11). Raises ``ImapStatus``."""
        for response in await self.command(commands.status(await self.folders.name(folder), items)):
            if isinstance(response, types.MailboxStatus):
                return response
        return None

    # --- searching

    async def search(self, criteria: bytes) -> Numbers:
        """The UIDs in the open folder that meet the criteria of RFC 9051 section 6.4.4, such as ``ALL``.

        Holds ranges, never a list, and asks for a stretch of the folder at a time, so that no answer is long. What arrives
        meanwhile may be in or not. Raises ``RemoteProtocolError`` where the server answers nothing that can be read: none
        is not the same as nothing; ``ImapStatus``.
        """
        found = Numbers()
        async for stretch in self.search_stretches(criteria):
            if stretch is None:
                raise RemoteProtocolError(f"{self.place.host} answers no SEARCH")
            found |= stretch
        return found

    async def search_stretches(self, criteria: bytes) -> AsyncIterator[Numbers | None]:
        """``search``, stretch by stretch; None for one that the server did not answer."""
        selected = self.selected
        assert selected is not None
        if selected.exists <= _STRETCH:
            yield await self.searched(criteria)
            return
        low = 1
        while low <= selected.exists:
            expunged = selected.expunged
            yield await self.searched(b"%d:%d " % (low, min(low + _STRETCH - 1, selected.exists)) + criteria)
            # EXPUNGE may come with UID SEARCH (RFC 9051 section 7.5.1), and moves what is behind it forward
            low = max(1, low + _STRETCH - (selected.expunged - expunged))

    async def searched(self, criteria: bytes) -> Numbers | None:
        """One SEARCH with one answer; None where the server gave none that can be read. Raises ``ImapStatus``."""
        tag = await self.send(commands.uid_search(criteria, extended=self.knows("ESEARCH")))
        found: Numbers | None = None
        for response in await self.finish(tag):
            if isinstance(response, types.Search):  # RFC 3501 lets a server divide its answer
                found = (found or Numbers()) | response.numbers
            elif isinstance(response, types.ESearch) and response.uid and response.tag in ("", tag):
                found = (found or Numbers()) | (response.all or Numbers())
        return found

    async def close(self) -> None:
        """End politely where the conversation is in step, else at once."""
        try:
            await self._log_out()
        except PostroomError:
            self.stream.abort()
        self.stream.close()


def _as_status(status: types.StatusResponse | ImapStatus, said: str) -> Callable[[str], ImapStatus]:
    word = status.status if isinstance(status, ImapStatus) else status.status.value
    return lambda remedy: ImapStatus(said, status=word, code=status.code, text=status.text, remedy=remedy)
