"""The records that pass between the layers, and the tables of states.

Everything here is frozen: a record is a fact, a change makes a new one. What is made for each message that is read is a named
tuple, which costs a third of a frozen dataclass. Sizes are octets, times are seconds since
1970-01-01 UTC unless a name says otherwise.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from postroom.errors import PostroomError
from postroom.secret import Secret


class Disposition(enum.Enum):
    """What is done with a message at its server once it is safe here. Decided when it is captured."""

    KEEP = "keep"
    SEEN = "seen"
    DELETE = "delete"
    MOVE = "move"
    RETRIEVED = "retrieved"  # kept, where the provider hides what was retrieved: the hiding is to be committed


# --- what a Reader says ---------------------------------------------------------------------------------------------


class Listed(NamedTuple):
    """A message as its server lists it."""

    identifier: str  # the server's own identity of it; IMAP: "UIDVALIDITY/UID"
    size: int  # octets, as the server says
    internal_date: str  # when the server got it, in the server's own words; compared, never computed with
    email_id: str = ""  # an identity that survives a move, where the server has one (RFC 8474, X-GM-MSGID)


@dataclass(frozen=True, slots=True)
class Changes:
    """What arrived in a folder since a state (the form of RFC 8620 section 5.2)."""

    created: tuple[Listed, ...]
    new_state: str  # read by the driver alone
    more: bool = False  # ask again: the limit cut this answer off
    reset: str = ""  # why identities are not comparable with what we had; empty when they are
    complete: bool = False  # what is not named here is gone
    total: int | None = None  # messages in the folder, for progress
    left: int | None = None  # of them still to be listed, after these
    hides: bool = False  # what is retrieved is shown no more after commit …
    behind: bool = False  # … and more may be shown then
    began: str = ""  # the state while nothing of this is had; kept before anything is captured
    spared: tuple[Listed, ...] = ()  # listed like ``created``, and left alone by ``first-read``
    pace: float = 0.0  # seconds that the server wants between two logins
    lasting: bool = True  # False: a reset comes with every conversation, because the server keeps no identities


class Fetched(NamedTuple):
    """One message's octets: ``octets``, or, for a long one, ``length`` of them in the pieces of ``rest``."""

    listed: Listed
    octets: bytes
    length: int = 0
    rest: AsyncIterator[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """The server does not hold the message any more, or not yet."""

    identifier: str


@dataclass(frozen=True, slots=True)
class Unfetched:
    """The server lists the message and does not hand it over."""

    identifier: str
    fault: PostroomError


# --- what is kept -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """Where identities live. A mailbox renamed keeps its source; one pointed elsewhere gets a new one."""

    id: int
    type: str
    server: str
    login: str


class Reference(NamedTuple):
    """Where the store holds a message's octets."""

    segment: int
    offset: int
    length: int
    digest: bytes  # SHA-256 of the octets as they came


class Captured(NamedTuple):
    """A message whose octets are appended and that waits for its transaction."""

    listed: Listed
    reference: Reference
    disposition: Disposition


@dataclass(frozen=True, slots=True)
class Addressing:
    """Whom a mailbox's messages are for, as its settings say when they are captured."""

    address: str = ""  # that the mailbox serves
    copy_header: str = ""  # names the recipient of a copy; empty: no copies are made
    copy_limit: int = 0  # most copies of one message


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one transaction of capture did."""

    messages: int = 0  # kept for the first time
    matched: int = 0  # known under a former identity, or in another folder
    known: int = 0  # had a receipt already


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A receipt whose disposition the server has not yet committed."""

    listed: Listed
    disposition: Disposition


class TroubleKind(enum.Enum):
    """Why a listed message is not here."""

    FAULT = "fault"  # the server names it and does not hand it over
    BIG = "big"  # larger than maximum-msg-size, and left at the server
    MOVED = "moved"  # refused for a day, and moved to failed-items-folder-path unread
    ABSENT = "absent"  # the server no longer names it; believed when a later conversation says so too


@dataclass(frozen=True, slots=True)
class Trouble:
    """A message listed and not yet had. It joins every cycle's fetch list when due, until had or confirmed absent."""

    listed: Listed
    kind: TroubleKind
    detail: str
    attempts: int
    first_seen: float
    not_before: float


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to read one folder of a source now. ``fence`` grows with each holder; an old one writes nothing."""

    source: int
    folder: str
    fence: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a first read would take."""

    messages: int
    octets: int  # roughly: a sample of the sizes speaks for all


@dataclass(frozen=True, slots=True)
class FirstReading:
    """The first read of a folder."""

    choice: str  # of first-read, when it began: all, new or a day
    begun_at: float
    total: int  # messages in the folder
    left: int  # of them still to be listed
    rate: float  # messages a second, lately; 0 before the first cycle's end
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Repair:
    """The last time a folder's messages were met again, under other identities than before."""

    reason: str
    begun_at: float
    matched: int
    compared: int  # of the matched: those that had to be fetched and were known by their octets
    fresh: int  # never had before
    vanished: int  # had before, and no longer at the server
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Position:
    """How far a folder has been read."""

    epoch: int  # counts the rebirths of its identities
    state: str | None  # the driver's text; None before the first cycle
    first: FirstReading | None = None  # None before it began
    repairing: bool = False  # messages of a former epoch wait to be met again


@dataclass(frozen=True, slots=True)
class Facts:
    """What a message says of itself, as text ready for lists. Empty where it says nothing."""

    subject: str = ""
    sender: str = ""
    date: str = ""
    message_id: str = ""
    fault: str = ""  # what could not be read, and why
    copies: tuple[str, ...] = ()  # recipients who get one, where copies are made
    left_out: tuple[str, ...] = ()  # recipients beyond the limit


@dataclass(frozen=True, slots=True)
class Copy:
    """A message once more, for one recipient: its octets with a header line before them."""

    id: str  # public, opaque
    recipient: str


class Handled(enum.Enum):
    """Whose a message is."""

    OURS = ""
    SHADOW = "shadow"  # read beside another system: undecided, and handed to nobody
    ELSEWHERE = "elsewhere"  # the other system has handled it


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message for lists and exports."""

    id: str  # public, opaque (UUIDv7)
    client: str  # section that captured it
    identifier: str
    folder: str
    digest: str  # SHA-256 of the raw octets, hexadecimal
    size: int
    facts: Facts
    received: float  # when it was captured
    address: str = ""  # that the mailbox served then
    copies: tuple[Copy, ...] = ()
    left_out: tuple[str, ...] = ()  # recipients who got none, because of the limit
    handled: Handled = Handled.OURS
    copy: Copy | None = None  # this one of them is meant, where it was asked for by its id
    copy_header: str = ""  # names the recipient of a copy


@dataclass(frozen=True, slots=True)
class Missing:
    """A message that the server holds and that is not accounted for here."""

    listed: Listed  # size 0 and no date: the server named it and said no more of it
    replaced: bool = False  # there is a receipt under its identifier, and it is another message's


@dataclass(frozen=True, slots=True)
class Audit:
    """What a completeness audit of a folder found. ``listed`` is the sum of what follows, but for ``here_only``."""

    client: str  # section
    folder: str
    at: float  # when it ended
    listed: int = 0  # on the server
    captured: int = 0
    former: int = 0  # known already when they came here, from another folder
    spared: int = 0  # not read, as first-read says
    troubles: int = 0  # in trouble
    big: int = 0  # above maximum-msg-size, and left at the server
    coming: int = 0  # not read yet: the next cycles bring it; or it changed while the audit ran
    missing: int = 0
    here_only: int = 0  # captured, and meanwhile gone at the server
    reset: str = ""  # why nothing could be compared; empty when it could

    @property
    def accounted(self) -> int:
        """Messages on the server that are accounted for."""
        return self.captured + self.former + self.spared + self.troubles + self.big


# --- work -------------------------------------------------------------------------------------------------------------


class WorkKind(enum.Enum):
    """What a piece of work is about."""

    PROCESS = "process"  # understand a message
    SUBMIT = "submit"  # send a submission
    FILE = "file"  # file its copy in Sent
    DELIVER = "deliver"  # hand a message to an application


class WorkState(enum.Enum):
    """Where a piece of work stands."""

    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    WAITING = "waiting"  # for a person
    DEAD = "dead"
    CANCELLED = "cancelled"


WORK_MOVES: Mapping[WorkState, frozenset[WorkState]] = {
    WorkState.READY: frozenset({WorkState.LEASED, WorkState.CANCELLED}),
    WorkState.LEASED: frozenset({WorkState.DONE, WorkState.READY, WorkState.WAITING, WorkState.DEAD}),
    WorkState.WAITING: frozenset({WorkState.READY, WorkState.CANCELLED}),
    WorkState.DEAD: frozenset({WorkState.READY}),
    WorkState.DONE: frozenset(),
    WorkState.CANCELLED: frozenset(),
}
"""The only moves there are; the store refuses any other."""


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed piece of work."""

    id: int
    kind: WorkKind
    subject: int  # the row of its message or submission
    attempts: int  # this one included
    first_failed_at: float | None
    token: int  # of this claim; an outdated one finishes nothing


# --- mailboxes --------------------------------------------------------------------------------------------------------


class Health(enum.Enum):
    """How a mailbox fares."""

    STARTING = "starting"  # not proved since the start
    WORKING = "working"  # the last check was proved by a round trip
    RETRYING = "retrying"  # failed, tried again by itself
    PAUSED = "paused"  # a limit of the provider is reached; goes on by itself
    NEEDS_PERSON = "needs a person"  # stands still until something changes
    DISABLED = "disabled"  # enable-client = false
    STALE = "stale"  # no check was proved for longer than its cycles explain


@dataclass(frozen=True, slots=True)
class Condition:
    """A mailbox's health with its evidence."""

    client: str
    health: Health
    proved_at: float | None = None  # the last check that demonstrated the path to the mailbox
    fault: str = ""
    remedy: str = ""
    retry_at: float | None = None
    started_at: float | None = None  # when it began to be watched


# --- grants -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GrantKey:
    """What tells one chain of refresh tokens from another."""

    authority: str  # token endpoint
    client_id: str
    configured: str  # keyed hash of the refresh token in the configuration


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that opens a mailbox for a while."""

    token: Secret
    version: int  # grows with each that the grant gave for this scope; names the token in a refusal
    lifetime: float  # seconds, as the authority said
    expires_at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """The authority's no to a grant, kept so that it is not asked again before something changes."""

    error: str  # RFC 6749 section 5.2
    words: str
    remedy: str
    asked_with: str  # keyed hash of what else the request said (client secret, scope)
    at: float


@dataclass(frozen=True, slots=True)
class Grant:
    """A chain of refresh tokens (RFC 6749 section 1.5) as it stands."""

    id: int
    refresh_token: Secret
    version: int
    made_at: float  # when the present refresh token came
    access: AccessToken | None
    refusal: Refusal | None
    former: Secret | None = None  # the refresh token before, until the present one has worked
    interrupted_at: float | None = None  # a refresh was begun then, and its answer never came here


@dataclass(frozen=True, slots=True)
class TokenFields:
    """What a token answer said, to be kept whole (RFC 6749 section 5.1)."""

    access_token: Secret
    lifetime: float  # seconds
    refresh_token: Secret | None = None
    scope: str = ""
    refresh_lifetime: float | None = None  # seconds, where the authority limits the refresh token


@dataclass(frozen=True, slots=True)
class Consent:
    """What ``authorize`` connected a client with. It wins over the configured token until that changes."""

    client: str  # section
    login: str  # the account that was to be connected; another one asks for a new consent
    account: str  # the account that signed in, where the authority told; else empty
    key: GrantKey
    configured: str  # keyed hash of what stood in ``password`` then; empty for nothing
    scope: str  # granted
    made_at: float


@dataclass(frozen=True, slots=True)
class GrantLife:
    """A grant's dates, for a forecast. No secret is in it."""

    key: GrantKey
    consented_at: float  # when its first refresh token came here
    made_at: float  # … its present one
    used_at: float | None  # when the authority last gave a token for it
    ends_at: float | None  # when its refresh token ends, where the authority said so
    refused: str  # the authority's words, while it refuses
