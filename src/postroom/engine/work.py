"""Claim, do, finish or retry: one loop for every kind of work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from postroom import events
from postroom.clock import Clock
from postroom.engine.applications import Applications, Arrivals, Configured
from postroom.engine.pause import pause
from postroom.engine.process import process
from postroom.engine.retry import decide_work
from postroom.errors import StoreError, StoreFull, words_of
from postroom.events import Observer
from postroom.model import Work, WorkKind, WorkState
from postroom.store import Store

_CLAIM = 500
_IDLE = 30.0  # seconds after which to look without being told, for what other processes left


@dataclass
class Worker:
    """Does the work of this process."""

    store: Store
    clock: Clock
    observer: Observer
    configured: Configured = dict  # the applications
    arrivals: Arrivals = field(default_factory=Arrivals)  # is told what came for them
    _told: asyncio.Event = field(default_factory=asyncio.Event)
    _ending: bool = False
    failed: int = 0  # pieces dead since the start

    def __post_init__(self) -> None:
        self._applications = Applications(self.store, self.configured, self.arrivals)

    def tell(self) -> None:
        """There may be work."""
        self._told.set()

    def end(self) -> None:
        """Let ``run`` return once all that is due is done. (Cancelled in the middle, it would leave claimed work behind.)"""
        self._ending = True
        self._told.set()

    async def run(self) -> None:
        """Work until told to end."""
        left = True  # work may be claimed and undone, by processes that ended or by ourselves when the store failed
        while True:
            ending = self._ending  # all that is due from here on is done once more
            self._told.clear()
            try:
                if left:
                    await self.store.reclaim(WorkKind.PROCESS, own=True)
                left = False
                await self.drain()
                due = await self.store.next_due(WorkKind.PROCESS)
            except StoreError as error:
                left = True
                seconds = 15.0
                self.observer.event(events.STORE_TROUBLE, client="", error=str(error), remedy=error.remedy, seconds=seconds)
                due = self.clock.now() + seconds
            if ending:
                return
            await pause(self.clock, _IDLE if due is None else max(due - self.clock.now(), 0.05), self._told)

    async def drain(self) -> int:
        """Do all that is due, and hand over what applications are still to get; return how many pieces were done."""
        await self._applications.begin()
        done, filling = 0, True
        while (pieces := await self.store.claim(WorkKind.PROCESS, _CLAIM)) or filling:
            done += await self._do(pieces) if pieces else 0
            filling = await self._applications.fill()  # a page of them, so that what is new does not wait for it
        return done

    async def _do(self, pieces: list[Work]) -> int:
        try:
            finished = await process(self.store, pieces)
            chosen, known = await self._applications.chosen(finished)
            await self.store.finish_process(finished, chosen, known)
        except StoreFull:  # says nothing of these pieces
            raise
        except Exception as error:  # noqa: BLE001 - whatever a message does to us, the others go on
            if len(pieces) > 1:
                return sum([await self._do([piece]) for piece in pieces])
            await self._failed(pieces[0], error)
            return 0
        self.arrivals.tell({each.application for each in chosen})
        self.observer.count(events.PROCESSED_TOTAL, len(finished))
        return len(finished)

    async def _failed(self, piece: Work, error: Exception) -> None:
        decision = decide_work(error, piece.attempts)
        words = words_of(error)
        now = self.clock.now()
        state = WorkState.DEAD if decision.dead else WorkState.READY
        first = piece.first_failed_at if piece.first_failed_at is not None else now
        await self.store.defer(piece, state, now + self.clock.jitter(decision.seconds), first, words[:1000])
        self.failed += decision.dead
        event = events.WORK_DEAD if decision.dead else events.WORK_FAILED
        self.observer.event(event, kind=piece.kind.value, subject=piece.subject, error=words)
