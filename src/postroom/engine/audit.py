"""Completeness: what a server holds, beside what is accounted for here. A first look finds what may be missing; a second one,
after the folder was listed once more, tells what is.

What arrived, or was read, between the looks is not missing: it has a receipt by then, or the next cycles list it. What was
expunged between them is not there any more at the second look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from postroom import events
from postroom.clock import Clock
from postroom.drivers import Reader
from postroom.errors import Reply
from postroom.events import Observer
from postroom.model import Audit, Lease
from postroom.store import Store
from postroom.store.audits import Begun

SHOWN = 20  # missing messages that are named where people look
_LIST = 2000
_AGAIN = 3600.0  # seconds until an audit that came to no end is tried again
_PIECE = 500


@dataclass
class FolderAudit:
    """One audit of one folder. ``look``, then, where it says so, ``list_coming`` or a whole cycle, then ``conclude``."""

    client: str
    folder: str
    source: int
    reader: Reader
    store: Store
    _begun: Begun | None = None
    _counted: Audit = field(default_factory=lambda: Audit("", "", 0.0))
    _met: int = 0
    _open: int = 0
    _reset: str = ""

    async def look(self) -> bool:
        """The first look; True when something is not accounted for, so that a second is due."""
        audits = self.store.audits
        begun = self._begun = await audits.begin(self.client, self.source, self.folder)
        listed = captured = former = spared = troubles = big = 0
        async for piece in self.reader.census(self.folder):
            found = await audits.compare(begun, piece)
            listed += len(piece)
            captured += found.captured
            former += found.former
            spared += found.spared
            troubles += found.troubles
            big += found.big
            self._met += found.before
            self._open += len(found.rest)
            if found.rest:
                await audits.note(begun, found.rest)
        self._counted = Audit(self.client, self.folder, 0.0, listed, captured, former, spared, troubles, big)
        return self._open > 0

    async def list_coming(self) -> None:
        """List what the next cycles will: it is not missing. For a reader that no cycle uses, since its news are taken here."""
        assert self._begun is not None
        state = (await self.store.audits.position(self.source, self.folder)).state
        while True:
            changes = await self.reader.changes(self.folder, state, _LIST)
            if changes.reset:
                self._reset = changes.reset
                return
            await self.store.audits.coming(self._begun, [listed.identifier for listed in changes.created])
            if not changes.more:
                return
            state = changes.new_state

    async def conclude(self) -> Audit:
        """The second look where one is due, and the result, which is kept."""
        assert self._begun is not None
        if self._open and not self._reset:
            async for piece in self.reader.census(self.folder):
                for start in range(0, len(piece), _PIECE):
                    names = [listed.identifier for listed in piece[start : start + _PIECE]]
                    await self.store.audits.again(self._begun, names)
        return await self.store.audits.finish(self._begun, self._counted, self._met, self._reset)

    async def first_missing(self) -> list[str]:
        """The identifiers of the first that are missing."""
        assert self._begun is not None
        names = []
        async for found in self.store.audits.missing(self._begun):
            names.append(found.listed.identifier)
            if len(names) == SHOWN:
                break
        return names

    @property
    def begun(self) -> Begun:
        """What the store's verbs are asked with."""
        assert self._begun is not None
        return self._begun


@dataclass
class Auditing:
    """The audits of one watched mailbox, by the schedule of ``audit-interval``, between cycles and over their reader."""

    section: str
    interval: float  # seconds; 0: never
    store: Store
    clock: Clock
    observer: Observer
    _due: float | None = None
    _looked: list[FolderAudit] = field(default_factory=list)  # their second look is due after one more cycle

    def drop(self) -> None:
        """The conversation is over: an audit under way is begun anew later."""
        self._looked = []

    async def step(self, reader: Reader, leases: Sequence[Lease]) -> bool:
        """After a cycle that left nothing to read: take the step that is due. True when a cycle is to follow at once.

        Raises what the reader raises, but for a refusal, which does not end the conversation.
        """
        if not self.interval:
            return False
        try:
            if self._looked:
                return await self._conclude()
            if self.clock.now() < await self._when():
                return False
            self._due = self.clock.now() + self.clock.jitter(_AGAIN)  # whatever it comes to
            doubts = False
            for lease in leases:
                audit = FolderAudit(self.section, lease.folder, lease.source, reader, self.store)
                self._looked.append(audit)
                doubts = await audit.look() or doubts
            return doubts or await self._conclude()
        except Reply as error:
            self.drop()
            self.observer.event(events.AUDIT_FAILED, client=self.section, error=str(error))
            return False

    async def _conclude(self) -> bool:
        looked, self._looked = self._looked, []
        queued = 0
        for audit in looked:
            result = await audit.conclude()
            tell(self.observer, result)
            if result.missing:
                found = await self.store.audits.requeue(audit.begun, replaced=False)
                names = ", ".join(await audit.first_missing())
                self.observer.event(
                    events.MISSING,
                    client=self.section,
                    folder=audit.folder,
                    missing=result.missing,
                    queued=found,
                    identifiers=names,
                )
                queued += found
        self._due = self.clock.now() + self.clock.jitter(self.interval)
        return queued > 0

    async def _when(self) -> float:
        """When the next audit is due: after the last one, or, where there was none, within a quarter of the interval."""
        if self._due is None:
            past = [audit.at for audit in await self.store.audits.results() if audit.client == self.section]
            first = self.clock.now() + self.clock.jitter(self.interval / 8, 1.0)
            self._due = min(past) + self.clock.jitter(self.interval) if past else first
        return self._due


def tell(observer: Observer, audit: Audit) -> None:
    """Event and gauges of a finished audit."""
    observer.event(
        events.AUDITED,
        client=audit.client,
        folder=audit.folder,
        listed=audit.listed,
        accounted=audit.accounted,
        coming=audit.coming,
        missing=audit.missing,
        here_only=audit.here_only,
        reset=audit.reset,
    )
    observer.gauge(events.AUDITED_AT, audit.at, client=audit.client, folder=audit.folder)
    observer.gauge(events.AUDIT_MISSING, float(audit.missing), client=audit.client, folder=audit.folder)
