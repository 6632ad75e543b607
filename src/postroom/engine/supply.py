"""What an account has to send: claimed, with its octets at hand; given back, or written down when it is done with."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from postroom import events
from postroom.clock import Clock
from postroom.drivers import Account
from postroom.engine import attempt
from postroom.engine.journal import Journal
from postroom.engine.telling import tell
from postroom.errors import StoreError
from postroom.events import Observer
from postroom.model import WorkKind
from postroom.outbound import Content, DeliveryStatus, Outgoing, Passed, RecipientState
from postroom.store import Store

Look = Callable[[Account, Outgoing], Awaitable[attempt.Sighting]]
"""Whether a copy of a message in doubt is in the account's Sent (``sent.Evidence.look``)."""


class Marking:
    """Writes the mark of one submission."""

    def __init__(self, journal: Journal, outgoing: Outgoing) -> None:
        self._journal = journal
        self._outgoing = outgoing
        self.marked = False

    async def commit(self, addresses: Sequence[str]) -> None:
        outgoing = self._outgoing
        numbers = outgoing.numbers
        if len(addresses) != len(numbers):
            wanted = set(addresses)
            people = zip(numbers, outgoing.envelope.recipients, strict=True)
            numbers = tuple(number for number, known in people if known.address in wanted)
        await self._journal.mark(outgoing.work, numbers)
        self.marked = True


class Supply:
    """The queue of one section as far as this process has claimed it. ``news`` is set when there is something to look at."""

    def __init__(self, section: str, store: Store, clock: Clock, observer: Observer, look: Look, news: asyncio.Event) -> None:
        self._section = section
        self._store, self._clock, self._observer = store, clock, observer
        self._look = look
        self._news = news
        self._journal = Journal(store.outbox, clock, self._journal_fails)
        self._looking: set[asyncio.Task[None]] = set()
        self.queue: deque[tuple[Outgoing, Content]] = deque()
        self.copies = False  # whether a copy of what is sent is filed in Sent

    @property
    def looking(self) -> bool:
        """Whether copies of messages in doubt are looked for now."""
        return bool(self._looking)

    def marking(self, outgoing: Outgoing) -> Marking:
        """Who writes the mark of a submission."""
        return Marking(self._journal, outgoing)

    async def reclaim(self) -> None:
        """Take back what this process or ended ones claimed and left."""
        with suppress(StoreError):  # which is met again, and told of, at the first claim
            await self._store.reclaim(WorkKind.SUBMIT, self._section, own=True)

    async def claim(self, account: Account, limit: int) -> bool:
        """Claim what is due, up to so much; True when there may be more. Raises ``StoreError``."""
        taken = await self._store.outbox.take(self._section, limit)
        await self._sort(account, taken)
        return len(taken) == limit

    async def next_due(self, *, written: bool) -> float | None:
        """When the next submission is due; with ``written`` once all that happened is written down."""
        if written:
            await self._journal.settled()
        return await self._store.next_due(WorkKind.SUBMIT, self._section)

    async def release(self) -> None:
        """Give back what was claimed and not begun."""
        pieces = [outgoing.work for outgoing, _ in self.queue]
        self.queue.clear()
        if pieces:
            with suppress(StoreError):  # else the claim is taken back at the next start
                await self._store.outbox.release(pieces)

    async def give_back(self, outgoing: Outgoing) -> None:
        """Give one back that nothing was done about."""
        with suppress(StoreError):
            await self._store.outbox.release([outgoing.work])

    async def end(self) -> None:
        """Give back what is left, and return when all that happened is written down."""
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)
        await self.release()
        await self._journal.settled()

    def passed(self, outgoing: Outgoing, passed: Passed) -> None:
        """Write down what became of a submission, and tell of it."""
        self._write(passed)
        tell(self._observer, self._section, outgoing, passed, self._clock.now())

    def _write(self, passed: Passed) -> None:
        self._journal.passed(replace(passed, copy=self.copies))

    async def _sort(self, account: Account, taken: Sequence[Outgoing]) -> None:
        """To the conversations what is to be sent; the rest is settled beside them."""
        sendable = []
        for outgoing in taken:
            if outgoing.numbers:
                sendable.append(outgoing)
            elif outgoing.doubts:
                task = asyncio.create_task(self._settle_doubt(account, outgoing), name=f"{self._section} doubt")
                self._looking.add(task)
                task.add_done_callback(self._looked)
            else:
                self._write(Passed(outgoing.work, (), attempt.ended(failed=outgoing.failed)))
        if not sendable:
            return
        for outgoing, content in zip(sendable, await asyncio.to_thread(self._contents, sendable), strict=True):
            if isinstance(content, StoreError):
                lost = [
                    DeliveryStatus(known.address, RecipientState.FAILED, words=str(content))
                    for known in outgoing.envelope.recipients
                ]
                self.passed(outgoing, attempt.after(outgoing, lost, self._clock.now(), 0.0))
            else:
                self.queue.append((outgoing, content))

    def _contents(self, taken: Sequence[Outgoing]) -> list[Content | StoreError]:
        """Their octets, or what is wrong with them: one that the disk has damaged holds up no other."""
        found: list[Content | StoreError] = []
        for outgoing in taken:
            try:
                found.extend(self._store.outbox.contents([outgoing.reference]))
            except StoreError as error:
                found.append(error)
        return found

    async def _settle_doubt(self, account: Account, outgoing: Outgoing) -> None:
        """Look for a copy; then the option decides."""
        sighting = await self._look(account, outgoing)
        passed = attempt.looked(outgoing, sighting, in_doubt=account.client.in_doubt, now=self._clock.now())
        self.passed(outgoing, passed)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking.discard(task)
        self._news.set()

    def _journal_fails(self, error: StoreError, seconds: float) -> None:
        self._observer.event(events.STORE_TROUBLE, client=self._section, error=str(error), remedy=error.remedy, seconds=seconds)
