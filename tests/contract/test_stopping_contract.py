"""A cycle stopped at any step, by either side, and run again comes to the same."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from desk import Desk, Stop, Stopping, StoppingReader, fill
from fakes import MemoryReader, refused
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
