"""Many UIDs in little memory."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.wire.imap import commands
from postroom.wire.imap.numbers import LARGEST, Numbers

UIDS = st.integers(1, 60) | st.integers(LARGEST - 5, LARGEST)


@given(st.lists(st.tuples(UIDS, UIDS)))
def test_ranges_are_a_set(pairs: list[tuple[int, int]]) -> None:
    pairs = [(low, low + (high - low) % 9) for low, high in pairs if low < LARGEST - 20]
    numbers = Numbers(pairs)
    meant = {uid for low, high in pairs for uid in range(low, high + 1)}
    assert list(numbers) == sorted(meant)
    assert len(numbers) == len(meant)
    assert all((uid in numbers) == (uid in meant) for uid in range(80))
    ranges = list(numbers.ranges())
    assert all(high + 1 < low for (_, high), (low, _) in itertools.pairwise(ranges))


@given(st.sets(UIDS), st.sets(UIDS))
def test_two_sets_make_one(one: set[int], other: set[int]) -> None:
    assert Numbers.of(one) | Numbers.of(other) == Numbers.of(one | other)


@given(st.sets(UIDS, min_size=1))
def test_what_we_write_is_what_is_read(uids: set[int]) -> None:
    (octets,) = commands.sequence_sets(uids)
    assert Numbers.read(octets) == Numbers.of(uids)
    assert hash(Numbers.read(octets)) == hash(Numbers.of(uids))


def test_a_range_may_be_written_backwards() -> None:
    assert Numbers.read(b"4:2,9") == Numbers([(2, 4), (9, 9)])  # RFC 9051 section 9, seq-range


@given(st.binary(max_size=30) | st.from_regex(r"[0-9:,*]{0,30}", fullmatch=True).map(str.encode))
def test_reading_gives_numbers_or_refuses(octets: bytes) -> None:
    try:
        numbers = Numbers.read(octets)
    except ValueError:
        return
    assert all(1 <= low <= high <= LARGEST for low, high in numbers.ranges())


@pytest.mark.parametrize("pair", [(0, 1), (2, 1), (1, LARGEST + 1), (-1, 1)])
def test_what_is_no_uid_is_refused(pair: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        Numbers([pair])


def test_two_hundred_thousand_messages_are_one_range() -> None:
    tracemalloc.start()
    try:
        numbers = Numbers.read(b"1:200000") | Numbers.read(b"200001:4000000000")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(numbers) == 4_000_000_000
    assert held < 10_000
    assert repr(numbers) == "Numbers(1:4000000000)"
