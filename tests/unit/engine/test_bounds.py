"""Messages of any size and number in bounded memory (P23, P24), and no mailbox held up by one mail."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from house import House, until

from desk import Desk, fill
from fakes import MemoryReader
from postroom import events
from postroom.engine import process as understanding
from postroom.engine import work as module
from postroom.engine.work import Worker
from postroom.mime.examine import examine
from postroom.model import Absent, Facts, Fetched, Listed, Outcome, TroubleKind, Unfetched, Work
from postroom.settings import BigMessages
from postroom.store import Store

MB = 1024 * 1024


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.take()
    yield desk
    desk.store.close()


class Peak:
    """``with Peak() as peak``: the most that was held at once within the block, in octets, beyond what was held before."""

    octets = 0

    def __enter__(self) -> Peak:
        gc.collect()
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.octets = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


class Making(MemoryReader):
    """Makes its messages while they are fetched: what is held is held by whoever took them."""

    def __init__(self, desk: Desk, size: int, piece: int = 0) -> None:
        super().__init__(desk.server)
        self._size = size
        self._piece = piece

    async def fetch(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        for message in listed:
            self._server.asked["fetch"] += 1
            octets = message.identifier.encode().ljust(self._piece or self._size, b".")
            if self._piece:
                yield Fetched(message, b"", self._size, self._made(octets))
            else:
                yield Fetched(message, octets)

    async def _made(self, piece: bytes) -> AsyncIterator[bytes]:
        for number in range(self._size // self._piece):
            await asyncio.sleep(0)
            yield b"%09d" % number + piece[9:]


# --- P23: size ----------------------------------------------------------------------------------------------------------


async def test_p23_a_long_message_goes_to_the_disk_while_it_comes(desk: Desk) -> None:
    fill(desk.server, b"long")
    with Peak() as peak:
        tally = await desk.cycle(reader=Making(desk, 48 * MB, MB // 4))
    assert tally.octets == 48 * MB
    assert peak.octets < 8 * MB


async def test_p23_a_message_beyond_the_limit_is_left_and_the_others_are_read(desk: Desk) -> None:
    fill(desk.server, b"one", b"x" * 1000, b"three")
    tally = await desk.cycle(maximum_msg_size=500, big_messages=BigMessages.LEAVE)
    assert (tally.captured, tally.more) == (2, False)
    assert await desk.texts() == [b"one", b"three"]
    assert "1/2" not in [trouble.listed.identifier for trouble in await desk.troubles() if trouble.kind is not TroubleKind.BIG]
    (told,) = desk.observer.of(events.BIG)
    assert (told["identifier"], told["octets"], told["done"]) == ("1/2", 1000, "left at the server")
    await desk.cycle(maximum_msg_size=2000, big_messages=BigMessages.LEAVE)  # somebody raised the limit
    assert await desk.texts() == sorted([b"one", b"three", b"x" * 1000])


async def test_p23_no_conversation_is_held_while_mail_is_understood(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that never ends stops no cycle."""
    begun = asyncio.Event()

    async def never(_store: Store, _pieces: Sequence[Work]) -> list[tuple[Work, Facts]]:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(module, "process", never)
    house.server().folder().add(b"one")
    house.start(house.watch())
    await house.clock.sleeper()
    worker = asyncio.create_task(Worker(house.store, house.clock, house.observer).run())
    await begun.wait()
    for _ in range(3):
        house.server().folder().add(b"more")
        house.clock.advance(60)
        await house.clock.sleeper()
    assert house.observer.counted(events.CAPTURED_TOTAL, client="pop-client-a") == 4
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


# --- P24: memory and processor ------------------------------------------------------------------------------------------


async def test_p24_a_batch_is_bounded_in_octets(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.engine.read._BATCH_OCTETS", MB)
    fill(desk.server, *(b"%d" % n for n in range(320)))
    with Peak() as peak:
        tally = await desk.cycle(reader=Making(desk, MB // 16))
    assert tally.octets == 20 * MB
    assert peak.octets < 9 * MB  # three batches, what a sync joins, and the tables of SQLite


async def test_p24_a_slow_disk_holds_the_reading_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions do not pile up: while none comes to its end, no more is fetched than three batches hold."""
    monkeypatch.setattr("postroom.engine.read._BATCH", 2)
    disk = asyncio.Event()
    capture = desk.store.capture

    async def slow(*arguments: object) -> Outcome:
        await disk.wait()
        return await capture(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.store, "capture", slow)
    fill(desk.server, *(b"%02d" % n for n in range(40)))
    cycle = asyncio.create_task(desk.cycle())
    await until(lambda: desk.server.asked["fetch"] >= 6)
    for _ in range(200):
        await asyncio.sleep(0)
    assert desk.server.asked["fetch"] == 6
    disk.set()
    assert (await cycle).captured == 40


async def test_p24_memory_does_not_grow_with_the_cycles(desk: Desk) -> None:
    """A mailbox that is watched for months holds what it held on its first day."""
    fill(desk.server, b"one", b"refused", b"ghost")
    desk.server.hides.add("1/3")

    async def cycles(count: int) -> int:
        for _ in range(count):
            fill(desk.server, b"another")
            await desk.cycle()
            desk.clock.advance(60)
        desk.server.folder().messages.clear()
        desk.server.fetched.clear()
        desk.observer.events.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        await cycles(20)
        before = await cycles(20)
        after = await cycles(40)
    finally:
        tracemalloc.stop()
    assert after - before < 12 * 1024  # 300 octets a cycle


async def test_p24_what_is_understood_at_once_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    async def process(store: Store, pieces: Sequence[Work]) -> list[tuple[Work, Facts]]:
        held.append(len(pieces))
        return await understanding.process(store, pieces)

    monkeypatch.setattr(module, "process", process)
    fill(desk.server, *(b"Subject: %d\r\n\r\n" % n for n in range(1200)))
    await desk.cycle()
    assert await Worker(desk.store, desk.clock, desk.observer).drain() == 1200
    assert max(held) <= 500


async def test_p24_messages_are_understood_beside_the_loop(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()

    def watched(head: bytes) -> Facts:
        threads.add(threading.get_ident())
        return examine(head)

    monkeypatch.setattr(understanding, "examine", watched)
    fill(desk.server, b"Subject: x\r\n\r\n")
    await desk.cycle()
    assert await Worker(desk.store, desk.clock, desk.observer).drain() == 1
    assert threads
    assert threading.get_ident() not in threads


async def test_p24_a_conversation_is_kept_from_cycle_to_cycle(house: House) -> None:
    """Logins are what a server and a processor feel: a hundred cycles are one login."""
    house.start(house.watch())
    for _ in range(100):
        await house.clock.skip()
    await house.clock.sleeper()
    assert len(house.readers) == 1
