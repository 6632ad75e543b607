"""What an IMAP server says, as records. Names are those of RFC 9051's grammar (section 9)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from postroom.wire.imap.numbers import Numbers


class Status(enum.Enum):
    """resp-cond-state, resp-cond-bye and resp-cond-auth (RFC 9051 section 7.1)."""

    OK = "OK"
    NO = "NO"
    BAD = "BAD"
    BYE = "BYE"
    PREAUTH = "PREAUTH"


@dataclass(frozen=True, slots=True)
class StatusResponse:
    """``tag SP resp-cond-state``, or untagged with an empty tag."""

    tag: str
    status: Status
    code: str = ""  # resp-text-code without its arguments, upper case
    arguments: str = ""  # what follows the code within the brackets
    text: str = ""


@dataclass(frozen=True, slots=True)
class Continuation:
    """continue-req: ``"+" SP (resp-text / base64)``."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Capability:
    """capability-data (RFC 9051 section 7.2.2), upper case."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Exists:
    """``number SP "EXISTS"`` (RFC 9051 section 7.4.1)."""

    number: int


@dataclass(frozen=True, slots=True)
class Expunged:
    """``nz-number SP "EXPUNGE"`` (RFC 9051 section 7.5.1)."""

    number: int


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """mailbox-data "STATUS" (RFC 9051 section 7.3.4)."""

    mailbox: bytes
    items: dict[str, int]


@dataclass(frozen=True, slots=True)
class Search:
    """mailbox-data "SEARCH" (RFC 3501 section 7.2.5)."""

    numbers: Numbers


@dataclass(frozen=True, slots=True)
class ESearch:
    """esearch-response (RFC 4731, RFC 9051 section 7.3.4)."""

    tag: str = ""  # of the command that it answers; empty where the server does not say
    uid: bool = False  # the numbers are UIDs
    count: int | None = None
    min: int | None = None
    max: int | None = None
    all: Numbers | None = None  # None: not returned, as when nothing was found


@dataclass(frozen=True, slots=True)
class Vanished:
    """expunged-resp of RFC 7162 section 3.2.10: the UIDs themselves, where EXPUNGE names places in the list."""

    uids: Numbers
    earlier: bool = False  # gone before, and told because somebody asked; nothing is counted down


@dataclass(frozen=True, slots=True)
class Enabled:
    """enable-data (RFC 5161 section 3.2), upper case."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class ServerId:
    """id-response (RFC 2971 section 3.2): what the server calls itself. Names of fields in lower case."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Namespace:
    """namespace-response (RFC 2342 section 6): prefix and delimiter of each personal namespace; others are not ours."""

    personal: tuple[tuple[bytes, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class ListEntry:
    """mailbox-list (RFC 9051 section 7.3.1)."""

    attributes: frozenset[str]
    delimiter: bytes | None
    mailbox: bytes


@dataclass(slots=True)
class Fetch:
    """message-data "FETCH" (RFC 9051 section 7.5.2): what we ask for; items that we did not ask for are in ``others``."""

    number: int
    uid: int | None = None
    size: int | None = None
    internal_date: str = ""
    flags: frozenset[str] | None = None
    modseq: int | None = None
    email_id: str = ""
    body: bytes | None = None  # BODY[]; None also for NIL
    has_body: bool = False  # BODY[] was named at all
    header: bytes | None = None  # BODY[HEADER], empty also for NIL; None: not named. It is never taken for the message
    others: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Other:
    """A well-formed response that means nothing to us."""

    name: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A response outside the grammar. It is dropped alone; the octets go to the trace."""

    octets: bytes
    problem: str


Response = (
    StatusResponse
    | Continuation
    | Capability
    | Enabled
    | ServerId
    | Namespace
    | Exists
    | Expunged
    | Vanished
    | MailboxStatus
    | Search
    | ESearch
    | ListEntry
    | Fetch
    | Other
    | Malformed
)
