"""Kills at each step of a refresh, at three kinds of authority; ``make crash`` makes three hundred."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crash.refresh import AUTHORITIES, Plan, Refreshing, plans
from crash.refresh_child import SPENT, STEPS
from servers.authority import Authority
from servers.dovecot import Dovecot


@pytest.fixture(scope="module")
def refreshing(dovecot: Dovecot, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refreshing]:
    yield Refreshing(authority, dovecot, tmp_path_factory.mktemp("refresh"))
    authority.reset()


CHOSEN = [
    *(Plan(number, "detects", step, 0.0) for number, step in enumerate(STEPS)),
    *(Plan(20 + number, "rotates", step, 0.0) for number, step in enumerate(SPENT)),
    *(Plan(30 + number, authority, "", 0.3 + 0.2 * number) for number, authority in enumerate(AUTHORITIES)),
]


@pytest.mark.parametrize("plan", CHOSEN, ids=str)
def test_killed(refreshing: Refreshing, plan: Plan) -> None:
    assert refreshing.run(plan) == []


def test_the_series_covers_every_step_at_every_authority() -> None:
    made = list(plans(300, 1))
    assert {(plan.authority, plan.step) for plan in made} == {(kind, step) for kind in AUTHORITIES for step in (*STEPS, "")}
