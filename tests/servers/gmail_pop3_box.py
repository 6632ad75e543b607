"""What Gmail keeps of a mailbox that POP3 looks into (Google, "How does POP work in Gmail?", answer 6089246).

* Normal mode lists about the 250 oldest messages that were not yet *popped*, spam and trash left out. A message is
  popped by RETR and then QUIT; without QUIT nothing is. A setting of the account then keeps it, archives it or moves
  it to the trash. DELE alone pops nothing: it only lets the setting act.
* Recent mode, ``recent:`` before the user's name, lists all of the last 30 days but the trash, for every client and
  popped or not. RETR changes nothing there.
* What was sent by a client counts as popped from the beginning: it is listed in recent mode alone.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

SHOWN = 250
RECENT = 30 * 86400.0  # seconds


class Place(enum.StrEnum):
    """Where a message is in the web interface; all but the trash is "All Mail" too."""

    INBOX = "inbox"
    ARCHIVE = "archive"
    TRASH = "trash"


class Popped(enum.StrEnum):
    """The setting "When messages are accessed with POP"."""

    KEEP = "keep"
    ARCHIVE = "archive"
    DELETE = "delete"


@dataclass(eq=False)
class Mail:
    """One message, equal to itself alone."""

    uidl: str
    octets: bytes
    when: float  # seconds since 1970
    popped: bool = False
    place: Place = Place.INBOX


@dataclass
class Box:
    """One account."""

    user: str
    password: str
    setting: Popped = Popped.KEEP
    mails: list[Mail] = field(default_factory=list)

    def listed(self, *, recent: bool, now: float) -> list[Mail]:
        """What a session that begins now is shown, oldest first."""
        there = sorted((mail for mail in self.mails if mail.place is not Place.TRASH), key=lambda mail: mail.when)
        if recent:
            return [mail for mail in there if mail.when >= now - RECENT]
        return [mail for mail in there if not mail.popped][:SHOWN]

    def unpop(self) -> None:
        """No message was ever popped; all are in the inbox."""
        for mail in self.mails:
            mail.popped, mail.place = False, Place.INBOX

    def ended(self, retrieved: set[Mail], deleted: set[Mail], *, recent: bool) -> None:
        """A session ended by QUIT."""
        for mail in set() if recent else retrieved:
            mail.popped = True
        for mail in deleted if recent else retrieved | deleted:
            if self.setting is Popped.ARCHIVE:
                mail.place = Place.ARCHIVE
            elif self.setting is Popped.DELETE:
                mail.place = Place.TRASH
