"""A mailbox with the ways of POP3, without a network.

A session lists all there is and no dates; nothing changes at the server but by its commit, which ends it. Where the provider
hides what was retrieved, commit does so too, a page is shown at a time, and there is no commit while one was refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from postroom.drivers import First, Settlement
from postroom.errors import PostroomError
from postroom.model import Absent, Changes, Disposition, Fetched, Listed, Preview, Unfetched, Unsettled
from postroom.settings import FirstRead


@dataclass
class Maildrop:
    """The server's side, and the faults that a test orders."""

    hides: bool = False  # what was retrieved is not listed again after commit
    page: int = 1 << 30  # messages that a session lists
    long: int = 1 << 30  # octets from which a message comes in pieces
    mails: dict[str, bytes] = field(default_factory=dict)  # by unique-id, in the order of arrival
    popped: set[str] = field(default_factory=set)
    refuses: dict[str, PostroomError] = field(default_factory=dict)  # unique-id: what its retrieval comes to
    commits: int = 0

    def add(self, octets: bytes) -> str:
        """A message arrives; its unique-id."""
        name = f"unique{len(self.mails) + self.commits * 1000:06}"
        self.mails[name] = octets
        return name

    @property
    def shown(self) -> dict[str, bytes]:
        """What a session that begins now lists."""
        there = [(name, octets) for name, octets in self.mails.items() if not (self.hides and name in self.popped)]
        return dict(there[: self.page])


class MaildropReader:
    """A ``Reader`` of a ``Maildrop``, one session after another."""

    def __init__(self, maildrop: Maildrop) -> None:
        self._maildrop = maildrop
        self._session: dict[str, bytes] | None = None
        self._retrieved: set[str] = set()
        self._deleted: set[str] = set()
        self._marked: list[str] = []
        self._failed = False

    def _stock(self) -> dict[str, bytes]:
        if self._session is None:
            self._session = self._maildrop.shown
            self._retrieved, self._deleted, self._marked, self._failed = set(), set(), [], False
        return self._session

    def _held(self, listed: Listed) -> bytes | None:
        octets = self._stock().get(listed.identifier)
        return octets if octets is not None and len(octets) == listed.size else None

    async def changes(self, folder: str, since: str | None, limit: int, first: First = FirstRead.ALL) -> Changes:
        listed = tuple(Listed(name, len(octets), "") for name, octets in reversed(self._stock().items()))
        spared: tuple[Listed, ...] = ()
        if first is FirstRead.NEW:
            listed, spared = (), listed
        return Changes(
            listed,
            "listed",
            complete=True,
            hides=self._maildrop.hides,
            behind=self._maildrop.hides,
            total=len(self._stock()),
            left=0,
            began="begun",
            spared=spared,
        )

    async def headers(self, folder: str, listed: Sequence[Listed]) -> Mapping[str, bytes]:
        held = {each.identifier: self._held(each) for each in listed}
        return {name: _head(octets) for name, octets in held.items() if octets is not None}

    async def preview(self, folder: str, first: First) -> Preview:
        sizes = [] if first is FirstRead.NEW else [len(octets) for octets in self._stock().values()]
        return Preview(len(sizes), sum(sizes))

    async def fetch(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        for message in listed:
            name, octets = message.identifier, self._held(message)
            if octets is None:
                yield Absent(name)
            elif name in self._maildrop.refuses:
                self._failed = True
                yield Unfetched(name, self._maildrop.refuses[name])
            else:
                self._retrieved.add(name)
                yield Fetched(message, octets) if len(octets) < self._maildrop.long else _in_pieces(message, octets)

    async def fetch_headers(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        for message in listed:
            octets = self._held(message)
            yield Absent(message.identifier) if octets is None else Fetched(message, _head(octets))

    async def settle(self, folder: str, items: Sequence[Unsettled], target: str | None) -> Settlement:
        gone = tuple(item.listed.identifier for item in items if self._held(item.listed) is None)
        remarks = []
        for item in items:
            name = item.listed.identifier
            if name in gone:
                continue
            if item.disposition is Disposition.DELETE:
                self._deleted.add(name)
                self._marked.append(name)
            elif item.disposition is Disposition.RETRIEVED:
                self._retrieved.add(name)
                self._marked.append(name)
            else:
                remarks.append(f"a maildrop has nothing for {item.disposition.value}")
        return Settlement((), gone, tuple(dict.fromkeys(remarks)))

    async def census(self, folder: str) -> AsyncIterator[Sequence[Listed]]:
        yield [Listed(name, len(octets), "") for name, octets in self._stock().items()]

    async def commit(self) -> Sequence[str]:
        if self._session is None:
            return ()
        self._session = None
        if self._failed and self._maildrop.hides:
            return ()
        self._maildrop.commits += 1
        self._maildrop.popped |= self._retrieved
        for name in self._deleted:
            self._maildrop.mails.pop(name, None)
        return tuple(self._marked)

    async def wait(self, seconds: float) -> None:
        self._session = None


def _head(octets: bytes) -> bytes:
    return octets.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def _in_pieces(message: Listed, octets: bytes) -> Fetched:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(octets), 7):
            yield octets[start : start + 7]

    return Fetched(message, b"", len(octets), pieces())
