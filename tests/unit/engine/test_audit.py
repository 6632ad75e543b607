"""The completeness audit: what is called missing, what is not, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from desk import Desk, fill
from fakes import MemoryReader, client, kit, refused
from postroom import events
from postroom.drivers import Kit, Mailbox
from postroom.engine.audit import Auditing, FolderAudit
from postroom.engine.budget import Budget
from postroom.engine.watch import Surroundings, Watch
from postroom.errors import ImapStatus
from postroom.model import Audit, Disposition, Listed
from postroom.settings import BigMessages, FirstRead


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.take()
    yield desk
    desk.store.close()


async def audit(desk: Desk, reader: MemoryReader | None = None) -> tuple[Audit, list[str]]:
    """An audit over a conversation of its own, as the command makes it; the result and what is missing."""
    folder = FolderAudit("pop-client-a", "INBOX", desk.lease.source, reader or MemoryReader(desk.server), desk.store)
    if await folder.look():
        await folder.list_coming()
    result = await folder.conclude()
    return result, [found.listed.identifier async for found in desk.store.audits.missing(folder.begun)]


async def requeued(desk: Desk, *, replaced: bool = False) -> int:
    folder = FolderAudit("pop-client-a", "INBOX", desk.lease.source, MemoryReader(desk.server), desk.store)
    assert await folder.look()
    await folder.list_coming()
    await folder.conclude()
    return await desk.store.audits.requeue(folder.begun, replaced=replaced)


def numbers(result: Audit) -> dict[str, int]:
    """The numbers that are not 0."""
    names = ("listed", "captured", "former", "spared", "troubles", "big", "coming", "missing", "here_only")
    found = {name: getattr(result, name) for name in names}
    assert result.listed == result.accounted + result.coming + result.missing
    return {name: number for name, number in found.items() if number}


# --- what is accounted for --------------------------------------------------------------------------------------------


async def test_all_that_was_captured_is_accounted_for(desk: Desk) -> None:
    fill(desk.server, *(b"%d" % number for number in range(8)))
    await desk.cycle()
    result, missing = await audit(desk)
    assert numbers(result) == {"listed": 8, "captured": 8}
    assert missing == []
    assert desk.server.asked["census"] == 3  # one look was enough


async def test_an_empty_folder_is_whole(desk: Desk) -> None:
    await desk.cycle()
    assert numbers((await audit(desk))[0]) == {}


async def test_a_message_in_trouble_is_accounted_for(desk: Desk) -> None:
    _, poison = fill(desk.server, b"one", b"poison")
    desk.server.refuses[poison] = refused()
    await desk.cycle()
    assert numbers((await audit(desk))[0]) == {"listed": 2, "captured": 1, "troubles": 1}


async def test_what_was_met_again_under_another_identity_is_accounted_for(desk: Desk) -> None:
    fill(desk.server, b"one", b"two")
    await desk.cycle()
    desk.server.folder().reborn(2)
    await desk.cycle()
    assert numbers((await audit(desk))[0]) == {"listed": 2, "captured": 2}


async def test_what_is_known_from_another_folder_is_accounted_for(desk: Desk) -> None:
    desk.server.folder("Other").add(b"one", email_id="e1")
    desk.server.folder().add(b"one", email_id="e1")
    await desk.cycle("Other")
    await desk.cycle()
    assert numbers((await audit(desk))[0]) == {"listed": 1, "former": 1}


async def test_what_the_first_read_spared_is_accounted_for(desk: Desk) -> None:
    fill(desk.server, b"one", b"two")
    await desk.cycle(first_read=FirstRead.NEW)
    fill(desk.server, b"three")
    await desk.cycle()
    assert numbers((await audit(desk))[0]) == {"listed": 3, "captured": 1, "spared": 2}


async def test_what_was_left_for_its_size_is_accounted_for(desk: Desk) -> None:
    fill(desk.server, b"one", b"two" * 100)
    await desk.cycle(maximum_msg_size=100, big_messages=BigMessages.LEAVE)
    assert numbers((await audit(desk))[0]) == {"listed": 2, "captured": 1, "big": 1}


async def test_what_went_at_the_server_is_here_only(desk: Desk) -> None:
    fill(desk.server, b"one", b"two", b"three")
    await desk.cycle()
    del desk.server.folder().messages[2]
    assert numbers((await audit(desk))[0]) == {"listed": 2, "captured": 2, "here_only": 1}


async def test_what_we_removed_is_here_only(desk: Desk) -> None:
    fill(desk.server, b"one")
    await desk.cycle(after_capture=Disposition.DELETE)
    assert numbers((await audit(desk))[0]) == {"here_only": 1}


# --- what is not missing ----------------------------------------------------------------------------------------------


async def test_a_folder_that_was_never_read_misses_nothing(desk: Desk) -> None:
    fill(desk.server, b"one", b"two")
    assert numbers((await audit(desk))[0]) == {"listed": 2, "coming": 2}


async def test_what_the_next_cycles_list_is_not_missing(desk: Desk) -> None:
    fill(desk.server, *(b"%d" % number for number in range(9)))
    await desk.cycle(maximum_msg_number=4)
    assert numbers((await audit(desk))[0]) == {"listed": 9, "captured": 4, "coming": 5}


class Moving(MemoryReader):
    """Something happens between the looks."""

    def __init__(self, desk: Desk, *, expunges: Sequence[int] = (), reads: bool = False) -> None:
        super().__init__(desk.server)
        self._desk, self._expunges, self._reads = desk, expunges, reads
        self.looks = 0

    async def census(self, folder: str) -> AsyncIterator[Sequence[Listed]]:
        self.looks += 1
        async for piece in super().census(folder):
            yield piece
        for uid in self._expunges:
            self._desk.server.folder(folder).messages.pop(uid, None)
        if self._reads:
            await self._desk.cycle()


async def test_what_is_read_while_the_audit_runs_is_not_missing(desk: Desk) -> None:
    await desk.cycle()
    fill(desk.server, b"one", b"two")
    result, _ = await audit(desk, Moving(desk, reads=True))
    assert numbers(result) == {"listed": 2, "coming": 2}


async def test_what_is_expunged_while_the_audit_runs_is_not_missing(desk: Desk) -> None:
    lost, _ = fill(desk.server, b"one", b"two")
    desk.server.unlisted.add(lost)
    await desk.cycle()
    reader = Moving(desk, expunges=[1])
    result, _ = await audit(desk, reader)
    assert reader.looks == 2
    assert numbers(result) == {"listed": 2, "captured": 1, "coming": 1}


async def test_identities_that_began_anew_are_compared_after_the_next_cycle(desk: Desk) -> None:
    fill(desk.server, b"one", b"two")
    await desk.cycle()
    desk.server.folder().reborn(2)
    result, missing = await audit(desk)
    assert result.reset == "UIDVALIDITY was 1 and is 2"
    assert (result.missing, missing) == (0, [])
    await desk.cycle()
    assert numbers((await audit(desk))[0]) == {"listed": 2, "captured": 2}


# --- what is missing --------------------------------------------------------------------------------------------------


async def test_p19_what_no_listing_named_is_found_and_fetched(desk: Desk) -> None:
    """The state moved over a message that the server left out of its answer: no cycle asks for it again."""
    _, lost, _ = fill(desk.server, b"one", b"two", b"three")
    desk.server.unlisted.add(lost)
    await desk.cycle()
    await desk.cycle()
    assert await desk.texts() == [b"one", b"three"]
    result, missing = await audit(desk)
    assert numbers(result) == {"listed": 3, "captured": 2, "missing": 1}
    assert missing == [lost]
    assert await requeued(desk) == 1
    await desk.cycle()
    assert await desk.texts() == [b"one", b"three", b"two"]
    assert numbers((await audit(desk))[0]) == {"listed": 3, "captured": 3}


async def test_an_audit_alone_changes_nothing(desk: Desk) -> None:
    lost = fill(desk.server, b"one")[0]
    desk.server.unlisted.add(lost)
    await desk.cycle()
    await audit(desk)
    await desk.cycle()
    assert await desk.texts() == []
    assert await desk.troubles() == []


async def test_a_repair_is_harmless_to_what_was_captured_meanwhile(desk: Desk) -> None:
    lost = fill(desk.server, b"one")[0]
    desk.server.unlisted.add(lost)
    await desk.cycle()
    folder = FolderAudit("pop-client-a", "INBOX", desk.lease.source, MemoryReader(desk.server), desk.store)
    await folder.look()
    await folder.list_coming()
    assert (await folder.conclude()).missing == 1
    assert await desk.store.audits.requeue(folder.begun, replaced=False) == 1
    await desk.cycle()
    assert await desk.store.audits.requeue(folder.begun, replaced=False) == 0
    await desk.cycle()
    assert await desk.texts() == [b"one"]


async def test_another_message_under_a_known_identifier_is_missing(desk: Desk) -> None:
    """A server restored from a backup gave a number again: the folder is listed anew, and all is met by its octets."""
    fill(desk.server, b"one", b"two")
    await desk.cycle()
    desk.server.folder().messages[1] = (b"another", "day 9")
    result, missing = await audit(desk)
    assert numbers(result) == {"listed": 2, "captured": 1, "missing": 1, "here_only": 1}
    assert missing == ["1/1"]
    assert await requeued(desk) == 0  # it cannot be asked for under that identifier …
    await requeued(desk, replaced=True)  # … so the folder is read anew
    await desk.cycle()
    assert await desk.texts() == [b"another", b"one", b"two"]


async def test_what_the_server_only_names_is_shown_and_not_asked_for(desk: Desk) -> None:
    class Naming(MemoryReader):
        async def census(self, folder: str) -> AsyncIterator[Sequence[Listed]]:
            yield [Listed("1/7", 0, "")]

    await desk.cycle()
    folder = FolderAudit("pop-client-a", "INBOX", desk.lease.source, Naming(desk.server), desk.store)
    assert await folder.look()
    await folder.list_coming()
    assert (await folder.conclude()).missing == 1
    assert await folder.first_missing() == ["1/7"]
    assert await desk.store.audits.requeue(folder.begun, replaced=True) == 0


# --- by itself --------------------------------------------------------------------------------------------------------

DAY = 24 * 3600.0


def auditing(desk: Desk) -> Auditing:
    return Auditing("pop-client-a", DAY, desk.store, desk.clock, desk.observer)


async def test_the_schedule_begins_early_and_goes_by_the_interval(desk: Desk) -> None:
    await desk.cycle()
    schedule = auditing(desk)
    reader = MemoryReader(desk.server)
    assert not await schedule.step(reader, [desk.lease])
    assert desk.observer.of(events.AUDITED) == []
    desk.clock.advance(DAY / 8)
    await schedule.step(reader, [desk.lease])
    assert len(desk.observer.of(events.AUDITED)) == 1
    desk.clock.advance(DAY - 1)
    restarted = auditing(desk)
    for each in (schedule, restarted):
        await each.step(reader, [desk.lease])
    assert len(desk.observer.of(events.AUDITED)) == 1
    desk.clock.advance(1)
    await restarted.step(reader, [desk.lease])
    assert len(desk.observer.of(events.AUDITED)) == 2


async def test_without_an_interval_nothing_is_audited(desk: Desk) -> None:
    schedule = Auditing("pop-client-a", 0, desk.store, desk.clock, desk.observer)
    desk.clock.advance(1000 * DAY)
    assert not await schedule.step(MemoryReader(desk.server), [desk.lease])
    assert desk.server.asked["census"] == 0


async def test_a_refusal_is_told_of_and_tried_again_later(desk: Desk) -> None:
    fill(desk.server, b"one")
    await desk.cycle()
    schedule = auditing(desk)
    reader = MemoryReader(desk.server)
    await schedule.step(reader, [desk.lease])
    desk.clock.advance(DAY)
    desk.server.breaks.append(ImapStatus("NO not now", status="NO"))
    assert not await schedule.step(reader, [desk.lease])
    assert [told["error"] for told in desk.observer.of(events.AUDIT_FAILED)] == [str(ImapStatus("NO not now", status="NO"))]
    assert not await schedule.step(reader, [desk.lease])  # not at once
    desk.clock.advance(3600)
    await schedule.step(reader, [desk.lease])
    assert len(desk.observer.of(events.AUDITED)) == 1


async def test_p19_a_watched_mailbox_repairs_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service audits between cycles, over the same conversation; what is missing is fetched, and told of."""
    server, clock = desk.server, desk.clock
    server.clock = clock
    _, lost = fill(server, b"one", b"two")
    server.unlisted.add(lost)
    await desk.store.release([desk.lease])

    @asynccontextmanager
    async def open_reader(_mailbox: Mailbox, _kit: Kit) -> AsyncIterator[MemoryReader]:
        yield MemoryReader(server)

    monkeypatch.setattr("postroom.engine.watch.open_reader", open_reader)
    mailbox = Mailbox(client(cycle_time=3600.0), None, {})
    budget = Budget(clock, desk.observer)
    around = Surroundings(desk.store, kit(clock), desk.observer, lambda *_: None, lambda: None, budget, DAY)
    running = asyncio.create_task(Watch("pop-client-a", lambda: mailbox, around).run())
    try:
        while not desk.observer.of(events.MISSING):
            await clock.skip()
        await clock.sleeper()
        assert await desk.texts() == [b"one", b"two"]
        [told] = desk.observer.of(events.MISSING)
        assert (told["missing"], told["queued"], told["identifiers"]) == (1, 1, lost)
        place = (("client", "pop-client-a"), ("folder", "INBOX"))
        assert desk.observer.gauges[events.AUDIT_MISSING.name, place] == 1
        for _ in range(26):
            await clock.skip()
        await clock.sleeper()
        assert desk.observer.gauges[events.AUDIT_MISSING.name, place] == 0
        assert server.conversations == 1
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
