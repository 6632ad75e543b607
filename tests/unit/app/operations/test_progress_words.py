"""What people see of a first read and of a repair."""

from __future__ import annotations

import pytest

from postroom.app.operations.once import Meter
from postroom.app.operations.status import ClientStatus, as_lines
from postroom.drivers import first_read_words, shown_octets
from postroom.model import FirstReading, Health, Preview, Repair
from postroom.settings import FirstRead
from postroom.store.reading import FolderRow

# --- the line on the terminal -----------------------------------------------------------------------------------------


def test_rate_and_time_left_over_several_cycles() -> None:
    meter = Meter(100.0)
    meter.note("a", "INBOX", 1500, 3_000_000, 98_500)
    meter.note("a", "INBOX", 2000, 4_000_000, 98_000)
    assert meter.words(102.0) == "2,000 messages captured, 1,000 messages/s, 2.0 MB/s, 98,000 left, about 98 s"
    meter.note("a", "INBOX", 500, 1_000_000, 97_500)  # the next cycle counts from nothing
    assert meter.words(105.0) == "2,500 messages captured, 500 messages/s, 1.0 MB/s, 97,500 left, about 3 min"


def test_several_folders_are_told_together() -> None:
    meter = Meter(0.0)
    meter.note("a", "INBOX", 100, 1000, 50)
    meter.note("b", "INBOX", 100, 1000, 150)
    assert meter.words(2.0) == "200 messages captured, 100 messages/s, 0.0 MB/s, 200 left, about 2 s (2 folders)"


@pytest.mark.parametrize("left", [None, 0])
def test_what_is_left_is_told_only_where_it_is_known(left: int | None) -> None:
    meter = Meter(0.0)
    meter.note("a", "INBOX", 100, 1000, left)
    assert meter.words(1.0) == "100 messages captured, 100 messages/s, 0.0 MB/s"
    meter.note("b", "INBOX", 100, 1000, 5)
    assert ("left" in meter.words(1.0)) == (left == 0)


# --- status -----------------------------------------------------------------------------------------------------------

NOW = 1_000_000.0


def status(first: FirstReading | None = None, repair: Repair | None = None) -> ClientStatus:
    row = FolderRow("IMAP", "mail", "a", "INBOX", unread=False, first=first, repair=repair)
    return ClientStatus("pop-client-a", Health.WORKING, 1.0, 5, 500, 0, 1.0, "", "", None, folders=(row,), seen_at=NOW)


def lines(item: ClientStatus) -> list[str]:
    return [line.strip() for line in list(as_lines([item], colour=False))[1:]]


def test_a_first_read_under_way() -> None:
    item = status(FirstReading("all", 0, 100_000, 88_000, 500.0, None))
    assert lines(item) == ["INBOX: first read: 12,000 of 100,000, about 3 min left"]
    folders = item.as_dict()["folders"]
    assert folders == [
        {
            "folder": "INBOX",
            "first_read": {"choice": "all", "total": 100_000, "left": 88_000, "rate": 500.0, "seconds_left": 176.0},
            "repair": None,
        }
    ]


def test_a_first_read_that_has_just_begun_or_is_over() -> None:
    assert lines(status(FirstReading("new", 0, 100_000, 100_000, 0.0, None))) == ["INBOX: first read: 0 of 100,000"]
    assert lines(status(FirstReading("all", 0, 100_000, 0, 500.0, NOW))) == []


def test_the_last_repair() -> None:
    repair = Repair("UIDVALIDITY was 12 and is 13", NOW - 500, 998, 3, 1, 2, NOW - 300)
    words = "998 matched (3 compared), 1 new, 2 vanished; UIDVALIDITY was 12 and is 13"
    assert lines(status(repair=repair)) == [f"INBOX: repaired 5 min ago: {words}"]
    under_way = Repair("UIDVALIDITY was 12 and is 13", NOW - 30, 998, 3, 1, 2, None)
    assert lines(status(repair=under_way)) == [f"INBOX: under repair, begun 30 s ago: {words}"]
    [folder] = status(repair=repair).as_dict()["folders"]  # type: ignore[misc]
    assert folder["repair"] == {
        "begun_at": NOW - 500,
        "ended_at": NOW - 300,
        "reason": "UIDVALIDITY was 12 and is 13",
        "matched": 998,
        "compared": 3,
        "new": 1,
        "vanished": 2,
    }


# --- check ------------------------------------------------------------------------------------------------------------


def test_what_a_first_read_would_take() -> None:
    words = first_read_words("INBOX", FirstRead.ALL, Preview(12_345, 1_234_567_890))
    assert words == "INBOX was never read: first-read = all takes 12,345 messages, about 1.2 GB"
    assert first_read_words("INBOX", FirstRead.NEW, Preview(0, 0)).endswith("first-read = new takes 0 messages")


@pytest.mark.parametrize(("octets", "words"), [(0, "0 octets"), (999, "999 octets"), (1500, "1.5 kB"), (2e12, "2000.0 GB")])
def test_octets_for_people(octets: float, words: str) -> None:
    assert shown_octets(octets) == words
