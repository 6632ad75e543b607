"""One session with a POP3 server (RFC 1939): greeting, TLS, login, commands in flight.

``Pop3Session.open`` takes these steps: connect; read the greeting; ask for the capabilities (RFC 2449); STLS where asked for
(RFC 2595), and forget all that was said in clear; log in, once more with a fresh token when the first was refused.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

from postroom.clock import Clock
from postroom.drivers.opening import begin, dial
from postroom.drivers.provider import Manners, Place
from postroom.drivers.refused import passing, refused, throttled, throttled_by
from postroom.errors import (
    LoginRefused,
    Lost,
    Pop3Error,
    PostroomError,
    RemoteProtocolError,
    SessionEnded,
    Throttled,
    TlsError,
)
from postroom.net.credentials import Answer, Credentials
from postroom.net.stream import Dialer, Stream, Trace
from postroom.settings import Security
from postroom.wire import pop3
from postroom.wire.masking import Masks
from postroom.wire.sasl import Exchange, OAuthError, conclusion, decoded

_PASSING = frozenset({"IN-USE", "SYS/TEMP"})  # RFC 2449 section 8.1.2, RFC 3206 section 4
_AUTH_LINE = 255  # octets of a command with its end (RFC 2449 section 4, RFC 5034 section 4)
_LATE = 5.0  # seconds before a token's end from which on a closed session is its end
_PATIENCE = 60.0  # seconds, where a server wants fewer logins and does not say how few


@dataclass
class Pop3Session:
    """A logged-in session. One task uses it; after an error it is closed and never used again."""

    stream: Stream
    replies: pop3.Replies
    place: Place
    clock: Clock
    trace: Trace | None
    capabilities: dict[str, tuple[str, ...]] = field(default_factory=dict)
    known: bool = False  # whether the server tells its capabilities
    masks: Masks = field(default_factory=Masks)  # what the trace and errors must not hold, whoever says it
    _valid_until: float | None = None
    _logged_in_at: float = 0.0

    @classmethod
    async def open(cls, place: Place, credentials: Credentials, dialer: Dialer, clock: Clock, trace: Trace | None) -> Pop3Session:
        """Connect and log in. Raises the network's errors, ``AuthError``, ``Throttled``, ``Pop3Error``."""
        session = await cls.connect(place, dialer, clock, trace)
        await begin(session, dialer, credentials)
        return session

    @classmethod
    async def connect(cls, place: Place, dialer: Dialer, clock: Clock, trace: Trace | None) -> Self:
        """The first step of ``open``: the connection, with TLS where it begins with it. Raises ``ConnectError``, ``TimedOut``."""
        replies = pop3.Replies()
        return cls(await dial(place, dialer, replies), replies, place, clock, trace)

    async def greet(self, dialer: Dialer) -> None:
        """The second: greeting, capabilities, STLS."""
        greeting = await self._reply()
        if not greeting.ok:
            asks = self._by_code(greeting) or throttled_by(self.place.host, _words(greeting))
            raise asks or Lost(f"{self.place.host}: {_words(greeting)}")
        await self._ask_capabilities()
        if self.place.security is Security.START_TLS:
            await self._start_tls(dialer)

    async def _start_tls(self, dialer: Dialer) -> None:
        if self.known and "STLS" not in self.capabilities:
            raise TlsError(
                f"{self.place.host}:{self.place.port} does not offer STLS",
                remedy="Set pop-connection-security = ssl-tls (port 995), or ask the provider. Nothing was sent in clear.",
            )
        answer = await self.ask(b"STLS")
        if not answer.ok:
            raise TlsError(f"{self.place.host}:{self.place.port} refuses STLS: {answer.text}")
        if not self.replies.empty:
            raise TlsError("the server sent more before TLS began; somebody may be in between")
        await self.stream.start_tls(dialer, self.place.ca_file, self.place.connect_timeout)
        await self._ask_capabilities()  # what was said in clear counts for nothing (RFC 2595 section 4)

    async def _ask_capabilities(self) -> None:
        """CAPA (RFC 2449 section 5). A server without it is taken for one of RFC 1939 alone."""
        self.capabilities, self.known = {}, False
        if not self.manners.capabilities or not (await self.ask(b"CAPA")).ok:
            return
        self.known = True
        async for lines in self.listing():
            for words in (pop3.printable(line).upper().split() for line in lines):
                if words:
                    self.capabilities[words[0]] = tuple(words[1:])

    @property
    def manners(self) -> Manners:
        """How the server wants to be talked to."""
        return self.place.manners

    def offers(self, capability: str) -> bool:
        """Whether the server announces a capability."""
        return capability in self.capabilities

    @property
    def login_delay(self) -> float:
        """Seconds between two logins that the server asks for (RFC 2449 section 6.5)."""
        words = self.capabilities.get("LOGIN-DELAY", ())
        return float(words[0]) if words and words[0].isdigit() else 0.0

    # --- login

    @property
    def mechanisms(self) -> list[str]:
        """The mechanisms of login that the server offers; USER and PASS (RFC 1939 section 7) stand for LOGIN.

        Of a server that tells nothing, those are supposed that it may have.
        """
        if not self.known:
            return ["LOGIN", "XOAUTH2"]
        offered = set(self.capabilities.get("SASL", ()))
        return sorted(offered | {"LOGIN"} if self.offers("USER") else offered)

    async def log_in(self, credentials: Credentials) -> None:
        """The last step, in UTF-8 where the server can (RFC 6856 section 2). Raises ``AuthError``, ``Throttled``, ``Pop3Error``."""
        self.masks = Masks(credentials.user)
        if self.offers("UTF8"):
            await self.ask(b"UTF8")  # else a server may hand out another message in the place of one with octets above 127
        for attempt in (1, 2):
            answer = await credentials.answer(self.mechanisms, self.place.host, self.place.port)
            status, oauth = await self._authenticate(answer)
            if status.ok:
                self._valid_until, self._logged_in_at = answer.valid_until, self.clock.now()
                return
            no, trouble = await self._refusal(credentials, status, oauth)
            if trouble is not None:
                raise trouble
            if attempt == 1 and await credentials.refused(answer.version):
                continue
            raise no

    async def _refusal(
        self, credentials: Credentials, status: pop3.Reply, oauth: OAuthError | None
    ) -> tuple[PostroomError, PostroomError | None]:
        """The refused login, explained by its code, by the table of refusals and by the token itself where it can be read.

        The second is why it may be passing trouble.
        """
        challenge = f" {oauth.challenge}" if oauth is not None else ""
        said = f"{self.place.host}: {_words(status)}" + (f" ({oauth})" if oauth is not None else "")
        explained = await credentials.explain(_words(status) + challenge)
        trouble = self._by_code(status) or passing(
            explained, said, lambda remedy: Pop3Error(said, code=status.code, text=status.text, remedy=remedy)
        )
        return refused(explained, said, certain=status.code == "SYS/PERM"), trouble  # RFC 3206 section 5

    def _by_code(self, status: pop3.Reply) -> PostroomError | None:
        """Passing trouble that a response code names."""
        said = f"{self.place.host}: {_words(status)}"
        if status.code == "LOGIN-DELAY":  # RFC 2449 section 8.1.1
            return Throttled(said, retry_after=self.login_delay or _PATIENCE)
        if status.code == "LIMIT":
            return throttled(said, "")
        return Pop3Error(said, code=status.code, text=status.text) if status.code in _PASSING else None

    async def _authenticate(self, answer: Answer) -> tuple[pop3.Reply, OAuthError | None]:
        if answer.mechanism == "LOGIN" and "LOGIN" not in self.capabilities.get("SASL", ()):
            return await self._user_pass(answer.exchange), None
        exchange = answer.exchange
        pending = next(exchange)
        self.masks.hide(pending or b"")
        line = b"AUTH " + answer.mechanism.encode("ascii")
        at_once = pending is not None and self._at_once(answer.mechanism, line, pending)
        if at_once and pending is not None:
            line, pending = line + b" " + (base64.b64encode(pending) or b"="), None
        await self._write(line + b"\r\n", shown=f"AUTH {answer.mechanism} ***".encode())
        while True:
            read = pop3.reply(await self._line())
            if isinstance(read, pop3.Reply):
                return read, conclusion(exchange)
            if pending is not None:
                response, pending = pending, None
            else:
                try:
                    response = exchange.send(decoded(read.text)) or b""
                except StopIteration:
                    raise RemoteProtocolError("the server goes on asking after the last answer") from None
            self.masks.hide(response)
            await self._write(base64.b64encode(response) + b"\r\n", shown=b"***")

    def _at_once(self, mechanism: str, line: bytes, initial: bytes) -> bool:
        """Whether the initial response goes with the command (RFC 5034 section 4), which a long token forbids."""
        if mechanism == "XOAUTH2" and self.manners.two_lines is not None:
            return not self.manners.two_lines
        return self.known and len(line) + 1 + len(base64.b64encode(initial)) + 2 <= _AUTH_LINE

    async def _user_pass(self, exchange: Exchange) -> pop3.Reply:
        next(exchange)
        user, password = exchange.send(b""), exchange.send(b"")
        for octets in (user, password):
            if octets is None or any(stop in octets for stop in (b"\r", b"\n", b"\0")):
                raise LoginRefused(f"{self.place.host}: a name or password with a line end cannot be sent", certain=True)
        self.masks.hide(password or b"")
        answer = await self.ask(b"USER " + (user or b""))
        if not answer.ok:
            return answer
        return await self.ask(b"PASS " + (password or b""), shown=b"PASS ***")

    # --- commands

    async def send(self, lines: list[bytes]) -> None:
        """Send commands; more than one only where the server announces PIPELINING (RFC 2449 section 6.6)."""
        if self.trace is not None:
            for line in lines:
                self.trace("C", line)
        await self._put(b"\r\n".join([*lines, b""]))

    async def ask(self, line: bytes, *, shown: bytes | None = None) -> pop3.Reply:
        """One command and its status line."""
        await self._write(line + b"\r\n", shown=shown)
        return await self._reply()

    async def command(self, line: bytes) -> pop3.Reply:
        """One command. Raises ``Pop3Error`` where the server says no."""
        answer = await self.ask(line)
        if not answer.ok:
            raise pop3_error(answer)
        return answer

    async def listing(self) -> AsyncIterator[list[bytes]]:
        """The lines of a multi-line reply, as they come."""
        over = False
        while not over:
            while (taken := self.replies.listing()) is None:
                await self._more()
            lines, over = taken
            if self.trace is not None:
                self.trace("S", b"%d lines%b" % (len(lines), b" ." if over else b""))
            yield lines

    async def body(self) -> bytes | pop3.Mark:
        """The message behind a status line: whole, or ``LONG``."""
        while (taken := self.replies.body()) is None:
            await self._more()
        if self.trace is not None:
            self.trace("S", b"{...}")
        return taken

    def at_hand(self) -> bytes | None:
        """The next message with its status line, where both came whole and nobody wants to see the lines; else None."""
        return self.replies.message() if self.trace is None else None

    async def pieces(self) -> AsyncIterator[bytes]:
        """A long message in parts."""
        while (taken := self.replies.piece()) is not pop3.Mark.END:
            if isinstance(taken, bytes):
                yield taken
            else:
                await self._more()

    async def reply(self) -> pop3.Reply:
        """The next status line."""
        return await self._reply()

    async def _reply(self) -> pop3.Reply:
        read = pop3.reply(await self._line())
        if isinstance(read, pop3.Challenge):
            raise RemoteProtocolError("the server asks on where a reply was due")
        return read

    async def _line(self) -> bytes:
        while (line := self.replies.line()) is None:
            await self._more()
        line = self.masks(line)
        if self.trace is not None:
            self.trace("S", b"+ ***" if line.startswith(b"+ ") else line)
        return line

    async def _write(self, octets: bytes, *, shown: bytes | None = None) -> None:
        if self.trace is not None:
            self.trace("C", self.masks(octets.rstrip(b"\r\n")) if shown is None else shown)
        await self._put(octets)

    async def _put(self, octets: bytes) -> None:
        try:
            await self.stream.write(octets, self.place.protocol_timeout)
        except Lost as error:
            raise self._ended(error) from None

    async def _more(self) -> None:
        try:
            await self.stream.more(self.place.protocol_timeout)
        except Lost as error:
            raise self._ended(error) from None

    def _ended(self, error: Lost) -> Lost:
        until = self._valid_until
        if until is not None and self.clock.now() >= until - _LATE and until > self._logged_in_at:
            return SessionEnded(error.detail)
        return Lost(error.detail)

    async def quit(self) -> bool:
        """QUIT (RFC 1939 section 6): the server enters UPDATE and removes what is marked. False where it says no."""
        answer = await self.ask(b"QUIT")
        self.stream.close()
        return answer.ok


def pop3_error(answer: pop3.Reply) -> Pop3Error:
    """A refusal as an error."""
    return Pop3Error(_words(answer), code=answer.code, text=answer.text)


def _words(answer: pop3.Reply) -> str:
    code = f"[{answer.code}] " if answer.code else ""
    return f"{'+OK' if answer.ok else '-ERR'} {code}{answer.text}".strip()
