from __future__ import annotations

import re
from datetime import date, datetime
from pathlib import Path

import pytest

import postroom.drivers
from postroom.drivers.announcements import TOUCHED, Announcement, announcements, read_announcements

PROVIDERS = {file.stem for file in (Path(postroom.drivers.__file__).parent / "providers").glob("*.toml")}
ENTRY = {
    "name": "a",
    "provider": "google",
    "on": date(2026, 1, 1),
    "touches": ["IMAP", "basic"],
    "what": "W.",
    "remedy": "R.",
    "source": "https://example.org",
    "checked": date(2026, 1, 1),
}


@pytest.mark.parametrize("announcement", announcements(), ids=lambda announcement: announcement.name)
def test_an_announcement_is_well_formed(announcement: Announcement) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", announcement.name)
    assert announcement.provider in PROVIDERS
    assert announcement.touches <= TOUCHED
    assert announcement.source.startswith("https://")
    assert announcement.what.endswith(".")
    assert announcement.remedy.endswith(".")
    assert announcement.checked >= date(2026, 11, 24)


def test_the_oldest_comes_first() -> None:
    days = [announcement.on for announcement in announcements()]
    assert days == sorted(days)


def test_a_whole_entry_is_read() -> None:
    (read,) = read_announcements({"announcement": [ENTRY]})
    assert (read.name, read.on, read.touches) == ("a", date(2026, 1, 1), {"IMAP", "basic"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"touches": ["FAX"]}, "FAX"),
        ({"touches": []}, "touches"),
        ({"on": "2026-01-01"}, "no day"),
        ({"checked": datetime(2026, 1, 1)}, "no day"),  # noqa: DTZ001
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_fault_names_its_entry(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=f"announcement a: .*{says}"):
        read_announcements({"announcement": [ENTRY | change]})


def test_an_entry_without_a_name_is_named_by_its_number() -> None:
    with pytest.raises(ValueError, match="announcement number 1: KeyError"):
        read_announcements({"announcement": [{}]})


def test_a_name_is_there_once() -> None:
    with pytest.raises(ValueError, match="announcement a: the name is there twice"):
        read_announcements({"announcement": [ENTRY, ENTRY]})
