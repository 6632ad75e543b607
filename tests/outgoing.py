"""A mail server without a network, for what sends: it takes messages over, refuses, or loses the connection, as planned.

``MemoryServer`` keeps what it took, as no log of a client can show it. The same ``Submitter`` promises as a driver's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from postroom.drivers import Account, Commit
from postroom.errors import Lost, PostroomError
from postroom.outbound import Composed, Content, DeliveryStatus, Envelope, Handed, Octets, Recipient, RecipientState
from postroom.settings import SmtpClient

S = RecipientState
SECTION = "smtp-client-a"


@dataclass(frozen=True)
class Taken:
    """A message that the server has."""

    message: bytes
    recipients: tuple[str, ...]

    @property
    def octets(self) -> bytes:
        """As it came: its last line ended (RFC 5321 section 4.1.1.4)."""
        return self.message if self.message.endswith(b"\r\n") else self.message + b"\r\n"


@dataclass(frozen=True)
class Plan:
    """What the server does with one message."""

    refused: dict[str, DeliveryStatus] = field(default_factory=dict)  # at RCPT
    answer: tuple[int, str, str] = (250, "2.0.0", "taken")  # to the final dot
    fault: PostroomError | None = None  # what that answer says of the account: nothing is taken, and it is raised by the next call
    raises: Exception | None = None  # before anything could be accepted
    lost: bool = False  # after the final dot, before the answer …
    taken: bool = True  # … and whether the server has it then


@dataclass
class MemoryServer:
    """What all conversations of a test meet."""

    taken: list[Taken] = field(default_factory=list)
    plans: dict[bytes, list[Plan]] = field(default_factory=dict)  # by message: one for each attempt; then it is accepted
    refusing: dict[str, DeliveryStatus] = field(default_factory=dict)  # at RCPT, whatever the message
    login: PostroomError | None = None  # what a login comes to
    open: int = 0
    opened: int = 0
    most: int = 0
    attempts: int = 0
    logins: list[bool] = field(default_factory=list)  # of each conversation: whether it logged in
    checks: int = 0
    gate: Callable[[], object] | None = None  # awaited in the middle of each message
    accounts: list[Account] = field(default_factory=list)

    @asynccontextmanager
    async def conversation(self, account: Account) -> AsyncIterator[MemorySubmitter]:
        """As a driver opens one."""
        self.accounts.append(account)
        if self.login is not None:
            raise self.login
        self.opened += 1
        self.open += 1
        self.most = max(self.most, self.open)
        self.logins.append(account.client.authenticates)
        try:
            yield MemorySubmitter(self)
        finally:
            self.open -= 1

    def received(self) -> list[bytes]:
        """The messages that it has, once for each time that it took them over."""
        return sorted(taken.message for taken in self.taken)


class MemorySubmitter:
    """One conversation."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._stands = True
        self._fault: PostroomError | None = None

    async def submit(self, envelope: Envelope, content: Content, about_to_commit: Commit) -> Sequence[DeliveryStatus]:
        self._check()
        try:
            return await self._transact(envelope, content, about_to_commit)
        except BaseException:
            self._stands = False
            raise

    async def _transact(self, envelope: Envelope, content: Content, about_to_commit: Commit) -> Sequence[DeliveryStatus]:
        server = self._server
        server.attempts += 1
        message = b"".join(content.pieces())
        plans = server.plans.get(message, [])
        plan = plans.pop(0) if plans else Plan()
        await asyncio.sleep(0)
        if plan.raises is not None:
            raise plan.raises
        statuses = {**server.refusing, **plan.refused}
        accepted = [known.address for known in envelope.recipients if known.address not in statuses]
        if accepted:
            await about_to_commit(accepted)
            if server.gate is not None:
                await server.gate()  # type: ignore[misc]
            statuses |= {status.address: status for status in self._end(message, accepted, plan)}
        return [statuses[known.address] for known in envelope.recipients]

    def _end(self, message: bytes, accepted: list[str], plan: Plan) -> list[DeliveryStatus]:
        """What becomes of a message whose end has come."""
        code, enhanced, words = plan.answer
        if code < 300 and (not plan.lost or plan.taken):
            self._server.taken.append(Taken(message, tuple(accepted)))
        state = S.SENT if code < 300 else S.FAILED if code >= 500 and plan.fault is None else S.PENDING
        self._fault = plan.fault
        if plan.lost:
            self._stands = False
            state, code, enhanced, words = S.DOUBT, 0, "", "the connection was lost before the answer"
        return [DeliveryStatus(address, state, code, enhanced, words) for address in accepted]

    async def check(self) -> None:
        self._server.checks += 1
        self._check()

    def _check(self) -> None:
        if self._fault is not None:
            fault, self._fault = self._fault, None
            self._stands = self._stands and not isinstance(fault, Lost)
            raise fault
        if not self._stands:
            raise Lost("gone")

    def stands(self) -> bool:
        return self._stands


def account(**options: object) -> Account:
    """An account with these settings."""
    client = SmtpClient(section=SECTION, name="a", server="smtp.example.org", **options)  # type: ignore[arg-type]
    return Account(client, None, {})


def handed(message: bytes, *recipients: str, **fields: object) -> Handed:
    """A submission of a message."""
    people = tuple(Recipient(address) for address in recipients or ("to@example.org",))
    envelope = Envelope("from@example.org", people)
    composed = Composed(envelope, message, f"<{message.decode()}@example.org>", message.decode())
    return Handed(SECTION, composed, **fields)  # type: ignore[arg-type]


__all__ = ["SECTION", "MemoryServer", "MemorySubmitter", "Octets", "Plan", "Taken", "account", "handed"]
