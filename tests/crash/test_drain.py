"""Some kills over the draining of a queue, through the code of ``make crash``; and what that code itself promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crash import drain_verdict as verdict
from crash.drain import done_before, keep, queued
from crash.drain_plan import KILLS_A_RUN, drain_run, way_of
from crash.drain_runs import DrainOutcome, Drains
from crash.drain_verdict import Copy, Recorded, State
from crash.persons import resolve
from postroom.model import WorkState
from postroom.outbound import Passage, RecipientRow, RecipientState, SubmissionRow
from servers.certificates import Certificates
from servers.dovecot import Dovecot

RUNS = 40
CHOSEN = (0, 3, 4, 7, 9, 14)  # both options, each program, BDAT and DATA, with a look into Sent and without

D, P, S, F = RecipientState.DOUBT, RecipientState.PENDING, RecipientState.SENT, RecipientState.FAILED


@pytest.fixture(scope="module")
def drains(certificates: Certificates, dovecot: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drains]:
    with queued(certificates, dovecot, tmp_path_factory.mktemp("drain"), 21, RUNS) as drains:
        yield drains


@pytest.mark.parametrize("number", CHOSEN)
def test_killed(drains: Drains, number: int) -> None:
    outcome = drains.run(number)
    assert outcome.complaints == (), outcome
    assert outcome.delivered == drains.queue.deliveries
    assert outcome.kills >= KILLS_A_RUN // 2, outcome  # some may come after the end


class TestPlan:
    def test_kills_lie_evenly_over_the_draining(self) -> None:
        stops = [stop for number in range(250) for stop in drain_run(3, number, 250).stops]
        assert len(stops) == 1000
        for moment in ("instant", "step", "answer"):
            for tenth in range(10):
                count = sum(stop.moment == moment and tenth <= stop.share * 10 < tenth + 1 for stop in stops)
                assert count == pytest.approx(sum(stop.moment == moment for stop in stops) / 10, rel=0.2)

    def test_the_share_that_is_run_here_has_every_way(self) -> None:
        ways = [way_of(number) for number in CHOSEN]
        assert {way.in_doubt for way in ways} == {"hold", "resend"}
        assert {way.program for way in ways} == {"once", "pair", "service", "command"}
        assert {way.chunking for way in ways} == {way.looks for way in ways} == {True, False}
        plans = [drain_run(21, number, RUNS) for number in CHOSEN]
        assert {stop.moment for plan in plans for stop in plan.stops} == {"instant", "step", "answer"}
        assert any(plan.cuts for plan in plans)

    def test_a_number_means_the_same_run_every_time(self) -> None:
        assert drain_run(1, 7, 20) == drain_run(1, 7, 20) != drain_run(2, 7, 20)


def test_a_series_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file, series = tmp_path / "state.json", {"seed": 1, "runs": 2, "messages": 200}
    outcomes = [DrainOutcome(n, "hold once BDAT", 1.5, 4, 0, (0.1, 0.5), 237, 9, 2, 0, 9, (), ("killed",)) for n in (0, 1)]
    assert done_before(file, series) == {}
    for outcome in outcomes:
        keep(file, series, outcome)
    assert done_before(file, series) == dict(enumerate(outcomes))
    assert done_before(file, {**series, "seed": 2}) is None


def recorded(state: RecipientState, *events: str, work: WorkState = WorkState.DONE, address: str = "a@x") -> Recorded:
    row = SubmissionRow(
        "id", "c", "", work, 1, 0.0, "", "f@x", "<1>", "", 1, "", 0.0, 0.0, (RecipientRow(address, state, 0, "", "", 0.0),)
    )
    return Recorded(row, tuple(Passage(0.0, event, address, "") for event in events))


def state(known: Recorded, copies: int, digest: str = "d") -> State:
    return State({"<1>": "d"}, [Copy("<1>", ("a@x",), digest)] * copies, [known])


class TestVerdict:
    """It must see each kind of fault, else all that is green says nothing."""

    @pytest.mark.parametrize(
        ("found", "resends"),
        [
            (state(recorded(S), 1), False),
            (state(recorded(P), 0), False),
            (state(recorded(D, "doubt"), 1), False),
            (state(recorded(S, "doubt", "resent"), 2), True),
            (state(recorded(P, "doubt", "resent"), 1), True),
        ],
        ids=["sent", "waiting", "in doubt", "twice in doubt", "to be resent"],
    )
    def test_all_is_well(self, found: State, resends: bool) -> None:
        assert verdict.always(found, resends=resends) == []

    @pytest.mark.parametrize(
        ("found", "resends", "words"),
        [
            (state(recorded(S), 0), False, "never had it"),
            (state(recorded(P), 1), True, "no doubt is recorded"),
            (state(recorded(S), 2), True, "more than once"),
            (state(recorded(S, "doubt"), 2), True, "more than once"),
            (state(recorded(S, "doubt", "resent"), 2), False, "more than once"),
            (state(recorded(S, "doubt", "resent"), 3), True, "more than once"),
            (state(recorded(S), 1, "other"), False, "never queued"),
            (State({"<1>": "d", "<2>": "e"}, [], [recorded(P)]), False, "recorded no more"),
        ],
        ids=["lost", "not marked", "twice", "not resent", "with hold", "thrice", "other octets", "forgotten"],
    )
    def test_a_fault_is_seen(self, found: State, resends: bool, words: str) -> None:
        [complaint] = verdict.always(found, resends=resends)
        assert words in complaint

    def test_what_is_left_over_is_seen(self) -> None:
        assert verdict.drained(state(recorded(S), 1), resends=False) == []
        assert verdict.drained(state(recorded(D, "doubt", work=WorkState.WAITING), 1), resends=False) == []
        for found in (
            state(recorded(P, work=WorkState.READY), 0),
            state(recorded(F, work=WorkState.DEAD), 0),
            state(recorded(D, work=WorkState.WAITING), 1),
            state(recorded(D, "doubt", work=WorkState.READY), 1),
            state(recorded(S, work=WorkState.LEASED), 1),
        ):
            assert verdict.drained(found, resends=False) != []
        assert verdict.drained(state(recorded(D, "doubt", work=WorkState.WAITING), 1), resends=True) != []

    def test_the_end_is_judged(self) -> None:
        assert verdict.at_the_end(state(recorded(S), 1), resends=False) == []
        assert verdict.at_the_end(state(recorded(S), 2), resends=True) == []
        assert verdict.at_the_end(state(recorded(S), 2), resends=False) != []
        assert verdict.at_the_end(state(recorded(S), 0), resends=False) != []

    def test_the_figures(self) -> None:
        found = state(recorded(S, "doubt", "resent"), 2)
        assert (verdict.delivered(found), verdict.twice(found), verdict.doubts(found)) == (1, 1, 1)


class TestPerson:
    def test_each_doubt_is_resolved_by_what_the_server_has(self) -> None:
        said: list[tuple[str, ...]] = []
        doubtful = recorded(D, "doubt", work=WorkState.WAITING)
        assert resolve(state(doubtful, 1), lambda *words: said.append(words)) == 1
        assert resolve(state(doubtful, 0), lambda *words: said.append(words)) == 1
        assert resolve(state(recorded(S), 1), lambda *words: said.append(words)) == 0
        assert said == [("outbox", "resolve", "id", "--as", "sent"), ("outbox", "resolve", "id", "--as", "resend")]
