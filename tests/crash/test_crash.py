"""Ten kills and ten cuts over the three dispositions, through the code of ``make crash``; and what that code itself promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crash import verdict
from crash.plan import DISPOSITIONS, cut_run, kill_run
from crash.progress import Measured, OtherSeriesError, Outcome, Progress, Series
from crash.rig import Rig
from crash.runs import Runs
from crash.verdict import Kept, Seeded
from servers.authority import Authority
from servers.dovecot import Dovecot

SERIES = Series(seed=21, kills=10, cuts=10, messages=400, dispositions=DISPOSITIONS)


@pytest.fixture(scope="module")
def runs(dovecot: Dovecot, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("crash")
    rig = Rig(dovecot, authority, folder / "backup", SERIES.messages, SERIES.seed)
    yield Runs(rig, Progress(SERIES), folder / "runs", measurements=1)
    authority.reset()


@pytest.mark.parametrize("number", range(SERIES.kills))
def test_killed(runs: Runs, number: int) -> None:
    outcome = runs.kill(number)
    assert outcome.complaints == (), outcome


@pytest.mark.parametrize("number", range(SERIES.cuts))
def test_cut(runs: Runs, number: int) -> None:
    outcome = runs.cut(number)
    assert outcome.complaints == (), outcome


class TestPlan:
    def test_kills_lie_evenly_over_the_span_of_their_way(self) -> None:
        plans = [kill_run(3, number, 200, DISPOSITIONS) for number in range(200)]
        for way in {plan.way for plan in plans}:
            for working in (False, True):
                shares = [plan.kills[0].share for plan in plans if (plan.way, plan.kills[0].working) == (way, working)]
                assert len(shares) > 5
                assert all(abs(share * len(shares) - place - 0.5) <= 0.25 for place, share in enumerate(shares))
        assert {plan.way.disposition for plan in plans} == set(DISPOSITIONS)
        assert {plan.way.login for plan in plans} == {"password", "token"}
        assert {len(plan.kills) for plan in plans} == {1, 2, 3}

    def test_a_number_means_the_same_run_every_time(self) -> None:
        assert kill_run(1, 7, 20, DISPOSITIONS) == kill_run(1, 7, 20, DISPOSITIONS) != kill_run(2, 7, 20, DISPOSITIONS)
        assert cut_run(1, 7, 20, DISPOSITIONS) == cut_run(1, 7, 20, DISPOSITIONS) != cut_run(2, 7, 20, DISPOSITIONS)

    def test_cuts_of_every_kind(self) -> None:
        cuts = [cut for number in range(100) for cut in cut_run(1, number, 100, DISPOSITIONS).cuts]
        assert {(cut.direction, cut.how, cut.early) for cut in cuts} >= {
            (direction, how, early)
            for direction in ("to_server", "to_client")
            for how in ("fin", "rst", "stall")
            for early in (False, True)
        }
        assert all(0 <= cut.after(10_000) <= 10_000 for cut in cuts)


class TestVerdict:
    """The comparison finds what it is there to find."""

    seeded = Seeded(9, {1: "a", 2: "b", 3: "b"}, {1: 10, 2: 20, 3: 20})
    here = (Kept("9/1", "a", 10), Kept("9/2", "b", 20), Kept("9/3", "b", 20))

    def test_all_is_well(self) -> None:
        assert verdict.after_a_stop(self.seeded, {1, 2, 3}, []) == []
        assert verdict.after_a_stop(self.seeded, set(), self.here) == []
        assert verdict.at_the_end(self.seeded, self.here) == []
        assert verdict.at_the_server("keep", self.seeded, {1, 2, 3}, set(), []) == []
        assert verdict.at_the_server("delete", self.seeded, set(), set(), []) == []
        assert verdict.at_the_server("move", self.seeded, set(), set(), ["b", "a", "b"]) == []
        assert verdict.octets(self.seeded, ["b", "b", "a"]) == []

    def test_destroyed_and_not_here(self) -> None:
        assert verdict.after_a_stop(self.seeded, {1, 2}, self.here[:2]) != []
        assert verdict.after_a_stop(self.seeded, {1}, [self.here[0], self.here[1], Kept("9/3", "a", 10)]) != []

    def test_twice(self) -> None:
        again = Kept("9/4", "b", 20)
        assert verdict.after_a_stop(self.seeded, {1, 2, 3}, [*self.here, again]) != []
        assert verdict.at_the_end(self.seeded, [*self.here, again]) != []

    def test_one_of_two_twins(self) -> None:
        assert verdict.at_the_end(self.seeded, self.here[:2]) != []

    def test_under_another_identity(self) -> None:
        assert verdict.at_the_end(self.seeded, [Kept("9/1", "b", 20), Kept("9/2", "a", 10), self.here[2]]) != []

    def test_what_the_server_was_left_with(self) -> None:
        assert verdict.at_the_server("keep", self.seeded, {1, 2}, set(), []) != []
        assert verdict.at_the_server("keep", self.seeded, {1, 2, 3}, {2}, []) != []
        assert verdict.at_the_server("delete", self.seeded, {2}, set(), []) != []
        assert verdict.at_the_server("move", self.seeded, set(), set(), ["a", "b"]) != []
        assert verdict.at_the_server("move", self.seeded, set(), set(), ["a", "a", "b", "b"]) != []
        assert verdict.octets(self.seeded, ["a", "b", "c"]) != []


class TestProgress:
    def test_it_is_read_back(self, tmp_path: Path) -> None:
        file = tmp_path / "state.json"
        progress = Progress.load(SERIES, file)
        progress.measure("kill keep password", Measured(0.5, 1.5, 10, 20))
        progress.add(Outcome("kill:1", "keep password", 0.5, 2, 1, 1, (), ("start 1: killed",)))
        again = Progress.load(SERIES, file)
        assert (again.measured, again.outcomes) == (progress.measured, progress.outcomes)

    def test_another_series_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "state.json"
        Progress.load(SERIES, file).measure("kill keep password", Measured(0.5, 1.5, 10, 20))
        with pytest.raises(OtherSeriesError, match="another series"):
            Progress.load(Series(2, 10, 10, 400, DISPOSITIONS), file)
