"""Dates as IMAP writes them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.wire.imap import dates


@given(st.integers(0, 4_000_000_000))
def test_what_is_written_reads_the_same(seconds: int) -> None:
    read = dates.read_date_time(dates.date_time(seconds).decode().strip('"'))
    assert read is not None
    assert read.timestamp() == seconds


def test_the_zone_counts() -> None:
    assert dates.read_date_time("17-Jul-1996 02:44:25 -0700") == datetime.datetime(1996, 7, 17, 9, 44, 25, tzinfo=datetime.UTC)
    assert dates.read_date_time(" 1-jan-2024 00:30:60 +0530") == datetime.datetime(2023, 12, 31, 19, 0, 59, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "31-Feb-2024 00:00:00 +0000", "01-Jan-0001 00:00:00 +0100", "1-Mai-2024 00:00:00 +0000"]
)
def test_what_is_no_date(text: str) -> None:
    assert dates.read_date_time(text) is None
