"""A cycle stopped at any step, by either side, and run again comes to the same."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from desk import Desk, Stop, Stopping, StoppingReader, fill
from fakes import MemoryReader, refused
from maildrop import Maildrop, MaildropReader
from postroom import events
from postroom.engine.process import process
from postroom.errors import Lost, StoreError
from postroom.model import Disposition, WorkKind
from postroom.settings import FirstRead


def prepare(desk: Desk) -> None:
    desk.server.long = 20
    fill(desk.server, b"one", b"twin", b"twin", b"refused at first", b"hidden at first", b"a long message in several pieces")
    desk.server.refuses["1/4"] = refused()
    desk.server.hides.add("1/5")


def heal(desk: Desk) -> None:
    desk.server.refuses.clear()
    desk.server.hides.clear()


TEXTS = sorted([b"one", b"twin", b"twin", b"refused at first", b"hidden at first", b"a long message in several pieces"])


async def stopped(desk: Desk, stop: Stop, **options: Any) -> None:
    """A cycle that is stopped; where the process dies, another begins."""
    reader = StoppingReader(MemoryReader(desk.server), stop)
    store = Stopping(desk.store, stop)
    try:
        await desk.cycle(reader=reader, store=store, **options)
    except (Lost, StoreError):
        assert not stop.over
    if stop._how == "dead":
        await desk.restart()


@pytest.mark.parametrize(
    ("how", "disposition"),
    [
        ("before", Disposition.DELETE),
        ("after", Disposition.DELETE),
        ("dead", Disposition.DELETE),
        ("before", Disposition.MOVE),
        ("after", Disposition.SEEN),
        ("dead", Disposition.KEEP),
    ],
)
async def test_p17_p18_a_cycle_stopped_at_any_step_comes_to_the_same(
    tmp_path: Path, how: str, disposition: Disposition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroom.engine.read._BATCH", 2)
    options: dict[str, Any] = {"after_capture": disposition, "processed_folder_path": "Done"}
    for at in itertools.count(1):
        desk = Desk(tmp_path / str(at))
        await desk.take()
        prepare(desk)
        stop = Stop(at, how, Lost("cut"), StoreError("stopped"))
        await stopped(desk, stop, **options)
        heal(desk)
        await desk.settle_down(**options)
        assert await desk.texts() == TEXTS, at
        assert len(await desk.store.claim(WorkKind.PROCESS, 100)) == len(TEXTS), at
        folder = desk.server.folder()
        left = {Disposition.KEEP: 6, Disposition.SEEN: 6}.get(disposition, 0)
        assert len(folder.messages) == left, at
        assert len(folder.seen) == (6 if disposition is Disposition.SEEN else 0), at
        if disposition is Disposition.MOVE:
            assert sorted(octets for octets, _ in desk.server.folder("Done").messages.values()) == TEXTS, at
        desk.store.close()
        if stop.over:
            break
    assert at > 15


async def stopped_at_maildrop(desk: Desk, maildrop: Maildrop, stop: Stop, options: dict[str, Any]) -> None:
    """Cycles over one session after another, as far as they come; where the process dies, another begins."""
    reader = StoppingReader(MaildropReader(maildrop), stop)
    store = Stopping(desk.store, stop)
    try:
        while (await desk.cycle(reader=reader, store=store, **options)).more:
            assert not maildrop.hides or maildrop.commits < 10
    except (Lost, StoreError):
        assert not stop.over
    if stop._how == "dead":
        await desk.restart()


class Cut(MaildropReader):
    """Its session ends before its commit."""

    async def commit(self) -> Sequence[str]:
        raise Lost("cut")


async def test_what_is_behind_a_page_is_read_at_once_also_where_the_page_was_had_before(tmp_path: Path) -> None:
    """Nothing in the second session is new, and its commit brings the next page to light."""
    desk = Desk(tmp_path)
    await desk.take()
    maildrop = Maildrop(hides=True, page=4)
    for text in TEXTS:
        maildrop.add(text)
    with pytest.raises(Lost):
        await desk.cycle(reader=Cut(maildrop))
    reader = MaildropReader(maildrop)
    tally = await desk.cycle(reader=reader)
    assert (tally.captured, tally.settled, tally.more) == (0, 4, True)
    tally = await desk.cycle(reader=reader)
    assert (tally.captured, tally.settled) == (2, 2)
    assert await desk.texts() == TEXTS
    assert not (await desk.cycle(reader=reader)).more


@pytest.mark.parametrize(
    ("how", "disposition", "hides", "faulty"),
    [
        ("before", "delete", False, False),
        ("after", "delete", False, True),
        ("dead", "delete", False, False),
        ("dead", "keep", False, False),
        ("before", "keep", True, True),
        ("after", "keep", True, False),
        ("dead", "keep", True, True),
        ("after", "delete", True, False),
    ],
)
async def test_a_maildrop_read_and_stopped_at_any_step_comes_to_the_same(
    tmp_path: Path, how: str, disposition: str, hides: bool, faulty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between capture and commit, in a retrieval, at a deletion, at a commit that nobody heard the answer of."""
    monkeypatch.setattr("postroom.engine.read._BATCH", 2)
    options: dict[str, Any] = {"after_capture": Disposition(disposition)}
    for at in itertools.count(1):
        desk = Desk(tmp_path / str(at))
        await desk.take()
        maildrop = Maildrop(hides=hides, page=4 if hides else 1000, long=20)
        added = [maildrop.add(text) for text in TEXTS]
        if faulty:
            maildrop.refuses[added[2]] = refused("-ERR not now")
        stop = Stop(at, how, Lost("cut"), StoreError("stopped"))
        await stopped_at_maildrop(desk, maildrop, stop, options)
        kept = await desk.texts()
        gone = [text for name, text in zip(added, TEXTS, strict=True) if name not in maildrop.shown]
        if not hides:  # else what is behind the page is not shown either
            assert not Counter(gone) - Counter(kept), at
        popped = [text for name, text in zip(added, TEXTS, strict=True) if name in maildrop.popped or name not in maildrop.mails]
        assert disposition == "keep" or hides or not Counter(popped) - Counter(kept), at
        maildrop.refuses.clear()
        await desk.settle_down(reader=MaildropReader(maildrop), **options)
        assert await desk.texts() == TEXTS, at
        assert len(await desk.store.claim(WorkKind.PROCESS, 100)) == len(TEXTS), at
        assert sorted(maildrop.mails.values()) == ([] if disposition == "delete" else TEXTS), at
        assert sorted(maildrop.shown.values()) == (TEXTS if disposition == "keep" and not hides else []), at
        desk.store.close()
        if stop.over:
            break
    assert at > 12


@pytest.mark.parametrize("how", ["before", "after", "dead"])
async def test_a_reset_stopped_at_any_step_comes_to_the_same(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.engine.read._BATCH", 2)
    for at in itertools.count(1):
        desk = Desk(tmp_path / str(at))
        await desk.take()
        prepare(desk)
        heal(desk)
        await desk.cycle()
        folder = desk.server.folder()
        del folder.messages[1]
        folder.reborn(9)
        fill(desk.server, b"twin", b"new")
        stop = Stop(at, how, Lost("cut"), StoreError("stopped"))
        await stopped(desk, stop)
        await desk.settle_down()
        assert await desk.texts() == sorted([*TEXTS, b"twin", b"new"]), at
        told = [(fields["matched"], fields["new"], fields["vanished"]) for fields in desk.observer.of(events.REBORN)]
        assert told == [(5, 2, 1)] or (how == "after" and told == []), at
        desk.store.close()
        if stop.over:
            break
    assert at > 10


def letter(name: str) -> bytes:
    return f"Message-ID: <{name}@example.org>\r\n\r\n{name}".encode()


HAD = [letter("one"), letter("two"), letter("twin"), letter("twin"), b"without an identity"]


@pytest.mark.parametrize(
    ("how", "validity", "disposition"),
    [("before", 9, Disposition.DELETE), ("after", 0, Disposition.KEEP), ("dead", 0, Disposition.DELETE)],
)
async def test_p21_a_repair_stopped_at_any_step_comes_to_the_same(
    tmp_path: Path, how: str, validity: int, disposition: Disposition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what was spared at a first read, what was had, what is in doubt, gone and new; nothing is fetched without need."""
    monkeypatch.setattr("postroom.engine.read._BATCH", 1)
    monkeypatch.setattr("postroom.engine.read.CYCLE", 4)
    options: dict[str, Any] = {"after_capture": disposition, "first_read": FirstRead.NEW}
    for at in itertools.count(1):
        desk = Desk(tmp_path / str(at))
        await desk.take()
        fill(desk.server, letter("spared"), letter("spared too"))
        await desk.settle_down(first_read=FirstRead.NEW)
        names = fill(desk.server, *HAD, letter("gone"))
        folder = desk.server.folder()
        for uid in (5, 6):
            folder.messages[uid] = (letter("twin"), "the same second")
        desk.server.unsettled = set(names)  # it is all still owed to the server when the reset comes
        reader = MemoryReader(desk.server)
        while (await desk.cycle(reader=reader, **options)).more:
            pass
        await desk.store.finish_process(await process(desk.store, await desk.store.claim(WorkKind.PROCESS, 100)))
        desk.server.unsettled.clear()
        del folder.messages[8]
        folder.reborn(validity)
        fill(desk.server, letter("new"))
        desk.server.fetched.clear()
        stop = Stop(at, how, Lost("cut"), StoreError("stopped"))
        await stopped(desk, stop, **options)
        await desk.settle_down(reader=MemoryReader(desk.server), **options)
        assert await desk.texts() == sorted([*HAD, letter("gone"), letter("new")]), at
        assert {name.partition("/")[2] for name in desk.server.fetched} <= {"7", "8"}, at
        left = [octets for octets, _ in folder.messages.values()]
        spared = [letter("spared"), letter("spared too")]
        assert left == (spared if disposition is Disposition.DELETE else [*spared, *HAD, letter("new")]), at
        desk.store.close()
        if stop.over:
            break
    assert at > 12
