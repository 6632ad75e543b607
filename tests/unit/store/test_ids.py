"""Public ids: UUIDs of version 7 that sort in the order in which they were given."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from postroom.store.ids import PublicIds


@given(st.lists(st.tuples(st.floats(0, 4e9), st.integers(1, 40)), max_size=20))
def test_ids_are_of_version_7_and_sort_as_they_were_given(calls: list[tuple[float, int]]) -> None:
    ids = PublicIds()
    given_ = [public for now, count in calls for public in ids.take(now, count)]
    assert given_ == sorted(given_)
    assert len(set(given_)) == len(given_)
    assert all((found := uuid.UUID(public)).version == 7 and found.variant == uuid.RFC_4122 for public in given_)


def test_more_than_a_counter_holds_go_on_in_the_next_millisecond() -> None:
    ids = PublicIds()
    ids._next = (1 << 26) - 2  # what 67 million ids in a millisecond would leave
    given_ = ids.take(0.0, 1) + ids.take(0.0, 5)
    assert given_ == sorted(given_)
