"""Watch one mailbox: cycle after cycle, for as long as its settings want it.

Settings are read afresh at the beginning of each cycle, and only there: "at the next POP cycle" is true by construction. A
conversation goes on over many cycles and ends when it fails or when its settings changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from postroom import events
from postroom.drivers import Kit, Mailbox, Reader, open_reader
from postroom.engine.audit import Auditing
from postroom.engine.read import FolderCycle, Progress, Tally
from postroom.engine.retry import decide
from postroom.errors import LeaseHeld, LeaseLost, PostroomError, SessionEnded, StoreError, Throttled
from postroom.events import Observer
from postroom.model import Condition, Health, Lease
from postroom.store import Store

_ELSEWHERE = 5.0  # seconds between attempts to lease a mailbox that another process reads


@dataclass(frozen=True)
class Surroundings:
    """What watching needs beside its mailbox."""

    store: Store
    kit: Kit
    observer: Observer
    progress: Progress
    captured: Callable[[], None]  # is called when there may be new work
    audit_interval: float = 0.0  # seconds; 0: no audits by themselves


@dataclass
class Watch:
    """One client. ``current`` answers its mailbox as configured now, None when it is removed or disabled."""

    section: str
    current: Callable[[], Mailbox | None]
    around: Surroundings
    poked: asyncio.Event = field(default_factory=asyncio.Event)
    total: Tally = field(default_factory=Tally)
    auditing: Auditing = field(init=False)
    _failures: int = 0
    _first_failed_at: float = 0.0
    _healthy: bool = False
    _absent: set[tuple[str, str]] = field(default_factory=set)  # found absent in this conversation

    def __post_init__(self) -> None:
        around = self.around
        self.auditing = Auditing(self.section, around.audit_interval, around.store, around.kit.clock, around.observer)

    # --- for ever

    async def run(self) -> None:
        """Read until the mailbox is removed or disabled. Raises nothing that is foreseen."""
        while (mailbox := self.current()) is not None:
            self.poked.clear()
            before = self._steps
            try:
                await self._converse(mailbox)
            except SessionEnded as ended:
                self.around.observer.event(events.SESSION_ENDED, client=self.section)
                if not self._healthy and self._steps == before:
                    await self._failed(ended, mailbox)
            except (LeaseHeld, LeaseLost) as held:
                await self._elsewhere(held)
            except PostroomError as error:
                await self._failed(error, mailbox)
        await self._report(Health.DISABLED)

    async def _converse(self, mailbox: Mailbox) -> None:
        """Cycles over one conversation, until the settings change."""
        self._healthy = False  # proved anew by each conversation: one that ends without a step forward has failed
        self._absent.clear()
        self.auditing.drop()
        async with self._leased(mailbox) as leases, open_reader(mailbox, self.around.kit) as reader:
            self.around.observer.event(
                events.CONNECTED, client=self.section, server=mailbox.client.server or mailbox.client.mailbox
            )
            while self.current() == mailbox:
                if (await self.cycle(mailbox, reader, leases)).more or await self.auditing.step(reader, leases):
                    continue
                if not await self._wait(reader, self.around.kit.clock.jitter(mailbox.client.cycle_time, 0.05)):
                    return

    async def _wait(self, reader: Reader, seconds: float) -> bool:
        """Wait for mail; False after a poke, which leaves the conversation out of step."""
        waiting = asyncio.create_task(reader.wait(seconds))
        poked = asyncio.create_task(self.poked.wait())
        try:
            await asyncio.wait([waiting, poked], return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                await waiting
                return True
            return False
        finally:
            for task in (waiting, poked):
                task.cancel()
            await asyncio.gather(waiting, poked, return_exceptions=True)

    # --- once

    async def read_whole(self, cycles: int | None = None) -> None:
        """Cycle until nothing more is to be read, or so often. Raises what stops it, after one new login where a token ended."""
        mailbox = self.current()
        if mailbox is None:
            return
        while True:
            before = self._steps
            self._absent.clear()
            try:
                async with self._leased(mailbox) as leases, open_reader(mailbox, self.around.kit) as reader:
                    done = 1
                    while (await self.cycle(mailbox, reader, leases)).more and done != cycles:
                        mailbox = self.current() or mailbox
                        done += 1
                return
            except SessionEnded:
                if self._steps == before:
                    raise

    @property
    def _steps(self) -> int:
        """Grows with each message: a conversation that got further has not failed when its token ends it."""
        return self.total.captured + self.total.matched + self.total.settled

    async def note(self, error: PostroomError) -> None:
        """Keep what stopped a single pass, for status."""
        if isinstance(error, LeaseHeld | LeaseLost):
            return  # whoever reads the mailbox reports its health
        person = decide(error, 1, 0.0, 0.0).person
        await self._report(Health.NEEDS_PERSON if person else Health.RETRYING, fault=str(error), remedy=error.remedy)

    # --- within

    async def cycle(self, mailbox: Mailbox, reader: Reader, leases: list[Lease]) -> Tally:
        """One POP cycle over all folders. When it returns, the path to the mailbox is proved."""
        around = self.around
        whole = Tally()
        for folder, lease in zip(mailbox.client.folder_path, leases, strict=True):
            folder_cycle = FolderCycle(
                mailbox.client,
                folder,
                lease,
                reader,
                around.store,
                around.kit.clock,
                around.observer,
                around.progress,
                self._absent,
            )
            try:
                tally = await folder_cycle.run()
            finally:
                done = folder_cycle.tally
                self.total.captured += done.captured
                self.total.matched += done.matched
                self.total.octets += done.octets
                self.total.settled += done.settled
                self.total.troubles += done.troubles
                if done.captured:
                    around.captured()
            whole.more = whole.more or tally.more
            whole.captured += tally.captured
        around.observer.count(events.CYCLES_TOTAL, client=self.section, outcome="read" if whole.captured else "unchanged")
        await self._proved()
        return whole

    @asynccontextmanager
    async def _leased(self, mailbox: Mailbox) -> AsyncIterator[list[Lease]]:
        client = mailbox.client
        store = self.around.store
        server = self.around.kit.providers.place_of(client, mailbox.authorities).host
        source = await store.source(client.type.value, server, client.mailbox)
        leases = await store.acquire(source, client.folder_path)
        try:
            yield leases
        finally:
            await store.release(leases)

    async def _proved(self) -> None:
        now = self.around.kit.clock.now()
        if self._failures:
            self.around.observer.event(events.RECOVERED, client=self.section)
        self._failures, self._healthy = 0, True
        self.around.observer.gauge(events.PROVED_AT, now, client=self.section)
        await self._report(Health.WORKING, proved_at=now)

    async def _failed(self, error: PostroomError, mailbox: Mailbox) -> None:
        """Say what happened, then hold still for as long as the decision says, or until the settings change."""
        clock, observer = self.around.kit.clock, self.around.observer
        now = clock.now()
        self._failures += 1
        self._healthy = False
        if self._failures == 1:
            self._first_failed_at = now
        decision = decide(error, self._failures, self._first_failed_at, now)
        seconds = clock.jitter(decision.seconds)
        if isinstance(error, Throttled):
            seconds = max(seconds, error.retry_after or 0.0)  # never before the time that the server named
        observer.count(events.CYCLES_TOTAL, client=self.section, outcome="failed")
        if isinstance(error, StoreError):
            observer.event(events.STORE_TROUBLE, client=self.section, error=str(error), remedy=error.remedy, seconds=seconds)
        elif decision.person:
            observer.event(events.NEEDS_PERSON, client=self.section, error=str(error), remedy=error.remedy)
        else:
            observer.event(events.RETRYING, client=self.section, error=str(error), remedy=error.remedy, seconds=seconds)
        health = Health.NEEDS_PERSON if decision.person else Health.RETRYING
        await self._report(health, fault=str(error), remedy=error.remedy, retry_at=now + seconds)
        await self._hold(seconds, mailbox)

    async def _elsewhere(self, held: StoreError) -> None:
        self.around.observer.event(events.ELSEWHERE, client=self.section, error=str(held))  # its reader reports its health
        await self._hold(_ELSEWHERE, None)

    async def _hold(self, seconds: float, failed: Mailbox | None) -> None:
        """Sleep; a poke ends it when it brings other settings than those that failed."""
        clock = self.around.kit.clock
        end = clock.monotonic() + seconds
        while (left := end - clock.monotonic()) > 0:
            sleeping = asyncio.create_task(clock.sleep(left))
            poked = asyncio.create_task(self.poked.wait())
            await asyncio.wait([sleeping, poked], return_when=asyncio.FIRST_COMPLETED)
            for task in (sleeping, poked):
                task.cancel()
            await asyncio.gather(sleeping, poked, return_exceptions=True)
            self.poked.clear()
            if self.current() != failed:
                return

    async def _report(self, health: Health, **evidence: object) -> None:
        self.around.observer.gauge(events.WORKING, 1.0 if health is Health.WORKING else 0.0, client=self.section)
        condition = Condition(self.section, health, **evidence)  # type: ignore[arg-type]
        try:
            await self.around.store.report(condition)
        except StoreError:
            return  # the store's trouble is told of where it stops something
