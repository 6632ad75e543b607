"""All senders of a process: one for each smtp-client section."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field

from postroom import events
from postroom.drivers import Account
from postroom.engine.filing import Filer
from postroom.engine.guard import guarded
from postroom.engine.submit import Sender, Sending
from postroom.errors import StoreError
from postroom.model import Condition
from postroom.outbound import LaneCounts

_COUNT = 10.0  # seconds between two counts of the queue


@dataclass
class Senders:
    """``current`` answers a section's account as it is to run now."""

    current: Callable[[str], Account | None]
    around: Sending
    filer: Filer | None = None  # files copies in Sent beside them
    _senders: dict[str, Sender] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _others: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, sections: Iterable[str], paused: Iterable[str] = ()) -> None:
        """Begin to send."""
        for section in paused:
            self._sender(section).paused = True
        self.changed(sections)
        self._others = [asyncio.create_task(self._guarded("outbox", self._count), name="outbox")]
        if self.filer is not None:
            self._others.append(asyncio.create_task(self._guarded("copies", self.filer.run), name="copies"))

    def changed(self, sections: Iterable[str]) -> None:
        """These sections have other settings or consents now, or are new, or gone."""
        for section in sections:
            if section in self._tasks:
                self._senders[section].poke()
            elif self.current(section) is not None:
                sender = self._sender(section)
                self._tasks[section] = asyncio.create_task(self._guarded(section, sender.run), name=section)

    def restart(self, section: str) -> None:
        """Let an account begin anew with its present settings, between two messages."""
        if section in self._tasks:
            self._senders[section].restart()
        else:
            self.changed([section])

    def pause(self, section: str, *, on: bool) -> None:
        """Let an account send nothing until told otherwise."""
        self._sender(section).pause(on=on)

    def tell(self, section: str | None = None) -> None:
        """There may be mail, of one section or of all."""
        for sender in [self._senders[section]] if section in self._senders else [] if section else self._senders.values():
            sender.tell()

    async def stop(self) -> None:
        """End everything; a message under way is finished, if it does not take too long."""
        for task in self._others:  # a copy under way is looked for at the next start
            task.cancel()
        for sender in self._senders.values():
            sender.end()
        await asyncio.gather(*self._tasks.values(), *self._others, return_exceptions=True)

    async def once(self, sections: Iterable[str]) -> list[Condition]:
        """Send and file all that is due, then end; how each account stands."""
        senders = [self._sender(section) for section in sections]
        await asyncio.gather(*(sender.drain() for sender in senders))
        if self.filer is not None:
            with suppress(StoreError):  # which the senders met and told of, or the next run will
                await self.filer.drain()
        return [sender.standing.condition for sender in senders]

    def _sender(self, section: str) -> Sender:
        if section not in self._senders:
            self._senders[section] = Sender(section, lambda: self.current(section), self.around)
        return self._senders[section]

    async def _guarded(self, where: str, run: Callable[[], Coroutine[object, object, None]]) -> None:
        await guarded(self.around.clock, self.around.observer, where, run)

    async def _count(self) -> None:
        known, told = set(self._senders), set[str]()
        while True:
            with suppress(StoreError):  # whose trouble is told of where it stops something; what was counted last stands
                counts = await self.around.store.outbox.counts()
                known |= {*counts, *self._senders}
                for section in known:
                    self._tell_of(section, counts.get(section, LaneCounts()))
                told = self._tell_of_stranded(counts, told)
            await self.around.clock.sleep(_COUNT)

    def _tell_of(self, section: str, counts: LaneCounts) -> None:
        gauge, now = self.around.observer.gauge, self.around.clock.now()
        for state in ("ready", "leased", "waiting", "dead"):
            gauge(events.OUTBOX, getattr(counts, state), client=section, state=state)
        oldest = now if counts.oldest is None else counts.oldest
        gauge(events.OUTBOX_OLDEST, max(now - oldest, 0.0), client=section)

    def _tell_of_stranded(self, counts: Mapping[str, LaneCounts], told: Set[str]) -> set[str]:
        """Tell of mail that no account takes up; whose that is."""
        waits = {section: known.ready + known.leased for section, known in counts.items() if known.ready or known.leased}
        stranded = {section for section in waits if self.current(section) is None}
        for section in sorted(stranded - told):
            remedy = f"Put the section [{section}] right; or give its mail to another: postroom outbox replay ID --via CLIENT."
            self.around.observer.event(events.STRANDED, client=section, submissions=waits[section], remedy=remedy)
        return stranded
