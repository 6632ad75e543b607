"""A folder of what was sent, without a network: what is in it, and the faults that a test orders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from fakes import client
from outgoing import SECTION
from postroom.drivers import Account, Kit, Mailbox, SentFolder
from postroom.errors import PostroomError
from postroom.outbound import Content
from postroom.settings import MailboxType, SmtpClient

LOGIN = "a@example.org"


@dataclass
class Sentbox:
    """Opens like ``drivers.open_sent``. ``before`` and ``after`` break calls; ``hides`` is what a look does not find."""

    copies: list[tuple[str, float]] = field(default_factory=list)  # Message-ID and date
    opening: list[PostroomError] = field(default_factory=list)
    looking: list[Exception] = field(default_factory=list)
    before: list[Exception] = field(default_factory=list)  # the copy is not filed
    after: list[BaseException] = field(default_factory=list)  # the copy is filed, and nobody hears of it
    opened: list[tuple[str, str | None]] = field(default_factory=list)  # section and folder
    looked: int = 0
    open: int = 0
    most: int = 0

    def __call__(self, mailbox: Mailbox, _kit: Kit, folder: str | None = None) -> AbstractAsyncContextManager[SentFolder] | None:
        return self._conversation(mailbox, folder) if mailbox.client.type is MailboxType.IMAP else None

    @asynccontextmanager
    async def _conversation(self, mailbox: Mailbox, folder: str | None) -> AsyncIterator[SentFolder]:
        self.opened.append((mailbox.client.section, folder))
        if self.opening:
            raise self.opening.pop(0)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            yield _Conversation(self, folder or "Sent")
        finally:
            self.open -= 1


class _Conversation:
    def __init__(self, box: Sentbox, folder: str) -> None:
        self._box = box
        self.folder = folder

    async def has(self, message_id: str, since: float) -> bool:
        self._box.looked += 1
        if self._box.looking:
            raise self._box.looking.pop(0)
        return any(copy == message_id and date >= since for copy, date in self._box.copies)

    async def file(self, content: Content, when: float) -> None:
        octets = b"".join(content.pieces())
        if self._box.before:
            raise self._box.before.pop(0)
        self._box.copies.append((f"<{octets.decode()}@example.org>", when))  # as ``outgoing.handed`` names a message
        if self._box.after:
            raise self._box.after.pop(0)


def mailbox(section: str = "pop-client-a", **options: object) -> Mailbox:
    """A mailbox of the account that ``sender`` is."""
    shadow = bool(options.pop("shadow", False))
    return Mailbox(client(section, **{"server": "imap.example.org", "mailbox": LOGIN, **options}), None, {}, shadow=shadow)


def sender(**options: object) -> Account:
    """An account that sends."""
    values: dict[str, object] = {"server": "smtp.example.org", "user": LOGIN, **options}
    return Account(SmtpClient(section=SECTION, name="a", **values), None, {})  # type: ignore[arg-type]
