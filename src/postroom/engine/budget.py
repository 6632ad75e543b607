"""What a server allows us: logins, conversations at once. One ``Budget`` serves all mailboxes of a process.

A **door** stands before each server: so many logins at once and so many a second pass it. Who has been in the door for long
waits for the server and no longer counts, so that accounts that hang hold up no others. A further pace holds over all
servers together, because each login costs this process its TLS handshake.

A **seat** is a conversation that may stand. Without a known limit there are as many as are wanted. Each server and each
account has seats; their number is learned from refusals, and now and then one more is tried. Where seats are scarce,
mailboxes take turns: who has had its cycle gets up for who waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from postroom import events
from postroom.clock import Clock
from postroom.drivers.limits import Limits
from postroom.engine.pause import pause
from postroom.errors import Throttled
from postroom.events import Observer

LINGERS = 5.0  # seconds in the door after which a login no longer counts
_AT_ONCE = 32  # logins of all servers together that may follow at one instant …
_A_SECOND = 200.0  # … and then a second
_WITNESSES = 3  # accounts that a server refuses in a row, none having got in, before the server itself is meant
_TRY_ONE_MORE = 3600.0  # seconds after which one conversation more is tried; doubled by each refusal of the trial
_TRY_SELDOM = 86400.0


@dataclass
class Bucket:
    """So many a second, and no more than ``most`` at one instant."""

    most: float
    per_second: float
    _there: float = field(init=False)
    _at: float = 0.0

    def __post_init__(self) -> None:
        self._there = self.most

    def take(self, now: float) -> float:
        """Take one; return after how many seconds it may be used. ``now`` never runs backwards."""
        self._there = min(self.most, self._there + (now - self._at) * self.per_second) - 1
        self._at = now
        return max(-self._there / self.per_second, 0.0)


@dataclass
class _Door:
    """Before one server. Who comes first passes first."""

    clock: Clock
    at_once: int
    pace: Bucket
    common: Bucket
    _within: dict[object, float] = field(default_factory=dict)  # since when
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _left: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Wait for one's turn; within the block one is in the door."""
        me = object()
        async with self._turn:
            while (seconds := self._full_for()) > 0:
                self._left.clear()
                await pause(self.clock, seconds, self._left)
            now = self.clock.monotonic()
            if seconds := max(self.pace.take(now), self.common.take(now)):
                await self.clock.sleep(seconds)
            self._within[me] = self.clock.monotonic()
        try:
            yield
        finally:
            del self._within[me]
            self._left.set()

    def _full_for(self) -> float:
        """Seconds until somebody no longer counts; none, or fewer, when there is room."""
        within = list(self._within.values())  # in the order of their coming
        return within[-self.at_once] + LINGERS - self.clock.monotonic() if len(within) >= self.at_once else 0.0


@dataclass(eq=False)
class Seat:
    """A conversation's right to stand."""

    account: _Seats
    server: _Seats
    leave: Callable[[], None]  # is called when somebody waits
    asked: bool = False  # to get up as soon as the cycle is done
    stands: bool = False  # logged in


@dataclass(eq=False)
class _Seats:
    """Of one account, or of one server. Who comes first sits first."""

    name: str
    most: int | None = None  # in the provider's own words; never more are tried
    limit: int | None = None  # that was learned, or ``most``; None: nobody has refused yet
    sitting: dict[Seat, None] = field(default_factory=dict)  # in the order of their coming
    refused: set[str] = field(default_factory=set)  # accounts turned away since the last that got in
    _learned_at: float = 0.0
    _patience: float = _TRY_ONE_MORE
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _left: asyncio.Event = field(default_factory=asyncio.Event)

    async def sit(self, seat: Seat, clock: Clock) -> None:
        """Wait for a free seat, and for those who came before; ask one who sits to get up."""
        async with self._turn:
            while not self._free(clock.monotonic()):
                longest = next((sitting for sitting in self.sitting if not sitting.asked), None)
                if longest is not None:
                    longest.asked = True
                    longest.leave()
                self._left.clear()
                await self._left.wait()
            self.sitting[seat] = None

    def rise(self, seat: Seat) -> None:
        """Give the seat to whoever waits."""
        del self.sitting[seat]
        self._left.set()

    def _free(self, now: float) -> bool:
        if self.limit is None:
            return True
        if self.limit != self.most and now - self._learned_at >= self._patience:
            self.limit, self._learned_at = self.limit + 1, now
        return len(self.sitting) < self.limit

    @property
    def standing(self) -> int:
        """Conversations that are logged in."""
        return sum(seat.stands for seat in self.sitting)

    def learn(self, limit: int, now: float) -> bool:
        """So many were allowed and one more was refused. True when that is news."""
        if self.limit == limit + 1:  # it was our trial
            self._patience = min(self._patience * 2, _TRY_SELDOM)
        news = self.limit is None or limit < self.limit
        if news:
            self.limit = limit
        self._learned_at = now
        return news


class Budget:
    """Of one process."""

    def __init__(self, clock: Clock, observer: Observer) -> None:
        self._clock = clock
        self._observer = observer
        self._common = Bucket(_AT_ONCE, _A_SECOND)
        self._doors: dict[str, _Door] = {}
        self._servers: dict[str, _Seats] = {}
        self._accounts: dict[tuple[str, str], _Seats] = {}

    @asynccontextmanager
    async def seat(self, server: str, login: str, limits: Limits, leave: Callable[[], None]) -> AsyncIterator[Seat]:
        """Wait for a seat and keep it within the block. ``leave`` is called when somebody else waits for one."""
        account = self._accounts.setdefault((server, login), _Seats(login, limits.connections, limits.connections))
        seat = Seat(account, self._servers.setdefault(server, _Seats(server)), leave)
        await seat.account.sit(seat, self._clock)
        try:
            await seat.server.sit(seat, self._clock)
            try:
                self._count(seat)
                yield seat
            finally:
                seat.server.rise(seat)
                self._count(seat)
        finally:
            seat.account.rise(seat)

    @asynccontextmanager
    async def login(self, seat: Seat, limits: Limits) -> AsyncIterator[None]:
        """Wait for a turn to log in; the block is the login. Learns from a refusal."""
        server = seat.server.name
        door = self._doors.get(server)
        if door is None:
            pace = Bucket(limits.logins_at_once, limits.logins_a_second)
            door = self._doors[server] = _Door(self._clock, limits.logins_at_once, pace, self._common)
        async with door.passing():
            try:
                yield
            except Throttled as error:
                self._learn(seat, error)
                raise
            seat.stands = True
            seat.server.refused.clear()

    def _learn(self, seat: Seat, error: Throttled) -> None:
        """A refusal that speaks of connections tells how many are allowed: as many as stand, if they are ours.

        An account's may be anybody's: its owner's telephone counts too. So the server is meant only when it turns away one
        account after another and lets none in.
        """
        if error.limit is None and "connection" not in error.detail.lower():
            return
        seats, limit = seat.account, error.limit or seat.account.standing
        if not limit:
            seats, limit = seat.server, seat.server.standing
            seats.refused.add(seat.account.name)
            if len(seats.refused) < _WITNESSES:
                return
        if seats.learn(max(limit, 1), self._clock.monotonic()):
            self._observer.event(
                events.LIMIT_LEARNED, server=seat.server.name, of=seats.name, connections=seats.limit, error=str(error)
            )

    def _count(self, seat: Seat) -> None:
        self._observer.gauge(events.CONNECTIONS, len(seat.server.sitting), server=seat.server.name)
