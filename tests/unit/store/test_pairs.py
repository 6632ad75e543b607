"""Which former message is which listed one, of one size and date."""

from __future__ import annotations

import pytest

from postroom.model import Listed
from postroom.store.repair import Former, pairs


def former(receipt: int, text: str = "", message_id: str = "") -> Former:
    return Former(receipt, text.encode(), message_id)


def listed(*names: str, date: str = "day") -> list[Listed]:
    return [Listed(name, 7, date) for name in names]


def found(before: list[Former], now: list[Listed], message_ids: dict[str, str]) -> list[tuple[int, str]]:
    return [(receipt, message.identifier) for receipt, message in pairs(before, now, message_ids)]


def test_p21_one_of_the_same_message_id_is_it() -> None:
    assert found([former(1, "one", "<a>")], listed("x"), {"x": "<a>"}) == [(1, "x")]


def test_p21_others_at_the_same_second_are_told_apart_by_their_message_id() -> None:
    before = [former(1, "one", "<a>"), former(2, "two", "<b>")]
    assert sorted(found(before, listed("x", "y", "z"), {"x": "<b>", "y": "<a>", "z": "<c>"})) == [(1, "y"), (2, "x")]


def test_p21_identical_twins_are_two() -> None:
    twins = [former(1, "one", "<a>"), former(2, "one", "<a>")]
    assert found(twins, listed("x", "y"), {"x": "<a>", "y": "<a>"}) == [(1, "x"), (2, "y")]
    assert found(twins, listed("x"), {"x": "<a>"}) == [(1, "x")]


@pytest.mark.parametrize(
    ("before", "now", "message_ids"),
    [
        pytest.param([former(1, "one", "<a>"), former(2, "two", "<a>")], ["x", "y"], {"x": "<a>", "y": "<a>"}, id="other octets"),
        pytest.param([former(1, "one", "<a>")], ["x", "y"], {"x": "<a>", "y": "<a>"}, id="more than are known"),
        pytest.param([former(1, "one", "")], ["x"], {"x": "<a>"}, id="not read yet here"),
        pytest.param([former(1, "one", "")], ["x"], {"x": ""}, id="no Message-ID on either side"),
        pytest.param([former(1, "one", "<a>")], ["x"], {}, id="the header was not to be had"),
        pytest.param([former(1, "one", "<a>")], ["x"], {"x": "<b>"}, id="another message"),
        pytest.param([former(1, "one", ""), former(2)], ["x"], {"x": "<a>"}, id="one that was spared may be the other"),
        pytest.param([], ["x"], {"x": "<a>"}, id="nothing known"),
    ],
)
def test_p21_in_doubt_the_octets_tell(before: list[Former], now: list[str], message_ids: dict[str, str]) -> None:
    assert found(before, listed(*now), message_ids) == []


def test_p26_what_was_spared_is_known_by_its_date() -> None:
    assert found([former(1), former(2)], listed("x", "y", "z"), {}) == [(1, "x"), (2, "y")]


def test_p26_without_a_date_what_was_spared_is_known_by_its_message_id_alone() -> None:
    before = [former(1), former(2, message_id="<b>")]
    assert found(before, listed("x", "y", date=""), {"x": "<a>", "y": "<b>"}) == [(2, "y")]
    assert found(before, listed("x", date=""), {"x": ""}) == []


def test_p26_a_message_id_that_was_kept_of_a_spared_one_tells_even_where_others_have_none() -> None:
    before = [former(1, "one"), former(2, message_id="<b>")]
    assert found(before, listed("x", "y", date=""), {"x": "<a>", "y": "<b>"}) == [(2, "y")]


def test_p26_spared_and_had_at_the_same_second() -> None:
    before = [former(1, "one", "<a>"), former(2)]
    assert found(before, listed("x", "y"), {"x": "<b>", "y": "<a>"}) == [(2, "x"), (1, "y")]
