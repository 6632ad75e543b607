"""Measure a conversation: signs of life, for the one who watches over it, and octets, against the provider's limit a day.

What may be read is a bucket that fills all day long: a quarter of the day's octets may come at once, the other three come in
over 24 hours. So in no 24 hours more is read than the limit, whenever the provider's day begins; and a first read that is
too large for one day pauses for minutes, not for a day, with new mail first each time it goes on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from postroom import events
from postroom.clock import Clock
from postroom.drivers import First, Reader, Settlement
from postroom.errors import AllowanceUsed, StoreError
from postroom.events import Observer
from postroom.model import Absent, Changes, Fetched, Listed, Preview, Unfetched, Unsettled
from postroom.settings import FirstRead
from postroom.store import Store

_OURS = 0.9  # of the limit: the owner's own programs read too, and a long message may be the last one
_AT_ONCE = 0.25  # of ours
_DAY = 86400.0
_GOES_ON = 600.0  # seconds of filling before reading goes on
_KEEP = 4 * 1024 * 1024  # octets that a crash may leave uncounted
_SIGN = 64 * 1024  # octets that are a sign of life; fewer may be a trickle that never ends


@dataclass(eq=False)
class Meter:
    """Of one conversation with a source. ``limit``: octets a day; None counts nothing."""

    client: str
    source: int
    limit: int | None
    store: Store
    clock: Clock
    observer: Observer
    alive_at: float = field(init=False)  # the last sign of life, on the monotonic clock
    _octets: int = 0
    _signed: int = 0  # of these, up to the last sign
    _kept: int = 0  # … and up to the last count in the store

    def __post_init__(self) -> None:
        self.sign()

    def received(self, count: int) -> None:
        """Octets came."""
        self._octets += count
        if self._octets - self._signed >= _SIGN:
            self._signed = self._octets
            self.sign()

    def sign(self) -> None:
        """Something was done whole."""
        self.alive_at = self.clock.monotonic()

    async def check(self, *, least: int | None = None) -> None:
        """Count what came since the last time, if it is so much. Raises ``AllowanceUsed`` when no more may be read now."""
        if self.limit is None or self._octets - self._kept < (_KEEP if least is None else least):
            return
        ours = self.limit * _OURS
        per_second = ours * (1 - _AT_ONCE) / _DAY
        octets, self._kept = self._octets - self._kept, self._octets
        remaining = await self.store.spend(self.source, octets, ours * _AT_ONCE, per_second)
        self.observer.gauge(events.ALLOWANCE, max(remaining, 0.0), client=self.client)
        if remaining < 0:
            raise AllowanceUsed(
                f"{self.limit / 1e6:,.0f} MB may be read a day",
                retry_after=_GOES_ON - remaining / per_second,
            )

    async def finish(self) -> None:
        """Count what is left over at the conversation's end."""
        with suppress(AllowanceUsed, StoreError):
            await self.check(least=1)


@dataclass(frozen=True)
class MeteredReader:
    """A ``Reader`` that signs what it did, and reads no more than may be read."""

    reader: Reader
    meter: Meter

    async def changes(self, folder: str, since: str | None, limit: int, first: First = FirstRead.ALL) -> Changes:
        changes = await self.reader.changes(folder, since, limit, first)
        self.meter.sign()
        return changes

    async def headers(self, folder: str, listed: Sequence[Listed]) -> Mapping[str, bytes]:
        headers = await self.reader.headers(folder, listed)
        self.meter.sign()
        return headers

    async def preview(self, folder: str, first: First) -> Preview:
        preview = await self.reader.preview(folder, first)
        self.meter.sign()
        return preview

    async def fetch(self, folder: str, listed: Sequence[Listed]) -> AsyncGenerator[Fetched | Absent | Unfetched, None]:
        await self.meter.check()
        async with aclosing(self.reader.fetch(folder, listed)) as items:  # type: ignore[type-var]
            async for item in items:
                self.meter.sign()
                yield item
                if self.meter.limit is not None:
                    await self.meter.check()

    async def fetch_headers(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        async for item in self.reader.fetch_headers(folder, listed):
            self.meter.sign()
            yield item

    async def settle(self, folder: str, items: Sequence[Unsettled], target: str | None) -> Settlement:
        settlement = await self.reader.settle(folder, items, target)
        self.meter.sign()
        return settlement

    async def census(self, folder: str) -> AsyncGenerator[Sequence[Listed], None]:
        await self.meter.check()
        async with aclosing(self.reader.census(folder)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                self.meter.sign()
                yield piece
                await self.meter.check()

    async def commit(self) -> Sequence[str]:
        return await self.reader.commit()

    def stands(self) -> bool:
        return self.reader.stands()

    async def wait(self, seconds: float) -> None:
        await self.reader.wait(seconds)
