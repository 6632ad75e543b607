"""The sandbox's SMTP server for submission: aiosmtpd's in our loop, with the logins and the strictness of a provider.

It listens twice on loopback: in the clear with STARTTLS, which must come before a login, and with TLS from the first octet.
Mail for the sandbox's accounts is in their INBOX before the answer; all other is kept aside, where it can be looked at, and
leaves the machine never. What is corrected of aiosmtpd stands beside its reason.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import logging
import re
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pysasl.exception import InvalidResponse

from postroom.clock import Clock, SystemClock
from postroom.sandbox.sasl import Bearer, Judge, Oauthbearer, Xoauth2

SIZE_LIMIT = 35_882_577  # octets of a message, what Gmail announces
RECIPIENT_LIMIT = 100  # of a message, as at Gmail by SMTP
LINE_LIMIT = 16_384  # octets of a command: a token is far longer than the 512 of RFC 5321 section 4.5.3.1.4

logging.getLogger("mail.log").addHandler(logging.NullHandler())  # aiosmtpd's; it warns of what it does itself

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@dataclass(frozen=True, slots=True)
class Submitted:
    """A message that the server took."""

    account: str  # who was logged in
    mail_from: str  # empty for the null reverse-path
    recipients: tuple[str, ...]  # those that this record is about
    octets: bytes  # as they came, without a trace field
    when: datetime


Deliver = Callable[[str, bytes, datetime], Awaitable[object]]


class SmtpServer:
    """Takes mail from who is logged in. Use it as ``async with``; the ports are known inside.

    ``outside`` holds what was for recipients who have no mailbox here, the oldest first; ``told`` is called for each. For those
    who have one ``arriving`` is called, with the account and the octets, just before the message is in its INBOX.
    """

    def __init__(
        self,
        judge: Judge,
        tls: ssl.SSLContext,
        deliver: Deliver,
        *,
        scope: str,
        discovery: str,
        port: int = 0,
        tls_port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.port = port  # in the clear, with STARTTLS; 0 until started: any free one
        self.tls_port = tls_port  # TLS from the first octet
        self.passwords: dict[str, str] = {}  # of each account, in lower case
        self.outside: list[Submitted] = []
        self.told: Callable[[Submitted], None] = lambda _: None
        self.arriving: Callable[[str, bytes], None] = lambda _account, _octets: None
        self._tls = tls
        self._deliver = deliver
        self._clock = clock or SystemClock()
        self._bearers = (
            Xoauth2(b"XOAUTH2", judge, scope, discovery),
            Oauthbearer(b"OAUTHBEARER", judge, scope, discovery),
        )
        self._servers: list[asyncio.Server] = []
        self._sessions: set[_Session] = set()

    async def __aenter__(self) -> SmtpServer:
        try:
            self.port = await self._listen(self.port, None)
            self.tls_port = await self._listen(self.tls_port, self._tls)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    def create_user(self, account: str, password: str) -> None:
        """Let the account send, with tokens or the password, and be sent to."""
        self.passwords[account.lower()] = password

    async def take(self, account: str, envelope: Envelope) -> None:
        """Deliver a message to whom it can be, and keep it aside for the others."""
        octets = envelope.original_content or b""
        when = datetime.fromtimestamp(self._clock.now(), UTC)
        people = {each.lower(): each for each in envelope.rcpt_tos}  # once, whatever its case
        sender = envelope.mail_from if envelope.mail_from != "<>" else ""
        for address in people:
            if address in self.passwords:
                traced = _traced(octets, sender or "", account, when)
                self.arriving(address, traced)
                await self._deliver(address, traced, when)
        others = tuple(each for address, each in people.items() if address not in self.passwords)
        if others:
            aside = Submitted(account, sender or "", others, octets, when)
            self.outside.append(aside)
            self.told(aside)

    async def _listen(self, port: int, tls: ssl.SSLContext | None) -> int:
        loop = asyncio.get_running_loop()
        offered = None if tls else self._tls  # STARTTLS where TLS is not on already

        def session() -> _Session:
            return _Session(_Handler(self, self._bearers), offered, self._sessions, loop)

        server = await loop.create_server(session, "127.0.0.1", port, ssl=tls)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        await asyncio.gather(*(session.end() for session in list(self._sessions)))
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()


class _Peer(Session):
    login_data: object = None  # aiosmtpd's property warns of each use, and aiosmtpd uses it


class _Session(SMTP):
    """One conversation."""

    line_length_limit = LINE_LIMIT

    def __init__(
        self, handler: _Handler, offered: ssl.SSLContext | None, sessions: set[_Session], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.command_size_limits = defaultdict(lambda: LINE_LIMIT)  # the class's is shared by all, and grows with each EHLO
        super().__init__(
            handler,
            data_size_limit=SIZE_LIMIT,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="Postroom sandbox ready",
            tls_context=offered,
            auth_required=True,
            auth_exclude_mechanism=["LOGIN"],
            authenticator=handler.password,
            loop=loop,
        )
        self._auth_require_tls = offered is not None  # aiosmtpd does not see that TLS is on from the first octet
        self._sessions = sessions
        self._ended = loop.create_future()

    def _create_session(self) -> Session:
        return _Peer(self.loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sessions.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._sessions.discard(self)
        if not self._ended.done():
            self._ended.set_result(None)

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        """As aiosmtpd's, but a mechanism's name counts without case (RFC 4954 section 4)."""
        name, blank, rest = (arg or "").partition(" ")
        await super().smtp_AUTH(f"{name.upper()}{blank}{rest}")

    async def end(self) -> None:
        """Say goodbye, and return when the connection is closed and nothing of it runs."""
        task = self._handler_coroutine
        if self.transport is not None:
            self._writer.write(b"421 4.3.2 The sandbox ends\r\n")
            self.transport.close()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        try:
            await asyncio.wait_for(asyncio.shield(self._ended), 0.5)
        except TimeoutError:  # the client did not close its side of TLS
            for transport in (self.transport, self._original_transport):
                if isinstance(transport, asyncio.Transport):
                    transport.abort()


class _Handler:
    """What is asked of the sandbox in one conversation. Names ``handle_...`` and ``auth_...`` are aiosmtpd's."""

    def __init__(self, server: SmtpServer, bearers: Sequence[Bearer]) -> None:
        self._server = server
        self._bearers: Mapping[bytes, Bearer] = {bearer.name: bearer for bearer in bearers}

    # --- who is there

    def password(self, _smtp: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: LoginPassword) -> AuthResult:
        """Whether it is an account's password."""
        account = given.login.decode("utf-8", "replace").lower()
        known = self._server.passwords.get(account)
        if known is None or not hmac.compare_digest(known.encode(), given.password):
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, auth_data=account)

    async def auth_XOAUTH2(self, smtp: SMTP, args: Sequence[str]) -> AuthResult:  # noqa: N802 - aiosmtpd's name
        return await self._bearer(smtp, args, self._bearers[b"XOAUTH2"])

    async def auth_OAUTHBEARER(self, smtp: SMTP, args: Sequence[str]) -> AuthResult:  # noqa: N802 - aiosmtpd's name
        return await self._bearer(smtp, args, self._bearers[b"OAUTHBEARER"])

    async def _bearer(self, smtp: SMTP, args: Sequence[str], bearer: Bearer) -> AuthResult:
        if len(args) == 1:
            answer = await smtp.challenge_auth("")
            if not isinstance(answer, bytes):
                return AuthResult(success=False)  # it was cancelled, and that was answered
        else:
            try:
                answer = base64.b64decode("" if args[1] == "=" else args[1], validate=True)
            except (binascii.Error, ValueError):
                return _malformed()
        try:
            verdict = bearer.judge(*bearer.read(answer))
        except InvalidResponse:
            return _malformed()
        if not verdict.error:
            return AuthResult(success=True, auth_data=verdict.account)
        # RFC 7628 section 3.2.3: whatever is answered to the reason, the login has failed.
        if not isinstance(await smtp.challenge_auth(json.dumps(bearer.refusal(verdict.error))), bytes):
            return AuthResult(success=False)
        return AuthResult(success=False, handled=False)

    # --- a message

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _smtp: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not address.isascii() and not envelope.smtp_utf8:
            return "550 5.6.7 That address needs SMTPUTF8"  # RFC 6531 section 3.2
        if address != "<>" and address.lower() != session.auth_data:
            return f"553 5.7.1 {session.auth_data} does not send for that address"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _smtp: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if not address.isascii() and not envelope.smtp_utf8:
            return "553 5.6.7 That address needs SMTPUTF8"
        if "@" not in address:
            return "553 5.1.3 That is no address"
        if len(envelope.rcpt_tos) >= RECIPIENT_LIMIT:
            return "452 4.5.3 Too many recipients"  # RFC 5321 section 4.5.3.1.10
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _smtp: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        # What servers end their messages at differently (LF.LF, CR.CR) lets a second message be smuggled in a first.
        if _BARE.search(envelope.original_content or b""):
            return "550 5.6.0 A line ends in CR or LF alone"  # RFC 5321 section 2.3.8
        await self._server.take(session.auth_data, envelope)  # type: ignore[arg-type]
        return "250 2.0.0 OK"

    async def handle_exception(self, _error: Exception) -> str:
        return "451 4.3.0 The sandbox failed"


def _malformed() -> AuthResult:
    return AuthResult(success=False, handled=False, message="501 5.5.2 That is no message of this mechanism")


def _traced(octets: bytes, sender: str, account: str, when: datetime) -> bytes:
    """The message with the trace that whoever delivers at last puts before it (RFC 5321 section 4.4)."""
    trace = (
        f"Return-Path: <{sender}>\r\n"
        f"Received: from [127.0.0.1] by localhost (Postroom sandbox, {account}) with ESMTPSA;\r\n"
        f"\t{format_datetime(when)}\r\n"
    )
    return trace.encode() + octets
