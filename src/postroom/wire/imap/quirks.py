"""What servers do otherwise than the standard says, as named switches.

A quirk is known by what a server shows of itself: a word of its greeting, an announced capability, its answer to ID. One
without a sign is looked for at every server, for it is known of several and costs nothing where it is absent. The code that
minds a quirk asks ``session.quirks`` for it by name, so that a test can switch the cure off and see that it was one.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

NEWEST = 10_000
"""Messages of a folder that a server with ``NEWEST_ONLY`` shows."""


class Quirk(enum.Enum):
    """A server's way of its own."""

    ID_BEFORE_SELECT = "id-before-select"
    UID_LEFT_OUT = "uid-left-out"
    BODY_LEFT_OUT = "body-left-out"
    NOT_ANSWERED = "not-answered"
    IDLE_CUT = "idle-cut"
    NEWEST_ONLY = "newest-only"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a quirk. Of ``greeting``, ``capability`` and ``identity`` any may fit; with none of them all servers do."""

    quirk: Quirk
    server: str
    does: str
    cure: str
    since: str  # the year of the report, and of the last one where it still holds
    source: str
    greeting: str = ""  # regular expressions, searched in any case
    capability: str = ""
    identity: str = ""  # over name, vendor and version of the answer to ID

    def fits(self, greeting: str, capabilities: frozenset[str], server_id: Mapping[str, str]) -> bool:
        """Whether a server that shows itself so has the quirk."""
        if not (self.greeting or self.capability or self.identity):
            return True
        name = " ".join(server_id.get(field, "") for field in ("name", "vendor", "version"))
        return (
            bool(self.greeting and re.search(self.greeting, greeting, re.IGNORECASE))
            or self.capability in capabilities
            or bool(self.identity and re.search(self.identity, name, re.IGNORECASE))
        )


KNOWN = (
    Known(
        Quirk.ID_BEFORE_SELECT,
        "NetEase (163.com, 126.com, yeah.net), on Coremail",
        'refuses SELECT with "Unsafe Login. Please contact kefu@188.com" until the client has sent ID, announced or not',
        "ID is sent behind the login though nobody announced it, and once more the folder is opened where the words are heard",
        "2015-2026",
        "https://github.com/pimalaya/himalaya/issues/651",
        greeting=r"coremail|\b163com\b",
    ),
    Known(
        Quirk.UID_LEFT_OUT,
        "several; Exchange says the UID outside the order of the question",
        "leaves UID out of an answer to UID FETCH, says it behind the octets, or tells of other messages in between",
        "an answer without a UID is taken for the only message in flight, and what was not asked for is passed over",
        "2023",
        "https://github.com/karastojko/mailio/issues/135",
    ),
    Known(
        Quirk.BODY_LEFT_OUT,
        "iCloud (RFC822), Exchange (a UID before its body exists)",
        "answers OK and names the message without its octets",
        "it is asked for once more by itself, as BODY.PEEK[] always, and is a trouble then: tried again later, never taken as had",
        "2016-2026",
        "https://github.com/NousResearch/hermes-agent/pull/98666",
    ),
    Known(
        Quirk.NOT_ANSWERED,
        "several",
        "answers OK and leaves messages out that it lists",
        "those are looked for by UID alone; what is there after all is asked for once more by itself",
        "2023",
        "https://github.com/chatmail/core/issues/4331",
    ),
    Known(
        Quirk.IDLE_CUT,
        "some, and address translators on the way: 4 to 30 minutes",
        "ends IDLE, or the connection with it, at an age of its own, often without a word",
        "IDLE that was cut twice at about the same age ends a quarter earlier from then on",
        "2017-2024",
        "https://github.com/chatmail/core/issues/5093",
    ),
    Known(
        Quirk.NEWEST_ONLY,
        "Yahoo, AOL",
        "shows the newest 10,000 messages of a folder and no others",
        "the check of a mailbox says so where a folder holds just that many",
        "2023-2026",
        "https://github.com/rustmailer/bichon/issues/271",
        capability="XYMHIGHESTMODSEQ",
        identity=r"yahoo|\baol\b",
    ),
)


def quirks_of(greeting: str, capabilities: frozenset[str], server_id: Mapping[str, str]) -> frozenset[Quirk]:
    """The quirks to mind with a server, by what it has shown of itself so far."""
    return frozenset(known.quirk for known in KNOWN if known.fits(greeting, capabilities, server_id))
