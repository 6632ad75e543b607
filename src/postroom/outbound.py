"""The records of what is sent, and the table of a recipient's states.

A ``Submission`` (RFC 6409, RFC 8621 section 7) is one message on its way out: an ``Envelope`` (RFC 5321 section 2.3.1), its
octets, and one ``DeliveryStatus`` for each recipient. Frozen, as all records are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol


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
