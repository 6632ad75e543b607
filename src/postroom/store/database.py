"""One SQLite database: opening, migrating, one writer with group commit, one reader.

All jobs of a process that write run on one thread. Those that wait together share one transaction, each within a savepoint of its
own, so that the failure of one spoils only its own. A job's future is done when its transaction is durable (WAL,
``synchronous=FULL``), or failed.

Statements that take many rows take them as one JSON text: a statement is one step, and the interpreter's lock stays free
for the event loop meanwhile (a step for each row costs a hand-over of the lock for each row).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import apsw

from postroom.errors import PostroomError, StoreError, StoreFull, StoreNewer

T = TypeVar("T")
Job = Callable[[apsw.Connection], T]
_BUSY = 30_000  # milliseconds that another process's transaction is waited for
_GROUP = 64  # jobs in one transaction


@dataclass
class _Waiting(Generic[T]):
    job: Job[T]
    future: asyncio.Future[T]
    loop: asyncio.AbstractEventLoop
    sync: bool = False


class Database:
    """Two connections, each with its thread: one writes, in groups; one reads, and waits for no disk.

    ``sync`` is called before a transaction that has a job which asks for it.
    """

    def __init__(self, path: Path, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._connection = open_connection(path)
        self._reader = open_connection(path)
        self._writes = _Lane("store", _GROUP, self._write)
        self._reads = _Lane("store-reads", 1, self._read)

    async def run(self, job: Job[T], *, writes: bool = True, sync: bool = False) -> T:
        """Run a job on the store's thread; return its result once durable. One that does not write sees all that is durable.

        A job may be repeated never, and is rolled back alone when it raises. Raises what the job raises, ``StoreFull``
        and ``StoreError``.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        (self._writes if writes else self._reads).put(_Waiting(job, future, loop, sync))
        return await future

    def now(self, job: Job[T]) -> T:
        """Run a job at once, on the caller's thread, before the loop runs: for opening only."""
        with translated():
            return _in_transaction(self._connection, "IMMEDIATE", job)

    def close(self) -> None:
        """Finish what waits, then close."""
        self._reads.close()
        self._writes.close()
        self._reader.close()
        self._connection.close()

    def _read(self, group: list[_Waiting[Any]]) -> None:
        for waiting in group:
            try:
                with translated():
                    _answer(waiting, _in_transaction(self._reader, "DEFERRED", waiting.job), None)
            except Exception as error:  # noqa: BLE001 - handed to the one who asked
                _answer(waiting, None, error)

    def _write(self, group: list[_Waiting[Any]]) -> None:
        results: list[tuple[Any, BaseException | None]] = []

        def jobs(connection: apsw.Connection) -> None:
            results.extend(_within_savepoint(connection, waiting.job) for waiting in group)

        try:
            with translated():
                if any(waiting.sync for waiting in group):
                    self._sync()
                _in_transaction(self._connection, "IMMEDIATE", jobs)
        except Exception as error:  # noqa: BLE001 - whoever waits for the transaction must hear of it
            results = [(None, error)] * len(group)
        for waiting, (result, failed) in zip(group, results, strict=True):
            _answer(waiting, result, failed)


class _Lane:
    """A thread and what waits for it, handed over in groups."""

    def __init__(self, name: str, most: int, carry_out: Callable[[list[_Waiting[Any]]], None]) -> None:
        self._most = most
        self._carry_out = carry_out
        self._queue: queue.SimpleQueue[_Waiting[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def put(self, waiting: _Waiting[Any]) -> None:
        self._queue.put(waiting)

    def close(self) -> None:
        """End behind all that waits."""
        self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (first := self._queue.get()) is not None:
            group: list[_Waiting[Any]] = [first]
            last = False
            while len(group) < self._most and not self._queue.empty():
                waiting = self._queue.get()
                if waiting is None:
                    last = True
                    break
                group.append(waiting)
            self._carry_out(group)
            if last:
                return


def _within_savepoint(connection: apsw.Connection, job: Job[T]) -> tuple[T | None, BaseException | None]:
    """A job of a group: what it wrote is rolled back alone when it raises."""
    connection.execute("SAVEPOINT job")
    try:
        with translated():
            result = job(connection)
    except Exception as error:
        if not connection.in_transaction:  # SQLite rolled everything back, as it does when the disk is full
            raise
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        return None, error
    connection.execute("RELEASE job")
    return result, None


def _answer(waiting: _Waiting[Any], result: Any, failed: BaseException | None) -> None:
    with suppress(RuntimeError):  # the loop of whoever asked has ended
        waiting.loop.call_soon_threadsafe(_resolve, waiting.future, result, failed)


def _resolve(future: asyncio.Future[Any], result: Any, failed: BaseException | None) -> None:
    if future.done():  # whoever asked was cancelled; the job is done all the same
        return
    if failed is not None:
        future.set_exception(failed)
    else:
        future.set_result(result)


def open_connection(path: Path) -> apsw.Connection:
    """Open the database, made if missing, and bring its schema up to date. Raises ``StoreNewer`` and ``StoreError``."""
    with translated(), _opening(path):
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(_BUSY)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = OFF")  # a receipt outlives its message
        connection.execute("PRAGMA cache_size = -32768")
        migrate(connection)
        return connection


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """One process at a time: SQLite does not wait for another that is just changing the file to WAL, it answers BUSY."""
    with open(path.with_name(path.name + ".opening"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the file's closing, and with the process
        yield


def migrate(connection: apsw.Connection) -> None:
    """Apply the migrations that the database lacks, each in one transaction. Raises ``StoreNewer``."""
    scripts = _scripts()
    if _version(connection) == len(scripts):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        present = _version(connection)  # another process may have been first
        if present > len(scripts):
            raise StoreNewer(f"schema {present}, this program knows {len(scripts)}")
        for script in scripts[present:]:
            connection.execute(script)
        connection.execute(f"PRAGMA user_version = {len(scripts)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: apsw.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").get)


def _scripts() -> list[str]:
    return [path.read_text("utf-8") for path in sorted((Path(__file__).parent / "migrations").glob("*.sql"))]


def _in_transaction(connection: apsw.Connection, kind: str, job: Job[T]) -> T:
    connection.execute(f"BEGIN {kind}")
    try:
        result = job(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return result


def changed(connection: apsw.Connection, statement: str, *values: Any) -> int:
    """Execute a statement that writes; how many rows it changed."""
    connection.execute(statement, values)
    return connection.changes()


@contextmanager
def translated() -> Iterator[None]:
    """Turn the errors of SQLite and of files into the store's own."""
    try:
        yield
    except PostroomError:
        raise
    except apsw.FullError as error:
        raise StoreFull(str(error)) from error
    except apsw.Error as error:
        raise StoreError(f"{type(error).__name__}: {error}") from error
    except OSError as error:
        kind = StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else StoreError
        raise kind(str(error)) from error
