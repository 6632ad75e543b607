"""Work is done once, and what fails does not hold up the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from desk import Desk, fill
from postroom import events
from postroom.engine import work as module
from postroom.engine.process import process
from postroom.engine.work import Worker
from postroom.errors import StoreError, StoreFull
from postroom.model import Facts, Work, WorkKind
from postroom.store import Store


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.take()
    yield desk
    desk.store.close()


@pytest.fixture
def worker(desk: Desk) -> Worker:
    return Worker(desk.store, desk.clock, desk.observer)


async def subjects(desk: Desk) -> list[str]:
    return [row.facts.subject async for row in desk.store.messages(client=None, newest_first=False, limit=None)]


def mail(name: str) -> bytes:
    return f"Subject: {name}\r\nFrom: a@b\r\nMessage-ID: <{name}@x>\r\n\r\nBody of {name}".encode()


async def understood(desk: Desk, *names: str) -> None:
    """Wait until these are."""
    async with asyncio.timeout(5):
        while await subjects(desk) != list(names):  # noqa: ASYNC110 - what happens is in another thread
            await asyncio.sleep(0)


async def captured(desk: Desk, *names: str) -> None:
    fill(desk.server, *(mail(name) for name in names))
    await desk.cycle()


async def test_captured_messages_are_understood(desk: Desk, worker: Worker) -> None:
    await captured(desk, "one", "two", "three")
    assert await subjects(desk) == ["", "", ""]
    assert await worker.drain() == 3
    assert await subjects(desk) == ["one", "two", "three"]
    assert await worker.drain() == 0
    assert desk.observer.counted(events.PROCESSED_TOTAL) == 3


async def test_much_work_is_done_in_portions(desk: Desk, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLAIM", 2)
    await captured(desk, *(str(n) for n in range(7)))
    assert await worker.drain() == 7
    assert await subjects(desk) == [str(n) for n in range(7)]


class Poison:
    """A way to understand messages that breaks at some of them."""

    def __init__(self, desk: Desk, *names: str) -> None:
        self._desk = desk
        self.names = set(names)

    async def __call__(self, store: Store, pieces: Sequence[Work]) -> list[tuple[Work, Facts]]:
        found = await process(store, pieces)
        for _, facts in found:
            if facts.subject in self.names:
                raise RecursionError(f"{facts.subject} is too much")
        return found


async def test_p22_a_poisonous_message_does_not_stop_the_others(
    desk: Desk, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = Poison(desk, "bad", "worse")
    monkeypatch.setattr(module, "process", poison)
    await captured(desk, "one", "bad", "two", "worse", "three")
    assert await worker.drain() == 3
    assert await subjects(desk) == ["one", "", "two", "", "three"]
    failed = desk.observer.of(events.WORK_FAILED)
    assert [told["error"] for told in failed] == ["RecursionError: bad is too much", "RecursionError: worse is too much"]


async def test_what_fails_is_tried_again_later_and_at_last_laid_aside(
    desk: Desk, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "process", Poison(desk, "bad"))
    await captured(desk, "bad")
    waits = []
    while (due := await desk.store.next_due(WorkKind.PROCESS)) is not None:
        waits.append(max(due - desk.clock.now(), 0))
        desk.clock.advance(waits[-1])
        await worker.drain()
    assert waits == [0, 5, 10, 20, 40, 80, 160, 320]
    assert worker.failed == 1
    assert len(desk.observer.of(events.WORK_DEAD)) == 1
    assert await desk.texts() == [mail("bad")]  # the message itself stays


async def test_what_was_mended_meanwhile_succeeds(desk: Desk, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    poison = Poison(desk, "bad")
    monkeypatch.setattr(module, "process", poison)
    await captured(desk, "bad")
    await worker.drain()
    poison.names.clear()
    assert await worker.drain() == 0
    desk.clock.advance(5)
    assert await worker.drain() == 1
    assert await subjects(desk) == ["bad"]


async def test_damaged_octets_are_a_fault_of_their_message_alone(desk: Desk, worker: Worker) -> None:
    await captured(desk, "one", "two")
    for path in (desk.directory / "segments").iterdir():
        path.rename(path.with_suffix(".away"))
    assert await worker.drain() == 0
    assert len(desk.observer.of(events.WORK_FAILED)) == 2
    for path in (desk.directory / "segments").iterdir():
        path.rename(path.with_suffix(".segment"))
    desk.clock.advance(5)
    assert await worker.drain() == 2


async def test_a_worker_wakes_when_told(desk: Desk, worker: Worker) -> None:
    running = asyncio.create_task(worker.run())
    assert await desk.clock.sleeper() == 30
    await captured(desk, "one")
    worker.tell()
    await understood(desk, "one")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_worker_looks_by_itself_for_what_others_left(desk: Desk, worker: Worker) -> None:
    running = asyncio.create_task(worker.run())
    assert await desk.clock.sleeper() == 30
    await captured(desk, "one")
    assert await desk.clock.skip() == 30
    assert await desk.clock.sleeper() == 30
    await understood(desk, "one")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_worker_wakes_when_deferred_work_is_due(desk: Desk, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "process", Poison(desk, "bad"))
    await captured(desk, "bad")
    running = asyncio.create_task(worker.run())
    assert [await desk.clock.skip() for _ in range(3)] == [5, 10, 20]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_store_in_trouble_is_told_of_and_waited_for(desk: Desk, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    await captured(desk, "one")

    async def claim(*_: object) -> list[Work]:
        raise StoreFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "claim", claim)
        running = asyncio.create_task(worker.run())
        assert await desk.clock.sleeper() == 15
    (told,) = desk.observer.of(events.STORE_TROUBLE)
    assert "no room" in str(told["error"])
    desk.clock.advance(15)
    assert await desk.clock.sleeper() == 30
    assert await subjects(desk) == ["one"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("error", [StoreFull("no room"), StoreError("input/output error")], ids=repr)
async def test_work_that_a_store_in_trouble_left_claimed_is_done_later(
    desk: Desk, worker: Worker, monkeypatch: pytest.MonkeyPatch, error: StoreError
) -> None:
    """The disk is full for hours, from the moment of the claim: then all is done, none is dead, and nobody restarts."""
    await captured(desk, "one", "two", "three")

    async def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "finish_process", fails)
        patch.setattr(desk.store, "defer", fails)
        running = asyncio.create_task(worker.run())
        for _ in range(20):
            assert await desk.clock.sleeper() == 15
            desk.clock.advance(15)
            await asyncio.sleep(0)
    while desk.observer.counted(events.PROCESSED_TOTAL) < 3:
        await desk.clock.skip()
    assert await subjects(desk) == ["one", "two", "three"]
    assert worker.failed == 0
    assert desk.observer.of(events.WORK_DEAD) == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_dead_processes_leave_their_work_to_the_next(desk: Desk) -> None:
    await captured(desk, "one")
    await desk.store.claim(WorkKind.PROCESS, 10)
    await desk.restart()
    running = asyncio.create_task(Worker(desk.store, desk.clock, desk.observer).run())
    await desk.clock.sleeper()
    assert await subjects(desk) == ["one"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_message_that_was_removed_is_a_fact_and_no_fault(desk: Desk) -> None:
    ghost = Work(99, WorkKind.PROCESS, 12345, 1, None, 1)
    assert await process(desk.store, [ghost]) == [(ghost, Facts(fault="the message was removed"))]
