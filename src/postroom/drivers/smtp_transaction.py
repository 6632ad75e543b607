"""One mail transaction (RFC 5321 section 3.3): MAIL, RCPT for each recipient, the content, and the answer that counts.

Nothing complete reaches the server before ``about_to_commit`` has returned: a small message leaves behind it, and of a long
one the end, without which no server has it. What is said up to there by an error has changed nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from postroom.drivers import Commit
from postroom.drivers.smtp_replies import At, Scope
from postroom.drivers.smtp_session import SmtpSession
from postroom.errors import LocalProtocolError, Lost, PostroomError, RemoteProtocolError, TimedOut
from postroom.outbound import Body, Content, DeliveryStatus, Envelope, Recipient, RecipientState
from postroom.wire.smtp import commands
from postroom.wire.smtp.content import LineEnds, Stuffing, whole
from postroom.wire.smtp.replies import Reply

_GROUP = 100  # commands in flight: their replies fit into what both ends hold (RFC 2920 section 3.1)
_TAIL = 512  # octets of a long message that wait for the mark, where it goes in chunks
_SERVICE_ENDS = 421  # the server closes (RFC 5321 section 3.8): no further reply comes


@dataclass(frozen=True, slots=True)
class Letter:
    """What the transactions of one submission share."""

    envelope: Envelope
    content: Content
    octets: bytes | None  # all of the content, where it is small


class Transaction:
    """One of them. ``fault``: what its last answer said of the account, to be raised before anything else is sent."""

    def __init__(self, session: SmtpSession, letter: Letter, recipients: Sequence[Recipient], commit: Commit, patience: float):
        self._session = session
        self._letter = letter
        self._recipients = recipients
        self._commit = commit
        self._patience = patience  # seconds, for the answer to the end of the message
        self._chunked = "CHUNKING" in session.capabilities  # measured: docs/decisions/0018
        self._owed = 0  # replies to chunks that were not waited for
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
            along = pipelining and not self._chunked and start + step >= len(lines)
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
        return await self._replies(len(lines))

    async def _replies(self, count: int, timeout: float | None = None) -> list[Reply]:
        replies: list[Reply] = []
        while len(replies) < count and not (replies and replies[-1].code == _SERVICE_ENDS):
            replies.append(await self._session.reply(timeout))
        return replies

    def _refuse(self, reply: Reply, at: At, numbers: Sequence[int] | None = None) -> None:
        """Note what a refusal means for these recipients, else all that wait. Raises what concerns the account."""
        judgement = self._session.judge(reply, at)
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
        if not self._chunked:
            data = data or await self._session.ask(b"DATA\r\n")
            if data.code != 354:
                if data.ok:
                    raise RemoteProtocolError(f"an answer to DATA: {data.words}")
                self._refuse(data, At.DATA)
                await self._reset()
                return
        octets = self._letter.octets
        if octets is None:
            await self._send_long()
        elif not self._chunked:
            await self._finish(whole(octets))
        else:
            if self._lines_only and octets and not octets.endswith(b"\r\n"):
                octets += b"\r\n"
            await self._finish(commands.bdat(len(octets), last=True) + octets)

    @property
    def _lines_only(self) -> bool:
        return self._letter.envelope.body is not Body.BINARY

    async def _send_long(self) -> None:
        """All but the end of a long message, and its end behind the mark."""
        session = self._session
        try:
            end = await (self._chunks() if self._chunked else self._stream())
        except LocalProtocolError as error:
            session.stream.abort()  # the end must never follow
            words = f"{error.detail}, and only BINARYMIME (RFC 3030) carries that"
            self._note(RecipientState.FAILED, Reply(0, "5.6.0", (words.encode(),)))
        except Lost:
            early = session.replies.reply()  # what it said before it hung up
            if early is None or early.ok:
                raise
            self._refuse(early, At.DATA)
        else:
            if end:
                await self._finish(end)

    def _shown(self, octets: bytes) -> bytes:
        """What a trace shows of content: how much it is."""
        head = octets.find(b"\r\n") + 2 if self._chunked else 0
        return b"%b{%d octets}" % (octets[:head].replace(b"\r\n", b" "), len(octets) - head)

    async def _stream(self) -> bytes:
        """All but the end, which is returned."""
        stuffing = Stuffing()
        for piece in self._letter.content.pieces():
            stuffed = stuffing.piece(piece)
            await self._session.write(stuffed, shown=self._shown(stuffed))
            # A network that keeps up holds no write up: the turn is given away so that an end of the connection, or of the task,
            # is seen before the rest of the message was sent to nobody, and a doubt made of it.
            await asyncio.sleep(0)
        return stuffing.end()

    async def _chunks(self) -> bytes:
        """The same in chunks (RFC 3030 section 2), of which the last is small. Nothing is returned where one was refused."""
        lines, held = LineEnds(), b""
        for piece in self._letter.content.pieces():
            if self._lines_only:
                lines.check(piece)
            if held and not await self._chunk(held):
                return b""
            held = piece
        held += lines.end()
        if len(held) > _TAIL and not await self._chunk(held[:-_TAIL]):
            return b""
        held = held[-_TAIL:]
        return commands.bdat(len(held), last=True) + held

    async def _chunk(self, octets: bytes) -> bool:
        """One that is not the last; where the server takes several commands at once it is one ahead of its reply.

        False: one was refused, and the transaction is over.
        """
        session = self._session
        chunk = commands.bdat(len(octets), last=False) + octets
        await session.write(chunk, shown=self._shown(chunk))
        self._owed += 1
        if self._owed == 1 and "PIPELINING" in session.capabilities:
            return True
        self._owed -= 1
        if (reply := await session.reply()).ok:
            return True
        self._refuse(reply, At.DATA)
        await self._replies(self._owed)
        await self._reset()
        return False

    async def _finish(self, end: bytes) -> None:
        """The octets after which the server may accept, and its answer, behind the replies that it still owes."""
        session = self._session
        waiting = self._waiting
        await self._commit([self._recipients[number].address for number in waiting])
        if not session.stream.open:
            self._note(RecipientState.PENDING, Reply(0, lines=(b"the connection was lost before the end of the message was sent",)))
            return
        if not (self._owed or session.replies.empty):
            self._answered_early()
            return
        try:
            await session.write(end, shown=self._shown(end))
            reply = _answer(await self._replies(1 + self._owed, self._patience))
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

    def _answered_early(self) -> None:
        """Something was said before the end was: were it sent, nobody could tell which of two answers is the one to it."""
        session = self._session
        early = session.replies.reply()
        session.stream.abort()
        if early is not None and not early.ok:
            self._refuse(early, At.END)
            return
        words = b"the server answered before the end of the message was sent"
        self._note(RecipientState.PENDING, Reply(0, lines=(words + (f": {early.words}".encode() if early else b""),)))


def _answer(replies: Sequence[Reply]) -> Reply:
    """The reply that counts: the first that is negative, else the last. Raises ``RemoteProtocolError``."""
    if any(300 <= reply.code < 400 for reply in replies) or (replies[-1].ok and not all(reply.ok for reply in replies)):
        raise RemoteProtocolError(f"an answer to the end of a message: {'; '.join(reply.words for reply in replies)}")
    return next((reply for reply in replies if not reply.ok), replies[-1])
