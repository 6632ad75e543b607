"""The records of what is sent, and the table of a recipient's states.

A ``Submission`` (RFC 6409, RFC 8621 section 7) is one message on its way out: an ``Envelope`` (RFC 5321 section 2.3.1), its
octets, and one ``DeliveryStatus`` for each recipient. Frozen, as all records are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from postroom.model import Reference, Work, WorkState


class RecipientState(enum.Enum):
    """Where a message stands for one of its recipients."""

    PENDING = "pending"  # waits to be sent, for the first time or again
    SENDING = "sending"  # from just before the octet after which the server may accept
    SENT = "sent"  # the server took it over
    FAILED = "failed"  # refused for good, or for too long
    DOUBT = "doubt"  # the server may have taken it over; nobody knows
    CANCELLED = "cancelled"  # taken back before it was sent
    BOUNCED = "bounced"  # a later report said that it was not delivered


_S = RecipientState
RECIPIENT_MOVES: Mapping[RecipientState, frozenset[RecipientState]] = {
    _S.PENDING: frozenset({_S.SENDING, _S.FAILED, _S.CANCELLED}),  # FAILED: refused before anything could be accepted
    _S.SENDING: frozenset({_S.SENT, _S.PENDING, _S.FAILED, _S.DOUBT}),
    _S.DOUBT: frozenset({_S.SENT, _S.PENDING, _S.FAILED}),  # by evidence, by the option in-doubt, or by a person
    _S.SENT: frozenset({_S.BOUNCED}),
    _S.FAILED: frozenset({_S.PENDING}),  # replayed
    _S.CANCELLED: frozenset(),
    _S.BOUNCED: frozenset(),
}
"""The only moves there are; the store refuses any other."""

FINAL = frozenset({_S.SENT, _S.FAILED, _S.CANCELLED, _S.BOUNCED})
"""States that nothing but a person or a report moves any more."""


class Body(enum.Enum):
    """What octets a message has (the parameter BODY of RFC 6152 section 3 and RFC 3030 section 3)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"
    BINARY = "BINARYMIME"  # NUL, bare CR or LF, or lines that are too long


class Recipient(NamedTuple):
    """One recipient of an envelope."""

    address: str  # in ASCII, its domain in A-labels; in UTF-8 only where ``Envelope.smtputf8`` says so
    notify: tuple[str, ...] = ()  # NEVER, or of SUCCESS, FAILURE, DELAY (RFC 3461 section 4.1); empty: as the server likes
    orcpt: str = ""  # the original recipient, "rfc822;" with xtext not yet applied (RFC 3461 section 4.2)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a server is told beside the message itself."""

    mail_from: str  # empty for the null reverse-path (RFC 5321 section 4.5.5)
    recipients: tuple[Recipient, ...]
    body: Body = Body.SEVEN_BIT
    smtputf8: bool = False  # the header or an address needs RFC 6531
    envid: str = ""  # RFC 3461 section 4.4
    ret: str = ""  # FULL or HDRS (RFC 3461 section 4.3)


class Content(Protocol):
    """A message's octets, with CRLF at the end of every line."""

    @property
    def size(self) -> int:
        """Octets, before any dot is doubled (RFC 1870 section 3)."""

    def pieces(self) -> Iterator[bytes]:
        """All of them from the start, in pieces. Raises ``StoreError`` where they cannot be read."""


@dataclass(frozen=True, slots=True)
class Octets:
    """Content that is at hand."""

    octets: bytes

    @property
    def size(self) -> int:
        return len(self.octets)

    def pieces(self) -> Iterator[bytes]:
        yield self.octets


class DeliveryStatus(NamedTuple):
    """What became of one recipient, with the server's own words."""

    address: str
    state: RecipientState
    code: int = 0  # RFC 5321 section 4.2; 0: no reply
    enhanced: str = ""  # RFC 3463, as "5.1.1"; empty where the server has none
    words: str = ""  # the server's, without both codes; ours where there is no reply


@dataclass(frozen=True, slots=True)
class Composed:
    """A message made from a draft, or taken as it was given, ready for the queue."""

    envelope: Envelope
    octets: bytes
    message_id: str  # with its angle brackets
    subject: str  # decoded, for lists


# --- the queue ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Handed:
    """What is handed in to be sent."""

    client: str  # section that sends it
    composed: Composed
    owner: str = ""  # who hands it in: the id of an API key, a listener's account; empty for the command line
    key: str | None = None  # Idempotency-Key: once more with it is the same submission
    asked: bytes = b""  # SHA-256 of the request where there is a key: with the same one another request is refused
    send_at: float = 0.0  # not before
    answers: str = ""  # public id of the message that it is a reply to


class Doubt(NamedTuple):
    """A recipient whose acceptance is not known."""

    number: int
    address: str
    since: float
    marked: float = 0.0  # when the server might begin to accept


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A submission claimed to be sent now: what of it is still to be done."""

    work: Work
    public_id: str
    envelope: Envelope  # of the recipients that are pending
    numbers: tuple[int, ...]  # theirs, in that order
    doubts: tuple[Doubt, ...]
    failed: bool  # a recipient has failed before
    reference: Reference
    message_id: str
    ambiguous: bool = False  # a copy in Sent may be from another recipient's turn, or another submission's of the same Message-ID


class Mark(NamedTuple):
    """The server may accept from now on."""

    work: Work
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Passed:
    """What an attempt came to: each recipient that it concerned, and what becomes of the work."""

    work: Work
    statuses: tuple[tuple[int, DeliveryStatus], ...]
    state: WorkState
    not_before: float = 0.0
    first_failed_at: float | None = None
    fault: str = ""
    passages: tuple[tuple[str, str, str], ...] = ()  # event, address, words
    copy: bool = False  # a copy belongs in Sent, once somebody has it


class Filing(NamedTuple):
    """A copy in Sent, claimed to be filed now."""

    work: Work  # its subject is the submission
    public_id: str
    message_id: str
    reference: Reference
    sent_at: float  # when the server began to take it over


@dataclass(frozen=True, slots=True)
class RecipientRow:
    """A recipient for lists."""

    address: str
    state: RecipientState
    code: int
    enhanced: str
    words: str
    at: float


class Passage(NamedTuple):
    """Something that happened to a submission."""

    at: float
    event: str
    address: str
    words: str


@dataclass(frozen=True, slots=True)
class SubmissionRow:
    """A submission for lists."""

    id: str  # public, opaque (UUIDv7)
    client: str
    owner: str
    state: WorkState
    attempts: int
    not_before: float
    fault: str  # why it waits, or was given up
    mail_from: str
    message_id: str
    subject: str
    size: int  # octets
    answers: str
    created_at: float
    send_at: float
    recipients: tuple[RecipientRow, ...]


@dataclass(frozen=True, slots=True)
class LaneCounts:
    """How many submissions of a client stand where."""

    ready: int = 0  # wait to be sent
    leased: int = 0  # are being sent
    waiting: int = 0  # for a person
    dead: int = 0  # were given up
    oldest: float | None = None  # when the oldest of those that wait was handed in


STATE_WORDS: Mapping[WorkState, str] = {
    WorkState.READY: "queued",
    WorkState.LEASED: "sending",
    WorkState.DONE: "sent",
    WorkState.WAITING: "in doubt",
    WorkState.DEAD: "failed",
    WorkState.CANCELLED: "cancelled",
}
"""A submission's state for people, by the state of its work."""
