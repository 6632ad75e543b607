"""What every store must do for applications that pull: hand a message out until it is acknowledged, to one at a time."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from fakes import START, HandClock
from postroom.model import Captured, Disposition, Facts, Listed, WorkKind
from postroom.store import Store
from postroom.store.applications import Chosen
from postroom.store.pull import Backlog, Leased, Verdict

APP, OTHER = "pull-app", "pull-other"
TAKEN, DEAD, STALE = Verdict.TAKEN, Verdict.DEAD, Verdict.STALE
MOST = 3


class Counter:
    """A data directory, the processes that use it, and messages for the applications."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = HandClock()
        self.store = self.open()
        self.arrived = 0

    def open(self) -> Store:
        """Another process."""
        return Store(self.directory, self.clock, f"file:{self.directory / 'vault.key'}", {})

    async def arrive(self, count: int, *applications: str) -> None:
        """Messages are captured and processed."""
        (lease,) = await self.store.acquire(await self.store.source("IMAP", "h", "u"), ["INBOX"])
        for _ in range(count):
            self.arrived += 1
            reference = self.store.blobs.append(b"Subject: %d\r\n\r\n" % self.arrived)
            listed = Listed(f"1/{self.arrived}", reference.length, "d")
            await self.store.capture(lease, "pop-client-a", [Captured(listed, reference, Disposition.KEEP)])
        pieces = await self.store.claim(WorkKind.PROCESS, count)
        done = [(piece, Facts(subject=str(piece.subject))) for piece in pieces]
        chosen = [Chosen(application, piece.subject, None, piece) for piece in pieces for application in applications or (APP,)]
        await self.store.finish_process(done, chosen, {APP, OTHER})

    async def lease(self, limit: int = 10, seconds: float = 60, *, by: Store | None = None, application: str = APP) -> list[Leased]:
        leased, _ = await (by or self.store).pull.lease(application, "c", limit, seconds, MOST)
        return leased


@pytest.fixture
async def counter(tmp_path: Path) -> AsyncIterator[Counter]:
    counter = Counter(tmp_path)
    await counter.store.applications.begin({APP: None, OTHER: None})
    yield counter
    counter.store.close()


def subjects(leased: Sequence[Leased]) -> list[str]:
    return [each.row.facts.subject for each in leased]


# --- leases -----------------------------------------------------------------------------------------------------------


async def test_the_oldest_are_leased_first_and_to_nobody_else(counter: Counter) -> None:
    await counter.arrive(5)
    other = counter.open()
    mine, theirs = await counter.lease(2), await counter.lease(2, by=other)
    assert (subjects(mine), subjects(theirs)) == (["1", "2"], ["3", "4"])
    assert subjects(await counter.lease(9)) == ["5"]
    assert await counter.lease(9, by=other) == []
    assert [(each.attempts, each.until) for each in mine] == [(1, START + 60)] * 2
    assert counter.store.blobs.read(mine[0].reference) == b"Subject: 1\r\n\r\n"
    other.close()


async def test_what_is_acknowledged_is_never_handed_out_again(counter: Counter) -> None:
    await counter.arrive(1)
    [leased] = await counter.lease()
    assert await counter.store.pull.acknowledge(APP, [leased.token]) == [TAKEN]
    assert await counter.store.pull.acknowledge(APP, [leased.token]) == [TAKEN]  # the answer was lost, and it is said again
    counter.clock.advance(1e9)
    assert await counter.lease() == []
    assert await counter.store.pull.refuse(APP, [leased.token], "too late", most=MOST) == [STALE]
    assert await counter.store.pull.extend(APP, [leased.token], 60) == [STALE]


async def test_a_lease_that_ran_out_is_another_s_and_its_token_is_stale(counter: Counter) -> None:
    await counter.arrive(1)
    [late] = await counter.lease(seconds=60)
    counter.clock.advance(59)
    assert await counter.lease() == []
    assert not await counter.store.pull.due(APP)
    counter.clock.advance(1)
    assert await counter.store.pull.due(APP)
    [again] = await counter.lease()
    assert (again.attempts, again.fault) == (2, "its lease ran out at attempt 1")
    pull = counter.store.pull
    assert await pull.acknowledge(APP, [late.token, again.token, "nonsense", ""]) == [STALE, TAKEN, STALE, STALE]


async def test_a_lease_that_ran_out_and_that_nobody_took_may_still_be_acknowledged(counter: Counter) -> None:
    await counter.arrive(1)
    [leased] = await counter.lease(seconds=60)
    counter.clock.advance(3600)
    assert await counter.store.pull.acknowledge(APP, [leased.token]) == [TAKEN]
    assert await counter.lease() == []


async def test_a_lease_is_extended(counter: Counter) -> None:
    await counter.arrive(1)
    [leased] = await counter.lease(seconds=60)
    counter.clock.advance(50)
    assert await counter.store.pull.extend(APP, [leased.token], 60) == [TAKEN]
    counter.clock.advance(59)
    assert await counter.lease() == []
    assert await counter.store.pull.next_due(APP) == START + 110
    counter.clock.advance(1)
    assert len(await counter.lease()) == 1


async def test_leases_outlast_the_process(counter: Counter) -> None:
    await counter.arrive(2)
    first, second = await counter.lease(seconds=60)
    counter.store.close()
    counter.store = counter.open()
    assert await counter.lease() == []
    assert await counter.store.pull.acknowledge(APP, [first.token]) == [TAKEN]
    counter.clock.advance(60)
    assert [each.token.split("-")[0] for each in await counter.lease()] == [second.token.split("-")[0]]


async def test_a_token_is_good_for_its_own_application_alone(counter: Counter) -> None:
    await counter.arrive(1, APP, OTHER)
    [mine], [theirs] = await counter.lease(), await counter.lease(application=OTHER)
    assert await counter.store.pull.acknowledge(OTHER, [mine.token]) == [STALE]
    assert await counter.store.pull.acknowledge(APP, [mine.token]) == [TAKEN]
    assert await counter.store.pull.acknowledge(OTHER, [theirs.token]) == [TAKEN]


# --- refusals ---------------------------------------------------------------------------------------------------------


async def test_what_is_refused_comes_again_later_and_ever_later(counter: Counter) -> None:
    await counter.arrive(2)
    [first] = await counter.lease(1)
    assert await counter.store.pull.refuse(APP, [first.token], "no database", most=9) == [TAKEN]
    assert await counter.store.pull.acknowledge(APP, [first.token]) == [STALE]
    assert subjects(await counter.lease(1)) == ["2"]  # nobody waits for what was refused
    assert await counter.store.pull.next_due(APP) == START + 5
    counter.clock.advance(5)
    [again] = await counter.lease(1)
    assert (subjects([again]), again.attempts, again.fault) == (["1"], 2, "no database")
    await counter.store.pull.refuse(APP, [again.token], "no database", most=9)
    assert await counter.store.pull.next_due(APP) == START + 5 + 10
    counter.clock.advance(10)
    [again] = await counter.lease(1)
    await counter.store.pull.refuse(APP, [again.token], "in an hour", most=9, retry_after=3600)
    counter.clock.advance(3599)
    assert subjects(await counter.lease()) == ["2"]  # whose lease ran out
    counter.clock.advance(1)
    assert subjects(await counter.lease()) == ["1"]


async def test_what_is_refused_for_good_is_dead_until_it_is_replayed(counter: Counter) -> None:
    await counter.arrive(2)
    first, second = await counter.lease()
    assert await counter.store.pull.refuse(APP, [first.token], "no such ticket", most=9, dead=True) == [DEAD]
    assert await counter.store.pull.acknowledge(APP, [second.token]) == [TAKEN]
    counter.clock.advance(1e9)
    assert await counter.lease() == []
    [letter] = await counter.store.pull.dead(APP, 10)
    assert (letter.id, letter.subject, letter.attempts, letter.reason) == (first.row.id, "1", 1, "no such ticket")
    assert await counter.store.pull.revive(OTHER) == 0
    assert await counter.store.pull.revive(APP) == 1
    [again] = await counter.lease()
    assert (subjects([again]), again.attempts) == (["1"], 1)


async def test_at_the_last_attempt_a_message_is_dead(counter: Counter) -> None:
    await counter.arrive(2)
    for attempt in range(1, MOST):
        [one, two] = await counter.lease(seconds=60)
        assert (one.attempts, two.attempts) == (attempt, attempt)
        await counter.store.pull.refuse(APP, [one.token], "no", most=MOST, retry_after=0)
        counter.clock.advance(60)  # the second's consumers die
    one, two = await counter.lease()
    assert await counter.store.pull.refuse(APP, [one.token], "no", most=MOST) == [DEAD]
    counter.clock.advance(60)
    leased, died = await counter.store.pull.lease(APP, "c", 10, 60, MOST)
    assert (leased, [reason for _, reason in died]) == ([], ["its lease ran out at attempt 3"])
    assert await counter.store.pull.acknowledge(APP, [two.token]) == [STALE]
    assert [letter.reason for letter in await counter.store.pull.dead(APP, 10)] == ["no", "its lease ran out at attempt 3"]


async def test_what_never_reached_its_consumer_does_not_count(counter: Counter) -> None:
    await counter.arrive(1)
    [leased] = await counter.lease()
    await counter.store.pull.release(APP, [leased.token])
    assert await counter.store.pull.acknowledge(APP, [leased.token]) == [STALE]
    [again] = await counter.lease()
    assert again.attempts == 1


async def test_backlogs(counter: Counter) -> None:
    await counter.arrive(3)
    counter.clock.advance(10)
    await counter.arrive(2, APP, OTHER)
    [first, second, _] = await counter.lease(3)
    await counter.store.pull.refuse(APP, [first.token], "no", most=9, dead=True)
    await counter.store.pull.refuse(APP, [second.token], "no", most=9)
    found = await counter.store.pull.backlogs()
    assert found == {APP: Backlog(2, 1, 1, 1, START), OTHER: Backlog(2, 0, 0, 0, START + 10)}


# --- a machine --------------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """A message as it should stand."""

    after: float = 0.0  # not handed out before
    state: str = "open"  # open, done, dead
    token: str = ""  # of the lease that stands
    attempts: int = 0


class Pulling(RuleBasedStateMachine):
    """Two processes, any number of consumers, time, and stops anywhere, against a dictionary."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.counter = self.runner.run(self._begin())
        self.second = self.counter.open()
        self.model: dict[int, Model] = {}
        self.number: dict[str, int] = {}  # of the message of a token

    async def _begin(self) -> Counter:
        counter = Counter(Path(self.folder.name))
        await counter.store.applications.begin({APP: None, OTHER: None})
        return counter

    @property
    def now(self) -> float:
        return self.counter.clock.now()

    def due(self) -> list[int]:
        return [number for number, each in self.model.items() if each.state == "open" and each.after <= self.now]

    @rule(count=st.integers(1, 3))
    def arrive(self, count: int) -> None:
        self.runner.run(self.counter.arrive(count))
        for number in range(self.counter.arrived - count + 1, self.counter.arrived + 1):
            self.model[number] = Model()

    @rule(target=tokens, limit=st.integers(1, 4), seconds=st.sampled_from([10, 60]), second=st.booleans())
    def lease(self, limit: int, seconds: float, second: bool) -> object:
        store = self.second if second else self.counter.store
        for number in self.due():
            each = self.model[number]
            if each.token and each.attempts >= MOST:
                each.state = "dead"
        expected = self.due()[:limit]
        leased = self.runner.run(self.counter.lease(limit, seconds, by=store))
        assert subjects(leased) == [str(number) for number in expected]
        for number, got in zip(expected, leased, strict=True):
            each = self.model[number]
            each.token, each.after, each.attempts = got.token, self.now + seconds, each.attempts + 1
            assert got.attempts == each.attempts
            assert got.token not in self.number
            self.number[got.token] = number
        return multiple(*(got.token for got in leased))

    def held(self, token: str) -> Model | None:
        each = self.model[self.number[token]]
        return each if each.token == token and each.state == "open" else None

    @rule(token=tokens)
    def acknowledge(self, token: str) -> None:
        [said] = self.runner.run(self.counter.store.pull.acknowledge(APP, [token]))
        each = self.model[self.number[token]]
        again = each.state == "done" and each.token == token
        if (each := self.held(token)) is not None:  # type: ignore[assignment]
            each.state = "done"
        assert (said is TAKEN) == (each is not None or again)

    @rule(token=tokens, retry=st.sampled_from([0, 30]), dead=st.booleans())
    def refuse(self, token: str, retry: float, dead: bool) -> None:
        each = self.held(token)
        if each is None:
            return
        [said] = self.runner.run(self.counter.store.pull.refuse(APP, [token], "no", most=MOST, retry_after=retry, dead=dead))
        dies = dead or each.attempts >= MOST
        each.state, each.token, each.after = "dead" if dies else "open", "", self.now + retry
        assert said is (DEAD if dies else TAKEN)

    @rule(token=tokens)
    def extend(self, token: str) -> None:
        [said] = self.runner.run(self.second.pull.extend(APP, [token], 45))
        if (each := self.held(token)) is not None:
            each.after = self.now + 45
        assert (said is TAKEN) == (each is not None)

    @rule(seconds=st.sampled_from([1, 10, 45, 100]))
    def time_passes(self, seconds: float) -> None:
        self.counter.clock.advance(seconds)

    @rule()
    def stop_and_begin_again(self) -> None:
        self.counter.store.close()
        self.counter.store = self.counter.open()

    @rule()
    def replay(self) -> None:
        revived = self.runner.run(self.counter.store.pull.revive(APP))
        dead = [each for each in self.model.values() if each.state == "dead"]
        for each in dead:
            each.state, each.token, each.after, each.attempts = "open", "", 0.0, 0
        assert revived == len(dead)

    @invariant()
    def nothing_is_due_that_is_not(self) -> None:
        assert self.runner.run(self.counter.store.pull.due(APP)) == bool(self.due())

    def teardown(self) -> None:
        self.counter.clock.advance(1e6)
        handed = subjects(self.runner.run(self.counter.lease(1000)))
        assert handed == [
            str(number)
            for number, each in self.model.items()
            if each.state == "open" and not (each.token and each.attempts >= MOST)
        ]
        self.counter.store.close()
        self.second.close()
        self.runner.close()
        self.folder.cleanup()


Pulling.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestPulling = Pulling.TestCase
