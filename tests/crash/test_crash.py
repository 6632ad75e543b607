"""Two kills and two cuts over each route, through the code of ``make crash``; and what that code itself promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crash import verdict
from crash.plan import ROUTES, Aim, cut_run, kill_run
from crash.progress import Measured, OtherSeriesError, Outcome, Progress, Series
from crash.rig import Rig
from crash.runs import Runs
from crash.verdict import Kept, Left, Seeded
from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.gmail_pop3 import GmailPop3

ALL = tuple(ROUTES)
SERIES = Series(seed=21, kills=14, cuts=14, messages=300, routes=ALL)


@pytest.fixture(scope="module")
def runs(
    dovecot: Dovecot, authority: Authority, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("crash")
    with GmailPop3(tokens=authority.tokens, certificates=certificates) as gmail:
        rig = Rig(dovecot, gmail, authority, folder / "backup", SERIES.messages, SERIES.seed)
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
        plans = [kill_run(3, number, 500, ALL) for number in range(500)]
        for way in {plan.way for plan in plans}:
            for working in (False, True):
                shares = [plan.kills[0].share for plan in plans if (plan.way, plan.kills[0].working) == (way, working)]
                assert len(shares) > 5
                assert all(abs(share * len(shares) - place - 0.5) <= 0.25 for place, share in enumerate(shares))
        assert {f"{plan.way.protocol}:{plan.way.disposition}" for plan in plans} == set(ALL)
        assert {plan.way.login for plan in plans} == {"password", "token"}
        assert {len(plan.kills) for plan in plans} == {1, 2, 3}

    def test_a_number_means_the_same_run_every_time(self) -> None:
        assert kill_run(1, 7, 20, ALL) == kill_run(1, 7, 20, ALL) != kill_run(2, 7, 20, ALL)
        assert cut_run(1, 7, 20, ALL) == cut_run(1, 7, 20, ALL) != cut_run(2, 7, 20, ALL)

    def test_cuts_of_every_kind(self) -> None:
        cuts = [cut for number in range(200) for cut in cut_run(1, number, 200, ALL).cuts]
        assert {(cut.direction, cut.how, cut.where) for cut in cuts} == {
            (direction, how, where)
            for direction in ("to_server", "to_client")
            for how in ("fin", "rst", "stall")
            for where in ("even", "early", "late")
        }
        assert all(0 <= cut.after(10_000) <= 10_000 for cut in cuts)

    def test_every_way_has_first_cuts_towards_its_end_in_which_the_farewell_is_hit_as_often_as_the_bodies(self) -> None:
        plans = [cut_run(1, number, 700, ALL) for number in range(700)]
        for way in {plan.way for plan in plans}:
            late = [plan.cuts[0] for plan in plans if plan.way == way and plan.cuts[0].where == "late"]
            left = sorted(1_000_000 - cut.after(1_000_000) for cut in late)
            assert left[0] <= 10  # octets from the end
            assert sum(octets < 1000 for octets in left) >= len(left) // 3


class TestVerdict:
    """The comparison finds what it is there to find."""

    seeded = Seeded({"9/1": "a", "9/2": "b", "9/3": "b"}, {"9/1": 10, "9/2": 20, "9/3": 20})
    here = (Kept("9/1", "a", 10), Kept("9/2", "b", 20), Kept("9/3", "b", 20))
    every = frozenset({"9/1", "9/2", "9/3"})
    nothing = Left(frozenset())
    keep, seen, delete, move = (ROUTES[f"imap:{word}"] for word in ("keep", "seen", "delete", "move"))

    def test_all_is_well(self) -> None:
        assert verdict.after_a_stop(self.seeded, Left(self.every), []) == []
        assert verdict.after_a_stop(self.seeded, self.nothing, self.here) == []
        assert verdict.at_the_end(self.seeded, self.here) == []
        assert verdict.at_the_server(self.keep, self.seeded, Left(self.every), []) == []
        assert verdict.at_the_server(self.seen, self.seeded, Left(self.every, self.every), []) == []
        assert verdict.at_the_server(ROUTES["pop3:keep"], self.seeded, Left(self.every, frozenset({"9/1"})), []) == []
        assert verdict.at_the_server(self.delete, self.seeded, self.nothing, []) == []
        assert verdict.at_the_server(self.move, self.seeded, self.nothing, ["b", "a", "b"]) == []
        assert verdict.octets(self.seeded, ["b", "b", "a"]) == []

    def test_destroyed_and_not_here(self) -> None:
        assert verdict.after_a_stop(self.seeded, Left(frozenset({"9/1", "9/2"})), self.here[:2]) != []
        another = [self.here[0], self.here[1], Kept("9/3", "a", 10)]
        assert verdict.after_a_stop(self.seeded, Left(frozenset({"9/1"})), another) != []

    def test_twice(self) -> None:
        again = Kept("9/4", "b", 20)
        assert verdict.after_a_stop(self.seeded, Left(self.every), [*self.here, again]) != []
        assert verdict.at_the_end(self.seeded, [*self.here, again]) != []

    def test_one_of_two_twins(self) -> None:
        assert verdict.at_the_end(self.seeded, self.here[:2]) != []

    def test_under_another_identity(self) -> None:
        assert verdict.at_the_end(self.seeded, [Kept("9/1", "b", 20), Kept("9/2", "a", 10), self.here[2]]) != []

    @pytest.mark.parametrize(
        ("aim", "left", "moved"),
        [
            (keep, Left(every - {"9/3"}), []),
            (keep, Left(every, frozenset({"9/2"})), []),
            (seen, Left(every, every - {"9/2"}), []),
            (ROUTES["pop3:keep"], Left(every - {"9/3"}), []),
            (delete, Left(frozenset({"9/2"})), []),
            (ROUTES["gmail:keep"], Left(frozenset({"9/2"})), []),
            (ROUTES["gmail:keep"], nothing, ["a"]),
            (move, nothing, ["a", "b"]),
            (move, nothing, ["a", "a", "b", "b"]),
        ],
    )
    def test_what_the_server_was_left_with(self, aim: Aim, left: Left, moved: list[str]) -> None:
        assert verdict.at_the_server(aim, self.seeded, left, moved) != []

    def test_exported_octets(self) -> None:
        assert verdict.octets(self.seeded, ["a", "b", "c"]) != []

    def test_finished(self) -> None:
        assert verdict.finished(self.delete, self.seeded, self.nothing, self.here)
        assert not verdict.finished(self.delete, self.seeded, Left(frozenset({"9/1"})), self.here)
        assert not verdict.finished(self.keep, self.seeded, Left(self.every), self.here[:2])
        assert verdict.finished(self.seen, self.seeded, Left(self.every, self.every), self.here)
        assert not verdict.finished(self.seen, self.seeded, Left(self.every, frozenset({"9/1"})), self.here)

    def test_an_audit_that_is_not_clean(self) -> None:
        clean = {"ok": True, "on_server": 3, "captured": 3, "in_trouble": 0, "coming": 0, "missing": 0, "reset": None}
        assert verdict.audited(clean, Left(self.every)) == []
        assert verdict.audited(clean, self.nothing) != []
        wrong = {"ok": False, "on_server": 2, "captured": 2, "in_trouble": 1, "coming": 1, "missing": 1, "reset": "another"}
        for name, value in wrong.items():
            assert verdict.audited({**clean, name: value}, Left(self.every)) != []
        assert verdict.audited({"client": "pop-client-crash", "ok": False, "error": "no route"}, Left(self.every)) != []


class TestProgress:
    def test_it_is_read_back(self, tmp_path: Path) -> None:
        file = tmp_path / "state.json"
        progress = Progress.load(SERIES, file)
        progress.measure("kill imap keep password", Measured(0.5, 1.5, 10, 20))
        progress.add(Outcome("kill:1", "imap keep password", 0.5, 2, 1, 1, (), ("start 1: killed",)))
        again = Progress.load(SERIES, file)
        assert (again.measured, again.outcomes) == (progress.measured, progress.outcomes)

    def test_another_series_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "state.json"
        Progress.load(SERIES, file).measure("kill imap keep password", Measured(0.5, 1.5, 10, 20))
        with pytest.raises(OtherSeriesError, match="another series"):
            Progress.load(Series(2, 10, 10, 400, ALL), file)
