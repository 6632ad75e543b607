"""One mail transaction (RFC 5321 section 3.3): MAIL, RCPT for each recipient, the content, and the answer that counts.

Nothing complete reaches the server before ``about_to_commit`` has returned: a small message leaves behind it, and of a long
one the end, without which no server has it. What is said up to there by an error has changed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from postroom.drivers import Commit
from postroom.drivers.smtp_replies import At, Scope, judge
from postroom.drivers.smtp_session import SmtpSession
from postroom.errors import LocalProtocolError, Lost, PostroomError, RemoteProtocolError, TimedOut
from postroom.outbound import Body, Content, DeliveryStatus, Envelope, Recipient, RecipientState
from postroom.wire.smtp import commands
from postroom.wire.smtp.content import Stuffing, whole
from postroom.wire.smtp.replies import Reply

_GROUP = 100  # commands in flight: their replies fit into what both ends hold (RFC 2920 section 3.1)
_SERVICE_ENDS = 421  # the server closes (RFC 5321 section 3.8): no further reply comes


@dataclass(frozen=True, slots=True)
class Letter:
    """What the transactions of one submission share."""

    envelope: Envelope
    content: Content
    octets: bytes | None  # all of the content, where it is small

    @property
    def binary(self) -> bool:
        """Whether it goes in chunks (RFC 3030), which nothing else needs."""
        return self.envelope.body is Body.BINARY


class Transaction:
    """One of them. ``fault``: what its last answer said of the account, to be raised before anything else is sent."""

    def __init__(self, session: SmtpSession, letter: Letter, recipients: Sequence[Recipient], commit: Commit, patience: float):
        self._session = session
        self._letter = letter
        self._recipients = recipients
        self._commit = commit
        self._patience = patience  # seconds, for the answer to the end of the message
        self._statuses: list[DeliveryStatus | None] = [None] * len(recipients)
        self.fault: PostroomError | None = None

    async def run(self) -> list[DeliveryStatus]:
        """Take it to its end; one status for each recipient. What concerns the account raises."""
        lines = self._lines()
        try:
            data = await self._introduce(lines)
            waiting = self._waiting
            if waiting:
                await self._send(data)
            elif data is not None and data.code == 354:  # RFC 2920 section 3.1: a lone dot ends what nobody gets
                await self._session.ask(b".\r\n")
            else:
                await self._reset()
        except BaseException:
            self._session.stream.abort()
            raise
        return [status for status in self._statuses if status is not None]

    def _lines(self) -> list[bytes]:
        """MAIL and each RCPT. Raises ``LocalProtocolError``."""
        envelope, has = self._letter.envelope, self._session.capabilities
        dsn = "DSN" in has
        mail = commands.mail(
            envelope.mail_from,
            size=self._letter.content.size if "SIZE" in has else None,
            body=envelope.body if envelope.body is not Body.SEVEN_BIT else None,
            smtputf8=envelope.smtputf8,
            ret=envelope.ret if dsn else "",
            envid=envelope.envid if dsn else "",
        )
        return [mail, *(commands.rcpt(each, smtputf8=envelope.smtputf8, dsn=dsn) for each in self._recipients)]

    @property
    def _waiting(self) -> list[int]:
        """Those who are neither refused nor served."""
        return [number for number, status in enumerate(self._statuses) if status is None]

    # --- envelope

    async def _introduce(self, lines: list[bytes]) -> Reply | None:
        """MAIL and RCPT; the answer to DATA, where that went along (RFC 2920 section 3.1)."""
        pipelining = "PIPELINING" in self._session.capabilities
        step = _GROUP if pipelining else 1
        for start in range(0, len(lines), step):
            group = lines[start : start + step]
            along = pipelining and not self._letter.binary and start + step >= len(lines)
            replies = await self._exchange([*group, b"DATA\r\n"] if along else group)
            data = replies.pop() if along and len(replies) > len(group) else None
            if start == 0 and not replies[0].ok:
                self._refuse(replies[0], At.MAIL)
                return data
            for number, reply in enumerate(replies, start - 1):
                if number >= 0 and not reply.ok:
                    self._refuse(reply, At.RCPT, [number])
            if along:
                return data
        return None

    async def _exchange(self, lines: list[bytes]) -> list[Reply]:
        """The replies to commands that are sent together, fewer only where the server takes its leave."""
        await self._session.write(b"".join(lines))
        replies: list[Reply] = []
        while len(replies) < len(lines):
            replies.append(await self._session.reply())
            if replies[-1].code == _SERVICE_ENDS:
                break
        return replies

    def _refuse(self, reply: Reply, at: At, numbers: Sequence[int] | None = None) -> None:
        """Note what a refusal means for these recipients, else all that wait. Raises what concerns the account."""
        judgement = judge(reply, at, self._session.place.provider)
        if judgement.scope is Scope.ACCOUNT:
            fault = self._session.fault(reply, at)
            if at is not At.END:
                raise fault
            self.fault = fault  # a definite no: the server has taken nothing
        permanent = judgement.permanent and judgement.scope is not Scope.ACCOUNT
        state = RecipientState.FAILED if permanent else RecipientState.PENDING
        self._note(state, reply, numbers)

    def _note(self, state: RecipientState, reply: Reply, numbers: Sequence[int] | None = None) -> None:
        for number in self._waiting if numbers is None else numbers:
            address = self._recipients[number].address
            self._statuses[number] = DeliveryStatus(address, state, reply.code, reply.enhanced, reply.text)

    async def _reset(self) -> None:
        """End a transaction in which nothing was accepted (RFC 5321 section 4.1.1.5)."""
        session = self._session
        try:
            done = session.stream.open and (await session.ask(b"RSET\r\n")).ok
        except (Lost, TimedOut, RemoteProtocolError):
            done = False
        if not done:
            session.stream.abort()

    # --- content

    async def _send(self, data: Reply | None) -> None:
        if not self._letter.binary:
            data = data or await self._session.ask(b"DATA\r\n")
            if data.code != 354:
                if data.ok:
                    raise RemoteProtocolError(f"an answer to DATA: {data.words}")
                self._refuse(data, At.DATA)
                await self._reset()
                return
        octets = self._letter.octets
        if octets is None:
            end = await (self._chunks() if self._letter.binary else self._stream())
        else:
            end = commands.bdat(len(octets), last=True) + octets if self._letter.binary else whole(octets)
        if end:
            await self._finish(end)

    async def _stream(self) -> bytes:
        """A long message without its end, which is returned; nothing where the server broke it off by a reply."""
        session = self._session
        stuffing = Stuffing()
        try:
            for piece in self._letter.content.pieces():
                await session.write(stuffing.piece(piece), shown=b"{%d octets}" % len(piece))
            return stuffing.end()
        except LocalProtocolError as error:
            session.stream.abort()  # the dot must never follow
            self._note(
                RecipientState.FAILED, Reply(0, "5.6.0", (f"{error.detail}, and only BINARYMIME (RFC 3030) carries that".encode(),))
            )
            return b""
        except Lost:
            early = session.replies.reply()  # what it said before it hung up
            if early is None or early.ok:
                raise
            self._refuse(early, At.DATA)
            return b""

    async def _chunks(self) -> bytes:
        """A long message in chunks, without the last, empty one (RFC 3030 section 2)."""
        session = self._session
        for piece in self._letter.content.pieces():
            head = commands.bdat(len(piece), last=False)
            await session.write(head + piece, shown=b"%b{%d octets}" % (head, len(piece)))
            reply = await session.reply()
            if not reply.ok:
                self._refuse(reply, At.DATA)
                await self._reset()
                return b""
        return commands.bdat(0, last=True)

    async def _finish(self, end: bytes) -> None:
        """The octets after which the server may accept, and its answer."""
        session = self._session
        waiting = self._waiting
        await self._commit([self._recipients[number].address for number in waiting])
        if not session.stream.open:
            self._note(RecipientState.PENDING, Reply(0, lines=(b"the connection was lost before the end of the message was sent",)))
            return
        try:
            await session.write(end, shown=b"{%d octets}" % len(end))
            reply = await session.reply(self._patience)
            if 300 <= reply.code < 400:
                raise RemoteProtocolError(f"an answer to the end of a message: {reply.words}")
        except (Lost, TimedOut, RemoteProtocolError) as error:  # RFC 1047: it may have been taken over
            session.stream.abort()
            self._note(RecipientState.DOUBT, Reply(0, lines=(f"no answer to the end of the message: {error}".encode(),)))
            return
        if reply.ok:
            self._note(RecipientState.SENT, reply)
            return
        self._refuse(reply, At.END)
        if reply.code == _SERVICE_ENDS:
            session.stream.abort()
