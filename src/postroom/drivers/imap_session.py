"""One conversation with an IMAP server: greeting, TLS, login, SELECT, commands in flight.

``ImapSession.open`` takes these steps: connect; read the greeting; STARTTLS where asked for, and forget all that was said
in clear; log in, once more with a fresh token when the first was refused; read the capabilities again.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from postroom.clock import Clock
from postroom.drivers.provider import Place
from postroom.errors import (
    ImapStatus,
    LocalProtocolError,
    LoginRefused,
    Lost,
    PostroomError,
    RemoteProtocolError,
    SessionEnded,
    Throttled,
    TlsError,
)
from postroom.net.credentials import Answer, Credentials
from postroom.net.refusals import Verdict
from postroom.net.stream import Dialer, Stream, Trace
from postroom.settings import Security
from postroom.wire.imap import commands, types
from postroom.wire.imap.fragments import Fragment, Fragments, LiteralBegin, LiteralEnd, LiteralPiece
from postroom.wire.imap.grammar import parse
from postroom.wire.sasl import Exchange, OAuthError

# Response codes and words that mean passing trouble, not a wrong password (RFC 5530 section 3; Google, Dovecot, Microsoft)
_PASSING_CODES = frozenset({"UNAVAILABLE", "INUSE", "SERVERBUG"})
_TOO_MANY = re.compile(r"too many|maximum number of connections|rate limit|throttl|try again later", re.IGNORECASE)
_NOT_CONNECTED = re.compile(r"not connected", re.IGNORECASE)
_LATE = 5.0  # seconds before a token's end from which on a closed conversation is its end


def identifier(validity: int, uid: int) -> str:
    """UIDVALIDITY and UID (RFC 9051 section 2.3.1.1): the server's own identity of a message."""
    return f"{validity}/{uid}"


def uid_of(name: str) -> int:
    """The UID within an identifier."""
    return int(name.partition("/")[2])


@dataclass
class Selected:
    """The folder that is open, as the server last described it."""

    folder: str
    validity: int = 0
    next: int | None = None  # UIDNEXT, at SELECT; unknown once something arrived after it
    exists: int = 0
    modseq: int | None = None
    touched: bool = True  # something may have changed since it was last listed
    opened: bool = False  # SELECT was answered


@dataclass
class _Login:
    version: int = 0
    valid_until: float | None = None
    at: float = 0.0


@dataclass
class ImapSession:
    """A logged-in conversation. One task uses it; after an error it is closed and never used again."""

    stream: Stream
    fragments: Fragments
    place: Place
    clock: Clock
    trace: Trace | None
    capabilities: frozenset[str] = frozenset()
    selected: Selected | None = None
    _tag: int = 0
    _authenticated: bool = False
    _credentials: Credentials | None = None
    _bye: str = ""
    _unanswered: int = 0  # commands in flight
    _login: _Login = field(default_factory=_Login)

    @classmethod
    async def open(cls, place: Place, credentials: Credentials, dialer: Dialer, clock: Clock, trace: Trace | None) -> ImapSession:
        """Connect and log in. Raises the network's errors, ``AuthError``, ``Throttled``, ``ImapStatus``."""
        session = await cls.connect(place, dialer, clock, trace)
        try:
            await session.greet(dialer)
            await session.log_in(credentials)
        except BaseException:
            session.stream.abort()
            raise
        return session

    @classmethod
    async def connect(cls, place: Place, dialer: Dialer, clock: Clock, trace: Trace | None) -> ImapSession:
        """The first step of ``open``: the connection, with TLS where it begins with it. Raises ``ConnectError``, ``TimedOut``."""
        fragments = Fragments()
        tls = place.security is Security.SSL_TLS
        stream = await dialer.connect(
            place.host, place.port, fragments, tls=tls, ca_file=place.ca_file, timeout=place.connect_timeout
        )
        return cls(stream, fragments, place, clock, trace)

    async def greet(self, dialer: Dialer) -> None:
        """The second: greeting, STARTTLS, capabilities."""
        greeting = await self.response()
        if not isinstance(greeting, types.StatusResponse) or greeting.status is types.Status.BAD:
            raise RemoteProtocolError(f"{self.place.host}:{self.place.port} does not greet as an IMAP server")
        if greeting.status is types.Status.BYE:
            raise self._refusal_to_talk(greeting.text)
        self._authenticated = greeting.status is types.Status.PREAUTH
        if self.place.security is Security.START_TLS:
            await self._start_tls(dialer)
        if not self.capabilities:
            await self.command(b"CAPABILITY")

    async def log_in(self, credentials: Credentials) -> None:
        """The last: the login, unless the server holds us for known (PREAUTH)."""
        if not self._authenticated:
            await self._log_in(credentials)
        self._credentials = credentials

    @property
    def mechanisms(self) -> list[str]:
        """The SASL mechanisms that the server offers."""
        return sorted(name[5:] for name in self.capabilities if name.startswith("AUTH="))

    def _refusal_to_talk(self, words: str) -> PostroomError:
        if _TOO_MANY.search(words):
            return Throttled(f"{self.place.host}: {words}")
        return Lost(f"{self.place.host}: {words}")

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
        for attempt in (1, 2):
            offered = self.capabilities
            answer = await credentials.answer(self.mechanisms, self.place.host, self.place.port)
            self.capabilities = frozenset()  # they may change with the login (RFC 9051 section 6.2.2)
            status, oauth = await self._authenticate(answer, at_once="SASL-IR" in offered)
            if status.status is types.Status.OK:
                self._login = _Login(answer.version, answer.valid_until, self.clock.now())
                if not self.capabilities:
                    await self.command(b"CAPABILITY")
                return
            self._check_passing(status)
            if attempt == 1 and await credentials.refused(answer.version):
                await self.command(b"CAPABILITY")
                continue
            raise await self._refusal(credentials, status, oauth)

    async def _refusal(self, credentials: Credentials, status: types.StatusResponse, oauth: OAuthError | None) -> PostroomError:
        """The refused login, explained by the table of refusals and by the token itself where it can be read."""
        challenge = f" {oauth.challenge}" if oauth is not None else ""
        said = f"{self.place.host}: {_words(status)}" + (f" ({oauth})" if oauth is not None else "")
        return await self._explained(credentials, status, said, _words(status) + challenge)

    async def _explained(
        self, credentials: Credentials, status: types.StatusResponse | ImapStatus, said: str, heard: str
    ) -> PostroomError:
        explained = await credentials.explain(heard)
        word = status.status.value if isinstance(status, types.StatusResponse) else status.status
        if explained.rule is not None and explained.rule.fate is Verdict.THROTTLE:
            return Throttled(said, remedy=explained.remedy)
        if explained.rule is not None and explained.rule.fate is Verdict.RETRY:
            return ImapStatus(said, status=word, code=status.code, text=status.text, remedy=explained.remedy)
        return LoginRefused(said, remedy=explained.remedy, certain=explained.rule is not None and explained.rule.certain)

    def _check_passing(self, status: types.StatusResponse) -> None:
        if _TOO_MANY.search(status.text) or status.code == "LIMIT":
            raise Throttled(f"{self.place.host}: {_words(status)}")
        if status.code in _PASSING_CODES:
            raise _imap_status(status)

    async def _authenticate(self, answer: Answer, *, at_once: bool) -> tuple[types.StatusResponse, OAuthError | None]:
        """AUTHENTICATE (RFC 9051 section 6.2.2); ``at_once``: the initial response goes with the command (RFC 4959)."""
        exchange = answer.exchange
        pending = next(exchange)
        at_once = at_once and pending is not None
        line = commands.authenticate(answer.mechanism, pending if at_once else None)
        tag = await self.send(line, shown=f"AUTHENTICATE {answer.mechanism} ***".encode())
        if at_once:
            pending = None
        while True:
            response = await self.response()
            if isinstance(response, types.StatusResponse) and response.tag == tag:
                return response, _conclusion(exchange)
            if not isinstance(response, types.Continuation):
                continue
            if pending is not None:
                reply, pending = pending, None
            else:
                try:
                    reply = exchange.send(_decoded(response.text)) or b""
                except StopIteration:
                    raise RemoteProtocolError("the server goes on asking after the last answer") from None
            await self._write(commands.response(reply), shown=b"***")

    # --- commands

    async def send(self, line: bytes, *, shown: bytes | None = None) -> str:
        """Send a command; return its tag."""
        self._tag += 1
        self._unanswered += 1
        tag = f"P{self._tag}"
        await self._write(tag.encode() + b" " + line, shown=None if shown is None else tag.encode() + b" " + shown)
        return tag

    async def _write(self, line: bytes, *, shown: bytes | None = None) -> None:
        if self.trace is not None:
            self.trace("C", line if shown is None else shown)
        try:
            await self.stream.write(line + b"\r\n", self.place.protocol_timeout)
        except Lost as error:
            raise self._ended(error) from None

    async def command(self, line: bytes) -> list[types.Response]:
        """Carry out one command; return the untagged responses. Raises ``ImapStatus`` for NO and BAD."""
        return await self.finish(await self.send(line))

    async def finish(self, tag: str) -> list[types.Response]:
        """Read until a command's end; return the untagged responses. Raises ``ImapStatus``."""
        return [response async for response in self.until(tag)]

    async def until(self, tag: str) -> AsyncIterator[types.Response]:
        """Untagged responses until a command's end. Raises ``ImapStatus``."""
        while True:
            response = await self.response()
            if isinstance(response, types.StatusResponse) and response.tag:
                if response.tag != tag:
                    raise RemoteProtocolError(f"an answer to {response.tag} where one to {tag} was due")
                if response.status is not types.Status.OK:
                    raise _imap_status(response)
                return
            yield response

    async def response(self, timeout: float | None = None) -> types.Response:
        """The next response; its effect on the session's state is noted. A long literal nobody asked for is read over."""
        while True:
            fragment = await self.fragment(timeout)
            if isinstance(fragment, list):
                return self.note(fragment)
            if not isinstance(fragment, LiteralBegin | LiteralPiece | LiteralEnd):
                raise LocalProtocolError("an unknown fragment")

    async def fragment(self, timeout: float | None = None) -> Fragment:
        """The next fragment. Raises ``Lost``, ``SessionEnded``, ``TimedOut``, ``RemoteProtocolError``."""
        while (fragment := self.fragments.next()) is None:
            try:
                await self.stream.more(self.place.protocol_timeout if timeout is None else timeout)
            except Lost as error:
                raise self._ended(error) from None
        return fragment

    async def unsolicited(self, seconds: float) -> types.Response | None:
        """What the server says by itself; None after so long a silence. Raises the errors of ``fragment``."""
        while (fragment := self.fragments.next()) is None:
            try:
                if not await self.stream.more_within(seconds):
                    return None
            except Lost as error:
                raise self._ended(error) from None
        return self.note(fragment) if isinstance(fragment, list) else types.Other("literal")

    async def done(self) -> None:
        """End IDLE (RFC 2177 section 3)."""
        await self._write(b"DONE")

    def note(self, parts: list[bytes]) -> types.Response:
        """Read a response and note what it says of the session."""
        response = parse(parts)
        if self.trace is not None:
            self.trace("S", b" {...} ".join(part for part in parts[::2]) if len(parts) > 1 else parts[0])
        if isinstance(response, types.Fetch):
            return response
        if isinstance(response, types.StatusResponse):
            self._note_status(response)
        elif isinstance(response, types.Capability):
            self.capabilities = _shared(response.names)
        elif isinstance(response, types.Exists | types.Expunged) and self.selected is not None:
            self._note_number(self.selected, response)
        return response

    def _note_number(self, selected: Selected, response: types.Exists | types.Expunged) -> None:
        selected.touched = True
        selected.exists = response.number if isinstance(response, types.Exists) else max(selected.exists - 1, 0)
        if selected.opened and isinstance(response, types.Exists):
            selected.next = None

    def _note_status(self, response: types.StatusResponse) -> None:
        if response.tag:
            self._unanswered -= 1
        if response.code == "CAPABILITY":
            self.capabilities = _named(response.arguments)
        if response.status is types.Status.BYE:
            self._bye = response.text or "BYE"
        if self.selected is None or response.tag:
            return
        number = int(response.arguments) if response.arguments.isdigit() else None
        if response.code == "UIDVALIDITY" and number is not None:
            self.selected.validity = number
        elif response.code == "UIDNEXT":
            self.selected.next = number
        elif response.code == "HIGHESTMODSEQ":
            self.selected.modseq = number

    def _ended(self, error: Lost) -> Lost:
        words = f"{self.place.host}: {self._bye}" if self._bye else error.detail
        until = self._login.valid_until
        if until is not None and self.clock.now() >= until - _LATE and until > self._login.at:
            return SessionEnded(words)
        return Lost(words)

    async def select(self, folder: str) -> Selected:
        """Open a folder (RFC 9051 section 6.3.2). Raises ``ImapStatus``, and ``LoginRefused`` for a login that was none."""
        self.selected = Selected(folder)
        try:
            await self.command(commands.select(folder, condstore="CONDSTORE" in self.capabilities))
        except ImapStatus as error:
            # Exchange lets a token in and says here that it opens nothing: "User is authenticated but not connected."
            if self._credentials is None or not _NOT_CONNECTED.search(error.text):
                raise
            raise await self._explained(self._credentials, error, f"{self.place.host}: {error.detail}", error.detail) from None
        self.selected.opened = True
        if not self.selected.validity:
            raise RemoteProtocolError(f"{folder}: the server names no UIDVALIDITY")
        return self.selected

    async def close(self) -> None:
        """End politely where the conversation is in step, else at once."""
        try:
            if self.stream.open and not self._unanswered:
                await self.command(b"LOGOUT")
        except PostroomError:
            self.stream.abort()
        self.stream.close()


@functools.lru_cache(64)
def _named(capabilities: str) -> frozenset[str]:
    return _shared(frozenset(capabilities.upper().split()))


@functools.lru_cache(64)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """One object for all conversations with servers alike: thousands of them idle."""
    return names


def _conclusion(exchange: Exchange) -> OAuthError | None:
    """What the exchange learned: the server's error, where it said one before its tagged answer."""
    try:
        exchange.send(b"")
    except StopIteration as stop:
        return stop.value if isinstance(stop.value, OAuthError) else None
    exchange.close()
    return None


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text  # Microsoft has sent its error in clear


def _words(status: types.StatusResponse) -> str:
    code = f"[{status.code}] " if status.code else ""
    return f"{status.status.value} {code}{status.text}".strip()


def _imap_status(status: types.StatusResponse) -> ImapStatus:
    return ImapStatus(_words(status), status=status.status.value, code=status.code, text=status.text)
