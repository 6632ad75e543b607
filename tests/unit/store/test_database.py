"""The writer's thread: groups, faults, migrations."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from postroom.errors import LeaseLost, StoreError, StoreFull, StoreNewer
from postroom.store.database import Database, migrate, open_connection, translated


@pytest.fixture
def syncs() -> list[int]:
    return []


@pytest.fixture
def database(tmp_path: Path, syncs: list[int]) -> Iterator[Database]:
    database = Database(tmp_path / "postroom.db", lambda: syncs.append(threading.get_ident()))
    yield database
    database.close()


Job = Callable[[apsw.Connection], object]


def insert(name: str) -> Job:
    return lambda db: db.execute("INSERT INTO sources (type, server, login) VALUES ('x', 'x', ?)", (name,)) and None


def names(db: apsw.Connection) -> list[str]:
    return [str(row[0]) for row in db.execute("SELECT login FROM sources ORDER BY id")]


def faulty(name: str, error: Exception) -> Job:
    def job(db: apsw.Connection) -> None:
        db.execute("INSERT INTO sources (type, server, login) VALUES ('x', 'x', ?)", (name,))
        raise error

    return job


class Gate:
    """Holds the store's thread, so that the jobs behind it wait together."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, _db: apsw.Connection) -> None:
        self.entered.set()
        assert self.open.wait(10)


async def together(database: Database, *jobs: Job) -> list[object]:
    """Run jobs in one transaction."""
    gate = Gate()
    first = asyncio.create_task(database.run(gate))
    await asyncio.to_thread(gate.entered.wait)
    rest = [asyncio.create_task(database.run(job)) for job in jobs]
    await asyncio.sleep(0)
    gate.open.set()
    await first
    return await asyncio.gather(*rest, return_exceptions=True)


async def test_jobs_that_wait_together_share_one_transaction(database: Database, tmp_path: Path) -> None:
    seen: list[int] = []

    def total_changes(db: apsw.Connection) -> None:
        with apsw.Connection(str(tmp_path / "postroom.db")) as other:
            seen.append(len(names(other)))  # what another process sees in the middle

    await together(database, insert("a"), insert("b"), total_changes)
    assert seen == [0]
    assert await database.run(names, writes=False) == ["a", "b"]


@pytest.mark.parametrize("error", [LeaseLost("x"), ValueError("x"), apsw.ConstraintError("x"), OSError(28, "full")], ids=repr)
async def test_the_failure_of_one_spoils_only_its_own(database: Database, error: Exception) -> None:
    outcomes = await together(database, insert("a"), faulty("b", error), insert("c"))
    assert outcomes[0] is outcomes[2] is None
    assert isinstance(outcomes[1], Exception)
    assert await database.run(names, writes=False) == ["a", "c"]


async def test_what_fails_as_a_whole_fails_for_each(database: Database) -> None:
    def lost(db: apsw.Connection) -> None:
        db.execute("ROLLBACK")  # as SQLite does by itself when the disk is full
        raise apsw.FullError("database or disk is full")

    outcomes = await together(database, insert("a"), lost, insert("c"))
    assert [type(outcome) for outcome in outcomes] == [StoreFull] * 3
    assert await database.run(names, writes=False) == []
    await database.run(insert("d"))
    assert await database.run(names, writes=False) == ["d"]


async def test_a_full_disk_is_told_as_such_and_left_behind(database: Database) -> None:
    (pages,) = await database.run(lambda db: db.execute("PRAGMA page_count").fetchone() or (0,), writes=False)
    await database.run(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").get)
    with pytest.raises(StoreFull):
        await database.run(insert("x" * 100_000))
    assert await database.run(names, writes=False) == []
    await database.run(lambda db: db.execute("PRAGMA max_page_count = 100000").get)
    await database.run(insert("y" * 100_000))
    assert len(await database.run(names, writes=False)) == 1


async def test_octets_are_made_durable_before_what_refers_to_them(database: Database, syncs: list[int]) -> None:
    await database.run(insert("a"))
    await database.run(names, writes=False)
    assert syncs == []
    assert await database.run(lambda _db: len(syncs), sync=True) == 1
    assert syncs[0] != threading.get_ident()


async def test_no_transaction_follows_octets_that_are_not_durable(tmp_path: Path) -> None:
    def fails() -> None:
        raise OSError(5, "Input/output error")

    database = Database(tmp_path / "postroom.db", fails)
    ran: list[str] = []
    with pytest.raises(StoreError, match="Input/output error"):
        await database.run(lambda _db: ran.append("job"), sync=True)
    assert ran == []
    await database.run(insert("a"))
    database.close()


async def test_what_waits_is_done_before_the_end(tmp_path: Path) -> None:
    database = Database(tmp_path / "postroom.db", lambda: None)
    jobs = [asyncio.create_task(database.run(insert(str(n)))) for n in range(200)]
    await asyncio.sleep(0)
    database.close()
    await asyncio.gather(*jobs)
    connection = apsw.Connection(str(tmp_path / "postroom.db"))
    assert len(names(connection)) == 200
    connection.close()


def test_a_loop_that_ended_does_not_end_the_store(tmp_path: Path) -> None:
    """Whoever asked is gone with its loop; the next one is served."""
    database = Database(tmp_path / "postroom.db", lambda: None)
    gate = Gate()

    async def leave() -> None:
        asking = asyncio.create_task(database.run(gate))
        await asyncio.sleep(0)
        asking.cancel()

    async def ask() -> list[str]:
        async with asyncio.timeout(5):
            return await database.run(names, writes=False)

    asyncio.run(leave())
    gate.open.set()
    assert asyncio.run(ask()) == []
    database.close()


# --- opening and migrating --------------------------------------------------------------------------------------------


def test_a_store_of_a_later_version_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "postroom.db"
    open_connection(path).close()
    connection = apsw.Connection(str(path))
    (version,) = connection.execute("PRAGMA user_version").fetchone() or (0,)
    connection.execute(f"PRAGMA user_version = {int(version) + 1}")
    connection.close()
    with pytest.raises(StoreNewer, match=f"schema {int(version) + 1}, this program knows {version}"):
        open_connection(path)


def test_what_is_no_database_is_a_fault_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "postroom.db").write_bytes(b"this is no database, whatever its name says\n" * 100)
    with pytest.raises(StoreError, match="NotADBError"):
        open_connection(tmp_path / "postroom.db")


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "postroom.db"
    first = open_connection(path)
    first.execute("INSERT INTO sources (type, server, login) VALUES ('a', 'b', 'c')")
    schema = first.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    first.close()
    again = open_connection(path)
    assert again.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall() == schema
    assert names(again) == ["c"]
    again.close()


def test_later_scripts_keep_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "postroom.db"
    first = open_connection(path)
    first.execute("INSERT INTO sources (type, server, login) VALUES ('a', 'b', 'c')")
    first.close()
    from postroom.store import database as module

    present = module._scripts()
    added = [*present, "ALTER TABLE sources ADD COLUMN note TEXT NOT NULL DEFAULT 'new'; CREATE TABLE more (id INTEGER)"]
    monkeypatch.setattr(module, "_scripts", lambda: added)
    again = open_connection(path)
    assert again.execute("SELECT login, note FROM sources").fetchall() == [("c", "new")]
    assert again.execute("PRAGMA user_version").get == len(added)
    monkeypatch.setattr(module, "_scripts", lambda: [*added, "CREATE TABLE third (id INTEGER); CREATE TABLE more (id INTEGER)"])
    with pytest.raises(apsw.SQLError):
        migrate(again)
    assert again.execute("PRAGMA user_version").get == len(added)  # a script is carried out whole or not at all
    assert again.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'third'").get == 0
    again.close()


def test_two_processes_that_begin_together_migrate_once(tmp_path: Path) -> None:
    failures: list[StoreError] = []

    def begin() -> None:
        try:
            open_connection(tmp_path / "postroom.db").close()
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (apsw.FullError("x"), StoreFull),
        (OSError(28, "x"), StoreFull),
        (OSError(122, "x"), StoreFull),
        (OSError(27, "x"), StoreFull),
        (OSError(5, "x"), StoreError),
        (PermissionError(13, "x"), StoreError),
        (apsw.IOError("x"), StoreError),
        (apsw.CorruptError("x"), StoreError),
        (LeaseLost("x"), LeaseLost),
        (KeyError("x"), KeyError),
    ],
    ids=repr,
)
def test_foreign_errors_are_translated_where_they_arise(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught, translated():
        raise error
    assert type(caught.value) is kind
    assert caught.value is error or caught.value.__cause__ is error
