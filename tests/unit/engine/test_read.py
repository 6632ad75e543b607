"""One cycle of a folder: stopped anywhere and run again, the outcome is the same."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from desk import Desk, Stop, StoppingReader, fill
from fakes import MemoryReader, refused
from postroom import events
from postroom.engine.read import Tally
from postroom.errors import LeaseLost, Lost, StoreError, StoreFull
from postroom.model import Disposition, TroubleKind


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.take()
    yield desk
    desk.store.close()


# --- a cycle ----------------------------------------------------------------------------------------------------------


async def test_what_is_there_is_kept(desk: Desk) -> None:
    fill(desk.server, b"one", b"two", b"two")
    tally = await desk.cycle()
    assert (tally.captured, tally.octets, tally.more) == (3, 9, False)
    assert await desk.texts() == [b"one", b"two", b"two"]
    assert desk.observer.names() == ["first_read", "read"]
    assert desk.observer.counted(events.CAPTURED_TOTAL, client="pop-client-a") == 3
    assert desk.observer.counted(events.CAPTURED_OCTETS, client="pop-client-a") == 9


async def test_an_unchanged_folder_is_asked_once(desk: Desk) -> None:
    fill(desk.server, b"one")
    await desk.cycle()
    desk.server.asked.clear()
    tally = await desk.cycle()
    assert tally == Tally(left=0)
    assert desk.server.asked == Counter(changes=1, commit=1)
    assert desk.observer.names() == ["first_read", "read", "unchanged"]


async def test_p17_a_lost_state_means_a_listing_and_no_duplicate(desk: Desk) -> None:
    fill(desk.server, b"one", b"two")
    await desk.cycle()
    await desk.store.advance(desk.lease, "[1, 0]")
    desk.server.fetched.clear()
    await desk.cycle()
    assert desk.server.fetched == []
    assert await desk.texts() == [b"one", b"two"]


async def test_a_cycle_is_bounded(desk: Desk) -> None:
    fill(desk.server, *(b"%d" % n for n in range(7)))
    tallies = [await desk.cycle(maximum_msg_number=3) for _ in range(4)]
    assert [tally.captured for tally in tallies] == [3, 3, 1, 0]
    assert [tally.more for tally in tallies] == [True, True, False, False]


async def test_long_messages_come_in_pieces(desk: Desk) -> None:
    desk.server.long = 10
    texts = [b"short", b"a long message of many pieces", b"0123456789", os.urandom(100)]
    fill(desk.server, *texts)
    assert (await desk.cycle()).captured == 4
    assert await desk.texts() == sorted(texts)


@pytest.mark.parametrize("batch", [1, 2, 3])
async def test_many_batches(desk: Desk, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.engine.read._BATCH", batch)
    texts = [b"%03d" % n for n in range(20)]
    fill(desk.server, *texts)
    assert (await desk.cycle()).captured == 20
    assert await desk.texts() == texts


# --- settling ---------------------------------------------------------------------------------------------------------


async def test_the_disposition_stands_in_the_receipt(desk: Desk) -> None:
    """A changed after-capture acts on what is captured from then on."""
    folder = desk.server.folder()
    fill(desk.server, b"one")
    desk.server.unsettled = {"1/1"}
    await desk.cycle(after_capture=Disposition.SEEN)
    fill(desk.server, b"two")
    desk.server.unsettled = set()
    await desk.cycle(after_capture=Disposition.DELETE)
    assert (list(folder.messages), folder.seen) == ([1], {1})


async def test_what_the_server_did_not_settle_is_asked_for_again(desk: Desk) -> None:
    fill(desk.server, b"one", b"two", b"three")
    desk.server.unsettled = {"1/2"}
    tally = await desk.cycle(after_capture=Disposition.DELETE)
    assert tally.settled == 2
    assert list(desk.server.folder().messages) == [2]
    assert desk.server.asked["settle"] == 1  # a partial answer is not asked again in the same cycle
    desk.server.unsettled = set()
    assert (await desk.cycle(after_capture=Disposition.KEEP)).settled == 1
    assert desk.server.folder().messages == {}


async def test_p18_a_message_that_became_another_one_is_not_destroyed(desk: Desk) -> None:
    fill(desk.server, b"one")
    desk.server.unsettled = {"1/1"}
    await desk.cycle(after_capture=Disposition.DELETE)
    desk.server.unsettled = set()
    desk.server.folder().messages[1] = (b"another", "another day")
    await desk.cycle()
    assert list(desk.server.folder().messages) == [1]
    assert await desk.store.unsettled(desk.lease, 9) == []
    assert desk.observer.of(events.SETTLED)[-1] == {"client": "pop-client-a", "folder": "INBOX", "settled": 0, "gone": 1}


async def test_moving_goes_to_the_named_folder(desk: Desk) -> None:
    fill(desk.server, b"one", b"two")
    await desk.cycle(after_capture=Disposition.MOVE, processed_folder_path="Done")
    assert desk.server.folder().messages == {}
    assert [octets for octets, _ in desk.server.folder("Done").messages.values()] == [b"one", b"two"]


async def test_p18_nothing_is_settled_that_is_not_kept(desk: Desk) -> None:
    fill(desk.server, b"one", b"two")
    desk.server.refuses["1/1"] = refused()
    await desk.cycle(after_capture=Disposition.DELETE)
    assert list(desk.server.folder().messages) == [1]


# --- troubles ---------------------------------------------------------------------------------------------------------


async def test_p19_one_poisonous_message_does_not_hold_the_others_up(desk: Desk) -> None:
    fill(desk.server, b"one", b"poison", b"three")
    desk.server.refuses["1/2"] = refused("NO cannot")
    tally = await desk.cycle()
    assert (tally.captured, tally.troubles, tally.more) == (2, 1, False)
    (trouble,) = await desk.troubles()
    assert (trouble.listed.identifier, trouble.kind, trouble.attempts) == ("1/2", TroubleKind.FAULT, 1)
    assert "NO cannot" in trouble.detail
    (told,) = desk.observer.of(events.TROUBLE)
    assert told["identifier"] == "1/2"


async def test_a_trouble_is_tried_again_when_due_and_less_and_less_often(desk: Desk) -> None:
    fill(desk.server, b"poison")
    desk.server.refuses["1/1"] = refused()
    waits = []
    for _ in range(5):
        desk.server.fetched.clear()
        await desk.cycle()
        assert desk.server.fetched == ["1/1"]
        await desk.cycle()
        assert desk.server.fetched == ["1/1"]  # not due yet
        (trouble,) = await desk.troubles()
        waits.append(trouble.not_before - desk.clock.now())
        desk.clock.advance(waits[-1])
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]
    desk.server.refuses.clear()
    await desk.cycle()
    assert await desk.texts() == [b"poison"]
    assert await desk.troubles() == []


async def test_p19_a_message_absent_in_two_conversations_is_gone(desk: Desk) -> None:
    fill(desk.server, b"one", b"ghost")
    desk.server.hides.add("1/2")
    await desk.cycle()
    (trouble,) = await desk.troubles()
    assert trouble.kind is TroubleKind.ABSENT
    desk.clock.advance(trouble.not_before - desk.clock.now())
    await desk.cycle()
    assert await desk.troubles() == []
    assert await desk.texts() == [b"one"]


async def test_p19_a_message_announced_before_its_body_exists_is_had_later(desk: Desk) -> None:
    fill(desk.server, b"late")
    desk.server.hides.add("1/1")
    await desk.cycle()
    desk.server.hides.clear()
    desk.clock.advance(3600)
    await desk.cycle(after_capture=Disposition.DELETE)
    assert await desk.texts() == [b"late"]
    assert desk.server.folder().messages == {}


async def test_p19_a_fault_and_then_absence_is_not_yet_gone(desk: Desk) -> None:
    fill(desk.server, b"odd")
    desk.server.refuses["1/1"] = refused()
    await desk.cycle()
    desk.server.refuses.clear()
    desk.server.hides.add("1/1")
    desk.clock.advance(24 * 3600)
    await desk.cycle()
    (trouble,) = await desk.troubles()
    assert trouble.kind is TroubleKind.ABSENT
    desk.server.hides.clear()
    desk.clock.advance(24 * 3600)
    await desk.cycle()
    assert await desk.texts() == [b"odd"]


# --- resets -----------------------------------------------------------------------------------------------------------


async def test_p21_after_a_reset_messages_are_met_again(desk: Desk) -> None:
    fill(desk.server, b"one", b"twin", b"twin", b"lost")
    await desk.cycle()
    folder = desk.server.folder()
    del folder.messages[4]
    folder.reborn(2)
    fill(desk.server, b"new")
    tally = await desk.cycle()
    assert (tally.captured, tally.matched) == (1, 3)
    assert await desk.texts() == sorted([b"one", b"twin", b"twin", b"lost", b"new"])
    assert desk.observer.of(events.RESET)[0]["reason"] == "UIDVALIDITY was 1 and is 2"
    assert [told["vanished"] for told in desk.observer.of(events.REBORN)] == [1]


async def test_a_reset_over_several_cycles_counts_at_its_end(desk: Desk) -> None:
    texts = [b"%d" % n for n in range(6)]
    fill(desk.server, *texts)
    await desk.cycle()
    desk.server.folder().reborn(2)
    tallies = [await desk.cycle(maximum_msg_number=2) for _ in range(4)]
    assert sum(tally.matched for tally in tallies) == 6
    assert await desk.texts() == texts
    (told,) = desk.observer.of(events.REBORN)
    assert (told["matched"], told["new"], told["vanished"]) == (6, 0, 0)


async def test_a_message_in_trouble_after_a_reset_is_met_again_when_it_is_had(desk: Desk) -> None:
    fill(desk.server, b"one", b"two")
    await desk.cycle()
    desk.server.folder().reborn(2)
    desk.server.refuses["2/2"] = refused()
    for _ in range(3):
        await desk.cycle()
    desk.server.refuses.clear()
    desk.clock.advance(24 * 3600)
    tally = await desk.cycle()
    assert (tally.captured, tally.matched) == (0, 1)
    assert await desk.texts() == [b"one", b"two"]


async def test_a_restored_server_that_counts_as_far_again_is_noticed(desk: Desk) -> None:
    """The numbers agree, the messages under them do not."""
    fill(desk.server, b"one", b"two")
    await desk.cycle(after_capture=Disposition.KEEP)
    await desk.store.advance(desk.lease, "[1, 0]")
    desk.server.folder().messages[2] = (b"another", "another day")
    await desk.cycle(after_capture=Disposition.DELETE)
    assert await desk.texts() == sorted([b"one", b"two", b"another"])
    assert "another message now" in str(desk.observer.of(events.RESET)[0]["reason"])


# --- stopped in the middle --------------------------------------------------------------------------------------------


async def test_what_came_whole_before_the_connection_was_lost_is_kept(desk: Desk) -> None:
    fill(desk.server, b"one", b"two", b"three")
    stop = Stop(4, "before", Lost("cut"))
    with pytest.raises(Lost):
        await desk.cycle(reader=StoppingReader(MemoryReader(desk.server), stop))
    assert await desk.texts() == [b"one", b"two"]


async def test_p18_a_long_message_cut_off_is_no_message(desk: Desk) -> None:
    desk.server.long = 5
    fill(desk.server, b"a long message", b"short")
    reader = MemoryReader(desk.server)
    calls = 0

    async def hold() -> None:
        nonlocal calls
        calls += 1
        if calls == 4:  # changes, fetch, piece, piece
            raise Lost("cut")

    desk.server.hold = hold
    with pytest.raises(Lost):
        await desk.cycle(reader=reader)
    assert await desk.texts() == []
    desk.server.hold = None
    await desk.cycle()
    assert await desk.texts() == [b"a long message", b"short"]


async def test_a_lost_lease_stops_a_cycle_without_a_trace(desk: Desk) -> None:
    fill(desk.server, b"one")
    stale = desk.lease
    await desk.store.acquire(stale.source, ["INBOX"])
    with pytest.raises(LeaseLost):
        await desk.cycle(after_capture=Disposition.DELETE)
    assert await desk.texts() == []
    assert list(desk.server.folder().messages) == [1]


async def test_a_lease_lost_in_the_middle_settles_nothing(desk: Desk) -> None:
    fill(desk.server, b"one")

    async def hold() -> None:
        if desk.server.asked["fetch"] == 1:
            desk.server.hold = None
            await desk.store.acquire(desk.lease.source, ["INBOX"])

    desk.server.hold = hold
    with pytest.raises(LeaseLost):
        await desk.cycle(after_capture=Disposition.DELETE)
    assert list(desk.server.folder().messages) == [1]
    assert await desk.texts() == []


@pytest.mark.parametrize("long", [1, 1 << 30])
async def test_p18_a_full_disk_is_told_as_such_and_settles_nothing(desk: Desk, long: int, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.server.long = long
    fill(desk.server, b"one", b"two")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoreFull):
            await desk.cycle(after_capture=Disposition.DELETE)
    assert len(desk.server.folder().messages) == 2
    await desk.cycle(after_capture=Disposition.DELETE)
    assert await desk.texts() == [b"one", b"two"]
    assert desk.server.folder().messages == {}


async def test_no_failure_is_left_unheard(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several transactions fail at once; the first speaks for all, and none goes on behind our back."""
    monkeypatch.setattr("postroom.engine.read._BATCH", 1)
    fill(desk.server, *(b"%d" % n for n in range(10)))
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
    before = asyncio.all_tasks()

    async def capture(*_: object) -> None:
        raise StoreError("stopped")

    async def fail() -> None:
        with monkeypatch.context() as patch, contextlib.suppress(StoreError):
            patch.setattr(desk.store, "capture", capture)
            await desk.cycle()
            pytest.fail("nothing was noticed")

    await fail()
    assert asyncio.all_tasks() == before
    for _ in range(5):  # a task that ended is told of when it is forgotten
        gc.collect()
        await asyncio.sleep(0)
    assert unheard == []
