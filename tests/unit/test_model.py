"""Tables of states are kept by the store: every pair of states is tried through its verbs."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import apsw
import pytest

from fakes import START, HandClock
from postroom import model
from postroom.errors import StoreError
from postroom.model import WORK_MOVES, Captured, Disposition, Facts, Listed, Work, WorkKind, WorkState
from postroom.store import Store

READY, LEASED, DONE = WorkState.READY, WorkState.LEASED, WorkState.DONE
WAITING, DEAD, CANCELLED = WorkState.WAITING, WorkState.DEAD, WorkState.CANCELLED

# Moves of the table that no verb of the store makes yet: a person's, who has no command for them so far.
UNSPOKEN = {(READY, CANCELLED), (WAITING, READY), (WAITING, CANCELLED), (DEAD, READY)}


class Piece:
    """One piece of work, and what is done with it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.store = Store(directory, HandClock(), f"file:{directory / 'vault.key'}", {})
        self.work = Work(0, WorkKind.PROCESS, 0, 0, None, 0)

    async def begin(self) -> None:
        (lease,) = await self.store.acquire(await self.store.source("IMAP", "h", "u"), ["INBOX"])
        reference = self.store.blobs.append(b"x")
        await self.store.capture(lease, "a", [Captured(Listed("1/1", 1, "d"), reference, Disposition.KEEP)])

    @property
    def state(self) -> WorkState:
        connection = apsw.Connection(str(self._directory / "postroom.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return WorkState(connection.execute("SELECT state FROM work").get)
        finally:
            connection.close()

    async def claim(self) -> None:
        claimed = await self.store.claim(WorkKind.PROCESS, 1)
        if not claimed:
            raise StoreError("nothing to claim")
        (self.work,) = claimed

    async def finish(self) -> None:
        await self.store.finish_process([(self.work, Facts())])

    def to(self, state: WorkState) -> Callable[[], Awaitable[None]]:
        """The verb that puts a claimed piece elsewhere."""
        return lambda: self.store.defer(self.work, state, 0, START, "why")

    async def reach(self, state: WorkState) -> None:
        """Bring it to a state in the way that leads there."""
        if state is READY:
            return
        await self.claim()
        if state is DONE:
            await self.finish()
        elif state is not LEASED:
            await self.to(state)()
        assert self.state is state

    async def attempt(self, state: WorkState) -> None:
        """Every verb that may lead to a state."""
        verbs: dict[WorkState, list[Callable[[], Awaitable[None]]]] = {LEASED: [self.claim], DONE: [self.finish, self.to(DONE)]}
        for verb in verbs.get(state, [self.to(state)]):
            before = self.state
            try:
                await verb()
            except StoreError:
                assert self.state is before


@pytest.fixture
async def piece(tmp_path: Path) -> AsyncIterator[Piece]:
    piece = Piece(tmp_path)
    await piece.begin()
    yield piece
    piece.store.close()


REACHED = [READY, LEASED, DONE, WAITING, DEAD]  # nothing leads to CANCELLED yet


@pytest.mark.parametrize(("before", "after"), list(itertools.product(REACHED, WorkState)))
async def test_work_moves_as_the_table_says_and_not_otherwise(piece: Piece, before: WorkState, after: WorkState) -> None:
    await piece.reach(before)
    await piece.attempt(after)
    moves = after in WORK_MOVES[before] and (before, after) not in UNSPOKEN
    assert piece.state is (after if moves else before)


def test_what_has_no_verb_is_in_the_table() -> None:
    assert all(after in WORK_MOVES[before] for before, after in UNSPOKEN)


def test_the_table_names_every_state() -> None:
    assert set(WORK_MOVES) == set(WorkState)
    assert all(state not in after for state, after in WORK_MOVES.items())


def test_every_state_is_reached_from_the_first() -> None:
    seen: set[WorkState] = set()
    open_ = {READY}
    while open_:
        state = open_.pop()
        seen.add(state)
        open_ |= set(WORK_MOVES[state]) - seen
    assert seen == set(WorkState)


RECORDS = [cls for _, cls in inspect.getmembers(model, inspect.isclass) if cls.__module__ == model.__name__]


@pytest.mark.parametrize("cls", [cls for cls in RECORDS if dataclasses.is_dataclass(cls)])
def test_a_record_is_a_fact(cls: type) -> None:
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert not hasattr(cls, "__dict__") or "__slots__" in vars(cls)


@pytest.mark.parametrize("cls", RECORDS)
def test_every_record_is_explained(cls: type) -> None:
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")
