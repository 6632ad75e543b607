"""Each pain has a cure that is missed. One of each is taken out here; ``make cures`` takes out all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cures.known import CURES, Cure
from cures.removal import SOURCE, Flaw, failed, prove, prove_whole, without

PAINS = {11, 12, *range(15, 31)}
QUICK = [cure for cure in CURES if cure.quick]


def test_every_pain_has_its_cures_and_one_that_is_quick() -> None:
    assert {cure.pain for cure in CURES} == PAINS
    assert Counter(cure.pain for cure in QUICK) == Counter(PAINS)


@pytest.mark.parametrize("cure", CURES, ids=lambda cure: f"P{cure.pain} {cure.what}")
def test_every_cure_stands_in_the_source_and_has_tests_of_its_pain(cure: Cure) -> None:
    text = (SOURCE / "postroom" / cure.file).read_text("utf-8")
    assert without(cure, text) != text
    assert cure.tests
    for test in cure.tests:
        assert f"_p{cure.pain}_" in test.partition("::")[2]


def test_the_tests_pass_where_nothing_is_taken_out() -> None:
    prove_whole(QUICK)


@pytest.mark.parametrize("cure", QUICK, ids=lambda cure: f"P{cure.pain} {cure.what}")
def test_a_cure_is_missed(cure: Cure, tmp_path: Path) -> None:
    prove(cure, tmp_path)


# --- what the proof itself notices ---------------------------------------------------------------------------------------


HEALTH = next(cure for cure in QUICK if cure.pain == 12)


def test_a_cure_that_is_not_there_is_a_flaw(tmp_path: Path) -> None:
    with pytest.raises(Flaw, match="0 times"):
        prove(HEALTH._replace(text="no such text"), tmp_path)


@pytest.mark.parametrize(
    ("instead", "words"),
    [(HEALTH.text, "pass all the same"), ("in NOWHERE", "is no program"), ("in (", "did not run")],
    ids=["the same", "a name that is not there", "no Python"],
)
def test_what_takes_out_nothing_or_too_much_is_a_flaw(instead: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(Flaw, match=words):
        prove(HEALTH._replace(without=instead), tmp_path)


def test_a_test_that_is_not_there_is_a_flaw() -> None:
    with pytest.raises(Flaw, match="did not run"):
        failed(SOURCE, ["cures/test_cures.py::test_of_no_such_name"])
