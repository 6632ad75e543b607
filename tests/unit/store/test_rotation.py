"""The vault's key is changed while others use the store: nothing is lost, wherever it stops."""

from __future__ import annotations

import asyncio
import fcntl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import apsw
import keyring
import pytest
from former import first_schema, former_hash, former_sealed
from keyrings.alt.file import PlaintextKeyring

from fakes import START, HandClock
from postroom.errors import StoreError, VaultLocked
from postroom.model import GrantKey, TokenFields
from postroom.secret import Secret
from postroom.store import Store, opened, rotation
from postroom.store.keys import Key, Ring, new_key, ring_of

ONE, TWO, THREE = (Key(bytes(range(first, first + 32))) for first in (0, 32, 64))
NAMES = range(5)
THIRD = TokenFields(Secret("ACCESS-0-third"), 60, Secret("ROTATED-0-third"))
LOST = TokenFields(Secret("ACCESS-0-lost"), 60, Secret("ROTATED-0-lost"))


def store_in(directory: Path, key: str = "", **environment: str) -> Store:
    return Store(directory, HandClock(), key or f"file:{directory / 'vault.key'}", environment)


def text(*keys: Key) -> str:
    return Ring(keys).text().reveal()


def chain(store: Store, number: int) -> GrantKey:
    return GrantKey("https://authority", "client", store.keyed_hash(f"CONFIGURED-{number}"))


async def fill(store: Store) -> None:
    """Chains with everything that can be sealed of one: a current and a former refresh token, access tokens."""
    for number in NAMES:
        await save(store, number, "first")
        await save(store, number, "other", asked_with="y")
        await save(store, number, "second", rotated=True)


async def save(store: Store, number: int, word: str, *, asked_with: str = "x", rotated: bool = False) -> None:
    key = chain(store, number)
    grant = await store.open_grant(key, Secret(f"CONFIGURED-{number}"), asked_with)
    new = Secret(f"ROTATED-{number}-{word}") if rotated else None
    await store.save_answer(key, grant, asked_with, TokenFields(Secret(f"ACCESS-{number}-{word}"), 3600, new))


async def tokens(store: Store) -> set[str]:
    """All that the store gives out, opened."""
    found = set()
    for number in NAMES:
        for asked_with in ("x", "y"):
            grant = await store.open_grant(chain(store, number), Secret(f"CONFIGURED-{number}"), asked_with)
            assert grant.access is not None
            found |= {grant.refresh_token.reveal(), grant.access.token.reveal()}
    return found


FILLED = {f"{word.format(n)}" for n in NAMES for word in ("ROTATED-{}-second", "ACCESS-{}-second", "ACCESS-{}-other")}
COUNTS = {"grants": 10, "access_tokens": 10, "vault": 1}


def sealed_with(directory: Path) -> set[tuple[int, str]]:
    """Version and key of every sealed value in the database."""
    connection = apsw.Connection(str(directory / "postroom.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        query = "SELECT current FROM grants UNION ALL SELECT former FROM grants UNION ALL SELECT token FROM access_tokens"
        rows: list[Any] = connection.execute(query + " UNION ALL SELECT hash_key FROM vault").fetchall()
        return {(row[0][0], row[0][1:9].hex()) for row in rows if row[0] is not None}
    finally:
        connection.close()


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[Store]:
    with opened(tmp_path / "data", HandClock(), f"file:{tmp_path / 'data' / 'vault.key'}", {}) as store:
        await fill(store)
        yield store


def ring(directory: Path) -> Ring:
    return ring_of((directory / "vault.key").read_text(), "the file")


def test_every_blob_is_sealed_or_known_not_to_be(tmp_path: Path) -> None:
    """A table that is added later comes to SEALED, or is looked at here."""
    store_in(tmp_path).close()
    connection = apsw.Connection(str(tmp_path / "postroom.db"))
    query = "SELECT t.name, c.name FROM pragma_table_list t JOIN pragma_table_info(t.name) c WHERE c.type = 'BLOB'"
    blobs = set(connection.execute(query))
    connection.close()
    tables = ("receipts", "reborn", "messages", "fingerprints", "elsewhere", "api_keys", "invitations")
    digests = {*((table, "digest") for table in (*tables, "submissions")), ("submissions", "asked"), ("vault", "proof")}
    assert blobs - digests == {(column.table, column.column) for column in rotation.SEALED}


# --- a file -----------------------------------------------------------------------------------------------------------


async def test_everything_is_sealed_anew(filled: Store, tmp_path: Path) -> None:
    data = tmp_path / "data"
    [old] = ring(data).keys
    hashed = filled.keyed_hash("a")
    done = await filled.rotate_key()
    [new] = ring(data).keys
    assert (done.former, done.current, done.sealed, done.finished, done.left) == (old.id, new.id, COUNTS, False, ())
    assert sealed_with(data) == {(2, new.id)}
    assert (data / "vault.key").stat().st_mode & 0o777 == 0o600
    assert await tokens(filled) == FILLED
    with opened(data, HandClock(), f"file:{data / 'vault.key'}", {}) as another:
        assert await tokens(another) == FILLED
        assert another.keyed_hash("a") == hashed
    (data / "vault.key").write_text(text(old))
    with pytest.raises(VaultLocked, match="not the one that this store was made with"):
        store_in(data)
    for path in data.rglob("*"):
        if path.is_file():
            assert not any(word.encode() in path.read_bytes() for word in (*FILLED, "CONFIGURED-")), path


async def test_it_may_be_done_again_and_again(filled: Store, tmp_path: Path) -> None:
    seen = set()
    for _ in range(4):
        seen.add((await filled.rotate_key()).current)
    assert len(seen) == 4
    assert len(ring(tmp_path / "data").keys) == 1
    assert await tokens(filled) == FILLED


async def test_an_empty_store_is_rotated_too(tmp_path: Path) -> None:
    with opened(tmp_path, HandClock(), f"file:{tmp_path / 'vault.key'}", {}) as store:
        assert (await store.rotate_key()).sealed == {"grants": 0, "access_tokens": 0, "vault": 1}
        await fill(store)
    with opened(tmp_path, HandClock(), f"file:{tmp_path / 'vault.key'}", {}) as store:
        assert await tokens(store) == FILLED


async def test_a_process_that_holds_the_former_key_goes_on(filled: Store, tmp_path: Path) -> None:
    data = tmp_path / "data"
    other, reader = store_in(data), store_in(data)
    grant = await other.open_grant(chain(other, 0), Secret("CONFIGURED-0"), "x")
    for _ in range(2):
        done = await filled.rotate_key()
        answer = await other.save_answer(
            chain(other, 0), grant, "x", TokenFields(Secret("ACCESS-0-third"), 60, Secret("ROTATED-0-third"))
        )
        assert answer.token == Secret("ACCESS-0-third")
        assert sealed_with(data) == {(2, done.current)}
    assert {"ACCESS-0-third", "ROTATED-0-third"} < await tokens(reader)
    assert reader.keyed_hash("a") == filled.keyed_hash("a")
    other.close()
    reader.close()


async def test_processes_save_meanwhile(filled: Store, tmp_path: Path) -> None:
    """What one process saves while another rotates is neither lost nor left under a former key."""
    data = tmp_path / "data"
    others = [store_in(data), store_in(data)]
    ended = asyncio.Event()

    async def saving(store: Store, asked_with: str) -> int:
        count = 0
        while not ended.is_set():
            for number in NAMES:
                await save(store, number, f"{asked_with}{count}", asked_with=asked_with, rotated=True)
            count += 1
        return count

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(saving(store, word)) for store, word in zip(others, "xy", strict=True)]
        for _ in range(10):
            done = await filled.rotate_key()
        ended.set()
    counts = [task.result() for task in running]
    assert min(counts) > 0
    assert sealed_with(data) == {(2, done.current)}
    assert ring(data).ids == (done.current,)
    expected = {f"ACCESS-{n}-{word}{count - 1}" for n in NAMES for word, count in zip("xy", counts, strict=True)}
    for store in (filled, *others):
        assert expected < await tokens(store)
    for store in others:
        store.close()


async def test_one_rotation_at_a_time(filled: Store, tmp_path: Path) -> None:
    with (tmp_path / "data" / "vault.rotating").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another process rotates"):
            await filled.rotate_key()
    await filled.rotate_key()


async def test_a_value_that_no_key_opens_keeps_the_former_key(filled: Store, tmp_path: Path) -> None:
    data = tmp_path / "data"
    before = ring(data).ids[0]
    connection = apsw.Connection(str(data / "postroom.db"))
    connection.execute("UPDATE grants SET current = zeroblob(60) WHERE id < 3")
    status = await filled.vault_status()
    assert status.sealed == COUNTS
    assert status.unopened == {"grants": 2, "access_tokens": 0, "vault": 0}
    for _ in range(2):
        with pytest.raises(VaultLocked, match=r"cannot be opened \(2 in grants\)") as locked:
            await filled.rotate_key()
        assert "Nothing was lost" in locked.value.remedy
        assert {key for version, key in sealed_with(data) if version == 2} == {before}
        assert before in ring(data).ids
    connection.execute("DELETE FROM grants WHERE id < 3")
    connection.close()
    waiting = ring(data).ids[1]
    assert (await filled.rotate_key()).current == waiting  # the key that joined then is not left over
    assert ring(data).ids == (waiting,)


# --- stops ------------------------------------------------------------------------------------------------------------

CHILD = """
import asyncio, itertools, os, shutil, sys
from pathlib import Path
from postroom.clock import SystemClock
from postroom.store import Store

def arm(store, at):
    steps = itertools.count(1)

    def step(*_):
        if next(steps) == at:
            os._exit(9)
        return True

    def stopping(call):
        def carry_out(*arguments, **more):
            step()
            result = call(*arguments, **more)
            step()
            return result
        return carry_out

    for name in ("open", "write", "fsync", "replace", "unlink", "fchmod"):
        setattr(os, name, stopping(getattr(os, name)))
    store._db._connection.exec_trace = store._db._reader.exec_trace = step

def child(directory, at):
    store = Store(directory, SystemClock(), f"file:{directory / 'vault.key'}", {})
    arm(store, at)
    asyncio.run(store.rotate_key())
    os._exit(0)

base = Path(sys.argv[1])
for at in itertools.count(1):
    directory = base / str(at)
    shutil.copytree(base / "0", directory)
    if (process := os.fork()) == 0:
        child(directory, at)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status != 9:
        sys.exit(status)
"""


async def test_killed_at_each_step_and_run_again(tmp_path: Path) -> None:
    """Between any two statements and any two calls of the system."""
    with opened(tmp_path / "0", HandClock(), f"file:{tmp_path / '0' / 'vault.key'}", {}) as store:
        await fill(store)
        old = ring(tmp_path / "0").ids[0]
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", CHILD, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    directories = sorted((path for path in tmp_path.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
    finished = 0
    for directory in directories[1:]:
        held = ring(directory).ids
        with opened(directory, HandClock(), f"file:{directory / 'vault.key'}", {}) as store:
            assert await tokens(store) == FILLED, directory
            [(_, current)] = sealed_with(directory)
            assert current in held
            again = await store.rotate_key()
            finished += again.finished
            assert again.sealed == COUNTS
            assert await tokens(store) == FILLED, directory
        assert again.current != old
        assert ring(directory).ids == (again.current,)
        assert sealed_with(directory) == {(2, again.current)}
        assert not [path for path in directory.iterdir() if path.name.startswith(".vault.key")]
    assert len(directories) > 60
    assert 3 < finished < len(directories) - 20  # stopped before the middle step, and after it


async def test_a_stopped_rotation_never_goes_back_to_the_former_key(filled: Store, tmp_path: Path) -> None:
    data = tmp_path / "data"
    old = ring(data).keys[0]
    done = await filled.rotate_key()
    (data / "vault.key").write_text(text(old, *ring(data).keys))  # as it was ahead of the last step
    status = await filled.vault_status()
    assert status.keys == ((old.id, "retired"), (done.current, "current"))
    again = await filled.rotate_key()
    assert (again.finished, again.former, again.current) == (True, old.id, done.current)
    assert ring(data).ids == (done.current,)


# --- keys that are kept elsewhere -------------------------------------------------------------------------------------


async def test_a_key_in_the_environment(tmp_path: Path) -> None:
    with opened(tmp_path, HandClock(), "env:KEY", {"KEY": text(ONE)}) as store:
        await fill(store)
        with pytest.raises(VaultLocked, match="holds no key besides") as locked:
            await store.rotate_key()
        assert "Add a second one behind it" in locked.value.remedy
        assert "in the variable KEY" in locked.value.remedy
    with opened(tmp_path, HandClock(), "env:KEY", {"KEY": text(TWO, ONE)}) as store:
        assert (await store.vault_status()).keys == ((TWO.id, "unused"), (ONE.id, "current"))
        done = await store.rotate_key()
        assert (done.former, done.current, done.left) == (ONE.id, TWO.id, (ONE.id,))
        assert await tokens(store) == FILLED
        with pytest.raises(VaultLocked, match="holds no key besides"):
            await store.rotate_key()  # it does not go back to a retired key
    with opened(tmp_path, HandClock(), "env:KEY", {"KEY": text(ONE, TWO, THREE)}) as store:
        assert (await store.rotate_key()).left == (ONE.id, TWO.id)
        with pytest.raises(VaultLocked, match="holds no key besides"):
            await store.rotate_key()
    with opened(tmp_path, HandClock(), "env:KEY", {"KEY": text(THREE)}) as store:
        assert await tokens(store) == FILLED


async def test_which_of_several_new_keys_is_not_guessed(tmp_path: Path) -> None:
    store_in(tmp_path, "env:KEY", KEY=text(ONE)).close()
    with (
        opened(tmp_path, HandClock(), "env:KEY", {"KEY": text(ONE, TWO, THREE)}) as store,
        pytest.raises(VaultLocked, match="holds 2 keys that were never used"),
    ):
        await store.rotate_key()


async def test_a_process_without_the_new_key_writes_nothing(tmp_path: Path) -> None:
    blind = store_in(tmp_path, "env:KEY", KEY=text(ONE))
    await fill(blind)
    grant = await blind.open_grant(chain(blind, 0), Secret("CONFIGURED-0"), "x")
    with opened(tmp_path, HandClock(), "env:KEY", {"KEY": text(ONE, TWO)}) as store:
        await store.rotate_key()
        for _ in range(2):
            with pytest.raises(VaultLocked, match=f"sealed with {TWO.id}, the variable KEY holds {ONE.id}") as locked:
                await blind.save_answer(
                    chain(blind, 0), grant, "x", TokenFields(Secret("ACCESS-0-lost"), 60, Secret("ROTATED-0-lost"))
                )
            assert "Give every process that uses the store its key in the variable KEY" in locked.value.remedy
            with pytest.raises(VaultLocked):
                await blind.open_grant(chain(blind, 9), Secret("CONFIGURED-9"), "x")
        assert sealed_with(tmp_path) == {(2, TWO.id)}
        assert await tokens(store) == FILLED
    blind.close()


@pytest.fixture
def key_store(tmp_path: Path) -> Iterator[None]:
    former = keyring.get_keyring()
    backend = PlaintextKeyring()
    backend.file_path = str(tmp_path / "keys")
    keyring.set_keyring(backend)
    yield
    keyring.set_keyring(former)


@pytest.mark.usefixtures("key_store")
async def test_a_key_in_the_key_store(tmp_path: Path) -> None:
    with opened(tmp_path / "data", HandClock(), "keyring:postroom/vault", {}) as store:
        await fill(store)
        other = store_in(tmp_path / "data", "keyring:postroom/vault")
        done = await store.rotate_key()
        assert (done.place, done.left) == ("keyring:postroom/vault", ())
        assert ring_of(keyring.get_password("postroom", "vault") or "", "x").ids == (done.current,)
        assert await tokens(other) == FILLED
        other.close()
    keyring.delete_password("postroom", "vault")
    with pytest.raises(VaultLocked, match="is missing, and the store holds sealed values"):
        store_in(tmp_path / "data", "keyring:postroom/vault")
    assert keyring.get_password("postroom", "vault") is None


# --- stores from before there were ids --------------------------------------------------------------------------------


def former_store(directory: Path, key: Key) -> None:
    """A store of the first schema, with the rows as they were written then."""
    with first_schema(directory, key) as connection:
        for number in NAMES:
            configured = former_hash(key, f"CONFIGURED-{number}")
            belongs_to = f"refresh:https://authority:client:{configured}"
            connection.execute(
                "INSERT INTO grants (authority, client_id, configured, current, former, made_at) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *("https://authority", "client", configured),
                    former_sealed(key, f"ROTATED-{number}-second", belongs_to),
                    former_sealed(key, f"CONFIGURED-{number}", belongs_to),
                    START,
                ),
            )
            for asked_with, word in (("x", "second"), ("y", "other")):
                token = former_sealed(key, f"ACCESS-{number}-{word}", f"access:{number + 1}:{asked_with}")
                connection.execute(
                    "INSERT INTO access_tokens VALUES (?, ?, 1, ?, 3600, ?)", (number + 1, asked_with, token, START + 3600)
                )


async def test_a_store_of_the_first_schema_keeps_every_token(tmp_path: Path) -> None:
    former_store(tmp_path, ONE)
    for _ in range(2):
        with opened(tmp_path, HandClock(), f"file:{tmp_path / 'vault.key'}", {}) as store:
            assert store.keyed_hash("a", "b") == former_hash(ONE, "a", "b")
            assert await tokens(store) == FILLED
    assert {version for version, _ in sealed_with(tmp_path)} == {1, 2}
    with opened(tmp_path, HandClock(), f"file:{tmp_path / 'vault.key'}", {}) as store:
        done = await store.rotate_key()
        assert (done.former, done.sealed) == (ONE.id, COUNTS)
        assert store.keyed_hash("a", "b") == former_hash(ONE, "a", "b")
        assert await tokens(store) == FILLED
    assert sealed_with(tmp_path) == {(2, done.current)}


async def test_a_store_of_the_first_schema_finds_its_key_in_a_ring(tmp_path: Path) -> None:
    former_store(tmp_path, TWO)
    (tmp_path / "vault.key").write_text(text(ONE, TWO, new_key()))
    with opened(tmp_path, HandClock(), f"file:{tmp_path / 'vault.key'}", {}) as store:
        assert (await store.vault_status()).current == TWO.id
        assert await tokens(store) == FILLED


def test_a_store_of_the_first_schema_opens_with_its_own_key_only(tmp_path: Path) -> None:
    former_store(tmp_path, ONE)
    (tmp_path / "vault.key").write_text(text(TWO))
    with pytest.raises(VaultLocked, match="not the one that this store was made with"):
        store_in(tmp_path)
    (tmp_path / "vault.key").unlink()
    with pytest.raises(VaultLocked, match="is missing"):
        store_in(tmp_path)
    assert not (tmp_path / "vault.key").exists()
