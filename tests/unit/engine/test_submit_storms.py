"""Sending while persons cancel, others drain the same queue, and the disk fills up: never twice, never what was taken back."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from test_submit import Office, until

from fakes import HastyClock
from outgoing import account
from postroom.errors import StateRefused, StoreFull
from postroom.model import WorkState
from postroom.outbound import RecipientState

S = RecipientState


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    made = Office(tmp_path, HastyClock())
    made.account = account(pool_size=4)
    yield made
    made.store.close()


def counted(office: Office) -> Counter[bytes]:
    return Counter(office.server.received())


@pytest.mark.parametrize("seed", range(5))
async def test_what_was_taken_back_is_never_sent_and_what_was_not_is_sent_once(office: Office, seed: int) -> None:
    """A person at another process cancels at any instant, while two processes drain the queue."""
    chance = random.Random(seed)
    ids = await office.hand_in(150)
    person, other = office.open(), office.open()

    begun = asyncio.Event()

    async def linger() -> None:
        if len(office.server.taken) >= 50:
            await begun.wait()  # else all may be sent before the person has a turn
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)

    office.server.gate = linger
    cancelled = set()

    async def cancel() -> None:
        await until(lambda: len(office.server.taken) >= 50)
        for tried, number in enumerate(chance.sample(range(150), 100)):
            if tried == 30:
                begun.set()
            try:
                await person.outbox.cancel(ids[number])
                cancelled.add(number)
            except StateRefused:
                pass

    await asyncio.wait_for(asyncio.gather(office.make().drain(), office.make(other).drain(), cancel()), 60)
    sent = {number: counted(office)[b"%04d" % number] for number in range(150)}
    assert {number for number, times in sent.items() if times == 0} == cancelled
    assert max(sent.values()) == 1
    assert 0 < len(cancelled) < 100  # it was a race
    for row in await office.rows():
        wanted = (WorkState.CANCELLED, S.CANCELLED) if ids.index(row.id) in cancelled else (WorkState.DONE, S.SENT)
        assert (row.state, row.recipients[0].state) == wanted
    person.close()
    other.close()


@pytest.mark.parametrize("at", ["marks", "outcomes"])
async def test_a_full_disk_delays_and_nothing_is_sent_twice(office: Office, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    await office.hand_in(40)
    outbox = office.store.outbox
    record, left = outbox.record, 30

    async def full(marks: Any, passed: Any) -> Any:
        nonlocal left
        if left and len(office.server.taken) > 10 and (marks if at == "marks" else passed):
            left -= 1
            raise StoreFull("no room")
        return await record(marks, passed)

    monkeypatch.setattr(outbox, "record", full)
    async with office.running():
        await until(lambda: len(office.server.taken) == 40)
        await until(lambda: left == 0)
    assert set(counted(office).values()) == {1}
    assert await office.states() == {"done": 40}
