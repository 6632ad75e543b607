"""After a reset everything is met again: nothing lost, nothing twice, and nothing fetched that is plainly the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from desk import Desk, fill
from fakes import START, MemoryReader
from postroom import events
from postroom.engine.process import process
from postroom.model import Disposition, Repair, WorkKind


def letter(name: str, body: str = "") -> bytes:
    return f"Message-ID: <{name}@example.org>\r\nSubject: {name}\r\n\r\n{body}".encode()


LETTERS = [letter(f"{number:03}") for number in range(20)]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.take()
    yield desk
    desk.store.close()


async def read(desk: Desk, *texts: bytes, **options: object) -> None:
    """Read these messages, and understand them."""
    fill(desk.server, *texts)
    await desk.cycle(**options)
    await understand(desk)
    desk.server.fetched.clear()


async def understand(desk: Desk) -> None:
    work = await desk.store.claim(WorkKind.PROCESS, 1000)
    await desk.store.finish_process(await process(desk.store, work))


def told(desk: Desk) -> list[tuple[object, ...]]:
    keys = ("matched", "compared", "new", "vanished")
    return [tuple(fields[key] for key in keys) for fields in desk.observer.of(events.REBORN)]


async def test_p21_an_unchanged_folder_is_met_again_without_a_fetch(desk: Desk) -> None:
    await read(desk, *LETTERS)
    desk.server.folder().reborn(7)
    tally = await desk.cycle()
    assert (tally.captured, tally.matched) == (0, 20)
    assert desk.server.fetched == []
    assert sorted(desk.server.looked) == sorted(desk.server.folder().name(uid) for uid in desk.server.folder().messages)
    assert await desk.texts() == sorted(LETTERS)
    assert told(desk) == [(20, 0, 0, 0)]
    [row] = await desk.store.folders()
    assert row.repair == Repair("UIDVALIDITY was 1 and is 7", START, 20, 0, 0, 0, START)


async def test_p21_what_is_new_and_what_is_gone_is_told(desk: Desk) -> None:
    await read(desk, *LETTERS)
    folder = desk.server.folder()
    del folder.messages[3], folder.messages[4]
    folder.reborn(7)
    fill(desk.server, letter("new"))
    await desk.cycle()
    assert desk.server.fetched == ["7/19"]
    assert told(desk) == [(18, 0, 1, 2)]
    assert await desk.texts() == sorted([*LETTERS, letter("new")])


async def test_p21_only_what_is_in_doubt_is_fetched(desk: Desk) -> None:
    """Not yet understood here, without a Message-ID, or with one that stands for several: the octets tell."""
    same_second = [letter("same", "one"), letter("same", "two")]
    fill(desk.server, *LETTERS, b"Subject: none\r\n\r\n", *same_second)
    folder = desk.server.folder()
    for uid in (22, 23):
        folder.messages[uid] = (folder.messages[uid][0], "the same second")
    await desk.cycle()
    await understand(desk)
    fill(desk.server, letter("not understood"))
    await desk.cycle()
    desk.server.fetched.clear()
    folder.reborn(7)
    await desk.cycle()
    assert sorted(desk.server.fetched) == ["7/21", "7/22", "7/23", "7/24"]
    assert told(desk) == [(24, 4, 0, 0)]
    assert len(await desk.texts()) == 24


async def test_p21_identical_twins_stay_two(desk: Desk) -> None:
    fill(desk.server, letter("twin"), letter("twin"), letter("twin"))
    folder = desk.server.folder()
    for uid in (1, 2, 3):
        folder.messages[uid] = (letter("twin"), "the same second")
    await desk.cycle()
    await understand(desk)
    desk.server.fetched.clear()
    folder.reborn(7)
    await desk.cycle()
    assert (desk.server.fetched, told(desk)) == ([], [(3, 0, 0, 0)])
    folder.reborn(8)
    folder.messages[folder.add(letter("twin"))] = (letter("twin"), "the same second")
    await desk.cycle()
    assert await desk.texts() == [letter("twin")] * 4
    assert told(desk)[-1] == (3, 3, 1, 0)  # one more than was known: only the octets could tell


async def test_p21_a_reset_adds_no_receipt(desk: Desk) -> None:
    """However often: a server that keeps no UIDs resets with every conversation."""
    await read(desk, *LETTERS)
    desk.server.folder().validity = 0
    for _ in range(5):
        await desk.cycle()
    (count,) = desk.store._db.now(lambda db: db.execute("SELECT count(*) FROM receipts").fetchone())  # type: ignore[misc]
    assert count == 20
    assert await desk.texts() == sorted(LETTERS)


async def test_p21_a_message_keeps_what_was_decided_about_it(desk: Desk) -> None:
    await read(desk, *LETTERS[:2])
    desk.server.unsettled = {"1/3"}
    await read(desk, LETTERS[2], after_capture=Disposition.DELETE)
    folder = desk.server.folder()
    folder.reborn(7)
    await desk.cycle(after_capture=Disposition.KEEP)
    assert desk.server.fetched == []
    assert [octets for octets, _ in folder.messages.values()] == LETTERS[:2]


async def test_p21_what_was_deleted_and_is_back_is_deleted_again(desk: Desk) -> None:
    """A server that was restored has it again; it was never to stay."""
    folder = desk.server.folder()
    await read(desk, *LETTERS[:2])
    before = dict(folder.messages)
    await read(desk, LETTERS[2], after_capture=Disposition.DELETE)
    folder.messages = {**before, 3: (LETTERS[2], "day 3")}
    folder.reborn(7)
    tally = await desk.cycle(after_capture=Disposition.KEEP)
    assert (tally.captured, tally.matched, tally.settled, desk.server.fetched) == (0, 3, 1, [])
    assert [octets for octets, _ in folder.messages.values()] == LETTERS[:2]
    assert told(desk) == [(3, 0, 0, 0)]


async def test_p21_what_was_deleted_and_stays_away_has_not_vanished(desk: Desk) -> None:
    await read(desk, *LETTERS[:2])
    await read(desk, LETTERS[2], after_capture=Disposition.DELETE)
    desk.server.folder().reborn(7)
    await desk.cycle()
    assert told(desk) == [(2, 0, 0, 0)]


async def test_p21_a_repaired_message_is_compared_before_it_is_destroyed(desk: Desk) -> None:
    desk.server.unsettled = {"1/1", "7/1"}
    await read(desk, LETTERS[0], after_capture=Disposition.DELETE)
    folder = desk.server.folder()
    folder.reborn(7)
    await desk.cycle()
    desk.server.unsettled.clear()
    folder.messages[1] = (letter("another"), "another day")
    await desk.cycle()
    assert [octets for octets, _ in folder.messages.values()] == [letter("another")]


async def test_p21_a_second_reset_in_the_middle_of_a_repair(desk: Desk) -> None:
    await read(desk, *LETTERS)
    folder = desk.server.folder()
    folder.reborn(7)
    await desk.cycle(maximum_msg_number=5)
    folder.reborn(3)  # downwards
    while (await desk.cycle(maximum_msg_number=5)).more:
        pass
    assert (desk.server.fetched, told(desk)) == ([], [(20, 0, 0, 0)])
    assert [fields["reason"] for fields in desk.observer.of(events.RESET)] == [
        "UIDVALIDITY was 1 and is 7",
        "UIDVALIDITY was 7 and is 3",
    ]


async def test_p21_a_server_that_keeps_no_uids_is_read_all_the_same(desk: Desk) -> None:
    folder = desk.server.folder()
    folder.validity = 0
    await read(desk, *LETTERS)
    reader = MemoryReader(desk.server)
    await desk.cycle(reader=reader)
    fill(desk.server, letter("new"))
    assert (await desk.cycle(reader=reader)).captured == 1  # one conversation: no reset
    desk.server.fetched.clear()
    await understand(desk)
    assert (await desk.cycle()).captured == 0
    assert desk.server.fetched == []
    assert desk.observer.of(events.RESET) == []
    assert {fields["remark"] for fields in desk.observer.of(events.REMARK)} == {"the server keeps no UIDs"}
    assert await desk.texts() == sorted([*LETTERS, letter("new")])


async def test_p21_a_restored_server_goes_the_same_way(desk: Desk) -> None:
    """Its numbers agree with ours, and mean other messages."""
    await read(desk, *LETTERS)
    folder = desk.server.folder()
    kept = list(folder.messages.values())[2:]
    folder.messages = dict(enumerate(kept, 1))
    await desk.store.advance(desk.lease, "[1, 0]")
    await desk.cycle()
    assert desk.server.fetched == []
    assert told(desk) == [(18, 0, 0, 2)]


async def test_p21_what_a_repair_holds_does_not_grow_with_the_folder(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.engine.read.CYCLE", 5)
    fill(desk.server, *LETTERS)
    while (await desk.cycle()).more:
        pass
    await understand(desk)
    desk.server.folder().reborn(7)
    held: list[int] = []
    meet = desk.store.meet

    async def counted(lease: object, listed: list[object], message_ids: dict[str, str]) -> object:
        held.append(max(len(listed), len(message_ids)))
        return await meet(lease, listed, message_ids)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.store, "meet", counted)
    while (await desk.cycle()).more:
        pass
    assert held == [5, 5, 5, 5]
    assert told(desk) == [(20, 0, 0, 0)]
