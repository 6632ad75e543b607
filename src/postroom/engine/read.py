"""One cycle of one folder, in four steps that may stop anywhere and be repeated with the same outcome.

1. list: what arrived since the state; after a reset a new epoch begins, all is listed, and what is plainly known is met again.
2. capture: octets are appended while they arrive, and kept in batches, one transaction each.
3. settle: what is kept is marked, moved or deleted at the server, this cycle's and what is left of older ones.
4. remember: the state moves, for all that was listed is now received, in trouble or gone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from postroom import events
from postroom.clock import Clock
from postroom.drivers import Reader
from postroom.engine.listing import CYCLE, Listing
from postroom.engine.troubles import Troubles
from postroom.events import Observer
from postroom.mime.withheld import withheld
from postroom.model import (
    Absent,
    Addressing,
    Captured,
    Changes,
    Disposition,
    Fetched,
    Lease,
    Listed,
    Outcome,
    Reference,
    Unfetched,
)
from postroom.settings import BigMessages, PopClient
from postroom.store import Store

_BATCH = 500  # messages in one transaction
_BATCH_OCTETS = 8 * 1024 * 1024
_LONG_WEIGHS = 8  # of how many octets of a long message one counts towards the batch
_WRITE = 1024 * 1024  # octets of a long message handed to the thread at once
_IN_FLIGHT = 2  # transactions under way while the next batch arrives
_SETTLE = 2  # times what a cycle takes, so that what is left of former ones gets less


@dataclass
class Tally:
    """What a cycle did."""

    captured: int = 0
    matched: int = 0
    octets: int = 0
    settled: int = 0
    troubles: int = 0
    more: bool = False
    pace: float = 0.0  # seconds that the server wants until the next check
    left: int | None = None  # messages still to be read, as far as the server's count tells


class Progress(Protocol):
    """Is told how far a cycle is, for people who look."""

    def __call__(self, client: str, folder: str, captured: int, octets: int, left: int | None) -> None:
        """``captured`` messages with ``octets`` came in this cycle; ``left`` are still to be had, where that is known."""


@dataclass
class FolderCycle:
    """One cycle of one folder. Made for it, used once."""

    client: PopClient
    folder: str
    lease: Lease
    reader: Reader
    store: Store
    clock: Clock
    observer: Observer
    progress: Progress
    absent: set[tuple[str, str]] = field(default_factory=set)  # folder and identifier, found absent in this conversation
    tally: Tally = field(default_factory=Tally)
    _left: int | None = None  # messages still to be had, when the listing was done
    _hides: bool = False  # the provider shows no more what was retrieved, once that is committed
    _batch: list[Captured] = field(default_factory=list)
    _octets: int = 0
    _flight: deque[asyncio.Task[Outcome]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._troubles = Troubles(self.client, self.folder, self.lease, self.store, self.clock, self.observer, self.absent)
        self._listing = Listing(self.client, self.folder, self.lease, self.reader, self.store, self.clock, self.observer)

    async def run(self) -> Tally:
        """Carry out the four steps. Raises what reader and store raise; what was captured before stays captured."""
        changes, wanted = await self._list()
        self._left = None if changes.left is None else changes.left + len(wanted)
        if wanted:
            await self._capture(wanted)
        await self._settle()
        self.tally.troubles = self._troubles.open
        await self._remember(changes)
        return self.tally

    async def settle_owed(self) -> None:
        """The third step alone, made final: nothing is listed and nothing read."""
        await self._settle()
        await self._settled(tuple(await self.reader.commit()))

    # --- 1 list

    async def _list(self) -> tuple[Changes, list[Listed]]:
        """What changed, and what is to be fetched: listed and unknown, and the troubles that are due."""
        limit = min(self.client.maximum_msg_number or CYCLE, CYCLE)
        changes, new = await self._listing.run(limit)
        self._hides = changes.hides
        self.tally.matched = self._listing.met
        self.tally.more, self.tally.left, self.tally.pace = changes.more, changes.left, changes.pace
        return changes, await self._troubles.due() + new

    # --- 2 capture

    async def _capture(self, wanted: list[Listed]) -> None:
        big = [listed for listed in wanted if self._troubles.is_big(listed)]
        whole = [listed for listed in wanted if not self._troubles.is_big(listed)] if big else wanted
        try:
            if whole:
                await self._answered(self.reader.fetch(self.folder, whole), whole)
            if big:
                await self._capture_big(big)
        finally:
            # Also when the connection was lost: what came whole is kept, so that each attempt gets further.
            await self._flush()
            await self._landed(0)

    async def _answered(self, answers: AsyncIterator[Fetched | Absent | Unfetched], wanted: list[Listed]) -> None:
        by_identifier = {listed.identifier: listed for listed in wanted}
        async for item in answers:
            if isinstance(item, Fetched):
                await self._take(item, self.client.after_capture)
            else:
                await self._troubles.not_had(item, by_identifier[item.identifier])

    async def _capture_big(self, big: list[Listed]) -> None:
        """What is larger than ``maximum-msg-size``: by its header alone, or not at all."""
        by_identifier = {listed.identifier: listed for listed in big}
        delete = self.client.big_messages is BigMessages.DELETE
        async for item in self.reader.fetch_headers(self.folder, big):
            if not isinstance(item, Fetched):
                await self._troubles.not_had(item, by_identifier[item.identifier])
            elif self.client.big_messages is BigMessages.LEAVE:
                await self._troubles.left(item.listed)
            else:
                stand_in = item._replace(octets=withheld(item.octets, item.listed.size))
                await self._take(stand_in, Disposition.DELETE if delete else Disposition.KEEP)
                done = "header captured, deleted at the server" if delete else "header captured, left at the server"
                self._event(events.BIG, identifier=item.listed.identifier, octets=item.listed.size, done=done)

    async def _take(self, item: Fetched, disposition: Disposition) -> None:
        reference = self.store.blobs.append(item.octets) if item.rest is None else await self._take_long(item)
        if disposition is Disposition.KEEP and self._hides:
            disposition = Disposition.RETRIEVED
        self._batch.append(Captured(item.listed, reference, disposition))
        # A long message is on its way to the disk already, and costs a sync but no memory.
        self._octets += reference.length if item.rest is None else reference.length // _LONG_WEIGHS
        if len(self._batch) >= _BATCH or self._octets >= _BATCH_OCTETS:
            await self._flush()
            await self._landed(_IN_FLIGHT)

    async def _take_long(self, item: Fetched) -> Reference:
        """Write on a thread, some pieces at a time, while the next ones arrive."""
        assert item.rest is not None
        loop = asyncio.get_running_loop()
        reservation = await loop.run_in_executor(None, self.store.blobs.reserve, item.length)
        writing: asyncio.Future[None] | None = None
        try:
            pieces: list[bytes] = []
            octets = 0
            async for piece in item.rest:
                pieces.append(piece)
                octets += len(piece)
                if octets >= _WRITE:
                    if writing is not None:
                        await writing
                    writing = loop.run_in_executor(None, reservation.write, pieces)
                    pieces, octets = [], 0
            if writing is not None:
                await writing
            reservation.write(pieces)
            return reservation.finish()
        except BaseException:
            if writing is not None:
                await asyncio.wait([writing])
            reservation.abandon()
            raise

    async def _flush(self) -> None:
        if self._batch:
            batch, self._batch, self._octets = self._batch, [], 0
            self._flight.append(asyncio.create_task(self._keep(batch)))

    async def _keep(self, batch: list[Captured]) -> Outcome:
        outcome = await self.store.capture(self.lease, self.client.section, batch, _addressing(self.client))
        octets = sum(captured.reference.length for captured in batch)
        tally = self.tally
        tally.captured += outcome.messages
        tally.matched += outcome.matched
        tally.octets += octets
        self.observer.count(events.CAPTURED_TOTAL, outcome.messages, client=self.client.section)
        self.observer.count(events.CAPTURED_OCTETS, octets, client=self.client.section)
        had = tally.captured + tally.matched - self._listing.met
        left = None if self._left is None else max(self._left - had, 0)
        self.progress(self.client.section, self.folder, tally.captured, tally.octets, left)
        return outcome

    async def _landed(self, allowed: int) -> None:
        """Wait until no more than so many transactions are under way; raise what one of them raised, once none is."""
        try:
            while len(self._flight) > allowed:
                await self._flight.popleft()
        except BaseException:
            await asyncio.gather(*self._flight, return_exceptions=True)
            self._flight.clear()
            raise

    # --- 3 settle

    async def _settle(self) -> None:
        await self._troubles.move_lasting(self.reader)
        most = _SETTLE * max(CYCLE, self.tally.captured)
        while items := await self.store.unsettled(self.lease, most):
            settlement = await self.reader.settle(self.folder, items, self.client.processed_folder_path)
            await self._settled(settlement.committed)
            if settlement.gone:
                await self.store.gone(self.lease, settlement.gone)
            for remark in settlement.remarks:
                self._event(events.REMARK, remark=remark)
            self._event(events.SETTLED, settled=len(settlement.committed), gone=len(settlement.gone))
            if len(settlement.committed) + len(settlement.gone) < len(items):
                return  # the rest is asked for in the next cycle

    async def _settled(self, identifiers: tuple[str, ...]) -> None:
        if identifiers:
            await self.store.settled(self.lease, identifiers)
            self.tally.settled += len(identifiers)

    # --- 4 remember

    async def _remember(self, changes: Changes) -> None:
        # A message in trouble may be one of a former epoch: nothing has vanished before it is had.
        whole = not (changes.more or self._troubles.waiting or self._troubles.open)
        repair = await self.store.advance(self.lease, changes.new_state, read_whole=whole)
        if repair is not None:
            self._event(
                events.REBORN,
                matched=repair.matched,
                compared=repair.compared,
                new=repair.fresh,
                vanished=repair.vanished,
            )
        await self._listing.paced(changes)
        committed = tuple(await self.reader.commit())
        await self._settled(committed)
        tally = self.tally
        if changes.behind and committed:
            # What was behind these is shown now, also where nothing new was among them: an earlier commit was not reached.
            tally.more, tally.pace = True, 0.0
        if tally.captured or tally.matched:
            self._event(events.READ, captured=tally.captured, matched=tally.matched, octets=tally.octets, left=tally.left)
        else:
            self._event(events.UNCHANGED)

    def _event(self, event: events.Event, **fields: object) -> None:
        self.observer.event(event, client=self.client.section, folder=self.folder, **fields)


def _addressing(client: PopClient) -> Addressing:
    header = client.copy_message_with_header if client.copy_message_to_recipients else ""
    return Addressing(client.serves, header, client.inbound_msg_copy_limit)
