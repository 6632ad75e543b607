"""Mail that nobody can read (P22): it is captured as it came, and what is wrong with it is told beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from desk import Desk, fill
from postroom import events
from postroom.engine import process as understanding
from postroom.engine.work import Worker
from postroom.model import Facts

POISON = (
    b"Subject: =?x-no-such-charset?q?abc?=\r\n\r\n",
    b"Subject: =?utf-8?b?!!!?=\r\nFrom: =?\r\n\r\n",
    b"Content-Type: text/plain; charset=\x00\xff\r\nSubject: \xff\xfe\x80\r\n\r\n\x00\x01\x02",
    b"\xff" * 1000,
    b"\r\n",
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n" * 500,
)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.take()
    yield desk
    desk.store.close()


@pytest.mark.parametrize("long", [1, 1 << 30], ids=["in pieces", "whole"])
async def test_p22_whatever_it_is_it_is_captured_octet_by_octet(desk: Desk, long: int) -> None:
    desk.server.long = long
    fill(desk.server, *POISON, b"Subject: good\r\n\r\n")
    tally = await desk.cycle()
    assert (tally.captured, tally.troubles) == (len(POISON) + 1, 0)
    assert await desk.texts() == sorted([*POISON, b"Subject: good\r\n\r\n"])


async def test_p22_capture_never_parses(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(_head: bytes) -> Facts:
        raise MemoryError("a parser's worst day")

    monkeypatch.setattr("postroom.mime.examine.examine", examine)
    monkeypatch.setattr("postroom.engine.first.examine", examine)
    monkeypatch.setattr(understanding, "examine", examine)
    fill(desk.server, *POISON)
    assert (await desk.cycle()).captured == len(POISON)
    assert not (await desk.cycle()).more


async def test_p22_what_cannot_be_read_is_shown_with_its_fault(desk: Desk) -> None:
    fill(desk.server, POISON[0], b"Subject: good\r\n\r\n")
    await desk.cycle()
    assert await Worker(desk.store, desk.clock, desk.observer).drain() == 2
    shown = [row.facts async for row in desk.store.messages(client=None, newest_first=False, limit=None)]
    assert sorted((facts.subject, facts.fault) for facts in shown) == [
        ("abc", "Subject: unknown charset 'x-no-such-charset'"),
        ("good", ""),
    ]
    assert desk.observer.of(events.WORK_FAILED) == []
