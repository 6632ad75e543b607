"""One session with an SMTP submission server (RFC 6409): greeting, EHLO, TLS, login, commands in flight.

``SmtpSession.open`` takes these steps: connect; read the greeting; EHLO; STARTTLS where asked for (RFC 3207), and EHLO once
more, for what was said in clear counts for nothing; log in, once more with a fresh token when the first was refused. There
is no EHLO behind the login: some servers forget it then.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from postroom.clock import Clock
from postroom.drivers.opening import begin, dial
from postroom.drivers.provider import Place
from postroom.drivers.refused import passing, refused
from postroom.drivers.smtp_replies import At, Judgement, fault_of, judge, throttled_by
from postroom.errors import Lost, PostroomError, RemoteProtocolError, SessionEnded, SmtpReply, TlsError
from postroom.net.credentials import Answer, Credentials
from postroom.net.stream import Dialer, Stream, Trace
from postroom.settings import Security
from postroom.wire.masking import Masks
from postroom.wire.sasl import OAuthError, conclusion, decoded
from postroom.wire.smtp import commands
from postroom.wire.smtp.capabilities import Capabilities, capabilities
from postroom.wire.smtp.replies import Replies, Reply

_LATE = 5.0  # seconds before a token's end from which on a closed session is its end
_NO_EHLO = (500, 502, 504, 550)  # a server without extensions (RFC 5321 section 3.2; 550: RFC 1869 section 4.5)
_GOODBYE = 5.0  # seconds that the answer to QUIT is waited for


@dataclass
class SmtpSession:
    """A session, logged in where there are credentials. One task uses it; after an error it is closed and never used again."""

    stream: Stream
    replies: Replies
    place: Place
    clock: Clock
    trace: Trace | None
    capabilities: Capabilities = field(default_factory=Capabilities)
    masks: Masks = field(default_factory=Masks)  # what the trace and errors must not hold, whoever says it
    valid_until: float | None = None  # the end of the token that logged in
    _logged_in: bool = False
    _logged_in_at: float = 0.0

    @classmethod
    async def open(
        cls, place: Place, credentials: Credentials | None, dialer: Dialer, clock: Clock, trace: Trace | None
    ) -> SmtpSession:
        """Connect and log in, without credentials the former alone.

        Raises the network's errors, ``AuthError``, ``Throttled``, ``SmtpReply``.
        """
        session = await cls.connect(place, dialer, clock, trace)
        await begin(session, dialer, credentials)
        return session

    @classmethod
    async def connect(cls, place: Place, dialer: Dialer, clock: Clock, trace: Trace | None) -> Self:
        """The first step of ``open``: the connection, with TLS where it begins with it. Raises ``ConnectError``, ``TimedOut``."""
        replies = Replies()
        return cls(await dial(place, dialer, replies), replies, place, clock, trace)

    async def greet(self, dialer: Dialer) -> None:
        """The second: greeting, EHLO, STARTTLS."""
        greeting = await self.reply()
        if not greeting.ok:  # RFC 5321 section 3.1: 554; section 4.2.3: 421
            raise self.fault(greeting, At.GREETING)
        await self._hello()
        if self.place.security is Security.START_TLS:
            await self._start_tls(dialer)

    async def _hello(self) -> None:
        name = commands.own_name(self.place.presents or self.stream.own_address)
        answer = await self.ask(commands.ehlo(name))
        if answer.ok:
            self.capabilities = capabilities(answer)
            return
        if answer.code in _NO_EHLO:
            answer = await self.ask(commands.helo(name))
        if not answer.ok:
            raise self.fault(answer, At.GREETING)

    async def _start_tls(self, dialer: Dialer) -> None:
        place = f"{self.place.host}:{self.place.port}"
        if "STARTTLS" not in self.capabilities:
            raise TlsError(
                f"{place} does not offer STARTTLS",
                remedy="Set smtp-connection-security = ssl-tls (port 465), or ask the provider. Nothing was sent in clear.",
            )
        answer = await self.ask(b"STARTTLS\r\n")
        if not answer.ok:
            raise TlsError(f"{place} refuses STARTTLS: {answer.words}")
        if not self.replies.empty:
            raise TlsError("the server sent more before TLS began; somebody may be in between")
        await self.stream.start_tls(dialer, self.place.ca_file, self.place.connect_timeout)
        self.capabilities = Capabilities()  # what was said in clear counts for nothing (RFC 3207 section 4.2)
        await self._hello()

    def judge(self, reply: Reply, at: At) -> Judgement:
        """What a refusal means."""
        return judge(reply, at, self.place.provider, anonymous=not self._logged_in and bool(self.mechanisms))

    def fault(self, reply: Reply, at: At) -> PostroomError:
        """A refusal that concerns the account, or whoever comes from here, as an error."""
        error = fault_of(self.judge(reply, at), reply, self.place.host)
        return self._ended(error) if isinstance(error, Lost) else error

    # --- login

    @property
    def mechanisms(self) -> Sequence[str]:
        """The mechanisms of login that the server offers."""
        return self.capabilities.mechanisms

    async def log_in(self, credentials: Credentials) -> None:
        """The last step. Raises ``AuthError``, ``Throttled``, ``SmtpReply``."""
        self.masks = Masks(credentials.user)
        for attempt in (1, 2):
            answer = await credentials.answer(self.mechanisms, self.place.host, self.place.port)
            reply, oauth = await self._authenticate(answer)
            if reply.ok:
                self._logged_in, self.valid_until, self._logged_in_at = True, answer.valid_until, self.clock.now()
                return
            no, trouble = await self._refusal(credentials, reply, oauth)
            if trouble is not None:
                raise trouble
            if attempt == 1 and await credentials.refused(answer.version):
                continue
            raise no

    async def _refusal(
        self, credentials: Credentials, reply: Reply, oauth: OAuthError | None
    ) -> tuple[PostroomError, PostroomError | None]:
        """The refused login, explained by the tables and by the token itself where it can be read.

        The second is why it may be passing trouble.
        """
        challenge = f" {oauth.challenge}" if oauth is not None else ""
        said = f"{self.place.host}: {reply.words}" + (f" ({oauth})" if oauth is not None else "")
        explained = await credentials.explain(reply.words + challenge)
        trouble = throttled_by(self.judge(reply, At.LOGIN), reply, self.place.host) or passing(
            explained,
            said,
            lambda remedy: SmtpReply(said, code=reply.code, enhanced=reply.enhanced, text=reply.text, remedy=remedy),
        )
        return refused(explained, said), trouble

    async def _authenticate(self, answer: Answer) -> tuple[Reply, OAuthError | None]:
        exchange = answer.exchange
        pending = next(exchange)
        self.masks.hide(pending or b"")
        line = commands.auth(answer.mechanism)
        if pending is not None:
            at_once = commands.auth(answer.mechanism, base64.b64encode(pending) or b"=")
            if len(at_once) <= commands.AUTH:  # else it follows in a line of its own
                line, pending = at_once, None
        await self.write(line, shown=f"AUTH {answer.mechanism} ***".encode())
        while True:
            reply = await self.reply()
            if reply.code != 334:
                return reply, conclusion(exchange)
            if pending is not None:
                response, pending = pending, None
            else:
                try:
                    response = exchange.send(decoded(b"".join(reply.lines))) or b""
                except StopIteration:
                    raise RemoteProtocolError("the server goes on asking after the last answer") from None
            self.masks.hide(response)
            await self.write(base64.b64encode(response) + b"\r\n", shown=b"***")

    # --- commands

    async def ask(self, line: bytes) -> Reply:
        """One command, with its line end, and its reply."""
        await self.write(line)
        return await self.reply()

    async def write(self, octets: bytes, *, shown: bytes | None = None) -> None:
        """Send commands, or what ``shown`` says that they are. Raises ``Lost``, ``TimedOut``."""
        if self.trace is not None:
            for line in [shown] if shown is not None else octets.split(b"\r\n")[:-1]:
                self.trace("C", self.masks(line))
        try:
            await self.stream.write(octets, self.place.protocol_timeout)
        except Lost as error:
            raise self._ended(error) from None

    async def reply(self, timeout: float | None = None) -> Reply:
        """The next reply, whole within that time however it drips. Raises ``Lost``, ``TimedOut``, ``RemoteProtocolError``."""
        seconds = timeout or self.place.protocol_timeout
        end = self.clock.monotonic() + seconds
        while (reply := self.replies.reply()) is None:
            try:
                await self.stream.more(min(seconds, max(end - self.clock.monotonic(), 0.001)))
            except Lost as error:
                raise self._ended(error) from None
        lines = tuple(map(self.masks, reply.lines))
        if lines != reply.lines:
            reply = replace(reply, lines=lines)
        if self.trace is not None:
            self.trace("S", b"334 ***" if reply.code == 334 else reply.words.encode())
        return reply

    def _ended(self, error: Lost) -> Lost:
        until = self.valid_until
        if until is not None and self.clock.now() >= until - _LATE and until > self._logged_in_at:
            return SessionEnded(error.detail)
        return error

    async def quit(self) -> None:
        """QUIT (RFC 5321 section 4.1.1.10): part politely. What the server says to it changes nothing."""
        try:
            await self.write(b"QUIT\r\n")
            await self.reply(min(_GOODBYE, self.place.protocol_timeout))
        except PostroomError:
            pass
        finally:
            self.stream.close()
