"""How an account stands: whether it may send now, and its health with the evidence."""

from __future__ import annotations

from dataclasses import dataclass, field

from postroom import events
from postroom.clock import Clock
from postroom.engine.retry import decide
from postroom.errors import AllowanceUsed, PostroomError, StoreError, Throttled
from postroom.events import Observer
from postroom.model import Condition, Health
from postroom.store import Store

_PROVED = 30.0  # seconds between two reports of the same health
PROOF = 3600.0
"""Seconds after which the way to the server is proved without mail."""


@dataclass
class Standing:
    """One account's. Faults park it, less and less often tried; what goes well ends that."""

    section: str
    store: Store
    clock: Clock
    observer: Observer
    failures: int = 0
    _first_failed_at: float = 0.0
    _parked_until: float = 0.0  # by the clock that never steps
    _reported_at: float = -_PROVED
    condition: Condition = field(init=False)

    def __post_init__(self) -> None:
        self.condition = Condition(self.section, Health.STARTING)

    @property
    def parked_for(self) -> float:
        """Seconds until the account may be tried again; 0: now."""
        return max(0.0, self._parked_until - self.clock.monotonic())

    @property
    def proof_due(self) -> bool:
        """Whether the way to the server is to be proved although there is no mail."""
        proved_at = self.condition.proved_at
        old = proved_at is None or self.clock.now() - proved_at >= PROOF
        return (self.trying or old) and not self.parked_for

    @property
    def trying(self) -> bool:
        """Whether the account failed and was not proved since: one conversation tries, and no more."""
        return self.failures > 0

    def unpark(self) -> None:
        """Something changed: try again at once."""
        self._parked_until = 0.0

    async def failed(self, error: PostroomError) -> float:
        """The account cannot send; return for how many seconds nothing is tried.

        What several conversations meet at the same time is one failure: refusals in passing are believed when they last.
        """
        now = self.clock.now()
        asked = error.retry_after or 0.0 if isinstance(error, Throttled) else 0.0
        if self.failures and self.parked_for >= asked and self.parked_for > 0:
            return self.parked_for
        self.failures += 1
        if self.failures == 1:
            self._first_failed_at = now
        decision = decide(error, self.failures, self._first_failed_at, now)
        seconds = self.clock.jitter(decision.seconds)
        seconds = max(seconds, asked)
        self._parked_until = self.clock.monotonic() + seconds
        client, words, remedy = self.section, str(error), error.remedy
        if isinstance(error, StoreError):
            self.observer.event(events.STORE_TROUBLE, client=client, error=words, remedy=remedy, seconds=seconds)
        elif decision.person:
            self.observer.event(events.NEEDS_PERSON, client=client, error=words, remedy=remedy)
        else:
            self.observer.event(events.PARKED, client=client, error=words, remedy=remedy, seconds=seconds)
        health = Health.PAUSED if isinstance(error, AllowanceUsed) else Health.RETRYING
        health = Health.NEEDS_PERSON if decision.person else health
        await self.report(health, fault=str(error), remedy=error.remedy, retry_at=now + seconds)
        return seconds

    async def proved(self) -> None:
        """A server answered as it should."""
        again = self.failures > 0
        if again:
            self.failures = 0
            self.observer.event(events.RECOVERED, client=self.section)
        if again or self.condition.health is not Health.WORKING or self.clock.monotonic() - self._reported_at >= _PROVED:
            now = self.clock.now()
            self.observer.gauge(events.PROVED_AT, now, client=self.section)
            await self.report(Health.WORKING, proved_at=now)

    async def report(self, health: Health, **evidence: object) -> None:
        """Keep the account's health for status."""
        self._reported_at = self.clock.monotonic()
        self.observer.gauge(events.WORKING, 1.0 if health is Health.WORKING else 0.0, client=self.section)
        started = self.condition.started_at if self.condition.started_at is not None else self.clock.now()
        evidence = {"proved_at": self.condition.proved_at, "started_at": started, **evidence}
        self.condition = Condition(self.section, health, **evidence)  # type: ignore[arg-type]
        try:
            await self.store.report(self.condition)
        except StoreError:
            return  # the store's trouble is told of where it stops something
