"""Copies for the recipients in To and Cc: who gets one, how often, and which setting counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from desk import Desk, fill
from postroom.engine.process import process
from postroom.engine.work import Worker
from postroom.errors import StoreError
from postroom.mime.recipients import HEADER
from postroom.model import MessageRow, WorkKind, WorkState

ON = {"copy_message_to_recipients": True}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.take()
    yield desk
    desk.store.close()


def mail(to: str, cc: str = "") -> bytes:
    return f"To: {to}\r\nCc: {cc}\r\nSubject: s\r\n\r\nTo: nobody@x.org\r\n".encode()


async def work(desk: Desk) -> None:
    await Worker(desk.store, desk.clock, desk.observer).drain()


async def rows(desk: Desk) -> list[MessageRow]:
    return [row async for row in desk.store.messages(client=None, newest_first=False, limit=None)]


async def copied(desk: Desk) -> list[list[str]]:
    """The recipients of each message's copies."""
    return [[copy.recipient for copy in row.copies] for row in await rows(desk)]


async def test_each_unique_recipient_gets_a_copy(desk: Desk) -> None:
    fill(desk.server, mail("Ann <a@x.org>, B@x.org", "c@x.org, A@X.org"), mail("undisclosed-recipients:;"))
    await desk.cycle(**ON)
    assert await copied(desk) == [[], []]
    await work(desk)
    assert await copied(desk) == [["a@x.org", "B@x.org", "c@x.org"], []]
    [one, none] = await rows(desk)
    assert (one.left_out, none.left_out, one.copy_header) == ((), (), "X-Genesys-To")
    assert len({one.id, *(copy.id for copy in one.copies)}) == 4


async def test_a_copy_is_found_by_its_id_and_refers_to_the_message_s_octets(desk: Desk) -> None:
    fill(desk.server, mail("a@x.org, b@x.org"))
    await desk.cycle(copy_message_with_header="X-Copy-For", **ON)
    await work(desk)
    [row] = await rows(desk)
    copy = row.copies[1]
    found = await desk.store.message(copy.id)
    whole = await desk.store.message(row.id)
    assert found is not None
    assert whole is not None
    assert (found[0].copy, found[0].id, found[0].copy_header) == (copy, row.id, "X-Copy-For")
    assert (whole[0].copy, whole[1]) == (None, found[1])
    assert await desk.store.message("0") is None  # the beginning of all three


async def test_the_limit_leaves_recipients_out_and_records_them(desk: Desk) -> None:
    fill(desk.server, mail("a@x.org, b@x.org", "c@x.org, desk@x.org"))
    await desk.cycle(inbound_msg_copy_limit=2, address="Desk@x.org", **ON)
    await work(desk)
    [row] = await rows(desk)
    assert [copy.recipient for copy in row.copies] == ["desk@x.org", "a@x.org"]  # the mailbox's own is never left out
    assert row.left_out == ("b@x.org", "c@x.org")
    assert row.address == "Desk@x.org"


async def test_nothing_is_copied_unless_it_is_asked_for(desk: Desk) -> None:
    fill(desk.server, mail("a@x.org"))
    await desk.cycle()
    await work(desk)
    assert await copied(desk) == [[]]
    assert (await rows(desk))[0].address == "a@example.org"


async def test_what_holds_is_the_setting_when_a_message_was_captured(desk: Desk) -> None:
    """Processing comes later: a change between the two, or a message that waited, makes no difference."""
    fill(desk.server, mail("a@x.org"))
    await desk.cycle(**ON)
    fill(desk.server, mail("b@x.org"))
    await desk.cycle()
    fill(desk.server, mail("c@x.org, d@x.org"))
    await desk.cycle(inbound_msg_copy_limit=1, **ON)
    await work(desk)
    assert await copied(desk) == [["a@x.org"], [], ["c@x.org"]]


async def test_a_second_capture_or_a_second_processing_makes_no_second_copy(desk: Desk) -> None:
    fill(desk.server, mail("a@x.org, b@x.org"))
    await desk.cycle(**ON)
    [piece] = await desk.store.claim(WorkKind.PROCESS, 10)
    done = await process(desk.store, [piece])
    await desk.store.finish_process(done)
    before = await rows(desk)
    await desk.store.finish_process(done)  # the answer was lost, and it is said again
    desk.server.folder().reborn(2)
    await desk.cycle(**ON)
    await work(desk)
    [after] = await rows(desk)
    assert (after.id, after.copies) == (before[0].id, before[0].copies)
    assert len(after.copies) == 2


async def test_whoever_lost_the_work_makes_no_copies(desk: Desk) -> None:
    fill(desk.server, mail("a@x.org"))
    await desk.cycle(**ON)
    [lost] = await desk.store.claim(WorkKind.PROCESS, 10)
    await desk.store.reclaim(WorkKind.PROCESS, own=True)
    [held] = await desk.store.claim(WorkKind.PROCESS, 10)
    await desk.store.finish_process(await process(desk.store, [lost]))
    assert await copied(desk) == [[]]
    await desk.store.finish_process(await process(desk.store, [held]))
    assert await copied(desk) == [["a@x.org"]]
    with pytest.raises(StoreError):
        await desk.store.defer(lost, WorkState.READY, 0, 0, "")


async def test_a_message_replayed_after_a_death_in_the_middle_is_copied_once(desk: Desk) -> None:
    fill(desk.server, mail("a@x.org, b@x.org"))
    await desk.cycle(**ON)
    await desk.store.claim(WorkKind.PROCESS, 10)
    await desk.restart()
    await desk.store.reclaim(WorkKind.PROCESS)
    await work(desk)
    assert await copied(desk) == [["a@x.org", "b@x.org"]]


async def test_a_header_beyond_all_measure_is_said_to_be_one(desk: Desk) -> None:
    many = ", ".join(f"user{number:06}@x.org" for number in range(HEADER // 10))
    fill(desk.server, mail(many))
    await desk.cycle(**ON)
    await work(desk)
    [row] = await rows(desk)
    assert len(row.copies) == 10
    assert len(row.left_out) > HEADER // 20 - 100
    assert f"recipients behind the first {HEADER} octets of the header are not known" in row.facts.fault


async def test_a_long_header_is_read_further_than_for_lists(desk: Desk) -> None:
    fill(desk.server, b"X-Long: " + b"x" * 100_000 + b"\r\n" + mail("a@x.org"))
    await desk.cycle(**ON)
    await work(desk)
    assert await copied(desk) == [["a@x.org"]]
