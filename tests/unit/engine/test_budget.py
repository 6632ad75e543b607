"""What a server allows: the door before it, seats that are learned and shared, octets a day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from fakes import HandClock, HastyClock, Recorder
from postroom import events
from postroom.drivers.limits import Limits
from postroom.engine.budget import LINGERS, Bucket, Budget, Seat
from postroom.errors import Lost, Throttled

FREE = Limits()
TOO_MANY = Throttled("mail.example.org: NO Too many simultaneous connections")


class Place:
    """One process before its servers."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.recorder = Recorder()
        self.budget = Budget(clock, self.recorder)
        self.asked: list[str] = []  # who was asked to get up
        self.within: list[str] = []  # who is in a door now
        self.passed: list[tuple[float, str]] = []  # when, and who
        self.tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def seated(self, login: str, limits: Limits = FREE, server: str = "mail.example.org") -> AsyncIterator[Seat]:
        """A conversation that stands."""
        async with self.budget.seat(server, login, limits, lambda: self.asked.append(login)) as seat:
            async with self.budget.login(seat, limits):
                pass
            yield seat

    def sit(self, login: str, limits: Limits = FREE) -> asyncio.Task[None]:
        """Sit down, and get up at once."""

        async def run() -> None:
            async with self.seated(login, limits):
                pass

        return asyncio.create_task(run())

    async def refused(self, login: str, error: Throttled = TOO_MANY) -> None:
        """A login that the server does not want."""

        async def run() -> None:
            async with self.budget.seat("mail.example.org", login, FREE, lambda: None) as seat, self.budget.login(seat, FREE):
                raise error

        with pytest.raises(Throttled):
            await run()

    def log_in(self, login: str, over: asyncio.Event, limits: Limits = FREE, server: str = "mail.example.org") -> None:
        """Begin a login that lasts until ``over``."""

        async def run() -> None:
            async with self.budget.seat(server, login, limits, lambda: None) as seat, self.budget.login(seat, limits):
                self.within.append(login)
                self.passed.append((self.clock.monotonic(), login))
                await over.wait()
                self.within.remove(login)

        self.tasks.append(asyncio.create_task(run()))

    async def all_passed(self, count: int) -> None:
        """Let time pass whenever somebody sleeps, until so many have logged in."""
        async with asyncio.timeout(20):
            while len(self.passed) < count:
                await self.clock.skip()
                await settled()

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place(HandClock())
    yield place
    await place.end()


async def settled() -> None:
    """Let every task go as far as it gets."""
    for _ in range(50):
        await asyncio.sleep(0)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - there is nothing to be told by
            await asyncio.sleep(0)


# --- the door ---------------------------------------------------------------------------------------------------------


async def test_so_many_log_in_at_once_and_no_more(place: Place) -> None:
    over = asyncio.Event()
    for number in range(30):
        place.log_in(f"m{number:02}", over, Limits(logins_at_once=8, logins_a_second=1e9))
    await settled()
    assert place.within == [f"m{number:02}" for number in range(8)]
    over.set()
    await place.all_passed(30)
    assert [login for _, login in place.passed] == [f"m{number:02}" for number in range(30)]  # in the order of their coming


async def test_a_thousand_logins_are_spread_and_take_no_longer_than_the_pace(place: Place) -> None:
    over = asyncio.Event()
    over.set()
    for number in range(1000):
        place.log_in(f"m{number}", over, Limits(logins_at_once=8, logins_a_second=100))
    await place.all_passed(1000)
    times = [at for at, _ in place.passed]
    assert times[7] == 0
    assert times[-1] == pytest.approx((1000 - 8) / 100, abs=0.02)
    assert all(later - sooner >= 0.99 for sooner, later in zip(times, times[107:], strict=False))  # never more in a second


async def test_servers_share_the_pace_of_this_process(place: Place) -> None:
    over = asyncio.Event()
    over.set()
    for number in range(432):  # each at a server of its own
        place.log_in(f"m{number}", over, server=f"mail{number}.example.org")
    await place.all_passed(432)
    assert place.clock.monotonic() == pytest.approx(2.0, abs=0.02)  # 32 at once, then 200 a second


async def test_a_server_that_hangs_holds_up_no_other(place: Place) -> None:
    never, over = asyncio.Event(), asyncio.Event()
    for number in range(100):
        place.log_in(f"hung{number}", never, server="hung.example.org")
    await settled()
    over.set()
    place.log_in("other", over)
    await until(lambda: (0.0, "other") in place.passed)
    assert place.clock.monotonic() == 0


async def test_accounts_that_hang_hold_up_no_others_at_their_server(place: Place) -> None:
    never, over = asyncio.Event(), asyncio.Event()
    over.set()
    for number in range(8):
        place.log_in(f"hung{number}", never)
    await settled()
    place.log_in("other", over)
    await settled()
    assert "other" not in [login for _, login in place.passed]
    assert await place.clock.skip() == LINGERS
    await until(lambda: (LINGERS, "other") in place.passed)


async def test_a_login_that_was_given_up_gives_its_place_back(place: Place) -> None:
    never, over = asyncio.Event(), asyncio.Event()
    over.set()
    for number in range(8):
        place.log_in(f"hung{number}", never)
    place.log_in("other", over)
    await settled()
    place.tasks[0].cancel()
    await settled()
    await place.all_passed(9)
    assert place.passed[-1] == (
        pytest.approx(0.005, abs=1e-4),
        "other",
    )  # the pace; not the time after which the first would not count


async def test_a_bucket_gives_what_it_has_and_then_so_many_a_second() -> None:
    bucket = Bucket(2, 4)
    assert [bucket.take(10.0) for _ in range(4)] == [0, 0, 0.25, 0.5]
    assert bucket.take(11.0) == 0  # two came in meanwhile beyond the two that were owed
    assert [bucket.take(1000.0) for _ in range(3)] == [0, 0, 0.25]  # and never more than it holds


# --- seats ------------------------------------------------------------------------------------------------------------


async def test_nothing_is_limited_before_anybody_refused(place: Place) -> None:
    async with AsyncExitStack() as stack:
        for number in range(2000):
            await stack.enter_async_context(place.seated(f"m{number}", Limits(logins_at_once=5000, logins_a_second=1e9)))
            if number % 20 == 0:
                place.clock.advance(0.1)  # the pace of this process
        assert place.recorder.gauges["postroom_connections", (("server", "mail.example.org"),)] == 2000
    assert place.recorder.gauges["postroom_connections", (("server", "mail.example.org"),)] == 0
    assert place.asked == []


async def test_p16_a_refusal_tells_how_many_conversations_an_account_may_have(place: Place) -> None:
    async with place.seated("a"), place.seated("a"):
        await place.refused("a")
        (told,) = place.recorder.of(events.LIMIT_LEARNED)
        assert (told["server"], told["of"], told["connections"]) == ("mail.example.org", "a", 2)
        async with place.seated("b"):  # another account's business
            third = place.sit("a")
            await settled()
            assert not third.done()
            assert place.asked == ["a"]  # one who sits is asked to get up
    await third


async def test_p16_a_refusal_that_names_the_number_is_believed(place: Place) -> None:
    async with place.seated("a"):
        await place.refused("a", Throttled("NO [LIMIT] exceeded (mail_max_userip_connections=10)", limit=10))
    (told,) = place.recorder.of(events.LIMIT_LEARNED)
    assert told["connections"] == 10


async def test_p16_a_server_is_meant_when_it_turns_away_one_account_after_another(place: Place) -> None:
    async with AsyncExitStack() as stack:
        for number in range(20):
            await stack.enter_async_context(place.seated(f"m{number}", Limits(logins_at_once=50)))
        for login in ("x", "y"):
            await place.refused(login)
        assert place.recorder.of(events.LIMIT_LEARNED) == []  # their owners' telephones, for all that is known
        await place.refused("z")
        (told,) = place.recorder.of(events.LIMIT_LEARNED)
        assert (told["of"], told["connections"]) == ("mail.example.org", 20)
        late = place.sit("late")
        await settled()
        assert not late.done()
        assert place.asked == ["m0"]  # who has sat longest
    await late


async def test_p16_one_that_is_let_in_clears_the_server(place: Place) -> None:
    async with place.seated("a"):
        await place.refused("x")
        await place.refused("y")
        async with place.seated("b"):
            await place.refused("z")
        assert place.recorder.of(events.LIMIT_LEARNED) == []


async def test_p16_what_is_no_word_of_connections_teaches_nothing(place: Place) -> None:
    async with place.seated("a"):
        await place.refused("a", Throttled("NO rate limit exceeded, try again later"))
    assert place.recorder.of(events.LIMIT_LEARNED) == []


async def test_p16_one_more_is_tried_after_an_hour_and_less_often_after_each_refusal(place: Place) -> None:
    async with place.seated("a"):
        await place.refused("a")
        place.clock.advance(3600)
        async with place.seated("a"):  # the trial; somebody's telephone went
            pass
        await place.refused("a")  # it came back
        for hours, sits in ((1, False), (1, True)):  # two hours by now
            place.clock.advance(hours * 3600)
            trial = place.sit("a")
            await settled()
            assert trial.done() is sits
            trial.cancel()
            await asyncio.gather(trial, return_exceptions=True)


async def test_never_more_than_the_provider_says_are_tried(place: Place) -> None:
    two = Limits(connections=2)
    async with place.seated("a", two), place.seated("a", two):
        place.clock.advance(1_000_000)
        third = place.sit("a", two)
        await settled()
        assert not third.done()
    await third


async def test_seats_are_given_back_whatever_happens() -> None:
    place = Place(HastyClock())
    one = Limits(connections=1)
    for _ in range(3):
        with pytest.raises(Lost):
            async with place.seated("a", one):
                raise Lost("x")
    async with place.seated("a", one):
        waits = place.sit("a", one)
        await settled()
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
    async with place.seated("a", one):
        pass
