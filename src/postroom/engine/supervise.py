"""Start and end what runs: one watch for each client, the worker, the leases' heartbeat.

An error that nobody foresaw ends neither the process nor another client: it is told of with its trace, and what failed is
begun anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field

from postroom import events
from postroom.drivers import Mailbox
from postroom.engine.guard import guarded, unforeseen
from postroom.engine.silence import silent_for
from postroom.engine.watch import Surroundings, Watch
from postroom.engine.work import Worker
from postroom.errors import PostroomError, StoreError, words_of
from postroom.model import Health
from postroom.store import LEASE

_LARGE_AT_ONCE = 4  # mailboxes that one cycle does not read whole, of those read at the same time in a single pass


@dataclass(frozen=True)
class Result:
    """What one pass over a client came to."""

    section: str
    watch: Watch
    error: PostroomError | None = None
    paused_by: str = ""  # who wants it to stand still; it was not read then


@dataclass
class Supervisor:
    """All clients of a process. ``current`` answers a section's mailbox as configured now."""

    current: Callable[[str], Mailbox | None]
    around: Surroundings
    worker: Worker
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)
    _others: list[asyncio.Task[None]] = field(default_factory=list)
    _silent: set[str] = field(default_factory=set)  # sections for which the alarm was given

    # --- for ever

    def start(self, sections: Iterable[str]) -> None:
        """Begin to work."""
        self._others = [
            asyncio.create_task(self._guarded("work", self.worker.run), name="work"),
            asyncio.create_task(self._guarded("leases", self._heartbeat), name="leases"),
        ]
        self.changed(sections)

    def changed(self, sections: Iterable[str]) -> None:
        """These sections have other settings now, or are new, or gone: their next cycle begins at once."""
        for section in sections:
            task = self._tasks.get(section)
            if task is not None and not task.done():
                self.watches[section].poke()
            elif self.current(section) is not None:
                self._begin(section)

    def restart(self, section: str) -> bool:
        """End a client's conversation now and begin it anew; False where it does not run."""
        task = self._tasks.get(section)
        if task is None or task.done() or self.current(section) is None:
            return False
        self._anew(section, task)
        return True

    def _anew(self, section: str, task: asyncio.Task[None]) -> None:
        task.cancel()  # what it still writes is refused: the next one has another lease
        self._begin(section)

    def _begin(self, section: str) -> None:
        watch = Watch(section, lambda: self.current(section), self.around)
        self.watches[section] = watch
        self._tasks[section] = asyncio.create_task(self._guarded(section, watch.run), name=section)

    async def stop(self) -> None:
        """End everything; what is under way is repeated after the next start."""
        tasks = [*self._tasks.values(), *self._others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(self, where: str, run: Callable[[], Coroutine[object, object, None]]) -> None:
        await guarded(self.around.kit.clock, self.around.observer, where, run)

    async def _heartbeat(self) -> None:
        while True:
            self.look()
            try:
                await self.around.store.renew()
            except StoreError as error:
                self.around.observer.event(
                    events.STORE_TROUBLE, client="", error=str(error), remedy=error.remedy, seconds=LEASE / 3
                )
            await self.around.kit.clock.sleep(LEASE / 3)

    def look(self) -> None:
        """Whose proof is too old is told of, once when that begins and once when it ends; who hangs is begun anew."""
        for section, watch in list(self.watches.items()):
            self._listen(section, watch)
            seconds = watch.stuck_for()
            if seconds is not None and not self._tasks[section].done():
                self.around.observer.event(events.RESTARTED, client=section, seconds=seconds)
                self._anew(section, self._tasks[section])

    def _listen(self, section: str, watch: Watch) -> None:
        mailbox, observer = self.current(section), self.around.observer
        now = self.around.kit.clock.now()
        seconds = silent_for(watch.condition, mailbox.client, now) if mailbox is not None else None
        if seconds is not None and section not in self._silent:
            self._silent.add(section)
            fault, remedy = watch.condition.fault, watch.condition.remedy
            observer.event(events.SILENT, client=section, seconds=seconds, error=fault, remedy=remedy)
            observer.gauge(events.SILENT_NOW, 1.0, client=section)
        elif seconds is None and section in self._silent:
            self._silent.remove(section)
            observer.gauge(events.SILENT_NOW, 0.0, client=section)
            if watch.condition.health is Health.WORKING:
                observer.event(events.HEARD, client=section)

    # --- once

    async def once(self, sections: Sequence[str], at_once: int, cycles: int | None = None) -> list[Result]:
        """Read every mailbox whole or for so many cycles, up to so many at once, and do all work; tell how each fared."""
        gate = asyncio.Semaphore(at_once)
        large = asyncio.Semaphore(min(at_once, _LARGE_AT_ONCE)) if len(sections) > at_once else None
        heart = asyncio.create_task(self._guarded("leases", self._heartbeat))
        work = asyncio.create_task(self._guarded("work", self.worker.run))
        try:
            results = await asyncio.gather(*(self._pass(section, gate, large, cycles) for section in sections))
            self.worker.end()
            await work
        finally:
            for task in (heart, work):
                task.cancel()
            await asyncio.gather(heart, work, return_exceptions=True)
        return results

    async def _pass(self, section: str, gate: asyncio.Semaphore, large: asyncio.Semaphore | None, cycles: int | None) -> Result:
        """With ``large``: what one cycle leaves makes way for others, so that no number of large mailboxes holds up a small."""
        watch = Watch(section, lambda: self.current(section), self.around)
        if section in self.around.paused:
            return Result(section, watch, paused_by=self.around.paused[section].asked_by)
        try:
            async with gate:
                more = await watch.read_whole(1 if large is not None else cycles)
            if more and large is not None and cycles != 1:
                async with large:
                    await watch.read_whole(None if cycles is None else cycles - 1)
        except PostroomError as error:
            await watch.note(error)
            return Result(section, watch, error)
        except Exception as error:  # noqa: BLE001 - one client's defect must not end the others
            unforeseen(self.around.observer, section, error)
            return Result(section, watch, PostroomError(words_of(error)))
        return Result(section, watch)
