"""Watch one mailbox: cycle after cycle, for as long as its settings want it.

Settings are read afresh at the beginning of each cycle, and only there: "at the next POP cycle" is true by construction. A
conversation goes on over many cycles and ends when it fails or when its settings changed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from postroom import events
from postroom.drivers import Kit, Mailbox, Reader, open_reader
from postroom.drivers.limits import Limits
from postroom.engine.audit import Auditing
from postroom.engine.budget import Budget, Seat
from postroom.engine.meter import Meter, MeteredReader
from postroom.engine.pause import pause
from postroom.engine.read import FolderCycle, Progress, Tally
from postroom.engine.retry import decide
from postroom.engine.silence import longest_sign
from postroom.errors import AllowanceUsed, LeaseHeld, LeaseLost, PostroomError, SessionEnded, StoreError, Throttled
from postroom.events import Observer
from postroom.model import Condition, Health, Lease
from postroom.store import Store
from postroom.store.commands import Pause

_ELSEWHERE = 5.0  # seconds between attempts to lease a mailbox that another process reads
_LEAVES = 0.86, 0.1  # of a conversation's longest time with a token: then, more or less, we end it ourselves …
_RENEWS = 0.25  # … and a token with less of its time left is renewed: the next conversation begins with a whole one
_THROTTLED = 6  # refusals in a row that a single pass waits out


@dataclass(frozen=True)
class Surroundings:
    """What watching needs beside its mailbox."""

    store: Store
    kit: Kit
    observer: Observer
    progress: Progress
    captured: Callable[[], None]  # is called when there may be new work
    budget: Budget
    audit_interval: float = 0.0  # seconds; 0: no audits by themselves
    paused: Mapping[str, Pause] = field(default_factory=dict)  # by section, as last looked


@dataclass(frozen=True)
class _Talk:
    """A conversation, logged in."""

    reader: Reader
    leases: list[Lease]
    seat: Seat
    limits: Limits


@dataclass
class Watch:
    """One client. ``current`` answers its mailbox as configured now, None when it is removed or disabled."""

    section: str
    current: Callable[[], Mailbox | None]
    around: Surroundings
    total: Tally = field(default_factory=Tally)
    auditing: Auditing = field(init=False)
    condition: Condition = field(init=False)  # as we know it
    _poked: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: asyncio.Timeout | None = None
    _meter: Meter | None = None
    _explained: float = math.inf  # until then, on the monotonic clock, no sign of life is due
    _failures: int = 0
    _first_failed_at: float = 0.0
    _healthy: bool = False
    _greeted: Mailbox | None = None  # as it was when its connection was told of
    _absent: set[tuple[str, str]] = field(default_factory=set)  # found absent in this conversation

    def __post_init__(self) -> None:
        self.condition = Condition(self.section, Health.STARTING)
        around = self.around
        self.auditing = Auditing(self.section, around.audit_interval, around.store, around.kit.clock, around.observer)

    def poke(self) -> None:
        """The settings may have changed: the next cycle begins at once, and with them."""
        self._poked.set()
        self._end_wait()

    def stuck_for(self) -> float | None:
        """Seconds without a sign of life, where that is longer than time-outs and pauses explain; None while all is well."""
        mailbox, now = self.current(), self.around.kit.clock.monotonic()
        last = self._explained
        if self._meter is not None:
            last = max(last, self._meter.alive_at)
        if mailbox is None or now - last <= longest_sign(mailbox.client):
            return None
        return now - last

    # --- for ever

    async def run(self) -> None:
        """Read until the mailbox is removed, disabled or paused. Raises nothing that is foreseen."""
        while (mailbox := self.current()) is not None:
            self._poked.clear()
            before = self._steps
            try:
                seconds = await self._converse(mailbox)
            except SessionEnded as ended:
                self.around.observer.event(events.SESSION_ENDED, client=self.section)
                if not self._healthy and self._steps == before:
                    await self._failed(ended, mailbox)
            except (LeaseHeld, LeaseLost) as held:
                await self._elsewhere(held)
            except PostroomError as error:
                await self._failed(error, mailbox)
            else:
                await self._hold(seconds, mailbox)
        paused = self.around.paused.get(self.section)
        if paused is None:
            await self._report(Health.DISABLED)
        else:
            self.around.observer.event(events.CLIENT_PAUSED, client=self.section, by=paused.asked_by)
            await self._report(Health.PAUSED, fault=f"paused by {paused.asked_by}", remedy=f"postroom resume {self.section}")

    async def _converse(self, mailbox: Mailbox) -> float:
        """Cycles over one conversation, until the settings change; return how long to pause before the next one."""
        self._healthy = False  # proved anew by each conversation: one that ends without a step forward has failed
        self.auditing.drop()
        clock = self.around.kit.clock
        async with self._conversation(mailbox) as talk:
            self._tell_connected(mailbox, talk.reader)
            end = math.inf
            if mailbox.client.uses_oauth and talk.limits.conversation is not None:
                # Many that began together must not all be ended by the server, and ask for tokens, at one instant.
                end = clock.monotonic() + clock.jitter(talk.limits.conversation * _LEAVES[0], _LEAVES[1])
            while self.current() == mailbox:
                done = await self.cycle(mailbox, talk.reader, talk.leases)
                more = done.more or await self.auditing.step(talk.reader, talk.leases)
                seconds = done.pace if more else max(clock.jitter(mailbox.client.cycle_time, 0.05), done.pace)
                if talk.seat.asked or not talk.reader.stands():
                    return seconds
                left = end - clock.monotonic()
                if left <= 0:
                    break
                if not more and not await self._wait(talk.reader, min(seconds, left)):
                    return seconds if talk.seat.asked else 0.0
        return 0.0

    def _tell_connected(self, mailbox: Mailbox, reader: Reader) -> None:
        """Once, too, where each cycle logs in anew, until something fails or changes."""
        if reader.stands() or self._greeted != mailbox:
            where = mailbox.client.server or mailbox.client.mailbox
            self.around.observer.event(events.CONNECTED, client=self.section, server=where)
        self._greeted = mailbox

    async def _wait(self, reader: Reader, seconds: float) -> bool:
        """Wait for mail; False after a poke, which leaves the conversation out of step."""
        if self._poked.is_set():
            return False
        self._explain(seconds)
        try:
            async with asyncio.timeout(None) as self._waiting:
                await reader.wait(seconds)
        except TimeoutError:
            if self._waiting is None or not self._waiting.expired():
                raise
            return False
        finally:
            self._waiting = None
        self._explain(0.0)
        return True

    def _end_wait(self) -> None:
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    def _explain(self, seconds: float) -> None:
        """For so long no sign of life is due."""
        self._explained = self.around.kit.clock.monotonic() + seconds

    # --- once

    async def read_whole(self, cycles: int | None = None) -> bool:
        """Cycle until nothing more is to be read, or so often; return whether more is left.

        Raises what stops it, after one new login where a token ended, and after waiting where the server throttles.
        """
        mailbox = self.current()
        if mailbox is None:
            return False
        throttled = done = 0
        while True:
            before = self._steps
            try:
                async with self._conversation(mailbox) as talk:
                    while True:
                        tally = await self.cycle(mailbox, talk.reader, talk.leases)
                        mailbox = self.current() or mailbox
                        done += 1
                        if not tally.more or done == cycles:
                            return tally.more
                        if not talk.reader.stands():
                            break
                await self.around.kit.clock.sleep(tally.pace)
            except SessionEnded:
                if self._steps == before:
                    raise
            except Throttled as error:
                throttled = throttled + 1 if self._steps == before else 1
                if isinstance(error, AllowanceUsed) or throttled > _THROTTLED:
                    raise
                await self.around.kit.clock.sleep(self._throttled_for(error, throttled))

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
            folder_cycle = self._folder_cycle(mailbox, reader, folder, lease)
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
            whole.pace = max(whole.pace, tally.pace)
        around.observer.count(events.CYCLES_TOTAL, client=self.section, outcome="read" if whole.captured else "unchanged")
        await self._proved(whole.pace)
        return whole

    async def settle(self) -> None:
        """Settle what is owed to the server, and read nothing. Raises what stops it."""
        mailbox = self.current()
        if mailbox is None:
            return
        async with self._conversation(mailbox) as talk:
            for folder, lease in zip(mailbox.client.folder_path, talk.leases, strict=True):
                await self._folder_cycle(mailbox, talk.reader, folder, lease).settle_owed()

    def _folder_cycle(self, mailbox: Mailbox, reader: Reader, folder: str, lease: Lease) -> FolderCycle:
        around = self.around
        return FolderCycle(
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

    @asynccontextmanager
    async def _conversation(self, mailbox: Mailbox) -> AsyncIterator[_Talk]:
        """The leases, a seat, then the login when it is our turn."""
        around, client = self.around, mailbox.client
        server = around.kit.providers.place_of(client, mailbox.authorities).host
        limits = around.kit.providers.limits_of(client, mailbox.authorities)
        self._absent.clear()
        self._explain(math.inf)  # others may be before us
        async with AsyncExitStack() as stack:
            source = await around.store.source(client.type.value, server, client.account)
            leases = await around.store.acquire(source, client.folder_path)
            stack.push_async_callback(around.store.release, leases)
            if self.condition.started_at is None:
                self.condition = replace(self.condition, started_at=around.kit.clock.now())
            seat = await stack.enter_async_context(around.budget.seat(server, client.account, limits, self._end_wait))
            meter = Meter(self.section, source, limits.octets_a_day, around.store, around.kit.clock, around.observer)
            await meter.check(least=0)
            stack.push_async_callback(meter.finish)
            kit = replace(around.kit, dialer=around.kit.dialer.counting(meter.received))
            async with around.budget.login(seat, limits):
                self._explain(0.0)
                self._meter = meter
                reader = await stack.enter_async_context(open_reader(_renewing(mailbox, limits), kit))
            yield _Talk(MeteredReader(reader, meter), leases, seat, limits)

    async def _proved(self, pace: float) -> None:
        """``pace``: the server wants no check before so many seconds are over, and none is missing until then."""
        now = self.around.kit.clock.now()
        if self._failures:
            self.around.observer.event(events.RECOVERED, client=self.section)
        self._failures, self._healthy = 0, True
        self.around.observer.gauge(events.PROVED_AT, now, client=self.section)
        await self._report(Health.WORKING, proved_at=now, retry_at=now + pace if pace else None)

    async def _failed(self, error: PostroomError, mailbox: Mailbox) -> None:
        """Say what happened, then hold still for as long as the decision says, or until the settings change."""
        clock, observer = self.around.kit.clock, self.around.observer
        now = clock.now()
        self._failures += 1
        self._greeted = None
        self._healthy = False
        if self._failures == 1:
            self._first_failed_at = now
        decision = decide(error, self._failures, self._first_failed_at, now)
        seconds = self._throttled_for(error, self._failures) if isinstance(error, Throttled) else clock.jitter(decision.seconds)
        observer.count(events.CYCLES_TOTAL, client=self.section, outcome="failed")
        if isinstance(error, StoreError):
            observer.event(events.STORE_TROUBLE, client=self.section, error=str(error), remedy=error.remedy, seconds=seconds)
        elif decision.person:
            observer.event(events.NEEDS_PERSON, client=self.section, error=str(error), remedy=error.remedy)
        elif isinstance(error, AllowanceUsed):
            observer.event(events.PAUSED, client=self.section, error=str(error), remedy=error.remedy, seconds=seconds)
        else:
            observer.event(events.RETRYING, client=self.section, error=str(error), remedy=error.remedy, seconds=seconds)
        health = Health.PAUSED if isinstance(error, AllowanceUsed) else Health.RETRYING
        health = Health.NEEDS_PERSON if decision.person else health
        await self._report(health, fault=str(error), remedy=error.remedy, retry_at=now + seconds)
        await self._hold(seconds, mailbox)

    def _throttled_for(self, error: Throttled, failures: int) -> float:
        """Less and less often, and never before the time that the server named."""
        seconds = self.around.kit.clock.jitter(decide(error, failures, 0.0, 0.0).seconds)
        return max(seconds, error.retry_after or 0.0)

    async def _elsewhere(self, held: StoreError) -> None:
        self.around.observer.event(events.ELSEWHERE, client=self.section, error=str(held))
        self.condition = Condition(self.section, Health.STARTING)  # its reader reports its health
        await self._hold(_ELSEWHERE, None)

    async def _hold(self, seconds: float, failed: Mailbox | None) -> None:
        """Sleep; a poke ends it when it brings other settings than those that failed."""
        clock = self.around.kit.clock
        end = clock.monotonic() + seconds
        self._explain(seconds)
        while (left := end - clock.monotonic()) > 0.001:  # the clock counts no finer
            await pause(clock, left, self._poked)
            self._poked.clear()
            if self.current() != failed:
                return

    async def _report(self, health: Health, **evidence: object) -> None:
        self.around.observer.gauge(events.WORKING, 1.0 if health is Health.WORKING else 0.0, client=self.section)
        evidence = {"proved_at": self.condition.proved_at, "started_at": self.condition.started_at, **evidence}
        self.condition = Condition(self.section, health, **evidence)  # type: ignore[arg-type]
        try:
            await self.around.store.report(self.condition)
        except StoreError:
            return  # the store's trouble is told of where it stops something


def _renewing(mailbox: Mailbox, limits: Limits) -> Mailbox:
    """Where a conversation lasts no longer than its token, the token is renewed before it begins."""
    if limits.conversation is None:
        return mailbox
    margin = max(mailbox.client.token_expiry_margin_time, limits.conversation * _RENEWS)
    return replace(mailbox, client=replace(mailbox.client, token_expiry_margin_time=margin))
