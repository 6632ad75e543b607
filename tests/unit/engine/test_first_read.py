"""What of a mailbox is read the first time, and what becomes of the rest."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from desk import Desk, Stop, Stopping, fill
from fakes import START, MemoryReader, client
from postroom import events
from postroom.drivers import First
from postroom.engine.first import arrived_before, first_of
from postroom.engine.read import FolderCycle
from postroom.errors import StoreError
from postroom.model import Changes, FirstReading, Listed, Position
from postroom.settings import FirstRead

NEW = FirstRead.NEW
DAY = datetime.date(2023, 2, 10)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.take()
    yield desk
    desk.store.close()


def dated(desk: Desk, *days: str) -> None:
    """A message of each day."""
    folder = desk.server.folder()
    for day in days:
        octets = f"Message-ID: <{day}@x>\r\nReceived: by x; {_rfc(day)}\r\n\r\n{day}".encode()
        folder.messages[folder.add(octets)] = (octets, day)


def _rfc(day: str) -> str:
    return f"{datetime.date.fromisoformat(day):%d %b %Y} 12:00:00 +0000"


DAYS = [f"2023-02-{number:02}" for number in range(1, 21)]


async def spared(desk: Desk) -> int:
    row = desk.store._db.now(lambda db: db.execute("SELECT count(*) FROM receipts WHERE digest = x''").fetchone())
    assert row is not None
    return int(row[0])  # type: ignore[arg-type]


async def bodies(desk: Desk) -> list[str]:
    return [octets[-10:].decode() for octets in await desk.texts()]


async def test_p26_all_is_read(desk: Desk) -> None:
    dated(desk, *DAYS)
    await desk.cycle()
    assert await bodies(desk) == DAYS
    (told,) = desk.observer.of(events.FIRST_READ)
    assert (told["first"], told["messages"]) == ("all", 20)
    assert told["octets"] == sum(len(octets) for octets, _ in desk.server.folder().messages.values())


async def test_p26_only_what_is_new_is_read(desk: Desk) -> None:
    dated(desk, *DAYS)
    assert (await desk.cycle(first_read=NEW)).captured == 0
    assert (desk.server.fetched, await spared(desk)) == ([], 20)
    dated(desk, "2023-01-01")  # new, whatever its date says: it arrived later
    assert (await desk.cycle(first_read=NEW)).captured == 1
    assert await bodies(desk) == ["2023-01-01"]
    (told,) = desk.observer.of(events.FIRST_READ)
    assert (told["first"], told["messages"], told["octets"]) == ("new", 0, 0)


async def test_p26_what_came_since_a_day_is_read(desk: Desk) -> None:
    dated(desk, *DAYS)
    assert (await desk.cycle(first_read=DAY)).captured == 11
    assert await bodies(desk) == DAYS[9:]
    assert await spared(desk) == 9
    (told,) = desk.observer.of(events.FIRST_READ)
    assert (told["first"], told["messages"]) == ("2023-02-10", 11)


async def test_p26_the_number_is_told_before_anything_is_read(desk: Desk) -> None:
    dated(desk, *DAYS)
    with pytest.raises(StoreError):
        await desk.cycle(maximum_msg_number=3, store=Refusing(desk.store, Stop(99, "before")))
    assert desk.observer.names() == ["first_read"]
    assert desk.observer.of(events.FIRST_READ)[0]["messages"] == 20


class Refusing(Stopping):
    """A store that takes no message."""

    async def capture(self, *_: object) -> None:
        raise StoreError("stopped")


@pytest.mark.parametrize("first", [NEW, DAY])
async def test_p26_the_setting_acts_on_a_folder_that_was_never_read_and_at_the_next_cycle(desk: Desk, first: First) -> None:
    dated(desk, *DAYS)
    await desk.cycle(maximum_msg_number=5)
    while (await desk.cycle(maximum_msg_number=5, first_read=first)).more:
        pass
    assert await bodies(desk) == DAYS
    dated(desk, *DAYS[:2])
    fill(desk.server, b"other", folder="Other")
    await desk.cycle(first_read=first)
    assert await desk.cycle("Other", first_read=NEW)
    assert len(await desk.texts()) == 22


async def test_p26_a_first_read_of_new_mail_alone_takes_many_cycles_and_leaves_nothing_out(desk: Desk) -> None:
    dated(desk, *DAYS)
    more = True
    while more:
        more = (await desk.cycle(maximum_msg_number=3, first_read=NEW)).more
        dated(desk, *(DAYS[:1] if len(desk.server.folder().messages) < 25 else ()))
    await desk.cycle(first_read=NEW)
    assert await spared(desk) == 20
    assert await bodies(desk) == DAYS[:1] * (len(desk.server.folder().messages) - 20)


async def test_p26_p21_what_was_spared_is_not_new_after_a_reset(desk: Desk) -> None:
    dated(desk, *DAYS)
    await desk.cycle(first_read=NEW)
    folder = desk.server.folder()
    folder.reborn(7)
    dated(desk, "2023-02-21")
    while (await desk.cycle(first_read=NEW, maximum_msg_number=7)).more:
        pass
    assert desk.server.fetched == ["7/21"]
    assert await bodies(desk) == ["2023-02-21"]
    (told,) = desk.observer.of(events.REBORN)
    assert (told["matched"], told["new"], told["vanished"]) == (20, 1, 0)
    assert desk.server.looked == []  # their dates tell


async def test_p26_p21_one_was_read_and_one_was_spared_at_the_same_second(desk: Desk) -> None:
    """Which is which only the octets tell, as long as the one that was read is not understood here yet."""
    folder = desk.server.folder()
    for text in (b"spared", b"reading"[:6]):
        folder.messages[folder.add(text)] = (text, "the same second")
        await desk.cycle(first_read=NEW)
    folder.reborn(7)
    await desk.cycle(first_read=NEW)
    assert await desk.texts() == [b"readin"]
    (told,) = desk.observer.of(events.REBORN)
    assert (told["matched"], told["compared"], told["new"], told["vanished"]) == (2, 2, 0, 0)


async def test_p26_p21_a_reset_in_the_middle_of_a_first_read_floods_and_empties_nothing(desk: Desk) -> None:
    dated(desk, *DAYS)
    await desk.cycle(first_read=NEW, maximum_msg_number=5)
    began = f"{datetime.datetime.fromtimestamp(START, datetime.UTC):%Y-%m-%d}"
    dated(desk, began)  # after the first read began, before the next cycle
    desk.server.folder().reborn(7)
    while (await desk.cycle(first_read=NEW, maximum_msg_number=5)).more:
        pass
    assert await bodies(desk) == [began]
    assert await spared(desk) == 20


@pytest.mark.parametrize("first", [NEW, DAY])
async def test_p26_a_stop_anywhere_floods_and_empties_nothing(tmp_path: Path, first: First) -> None:
    for at in range(1, 30):
        desk = Desk(tmp_path / str(at))
        await desk.take()
        dated(desk, *DAYS)
        stop = Stop(at, "dead", StoreError("stopped"))
        try:
            await desk.cycle(first_read=first, store=Stopping(desk.store, stop))
        except StoreError:
            await desk.restart()
        dated(desk, "2023-03-01")
        for _ in range(3):
            await desk.cycle(first_read=first)
        wanted = [*(DAYS[9:] if first is DAY else []), "2023-03-01"]
        # Stopped before the choice was kept, ``new`` begins with the cycle after.
        assert await bodies(desk) in ([wanted] if first is DAY or at > 3 else [wanted, []]), at
        desk.store.close()
        if stop.over:
            return
    pytest.fail("never through")


async def test_p26_a_state_lost_in_the_middle_of_a_first_read_empties_nothing(desk: Desk) -> None:
    dated(desk, *DAYS)
    await desk.cycle(first_read=NEW, maximum_msg_number=5)
    began = f"{datetime.datetime.fromtimestamp(START, datetime.UTC):%Y-%m-%d}"
    dated(desk, began)
    desk.store._db.now(lambda db: db.execute("UPDATE folders SET state = NULL").fetchall())
    while (await desk.cycle(first_read=NEW, maximum_msg_number=5)).more:
        pass
    assert await bodies(desk) == [began]


# --- a server without dates, as POP3 is -------------------------------------------------------------------------------


class Undated(MemoryReader):
    """Lists all at every look, without dates; keeps its own names until ``anew`` says otherwise."""

    async def changes(self, folder: str, since: str | None, limit: int, first: First = FirstRead.ALL) -> Changes:
        held = self._server.folder(folder)
        listed = tuple(replace_date(held.listed(uid)) for uid in sorted(held.messages, reverse=True))
        if since and since != str(held.validity):
            return Changes((), "", reset="none of the unique-ids is there now")
        created, kept = ((), listed) if first is NEW else (listed, ())
        return Changes(created, str(held.validity), complete=True, left=0, total=len(listed), spared=kept)


def replace_date(listed: Listed) -> Listed:
    return listed._replace(internal_date="")


async def undated(desk: Desk, **options: object) -> bool:
    return (await desk.cycle(reader=Undated(desk.server), **options)).more


async def test_p26_without_dates_the_headers_tell_the_day(desk: Desk) -> None:
    dated(desk, *DAYS)
    cycles = 0
    while await undated(desk, first_read=DAY, maximum_msg_number=4):
        cycles += 1
    assert cycles == 2
    assert await bodies(desk) == DAYS[9:]
    assert await spared(desk) == 9


async def test_p26_a_long_list_is_not_asked_for_again_for_a_few_messages(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.engine.read.CYCLE", 1)
    monkeypatch.setattr("postroom.engine.listing._SOON", 0)
    dated(desk, *DAYS)
    cycles = 1
    while await undated(desk):
        cycles += 1
    assert cycles == 10  # not 20
    assert await bodies(desk) == DAYS


async def test_p26_what_is_had_in_a_moment_takes_one_long_list(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.engine.read.CYCLE", 1)
    dated(desk, *DAYS)
    assert not await undated(desk)
    assert await bodies(desk) == DAYS


async def test_p24_a_cycle_of_long_messages_stays_short(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.engine.read.CYCLE", 1)
    monkeypatch.setattr("postroom.engine.listing._SOON_OCTETS", 1)
    dated(desk, *DAYS)
    assert await undated(desk)
    assert len(await bodies(desk)) == 2


@pytest.mark.parametrize("first", [NEW, DAY])
async def test_p26_p21_without_dates_the_message_id_tells_what_was_spared(desk: Desk, first: First) -> None:
    dated(desk, *DAYS)
    await undated(desk, first_read=first)
    before = await bodies(desk)
    desk.server.folder().reborn(7)
    dated(desk, "2023-02-21")
    await undated(desk, first_read=first)
    assert await bodies(desk) == [*before, "2023-02-21"]
    assert desk.observer.of(events.REBORN)[0]["new"] == 1


@pytest.mark.parametrize(
    ("header", "before"),
    [
        (b"Received: a; Thu, 9 Feb 2023 23:59:59 +0000\r\n", True),
        (b"Received: a\r\n by b;\r\n\tFri, 10 Feb 2023 00:30:00 +0100 (CET)\r\nReceived: c; 1 Jan 2020 00:00:00 +0000\r\n", True),
        (b"Received: a; Fri, 10 Feb 2023 00:00:00 +0000\r\nDate: Thu, 1 Jan 2004 00:00:00 +0000\r\n", False),
        (b"Date: Thu, 9 Feb 2023 20:00:00 -0500\r\n", False),
        (b"Date: Thu, 9 Feb 2023 20:00:00 -0000\r\n", True),
        (b"Received: a; when it came\r\n", False),
        (b"Received: a; 32 Feb 99999 99:99:99 +9999\r\n", False),
        (b"Received: \xff\xfe;\xff\r\n", False),
        (b"", False),
    ],
)
def test_p26_the_day_of_a_header(header: bytes, before: bool) -> None:
    assert arrived_before(header + b"\r\n", DAY) is before


# --- which choice holds -----------------------------------------------------------------------------------------------


def reading(choice: str, ended_at: float | None = None) -> FirstReading:
    return FirstReading(choice, START, 10, 5, 0.0, ended_at)


@pytest.mark.parametrize(
    ("position", "first"),
    [
        (Position(1, None), NEW),
        (Position(1, "state"), FirstRead.ALL),  # read before this was kept
        (Position(2, None), FirstRead.ALL),
        (Position(1, None, reading("all")), FirstRead.ALL),
        (Position(1, None, reading("new")), datetime.date(2023, 11, 14)),
        (Position(2, None, reading("new")), datetime.date(2023, 11, 14)),
        (Position(2, None, reading("2023-02-10")), DAY),
        (Position(2, None, reading("new", START)), FirstRead.ALL),
    ],
)
def test_p26_which_choice_holds(position: Position, first: First) -> None:
    assert first_of(position, client(first_read=NEW)) == first


# --- how far it is ----------------------------------------------------------------------------------------------------


async def test_a_first_read_is_resumed_and_not_begun_anew(desk: Desk) -> None:
    dated(desk, *DAYS)
    tallies = [await desk.cycle(maximum_msg_number=6) for _ in range(2)]
    assert [tally.left for tally in tallies] == [14, 8]
    await desk.restart()
    [row] = await desk.store.folders()
    assert row.first is not None
    assert (row.first.total, row.first.left, row.first.ended_at) == (20, 8, None)
    assert row.first.rate > 0
    desk.server.fetched.clear()
    while (await desk.cycle(maximum_msg_number=6)).more:
        pass
    assert len(desk.server.fetched) == 8
    assert await bodies(desk) == DAYS
    [row] = await desk.store.folders()
    assert row.first is not None
    assert (row.first.left, row.first.ended_at) == (0, START)
    assert [fields["left"] for fields in desk.observer.of(events.READ)] == [14, 8, 2, 0]


async def test_progress_tells_what_is_left(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.engine.read._BATCH", 2)
    dated(desk, *DAYS)
    seen: list[tuple[int, int | None]] = []

    def progress(_client: str, _folder: str, captured: int, _octets: int, left: int | None) -> None:
        seen.append((captured, left))

    section = client(maximum_msg_number=6)
    reader = MemoryReader(desk.server)
    await FolderCycle(section, "INBOX", desk.lease, reader, desk.store, desk.clock, desk.observer, progress).run()
    assert seen == [(2, 18), (4, 16), (6, 14)]
