"""The first step of a cycle: what a folder holds that is not here yet, after a reset and at a first read too.

A reset begins a repair: everything is listed, and what was had before is met again (``store.repair``). The header line with
the Message-ID is asked for where size and date are those of a message that is known, and only what is in doubt after that is
fetched. A first read may spare messages: they are remembered, and never read.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from postroom import events
from postroom.clock import Clock
from postroom.drivers import First, Reader
from postroom.engine.first import arrived_before, first_of, ids_of, words_of
from postroom.errors import LocalProtocolError
from postroom.events import Observer
from postroom.model import Changes, Lease, Listed, Position, Preview
from postroom.settings import PopClient
from postroom.store import Store

CYCLE = 2000  # messages in one cycle, so that new settings act and new mail comes first in a long first read
_SOON = 10_000  # messages, and …
_SOON_OCTETS = 64 * 1024 * 1024  # … octets that are had in about a second: no reason to list all once more
_LISTINGS = 10  # of all messages, where a driver lists all each time, are enough for a first read of any length


@dataclass
class Listing:
    """The listing of one cycle. Made for it, used once."""

    client: PopClient
    folder: str
    lease: Lease
    reader: Reader
    store: Store
    clock: Clock
    observer: Observer
    met: int = 0  # messages met again without a fetch
    _position: Position | None = None
    _began: float = 0.0
    _read: int = 0  # messages that this cycle deals with

    async def run(self, limit: int) -> tuple[Changes, list[Listed]]:
        """What changed, and which messages of it are to be fetched. Raises what reader and store raise."""
        self._began = self.clock.monotonic()
        position = await self.store.position(self.lease)
        first = first_of(position, self.client)
        changes = await self.reader.changes(self.folder, position.state, limit, first)
        new, foreign = await self._unknown(changes)
        if foreign and not changes.reset:
            reason = f"{foreign[0].identifier} is another message now: the server was restored from a backup"
            changes = replace(changes, reset=reason)
        if changes.reset:
            position = await self._rebirth(changes)
            first = first_of(position, self.client)
            changes = await self.reader.changes(self.folder, None, limit, first)
            if changes.reset:
                raise LocalProtocolError(f"{self.folder}: a listing from nothing cannot be a reset")
            new, _ = await self._unknown(changes)
        if position.first is None or changes.began:
            await self._begin(position, changes, first)
        if position.repairing:
            new = await self._meet(new)
        if changes.complete and not self.client.maximum_msg_number:
            limit = max(limit, len(changes.created) // _LISTINGS, _soon_had(new))
        new = await self._spare(changes, new, first, limit)
        if changes.complete and len(new) > limit:  # the driver does not know what is new: the rest is for the next cycle
            state = changes.began or position.state or ""
            changes = replace(changes, more=True, new_state=state, left=len(new) - limit)
            new = new[:limit]
        if changes.behind and new:
            # What was hidden behind these is shown once they are committed, and at the next login alone: Google, which announces
            # a LOGIN-DELAY, is tried at once, and a no is obeyed.
            changes = replace(changes, more=True, pace=0.0)
        self._position = position
        self._read = len(new) if changes.complete else len(changes.created) + len(changes.spared)
        return changes, new

    async def _unknown(self, changes: Changes) -> tuple[list[Listed], list[Listed]]:
        new: list[Listed] = []
        foreign: list[Listed] = []
        for some in _slices(changes.created + changes.spared):
            some_new, some_foreign = await self.store.unknown(self.lease, some)
            new += some_new
            foreign += some_foreign
        return new, foreign

    async def _rebirth(self, changes: Changes) -> Position:
        if changes.lasting:
            self._event(events.RESET, reason=changes.reset)
        else:
            self._event(events.REMARK, remark=changes.reset)
        await self.store.rebirth(self.lease, changes.reset)
        return await self.store.position(self.lease)

    async def _begin(self, position: Position, changes: Changes, first: First) -> None:
        """Say what is about to be read before any of it is, and keep the state from which it is read."""
        listed = len(changes.created) + len(changes.spared)
        if position.first is None and position.epoch == 1 and listed:
            seen = Preview(len(changes.created), sum(message.size for message in changes.created))
            preview = await self.reader.preview(self.folder, first) if changes.more else seen
            self._event(events.FIRST_READ, first=words_of(first), messages=preview.messages, octets=preview.octets)
        await self.store.begin(self.lease, changes.began or position.state, words_of(first), changes.total or listed)

    async def _meet(self, new: list[Listed]) -> list[Listed]:
        """Leave out what was had before a reset and is plainly met again."""
        unmet: list[Listed] = []
        for some in _slices(new):
            message_ids = ids_of(await self._headers(await self.store.nameless(self.lease, some)))
            unmet += await self.store.meet(self.lease, some, message_ids)
        self.met = len(new) - len(unmet)
        return unmet

    async def _spare(self, changes: Changes, new: list[Listed], first: First, limit: int) -> list[Listed]:
        """Remember what the first read leaves at the server; return the rest, or more than ``limit`` of it.

        The driver says which messages these are, by their dates. Where the server has none the headers tell; and nothing
        but the Message-ID would tell after a reset that these were never to be read.
        """
        alone = {message.identifier for message in changes.spared}
        by_header = changes.complete and isinstance(first, datetime.date)
        if not alone and not by_header:
            return new
        rest: list[Listed] = []
        for some in _slices(new):
            undated = [message for message in some if not message.internal_date]
            headers = await self._headers([m for m in undated if by_header or m.identifier in alone])
            if isinstance(first, datetime.date):
                alone |= {identifier for identifier, header in headers.items() if arrived_before(header, first)}
            await self.store.spare(self.lease, [m for m in some if m.identifier in alone], ids_of(headers))
            rest += [message for message in some if message.identifier not in alone]
            if by_header and len(rest) > limit:
                break
        return rest

    async def _headers(self, listed: Sequence[Listed]) -> Mapping[str, bytes]:
        return await self.reader.headers(self.folder, listed) if listed else {}

    async def paced(self, changes: Changes) -> None:
        """Keep how far the first read is, until the folder was listed whole."""
        assert self._position is not None
        first = self._position.first
        if first is not None and first.ended_at is not None:
            return
        left = changes.left if changes.more else 0
        if left is not None:
            seconds = max(self.clock.monotonic() - self._began, 0.001)
            await self.store.progress(self.lease, left, self._read / seconds, ended=not changes.more)

    def _event(self, event: events.Event, **fields: object) -> None:
        self.observer.event(event, client=self.client.section, folder=self.folder, **fields)


def _soon_had(new: Sequence[Listed]) -> int:
    """How many of the first messages are so few octets that they are no long cycle."""
    octets = 0
    for count, message in enumerate(new[:_SOON]):
        octets += message.size
        if octets > _SOON_OCTETS:
            return count
    return min(len(new), _SOON)


def _slices(listed: Sequence[Listed]) -> Iterator[Sequence[Listed]]:
    """So many at once as one transaction takes."""
    return (listed[start : start + CYCLE] for start in range(0, len(listed), CYCLE))
