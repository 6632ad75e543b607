"""Listing never leaves a message out, whatever comes and goes meanwhile, and however the limit cuts."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import HandClock, kit
from postroom.drivers.imap import ImapReader, State
from postroom.drivers.imap_session import ImapSession, Selected, identifier, uid_of
from postroom.model import Changes
from postroom.wire.imap import types


class Folder:
    """A folder as a server keeps it, and a session that answers for it."""

    def __init__(self, *, tells_next: bool = True, chance: random.Random | None = None) -> None:
        self.capabilities: frozenset[str] = frozenset()
        self.selected: Selected | None = None
        self.validity = 7
        self.messages: set[int] = set()
        self.next = 1
        self._tells_next = tells_next
        self._chance = chance
        self.commands: list[bytes] = []

    def arrive(self, *uids: int) -> None:
        for uid in uids:
            assert uid >= self.next
            self.messages.add(uid)
            self.next = uid + 1
        if self.selected is not None:
            self.selected.touched = True
            self.selected.exists = len(self.messages)

    def leave(self, uid: int) -> None:
        self.messages.discard(uid)
        if self.selected is not None:
            self.selected.touched = True
            self.selected.exists = len(self.messages)

    async def select(self, folder: str) -> Selected:
        self.commands.append(b"SELECT")
        next_ = self.next if self._tells_next else None
        self.selected = Selected(folder, self.validity, next_, len(self.messages))
        return self.selected

    async def send(self, line: bytes) -> bytes:
        return line

    async def until(self, line: bytes) -> AsyncIterator[types.Response]:
        for response in await self.command(line):
            yield response

    async def command(self, line: bytes) -> list[types.Response]:
        self.commands.append(line)
        found = re.match(rb"UID FETCH (\d+|\*)(?::(\d+|\*))? ", line)
        responses: list[types.Response] = []
        if found is not None:
            last = max(self.messages, default=0)
            ends = [last if end == b"*" else int(end) for end in (found[1], found[2] or found[1])]
            uids = [uid for uid in sorted(self.messages) if min(ends) <= uid <= max(ends)]
            responses += [types.Fetch(n, uid=uid, size=uid, internal_date=f"day {uid}") for n, uid in enumerate(uids, 1)]
        if self._chance is not None and self._chance.random() < 0.2:  # told with the answer, and not part of it
            self.arrive(self.next + self._chance.randrange(1500))
        return responses


def reader_of(folder: Folder) -> ImapReader:
    return ImapReader(cast(ImapSession, folder), kit(HandClock()))


def uids(changes: Changes) -> list[int]:
    return [uid_of(listed.identifier) for listed in changes.created]


async def whole(reader: ImapReader, state: str | None, limit: int) -> tuple[list[int], str]:
    """List until there is no more."""
    found: list[int] = []
    for _ in range(10_000):
        changes = await reader.changes("INBOX", state, limit)
        assert not changes.reset
        assert len(changes.created) <= limit
        found += uids(changes)
        state = changes.new_state
        if not changes.more:
            return found, state
    pytest.fail("the listing comes to no end")


GAPS = st.lists(st.one_of(st.integers(1, 3), st.sampled_from([1, 5, 40, 999, 1000, 1001, 5000])), max_size=25)
LIMITS = st.sampled_from([1, 2, 3, 7, 10, 100])


def test_p21_much_below_a_wide_gap_is_not_listed_again_and_again() -> None:
    """Width is learned: from one stretch of a large folder to the next, over all its cycles."""
    folder = Folder()
    folder.arrive(*range(1, 10_001), *range(9_000_000, 9_000_010))
    listed = 0
    command = folder.command

    async def counted(line: bytes) -> list[types.Response]:
        nonlocal listed
        responses = await command(line)
        listed += len(responses)
        return responses

    folder.command = counted  # type: ignore[method-assign]
    found, _ = asyncio.run(whole(reader_of(folder), None, 100))
    assert found == [*range(9_000_009, 8_999_999, -1), *range(10_000, 0, -1)]
    assert listed < 4 * len(found)


def numbers(start: int, gaps: Sequence[int]) -> list[int]:
    result = []
    for gap in gaps:
        start += gap
        result.append(start)
    return result


@given(GAPS, st.integers(0, 5000), LIMITS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_first_look_lists_each_once(gaps: list[int], behind: int, limit: int, tells_next: bool) -> None:
    folder = Folder(tells_next=tells_next)
    folder.arrive(*numbers(0, gaps))
    folder.next += behind
    found, state = asyncio.run(whole(reader_of(folder), None, limit))
    assert found == sorted(folder.messages, reverse=True)
    assert State.read(state).whole


@given(GAPS, st.lists(GAPS, max_size=4), LIMITS, st.booleans(), st.booleans(), st.integers())
@settings(max_examples=80, deadline=None)
def test_what_comes_is_listed_once_over_any_conversations(
    first: list[int], later: list[list[int]], limit: int, tells_next: bool, anew: bool, seed: int
) -> None:
    async def run() -> None:
        chance = random.Random(seed)
        folder = Folder(tells_next=tells_next)
        folder.arrive(*numbers(0, first))
        reader = reader_of(folder)
        found, state = await whole(reader, None, limit)
        ever = set(folder.messages)
        for gaps in later:
            if anew:
                folder.selected = None
                reader = reader_of(folder)
            folder.arrive(*numbers(folder.next - 1, gaps))
            ever |= folder.messages
            for uid in list(folder.messages):
                if uid in found and chance.random() < 0.3:
                    folder.leave(uid)
            more, state = await whole(reader, state, limit)
            found += more
        assert sorted(found) == sorted(ever)

    asyncio.run(run())


@given(GAPS, LIMITS, st.booleans(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_what_comes_while_we_list_is_listed(gaps: list[int], limit: int, tells_next: bool, seed: int) -> None:
    async def run() -> None:
        folder = Folder(tells_next=tells_next, chance=random.Random(seed))
        folder.arrive(*numbers(0, gaps))
        reader = reader_of(folder)
        found, state = await whole(reader, None, limit)
        folder._chance = None
        more, state = await whole(reader, state, limit)
        assert sorted(found + more) == sorted(folder.messages)

    asyncio.run(run())


async def test_new_mail_comes_before_old() -> None:
    folder = Folder()
    folder.arrive(*range(1, 8))
    reader = reader_of(folder)
    first = await reader.changes("INBOX", None, 2)
    assert uids(first) == [7, 6]
    folder.arrive(8)
    second = await reader.changes("INBOX", first.new_state, 2)
    assert uids(second) == [8, 5]


@pytest.mark.parametrize("count", [0, 1, 5000])
async def test_an_unchanged_folder_costs_a_constant_number_of_commands(count: int) -> None:
    folder = Folder()
    folder.arrive(*range(1, count + 1))
    _, state = await whole(reader_of(folder), None, 1000)
    costs = []
    for _ in range(3):
        folder.selected = None
        folder.commands.clear()
        reader = reader_of(folder)
        for _ in range(3):
            changes = await reader.changes("INBOX", state, 1000)
            assert (changes.created, changes.more) == ((), False)
            state = changes.new_state
        costs.append(len(folder.commands))
    assert costs == [costs[0]] * 3
    assert costs[0] <= 4


async def test_a_large_sparse_folder_takes_few_commands() -> None:
    folder = Folder()
    folder.arrive(1, 1_000_000, 2_000_000)
    found, _ = await whole(reader_of(folder), None, 1000)
    assert found == [2_000_000, 1_000_000, 1]
    assert len(folder.commands) < 20


def test_a_state_is_text_and_back() -> None:
    state = State(7, 12, 11, 1, 500, 11, '100 "x" ü')
    assert State.read(state.text()) == state
    assert (identifier(7, 12), uid_of("7/12")) == ("7/12", 12)


async def test_a_state_of_an_earlier_form_is_read() -> None:
    """Without the mark, as it was first written."""
    assert State.read('{"validity":7,"next":12,"newest":11,"oldest":1}') == State(7, 12, 11, 1)


def test_the_fake_answers_ranges_as_a_server_does() -> None:
    folder = Folder()
    folder.arrive(3, 9)

    async def asked(uids_: bytes) -> list[Any]:
        return [r.uid for r in await folder.command(b"UID FETCH " + uids_ + b" (UID)") if isinstance(r, types.Fetch)]

    async def run() -> list[list[Any]]:
        return [await asked(each) for each in (b"1:9", b"10:*", b"*", b"4:8", b"9:3")]

    assert asyncio.run(run()) == [[3, 9], [9], [9], [], [3, 9]]
