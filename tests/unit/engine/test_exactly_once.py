"""Neither twice nor lost (P17, P18, P20): what is promised to the server is kept here before, and by the server's own identity."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from house import House, count

from desk import Desk, fill
from fakes import MemoryReader
from postroom.drivers import First, Settlement
from postroom.errors import Lost, StoreError
from postroom.model import Changes, Disposition, Unsettled, WorkKind
from postroom.settings import FirstRead


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.take()
    yield desk
    desk.store.close()


def rows(desk: Desk, table: str) -> int:
    """How many are durable: another connection sees no more."""
    db = apsw.Connection(str(desk.directory / "postroom.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(db.execute(f"SELECT count(*) FROM {table}").get)
    finally:
        db.close()


class Unheard(MemoryReader):
    """Carries out what settles, and the connection is lost before the answer."""

    async def settle(self, folder: str, items: Sequence[Unsettled], target: str | None) -> Settlement:
        await super().settle(folder, items, target)
        raise Lost("cut")


# --- P17: not twice ---------------------------------------------------------------------------------------------------


async def test_p17_a_death_between_capture_and_settling_doubles_nothing(desk: Desk) -> None:
    """The mail is still at the server, as new as before; here it is known by its receipt."""
    fill(desk.server, b"one", b"two")

    async def die() -> None:
        if desk.server.asked["settle"]:
            raise Lost("cut")

    desk.server.hold = die
    with pytest.raises(Lost):
        await desk.cycle(after_capture=Disposition.DELETE)
    assert len(desk.server.folder().messages) == 2
    desk.server.hold = None
    await desk.restart()
    desk.server.fetched.clear()
    tally = await desk.cycle(after_capture=Disposition.DELETE)
    assert (tally.captured, tally.settled, desk.server.fetched) == (0, 2, [])
    assert await desk.texts() == [b"one", b"two"]
    assert desk.server.folder().messages == {}
    assert len(await desk.store.claim(WorkKind.PROCESS, 10)) == 2


@pytest.mark.parametrize("disposition", [Disposition.SEEN, Disposition.DELETE, Disposition.MOVE])
async def test_p17_settling_again_is_harmless(desk: Desk, disposition: Disposition) -> None:
    fill(desk.server, b"one", b"two")
    with pytest.raises(Lost):
        await desk.cycle(reader=Unheard(desk.server), after_capture=disposition, processed_folder_path="Done")
    await desk.restart()
    fill(desk.server, b"three")
    await desk.cycle(after_capture=disposition, processed_folder_path="Done")
    assert await desk.texts() == [b"one", b"three", b"two"]
    assert await desk.store.unsettled(desk.lease, 9) == []
    moved = [octets for octets, _ in desk.server.folder("Done").messages.values()]
    assert moved == ([b"one", b"two", b"three"] if disposition is Disposition.MOVE else [])


async def test_p17_receipt_message_and_work_appear_together(desk: Desk) -> None:
    """Whenever somebody looks, there are as many of one as of the others."""
    looked = []

    async def look() -> None:
        looked.append({table: rows(desk, table) for table in ("receipts", "messages", "work")})

    fill(desk.server, *(b"%d" % n for n in range(9)))
    desk.server.hold = look
    for _ in range(4):
        await desk.cycle(maximum_msg_number=3)
    assert all(len(set(seen.values())) == 1 for seen in looked)
    assert {seen["receipts"] for seen in looked} == {0, 3, 6, 9}


# --- P18: not lost ----------------------------------------------------------------------------------------------------


async def test_p18_octets_are_synced_then_kept_then_the_server_hears(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(desk.server, b"one", b"two")
    order: list[tuple[str, int]] = []
    sync = os.fdatasync

    def synced(file: int) -> None:
        sync(file)
        order.append(("synced", rows(desk, "messages")))

    async def hold() -> None:
        if desk.server.asked["settle"] == 1 and not desk.server.folder().seen:
            order.append(("told", rows(desk, "messages")))

    monkeypatch.setattr(os, "fdatasync", synced)
    desk.server.hold = hold
    await desk.cycle(after_capture=Disposition.SEEN)
    assert order[:2] == [("synced", 0), ("told", 2)]
    assert desk.server.folder().seen == {1, 2}


async def test_p18_nothing_is_passed_over_where_the_store_fails(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a copy in memory is none: the cycle fails, and the next one fetches again."""
    fill(desk.server, b"one", b"two")

    async def capture(*_: object) -> None:
        raise StoreError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "capture", capture)
        with pytest.raises(StoreError):
            await desk.cycle(after_capture=Disposition.DELETE)
    assert len(desk.server.folder().messages) == 2
    await desk.cycle(after_capture=Disposition.DELETE)
    assert await desk.texts() == [b"one", b"two"]


async def test_p18_by_itself_nothing_changes_at_the_server(desk: Desk) -> None:
    fill(desk.server, b"one", b"two")
    for _ in range(3):
        await desk.cycle()
    folder = desk.server.folder()
    assert (list(folder.messages), folder.seen, desk.server.asked["settle"]) == ([1, 2], set(), 0)


async def test_p18_what_somebody_else_read_first_is_captured(desk: Desk) -> None:
    fill(desk.server, b"one", b"two")
    desk.server.folder().seen = {1, 2}
    await desk.cycle()
    assert await desk.texts() == [b"one", b"two"]


# --- P19: absent once is not gone -----------------------------------------------------------------------------------------


async def test_p19_absent_twice_in_one_conversation_is_not_gone(house: House) -> None:
    """A server may keep to its mistake for as long as a conversation lasts."""
    server = house.server()
    server.folder().add(b"late")
    server.hides.add("1/1")
    house.start(house.watch())
    for _ in range(30):
        await house.clock.skip()
    await house.clock.sleeper()
    assert len(server.fetched) > 2
    assert server.conversations == 1
    server.breaks.append(Lost("cut"))
    server.hides.clear()
    for _ in range(60):
        await house.clock.skip()
    await house.clock.sleeper()
    assert await count(house) == 1


# --- P20: by the server's own identity ------------------------------------------------------------------------------------

SAME = b"Message-ID: <1@x>\r\n\r\nsame"


@pytest.mark.parametrize(
    "texts",
    [(SAME, b"Message-ID: <1@x>\r\n\r\nother"), (SAME, SAME), (b"Subject: none\r\n\r\n", b"Subject: none\r\n\r\n")],
    ids=["one Message-ID, two texts", "twins", "no Message-ID"],
)
async def test_p20_neither_message_id_nor_octets_are_the_key(desk: Desk, texts: tuple[bytes, bytes]) -> None:
    fill(desk.server, texts[0])
    await desk.cycle()
    fill(desk.server, texts[1])
    await desk.cycle()
    assert await desk.texts() == sorted(texts)


async def test_p20_twins_in_one_batch_are_two(desk: Desk) -> None:
    fill(desk.server, SAME, SAME)
    await desk.cycle()
    assert await desk.texts() == [SAME, SAME]


async def test_p20_one_mail_to_two_mailboxes_is_two(desk: Desk) -> None:
    """Also under one identity of the server's own."""
    desk.server.folder().add(SAME, email_id="M1")
    await desk.cycle()
    source = await desk.store.source("IMAP", "mail.example.org", "b@example.org")
    (desk.lease,) = await desk.store.acquire(source, ["INBOX"])
    await desk.cycle(section="pop-client-b", mailbox="b@example.org")
    assert await desk.texts() == [SAME, SAME]


# --- P25: until the list is empty -----------------------------------------------------------------------------------------


class Hiding(MemoryReader):
    """Shows the two oldest messages, and those behind them once these are retrieved and that is committed."""

    def _shown(self) -> list[int]:
        return sorted(self._server.folder().messages)[:2]

    async def changes(self, folder: str, since: str | None, limit: int, first: First = FirstRead.ALL) -> Changes:
        await self._call("changes")
        listed = tuple(self._server.folder().listed(uid) for uid in self._shown())
        return Changes(listed, "state", complete=True, hides=True, behind=True, total=len(listed))

    async def commit(self) -> Sequence[str]:
        hidden = self._shown()
        for uid in hidden:
            del self._server.folder().messages[uid]
        return [self._server.folder().name(uid) for uid in hidden]


async def test_p25_where_few_are_shown_it_is_read_until_none_is(desk: Desk) -> None:
    fill(desk.server, *(b"%d" % n for n in range(5)))
    cycles = 1
    while (await desk.cycle(reader=Hiding(desk.server))).more:
        cycles += 1
    assert cycles == 4
    assert await desk.texts() == [b"%d" % n for n in range(5)]


async def test_p25_a_complete_listing_is_read_whole_whatever_the_limit(desk: Desk) -> None:
    """The driver lists all that is there, each time: what a cycle may not take is left to the next ones, and not forgotten."""

    class Complete(MemoryReader):
        async def changes(self, folder: str, since: str | None, limit: int, first: First = FirstRead.ALL) -> Changes:
            return replace(await super().changes(folder, None, 100, first), complete=True)

    fill(desk.server, *(b"%d" % n for n in range(5)))
    tallies = [await desk.cycle(reader=Complete(desk.server), maximum_msg_number=2) for _ in range(4)]
    assert [tally.captured for tally in tallies] == [2, 2, 1, 0]
    assert [tally.more for tally in tallies] == [True, True, False, False]
