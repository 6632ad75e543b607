"""Start and end what runs: one watch for each client, the worker, the leases' heartbeat.

An error that nobody foresaw ends neither the process nor another client: it is told of with its trace, and what failed is
begun anew.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field

from postroom import events
from postroom.drivers import Mailbox
from postroom.engine.watch import Surroundings, Watch
from postroom.engine.work import Worker
from postroom.errors import PostroomError, StoreError
from postroom.store import LEASE

_AGAIN = 30.0  # seconds after an unforeseen error


@dataclass(frozen=True)
class Result:
    """What one pass over a client came to."""

    section: str
    watch: Watch
    error: PostroomError | None = None


@dataclass
class Supervisor:
    """All clients of a process. ``current`` answers a section's mailbox as configured now."""

    current: Callable[[str], Mailbox | None]
    around: Surroundings
    worker: Worker
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _watches: dict[str, Watch] = field(default_factory=dict)
    _others: list[asyncio.Task[None]] = field(default_factory=list)

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
                self._watches[section].poked.set()
            elif self.current(section) is not None:
                watch = Watch(section, lambda section=section: self.current(section), self.around)  # type: ignore[misc]
                self._watches[section] = watch
                self._tasks[section] = asyncio.create_task(self._guarded(section, watch.run), name=section)

    async def stop(self) -> None:
        """End everything; what is under way is repeated after the next start."""
        tasks = [*self._tasks.values(), *self._others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(self, where: str, run: Callable[[], Coroutine[object, object, None]]) -> None:
        while True:
            try:
                return await run()
            except Exception as error:  # noqa: BLE001 - one client's defect must not end the others
                self._unforeseen(where, error)
            await self.around.kit.clock.sleep(_AGAIN)

    def _unforeseen(self, where: str, error: Exception) -> None:
        # The places alone: a trace with values could show what passed through.
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
        words = f"{type(error).__name__}: {error}"
        self.around.observer.event(events.UNFORESEEN, where=where, error=words, trace=" < ".join(reversed(places)))

    async def _heartbeat(self) -> None:
        while True:
            try:
                await self.around.store.renew()
            except StoreError as error:
                self.around.observer.event(
                    events.STORE_TROUBLE, client="", error=str(error), remedy=error.remedy, seconds=LEASE / 3
                )
            await self.around.kit.clock.sleep(LEASE / 3)

    # --- once

    async def once(self, sections: Sequence[str], at_once: int, cycles: int | None = None) -> list[Result]:
        """Read every mailbox whole or for so many cycles, up to so many at once, and do all work; tell how each fared."""
        gate = asyncio.Semaphore(at_once)
        heart = asyncio.create_task(self._guarded("leases", self._heartbeat))
        work = asyncio.create_task(self._guarded("work", self.worker.run))
        try:
            results = await asyncio.gather(*(self._pass(section, gate, cycles) for section in sections))
            self.worker.end()
            await work
        finally:
            for task in (heart, work):
                task.cancel()
            await asyncio.gather(heart, work, return_exceptions=True)
        return results

    async def _pass(self, section: str, gate: asyncio.Semaphore, cycles: int | None) -> Result:
        watch = Watch(section, lambda: self.current(section), self.around)
        async with gate:
            try:
                await watch.read_whole(cycles)
            except PostroomError as error:
                await watch.note(error)
                return Result(section, watch, error)
            except Exception as error:  # noqa: BLE001 - one client's defect must not end the others
                self._unforeseen(section, error)
                return Result(section, watch, PostroomError(f"{type(error).__name__}: {error}"))
        return Result(section, watch)
