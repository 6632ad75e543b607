"""A first read, and the header lines by which messages are known again."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from postroom.drivers import First, Reader
from postroom.drivers.imap_first import utc_day
from postroom.model import Listed, Preview
from postroom.settings import FirstRead

Reading = Callable[..., AbstractAsyncContextManager[Reader]]

DAY = datetime.date(2024, 1, 4)
ITEMS = "(UID RFC822.SIZE INTERNALDATE)"


def hello(capabilities: str = "IMAP4rev1", *, exists: int = 0, next_: int = 1) -> str:
    return (
        f"S: * PREAUTH [CAPABILITY {capabilities}] hello\nC: P1 SELECT INBOX\nS: * {exists} EXISTS\n"
        f"S: * OK [UIDVALIDITY 7] valid\nS: * OK [UIDNEXT {next_}] next\nS: P1 OK done\n"
    )


def row(number: int, uid: int, date: str) -> str:
    return f'S: * {number} FETCH (UID {uid} RFC822.SIZE 100 INTERNALDATE "{date}")\n'


def rows(tag: str, uids: str, *numbers: tuple[int, int, str]) -> str:
    return f"C: {tag} UID FETCH {uids} {ITEMS}\n" + "".join(row(*each) for each in numbers) + f"S: {tag} OK\n"


FIVE = [(n, n + 10, f"{n:2}-Jan-2024 23:30:00 -0100") for n in range(1, 6)]  # in UTC each is of the day after


def listed(*uids: int) -> tuple[Listed, ...]:
    dates = {uid: date.strip() for _, uid, date in FIVE}
    return tuple(Listed(f"7/{uid}", 100, dates[uid]) for uid in uids)


# --- what is listed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "created", "spared"),
    [
        (FirstRead.ALL, (15, 14, 13, 12, 11), ()),
        (FirstRead.NEW, (), (15, 14, 13, 12, 11)),
        (DAY, (15, 14, 13), (12, 11)),
    ],
)
async def test_p26_a_first_look_names_what_is_to_be_left_alone(
    reading: Reading, first: First, created: tuple[int, ...], spared: tuple[int, ...]
) -> None:
    async with reading(hello(exists=5, next_=16) + rows("P2", "1:15", *FIVE)) as reader:
        changes = await reader.changes("INBOX", None, 100, first)
    assert (changes.created, changes.spared) == (listed(*created), listed(*spared))
    assert (changes.more, changes.left, changes.total) == (False, 0, 5)


async def test_p26_the_choice_is_kept_until_the_folder_is_whole(reading: Reading) -> None:
    script = hello(exists=5, next_=16) + rows("P2", "7:15", *FIVE) + rows("P3", "4:12", *FIVE[:2]) + rows("P4", "1:3")
    script += "C: P5 NOOP\nS: * 6 EXISTS\nS: P5 OK\n"
    script += rows("P6", "15:*", FIVE[4], (6, 16, "01-Jan-1990 00:00:00 +0000"))
    async with reading(script) as reader:
        one = await reader.changes("INBOX", None, 3, DAY)
        two = await reader.changes("INBOX", one.new_state, 3)
        new = await reader.changes("INBOX", two.new_state, 3)
    assert (one.created, one.spared, one.left, one.more) == (listed(15, 14, 13), (), 2, True)
    assert (two.created, two.spared, two.left, two.more) == ((), listed(12, 11), 0, False)
    assert new.created == (Listed("7/16", 100, "01-Jan-1990 00:00:00 +0000"),)  # it came later, whatever its date is
    assert new.spared == ()


async def test_p26_what_has_no_readable_date_is_read(reading: Reading) -> None:
    async with reading(hello(exists=1, next_=2) + rows("P2", "1:1", (1, 1, "once upon a time"))) as reader:
        changes = await reader.changes("INBOX", None, 100, DAY)
    assert len(changes.created) == 1


@pytest.mark.parametrize(
    ("date", "day"),
    [
        ("17-Jul-1996 02:44:25 -0700", datetime.date(1996, 7, 17)),
        (" 1-feb-2024 00:10:00 +0100", datetime.date(2024, 1, 31)),
        ("1-Feb-2024 00:10:00 +0100", datetime.date(2024, 1, 31)),
        ("31-Dec-2024 23:10:00 -0100", datetime.date(2025, 1, 1)),
        ("31-Dec-9999 23:10:00 -0100", None),
        ("30-Feb-2024 00:00:00 +0000", None),
        ("01-Foo-2024 00:00:00 +0000", None),
        ("01-Jan-2024 25:00:00 +0000", None),
        ("", None),
    ],
)
def test_the_day_of_an_internal_date(date: str, day: datetime.date | None) -> None:
    assert utc_day(date) == day


# --- what it would take -----------------------------------------------------------------------------------------------


async def test_p26_what_all_would_take_is_told_from_a_sample(reading: Reading) -> None:
    script = hello(exists=1000, next_=9000)
    numbers = [1 + n * 5 for n in range(200)]
    script += f"C: P2 FETCH {','.join(map(str, numbers))} (RFC822.SIZE)\n"
    script += "".join(f"S: * {number} FETCH (RFC822.SIZE {1000 + number})\n" for number in numbers) + "S: P2 OK\n"
    async with reading(script) as reader:
        preview = await reader.preview("INBOX", FirstRead.ALL)
    assert preview == Preview(1000, sum(1000 + number for number in numbers) * 5)


async def test_p26_what_came_since_a_day_is_counted_by_the_server(reading: Reading) -> None:
    script = hello(exists=9, next_=99) + "C: P2 UID SEARCH SINCE 4-Jan-2024\nS: * SEARCH 3 5\nS: P2 OK\n"
    script += (
        "C: P3 UID FETCH 3,5 (RFC822.SIZE)\nS: * 3 FETCH (UID 3 RFC822.SIZE 10)\nS: * 5 FETCH (UID 5 RFC822.SIZE 20)\nS: P3 OK\n"
    )
    async with reading(script) as reader:
        assert await reader.preview("INBOX", DAY) == Preview(2, 30)


async def test_p26_nothing_is_asked_where_nothing_is_read(reading: Reading) -> None:
    async with reading(hello(exists=9, next_=99)) as reader:
        assert await reader.preview("INBOX", FirstRead.NEW) == Preview(0, 0)
    async with reading(hello()) as reader:
        assert await reader.preview("INBOX", DAY) == Preview(0, 0)


# --- header lines -----------------------------------------------------------------------------------------------------

LINE = "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"


async def test_p21_header_lines_in_every_form(reading: Reading) -> None:
    script = hello(exists=6, next_=9) + f"C: P2 UID FETCH 1:6 {LINE}\n"
    script += "S: * 1 FETCH (UID 1 BODY[HEADER.FIELDS (MESSAGE-ID)] {one})\n"
    script += "S: * 2 FETCH (BODY[HEADER.FIELDS (Message-Id)] {two} UID 2)\n"
    script += 'S: * 3 FETCH (UID 3 BODY[HEADER.FIELDS ("MESSAGE-ID")] "Message-ID: <3@x>")\n'
    script += "S: * 4 FETCH (UID 4 BODY[HEADER.FIELDS (MESSAGE-ID)] NIL)\n"
    script += "S: * 5 FETCH (FLAGS (\\Seen))\n"
    script += 'S: * 6 FETCH (UID 6 BODY[HEADER.FIELDS (MESSAGE-ID)] "")\nS: P2 OK\n'
    literals = {"one": b"Message-ID:\r\n <1@x>\r\n\r\n", "two": b"message-id: <2@x>\r\n\r\n"}
    async with reading(script, **literals) as reader:
        found = await reader.headers("INBOX", [Listed(f"7/{uid}", 1, "") for uid in range(1, 7)])
    assert found == {"7/1": literals["one"], "7/2": literals["two"], "7/3": b"Message-ID: <3@x>", "7/6": b""}


async def test_p21_header_lines_are_asked_for_without_waiting(reading: Reading) -> None:
    """Four commands are in flight before the first is answered; a refused one leaves its messages in doubt."""
    script = hello(exists=2100, next_=2101)
    sets = [(1, 500), (501, 1000), (1001, 1500), (1501, 2000), (2001, 2100)]
    script += "".join(f"C: P{n} UID FETCH {low}:{high} {LINE}\n" for n, (low, high) in enumerate(sets[:4], 2))
    script += 'S: * 501 FETCH (UID 501 BODY[HEADER.FIELDS (MESSAGE-ID)] "Message-ID: <a>")\nS: P3 OK\n'
    script += f"C: P6 UID FETCH 2001:2100 {LINE}\n"
    script += "S: P2 NO not now\nS: P4 OK\nS: P5 OK\nS: P6 OK\n"
    async with reading(script) as reader:
        found = await reader.headers("INBOX", [Listed(f"7/{uid}", 1, "") for uid in range(1, 2101)])
    assert found == {"7/501": b"Message-ID: <a>"}
