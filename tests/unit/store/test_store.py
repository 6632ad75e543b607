"""What is the SQLite store's own: faults at each statement, keys, ends, processes."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path

import apsw
import pytest

from fakes import HandClock
from postroom.errors import PostroomError, StoreError, StoreFull, VaultLocked
from postroom.model import Captured, Consent, Disposition, GrantKey, Lease, Listed, Outcome, TokenFields, TroubleKind, WorkKind
from postroom.secret import Secret
from postroom.store import Store, opened
from postroom.store.processes import Processes


def store_in(directory: Path, key: str = "") -> Store:
    return Store(directory, HandClock(), key or f"file:{directory / 'vault.key'}", {})


async def leased(store: Store) -> Lease:
    (lease,) = await store.acquire(await store.source("IMAP", "h", "u"), ["INBOX"])
    return lease


def mail(store: Store, number: int, octets: bytes = b"hello", validity: int = 1) -> Captured:
    return Captured(Listed(f"{validity}/{number}", len(octets), "day"), store.blobs.append(octets), Disposition.DELETE)


TABLES = ("receipts", "messages", "work", "reborn", "troubles", "segments", "repairs")


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows that capture touches."""
    connection = apsw.Connection(str(path / "postroom.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {table: list(connection.execute(f"SELECT * FROM {table}")) for table in TABLES}
    finally:
        connection.close()


class Breaking:
    """Fails the n-th statement that the store carries out from now on."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, _cursor: apsw.Cursor, _sql: str, _bindings: object) -> bool:
        self.left -= 1
        if self.left == 0:
            raise apsw.IOError("the disk was pulled out")
        return True


def arm(store: Store, tracer: Breaking | None) -> None:
    store._db._connection.exec_trace = tracer


async def prepared(directory: Path) -> tuple[Store, Lease]:
    """A folder in which a capture has everything to do: receipts to meet again, troubles to end."""
    store = store_in(directory)
    lease = await leased(store)
    await store.capture(lease, "a", [mail(store, 1, b"one"), mail(store, 2, b"two")])
    await store.rebirth(lease, "anew")
    await store.trouble(lease, Listed("2/3", 5, "day"), TroubleKind.FAULT, "no", 0)
    return store, lease


async def test_p17_a_fault_at_any_statement_keeps_all_or_nothing(tmp_path: Path) -> None:
    at, finished = 0, False
    while not finished:
        at += 1
        directory = tmp_path / str(at)
        store, lease = await prepared(directory)
        before = content(directory)
        batch = [mail(store, 1, b"one", 2), mail(store, 3, b"three", 2), mail(store, 4, b"four", 2)]
        tracer = Breaking(at)
        arm(store, tracer)
        try:
            await store.capture(lease, "a", batch)
        except StoreError:
            assert content(directory) == before
        finished = tracer.left > 0
        arm(store, None)
        outcome = await store.capture(lease, "a", batch)
        assert outcome == (Outcome(0, 0, 3) if finished else Outcome(2, 1, 0))
        after = content(directory)
        assert [len(after[table]) for table in TABLES[:5]] == [4, 4, 4, 1, 0]
        store.close()
    assert at > 10


async def test_the_disk_is_full_while_octets_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_in(tmp_path)
    lease = await leased(store)
    batch = [mail(store, 1)]
    before = content(tmp_path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoreFull):
            await store.capture(lease, "a", batch)
    assert content(tmp_path) == before
    assert await store.capture(lease, "a", batch) == Outcome(1, 0, 0)
    assert store.blobs.read(batch[0].reference) == b"hello"
    store.close()


async def test_octets_that_were_lost_at_the_disk_are_kept_under_no_receipt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_in(tmp_path)
    lease = await leased(store)
    batch = [mail(store, 1)]

    def fails(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails)
        with pytest.raises(StoreError):
            await store.capture(lease, "a", batch)
    with pytest.raises(StoreError, match="fetched again"):
        await store.capture(lease, "a", batch)
    assert content(tmp_path)["receipts"] == []
    again = [mail(store, 1)]
    assert await store.capture(lease, "a", again) == Outcome(1, 0, 0)
    assert store.blobs.read(again[0].reference) == b"hello"
    store.close()


async def test_the_same_identifier_twice_in_a_batch_is_one_message(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    lease = await leased(store)
    with pytest.raises(StoreError):  # no driver does that; whole or not at all holds even then
        await store.capture(lease, "a", [mail(store, 1), mail(store, 1)])
    assert content(tmp_path)["receipts"] == []
    assert await store.capture(lease, "a", [mail(store, 1)]) == Outcome(1, 0, 0)
    store.close()


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_the_store_opens_with_its_own_key_only(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    store_in(tmp_path / "a").close()
    store_in(tmp_path / "b").close()
    with pytest.raises(VaultLocked, match="not the one that this store was made with"):
        store_in(tmp_path / "a", f"file:{tmp_path / 'b' / 'vault.key'}")
    (tmp_path / "a" / "vault.key").unlink()
    with pytest.raises(VaultLocked, match="is missing"):
        store_in(tmp_path / "a")
    assert not (tmp_path / "a" / "vault.key").exists()


async def test_a_store_that_cannot_be_opened_leaves_nothing_running(tmp_path: Path) -> None:
    store_in(tmp_path).close()
    (tmp_path / "vault.key").unlink()
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(VaultLocked):
            store_in(tmp_path)
    assert threading.active_count() == before
    assert list((tmp_path / "processes").iterdir()) == []


async def test_secrets_stand_in_no_file(tmp_path: Path) -> None:
    with opened(tmp_path, HandClock(), f"file:{tmp_path / 'vault.key'}", {}) as store:
        key = GrantKey("https://a", "client", store.keyed_hash("CONFIGURED-TOKEN"))
        grant = await store.open_grant(key, Secret("CONFIGURED-TOKEN"), "x")
        await store.save_answer(key, grant, "x", TokenFields(Secret("ACCESS-TOKEN"), 60, Secret("ROTATED-TOKEN")))
        consent = Consent("pop-client-a", "a@example.org", "", key, store.keyed_hash("CONFIGURED-TOKEN"), "mail", 1.0)
        await store.save_consent(consent, "x", TokenFields(Secret("SECOND-ACCESS-TOKEN"), 60, Secret("CONSENTED-TOKEN")))
        for path in tmp_path.rglob("*"):
            if path.is_file():
                octets = path.read_bytes()
                assert b"-TOKEN" not in octets, path


async def test_a_process_that_was_killed_while_it_refreshed_is_not_waited_for(tmp_path: Path) -> None:
    dead, alive = store_in(tmp_path), store_in(tmp_path)
    key = GrantKey("https://a", "client", "hash")
    grant = await dead.open_grant(key, Secret("configured"), "x")
    assert await dead.claim_grant(grant.id, 60)
    assert not await alive.claim_grant(grant.id, 60)
    dead.close()
    assert await alive.claim_grant(grant.id, 60)
    assert not await alive.claim_grant(grant.id + 1, 60)  # there is no such grant
    alive.close()


async def test_the_data_is_for_its_owner_alone(tmp_path: Path) -> None:
    store = store_in(tmp_path / "new" / "data")
    lease = await leased(store)
    await store.capture(lease, "a", [mail(store, 1)])
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700
    segments = list((tmp_path / "new" / "data" / "segments").iterdir())
    assert [path.stat().st_mode & 0o777 for path in segments] == [0o600]
    store.close()


def test_a_directory_that_cannot_be_made_is_a_fault_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        store_in(tmp_path / "file" / "data")


# --- processes and ids ------------------------------------------------------------------------------------------------


def test_the_living_are_told_from_the_dead(tmp_path: Path) -> None:
    one, two = Processes(tmp_path), Processes(tmp_path)
    assert one.living(one.holder)
    assert one.living(two.holder)
    assert not one.living("host-1-abcdef")
    two.close()
    assert not one.living(two.holder)
    one.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_process_left_is_cleared(tmp_path: Path) -> None:
    one = Processes(tmp_path)
    (tmp_path / "gone.process").touch()
    assert not one.living("gone")
    assert [path.stem for path in tmp_path.iterdir()] == [one.holder]
    one.close()


async def test_claims_are_fair_among_processes(tmp_path: Path) -> None:
    one, two = store_in(tmp_path), store_in(tmp_path)
    lease = await leased(one)
    await one.capture(lease, "a", [mail(one, n) for n in range(1, 101)])
    claimed = await asyncio.gather(*(store.claim(WorkKind.PROCESS, 7) for _ in range(10) for store in (one, two)))
    subjects = [piece.subject for pieces in claimed for piece in pieces]
    assert len(subjects) == len(set(subjects)) == 100
    one.close()
    two.close()


def test_errors_of_the_store_are_its_own(tmp_path: Path) -> None:
    assert issubclass(StoreError, PostroomError)
