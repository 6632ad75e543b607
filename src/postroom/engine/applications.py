"""Which applications get a message, and the messages of before that one is still to get.

Applications are asked when a message is processed, as they are configured in that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from postroom.mime.recipients import HEADER, header_of, recipients
from postroom.model import Facts, Reference, Work
from postroom.settings import PullApplication
from postroom.store import Store
from postroom.store.applications import Chosen, Offered

Configured = Callable[[], Mapping[str, PullApplication]]
"""The applications of the configuration as it is now, by section."""


def serves(application: PullApplication, addresses: Collection[str]) -> bool:
    """Whether one of the addresses is among the application's; in any case, whole or by its domain."""
    folded = [address.lower() for address in addresses]
    return not application.addresses or any(
        address in application.addresses or address.rpartition("@")[2] in application.addresses for address in folded
    )


def near(application: PullApplication, message: Offered) -> bool:
    """Whether client and folder are the application's."""
    return message.ours and application.takes_client(message.client) and message.folder in (application.folders or [message.folder])


def choose(
    application: PullApplication, message: Offered, copies: Sequence[str], named: Sequence[str], work: Work | None = None
) -> Iterator[Chosen]:
    """What of a message an application gets: the copies for its addresses where copies were made, else the message.

    ``copies`` are their recipients, ``named`` those in To and Cc.
    """
    if not near(application, message):
        return
    if copies:
        for number, recipient in enumerate(copies):
            if serves(application, [recipient]):
                yield Chosen(application.section, message.message, number, work)
    elif serves(application, [message.address, *named]):
        yield Chosen(application.section, message.message, None, work)


class Arrivals:
    """Wakes those in this process who wait for messages of an application."""

    def __init__(self) -> None:
        self._listening: dict[str, set[asyncio.Event]] = {}
        self.ended = False  # nobody waits any longer

    @contextmanager
    def listening(self, section: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something came, within the block. Whoever clears it looks afterwards."""
        woken = asyncio.Event()
        self._listening.setdefault(section, set()).add(woken)
        try:
            yield woken
        finally:
            self._listening[section].discard(woken)
            if not self._listening[section]:
                del self._listening[section]

    def tell(self, sections: Collection[str]) -> None:
        """Something came for these."""
        for section in sections:
            for woken in self._listening.get(section, ()):
                woken.set()

    def end(self) -> None:
        """Send everybody home who waits."""
        self.ended = True
        self.tell(list(self._listening))


@dataclass
class Applications:
    """Asks the applications."""

    store: Store
    configured: Configured = dict
    arrivals: Arrivals = field(default_factory=Arrivals)
    _begun: frozenset[str] | None = None

    async def begin(self) -> None:
        """Let new applications begin, and those go on that were absent. To be repeated now and then: others process too."""
        await self._begin(self.configured())

    async def _begin(self, known: Mapping[str, PullApplication]) -> None:
        rows = {row.section: row for row in await self.store.applications.rows()}
        if any(section not in rows or rows[section].absent for section in known):
            await self.store.applications.begin({section: application.since() for section, application in known.items()})
        self._begun = frozenset(known)

    async def chosen(self, done: Sequence[tuple[Work, Facts]]) -> tuple[list[Chosen], frozenset[str]]:
        """Who gets messages that were processed; and who was asked."""
        known = self.configured()
        if self._begun != frozenset(known):
            await self._begin(known)
        if not known:
            return [], frozenset()
        offered = await self.store.applications.offered([work.subject for work, _ in done])
        asked = [(offered[work.subject], facts.copies, work) for work, facts in done if work.subject in offered]
        return await asyncio.to_thread(self._choose, list(known.values()), asked), frozenset(known)

    async def fill(self) -> bool:
        """Hand over a page of messages of before; False when nothing is left for anyone."""
        known = self.configured()
        for section in await self.store.applications.filling():
            found = await self.store.applications.page(section) if section in known else None
            if found is not None:
                fill, page = found
                asked = [(message, [copy.recipient for copy in message.copies], None) for message in page]
                chosen = await asyncio.to_thread(self._choose, [known[section]], asked, tolerant=True)
                if await self.store.applications.fill(fill, page, chosen):
                    self.arrivals.tell([section])
                return True
        return False

    def _choose(
        self,
        applications: Sequence[PullApplication],
        asked: Sequence[tuple[Offered, Sequence[str], Work | None]],
        *,
        tolerant: bool = False,
    ) -> list[Chosen]:
        chosen: list[Chosen] = []
        for message, copies, work in asked:
            named: list[str] | None = None  # read once, and only where somebody asks: it costs a look into the octets
            for application in applications:
                wants = application.addresses and not copies and near(application, message)
                if wants and named is None and not serves(application, [message.address]):
                    named = self._named(message.reference, tolerant=tolerant)
                chosen += choose(application, message, copies, named or (), work)
        return chosen

    def _named(self, reference: Reference, *, tolerant: bool) -> list[str]:
        try:
            (head,) = self.store.blobs.heads([reference], HEADER)
        except (OSError, ValueError):  # a disk that lost octets must not hold up all that comes behind
            if tolerant:
                return []
            raise
        header, _ = header_of(head)
        return list(recipients(header))
