"""The store's part of an audit: large folders in bounded memory, and audits that died."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from fakes import HandClock
from postroom.model import Audit, Listed, Missing
from postroom.store import Store

MANY = 200_000


def opened(directory: Path) -> Store:
    return Store(directory, HandClock(), f"file:{directory / 'vault.key'}", {})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    yield store
    store.close()


def listed(number: int) -> Listed:
    return Listed(f"1/{number}", 1000 + number, f"day {number}")


async def test_200_000_messages_are_compared_in_bounded_memory(store: Store, tmp_path: Path) -> None:
    """Half of them are missing, and that too is not held."""
    source = await store.source("IMAP", "mail.example.org", "a@example.org")
    await store.acquire(source, ["INBOX"])
    rows = json.dumps([[message.identifier, message.size, message.internal_date] for message in map(listed, range(0, MANY, 2))])
    insert = """
        INSERT INTO receipts (source, folder, epoch, identifier, digest, size, internal_date, disposition, captured_at)
        SELECT ?, 'INBOX', 1, value ->> 0, x'00', value ->> 1, value ->> 2, 'keep', 0 FROM json_each(?)"""
    apsw.Connection(str(tmp_path / "postroom.db")).execute(insert, (source, rows))
    del rows
    begun = await store.audits.begin("pop-client-a", source, "INBOX")
    captured = met = 0
    tracemalloc.start()
    for start in range(0, MANY, 2000):
        piece = [listed(number) for number in range(start, start + 2000)]
        found = await store.audits.compare(begun, piece)
        captured, met = captured + found.captured, met + found.before
        await store.audits.note(begun, found.rest)
        await store.audits.again(begun, [missing.listed.identifier for missing in found.rest])
    result = await store.audits.finish(begun, Audit("", "", 0.0, MANY, captured), met, "")
    count = sum([1 async for _ in store.audits.missing(begun)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (result.captured, result.missing, result.here_only, count) == (MANY // 2, MANY // 2, 0, MANY // 2)
    assert peak < 8 * 1024 * 1024  # a list of them all would be five times that


async def test_an_audit_that_died_leaves_nothing(store: Store, tmp_path: Path) -> None:
    source = await store.source("IMAP", "mail.example.org", "a@example.org")
    other = opened(tmp_path)
    dead = await other.audits.begin("pop-client-a", source, "INBOX")
    await other.audits.note(dead, [Missing(listed(1))])
    other.close()
    begun = await store.audits.begin("pop-client-a", source, "INBOX")
    assert [found async for found in store.audits.missing(dead)] == []
    await store.audits.finish(begun, Audit("", "", 0.0), 0, "")
    assert len(await store.audits.results()) == 1


async def test_the_last_audit_of_a_folder_stands(store: Store) -> None:
    source = await store.source("IMAP", "mail.example.org", "a@example.org")
    for number in (3, 5):
        begun = await store.audits.begin("pop-client-a", source, "INBOX")
        await store.audits.finish(begun, Audit("", "", 0.0, number, number), 0, "")
    begun = await store.audits.begin("pop-client-a", source, "Archive")
    await store.audits.finish(begun, Audit("", "", 0.0, 1, 1), 0, "")
    assert [(audit.folder, audit.listed) for audit in await store.audits.results()] == [("Archive", 1), ("INBOX", 5)]
