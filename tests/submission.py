"""What tests of submission share: the beginnings of scripts, envelopes, marks, and a submitter to a scripted server."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from fakes import HandClock, ScriptedServer, Traces, kit, place
from postroom.clock import Clock
from postroom.drivers.smtp import AFTER_THE_END, SmtpSubmitter, open_smtp
from postroom.net.credentials import Credentials
from postroom.outbound import Content, DeliveryStatus, Envelope, Octets, Recipient

TEXT = Octets(b"Subject: x\r\n\r\nhello\r\n")
LINES = "C: Subject: x\nC:\nC: hello\nC: .\n"
SENDS = "C: MAIL FROM:<a@b.c>\nC: RCPT TO:<x@y.z>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
BYE = "C: QUIT\nS: 221 bye\n"


def plainly(*offers: str) -> str:
    """A server that offers this."""
    lines = "".join(f"S: 250-{offer}\n" for offer in offers)
    return f"S: 220 hello\nC: EHLO [127.0.0.1]\nS: 250-hello\n{lines}S: 250 HELP\n"


def hello(*offers: str) -> str:
    """A server with PIPELINING and what else it offers."""
    return plainly("PIPELINING", *offers)


def to(*addresses: str, **fields: Any) -> Envelope:
    """An envelope."""
    return replace(Envelope("a@b.c", tuple(map(Recipient, addresses or ("x@y.z",)))), **fields)


@dataclass
class Marks:
    """Notes who may be accepted from then on; fails where it is told to."""

    seen: list[list[str]] = field(default_factory=list)
    error: BaseException | None = None

    async def __call__(self, addresses: Sequence[str]) -> None:
        self.seen.append(list(addresses))
        if self.error is not None:
            raise self.error


@dataclass(frozen=True)
class Streamed:
    """A message that is too large to be taken at once, or one whose store fails in the middle."""

    parts: Sequence[bytes]
    error: Exception | None = None

    @property
    def size(self) -> int:
        return max(sum(map(len, self.parts)), 1_000_000)

    def pieces(self) -> Iterator[bytes]:
        yield from self.parts
        if self.error is not None:
            raise self.error


@asynccontextmanager
async def submitting(
    *scripts: str,
    credentials: Credentials | None = None,
    clock: Clock | None = None,
    patience: float = AFTER_THE_END,
    timeout: float = 5.0,
    traces: Traces | None = None,
    tls: ssl.SSLContext | None = None,
    **there: Any,
) -> AsyncIterator[SmtpSubmitter]:
    """A submitter to the script's server, to the end of the script."""
    trace = traces("smtp-client-a") if traces is not None else None
    async with ScriptedServer(*scripts, tls=tls) as server:
        where = replace(place(server.port, timeout=timeout), **there)
        async with open_smtp(where, credentials, kit(clock or HandClock()), trace, patience=patience) as submitter:
            yield submitter


async def sent(
    submitter: SmtpSubmitter, envelope: Envelope | None = None, content: Content = TEXT, marks: Marks | None = None
) -> list[DeliveryStatus]:
    """Submit a message, by default a small one to one recipient."""
    return list(await submitter.submit(envelope or to(), content, marks or Marks()))


def brief(statuses: Sequence[DeliveryStatus]) -> list[tuple[object, ...]]:
    """The statuses without their words."""
    return [(status.address, status.state, status.code, status.enhanced) for status in statuses]
