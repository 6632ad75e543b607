"""Messages that are listed and not here: asked for again, shown with their age, and never in the way of the others.

A message in trouble joins the fetch list of the first cycle in which it is due. One that is larger than ``maximum-msg-size``
and left at the server is due when that has changed, and now and then to see whether it is still there. One that was refused
for a day goes to ``failed-items-folder-path``, where that is written; its record stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from postroom import events
from postroom.clock import Clock
from postroom.drivers import Reader
from postroom.engine.retry import trouble_again
from postroom.events import Observer
from postroom.model import Absent, Disposition, Lease, Listed, Trouble, TroubleKind, Unfetched, Unsettled
from postroom.settings import BigMessages, PopClient
from postroom.store import Store

LASTING = 24 * 3600.0  # seconds after which a refused message is moved away
_LOOK = 24 * 3600.0  # seconds after which a message left at the server is looked for


@dataclass
class Troubles:
    """The troubles of one folder in one cycle. ``open`` counts those that it met with."""

    client: PopClient
    folder: str
    lease: Lease
    store: Store
    clock: Clock
    observer: Observer
    absent: set[tuple[str, str]]  # folder and identifier, found absent in this conversation
    open: int = 0
    waiting: int = 0  # not due yet
    _due: dict[str, Trouble] = field(default_factory=dict)  # by identifier
    _lasting: dict[str, Trouble] = field(default_factory=dict)  # refused for so long that they are moved

    async def due(self) -> list[Listed]:
        """What is to be asked for again now."""
        for trouble in await self.store.troubles(self.lease):
            if trouble.kind is TroubleKind.MOVED:
                continue
            if trouble.kind is TroubleKind.BIG and self._leaves(trouble.listed) and trouble.not_before > self.clock.now():
                continue
            if trouble.kind is TroubleKind.BIG or trouble.not_before <= self.clock.now():
                self._due[trouble.listed.identifier] = trouble
            else:
                self.waiting += 1
        return [trouble.listed for trouble in self._due.values()]

    def is_big(self, listed: Listed) -> bool:
        """Whether a message is larger than what is taken whole."""
        return listed.size > self.client.maximum_msg_size

    def _leaves(self, listed: Listed) -> bool:
        return self.is_big(listed) and self.client.big_messages is BigMessages.LEAVE

    async def left(self, listed: Listed) -> None:
        """A message is left at the server for its size."""
        detail = f"{listed.size} octets are more than maximum-msg-size ({self.client.maximum_msg_size}): it is left at the server"
        known = self._due.get(listed.identifier)
        await self.store.trouble(self.lease, listed, TroubleKind.BIG, detail, self.clock.now() + self.clock.jitter(_LOOK))
        if known is None or known.kind is not TroubleKind.BIG:
            self._told(events.BIG, identifier=listed.identifier, octets=listed.size, done="left at the server")

    async def not_had(self, item: Absent | Unfetched, listed: Listed) -> None:
        """Remember a message that did not come. One absent again in a later conversation is gone."""
        trouble = self._due.get(listed.identifier)
        here = (self.folder, item.identifier)
        if isinstance(item, Absent):
            known = trouble is not None and trouble.kind in (TroubleKind.ABSENT, TroubleKind.BIG)
            if known and here not in self.absent:
                await self.store.confirmed_absent(self.lease, [item.identifier])
                return
            self.absent.add(here)
        kind = TroubleKind.ABSENT if isinstance(item, Absent) else TroubleKind.FAULT
        detail = "listed, then not there any more" if isinstance(item, Absent) else str(item.fault)
        attempts = trouble.attempts if trouble is not None else 0
        again = self.clock.now() + self.clock.jitter(trouble_again(attempts, absent=isinstance(item, Absent)))
        await self.store.trouble(self.lease, listed, kind, detail, again)
        self.open += 1
        if isinstance(item, Unfetched):
            self._told(events.TROUBLE, identifier=item.identifier, detail=detail)
            if trouble is not None and self.clock.now() - trouble.first_seen >= LASTING:
                self._lasting[listed.identifier] = trouble

    async def move_lasting(self, reader: Reader) -> None:
        """Move what was refused for a day into the folder for such messages, where one is written."""
        target = self.client.failed_items_folder_path
        if target is None or not self._lasting:
            return
        items = [Unsettled(trouble.listed, Disposition.MOVE) for trouble in self._lasting.values()]
        settlement = await reader.settle(self.folder, items, target)
        for name in settlement.committed:
            trouble = self._lasting[name]
            detail = f"moved to {target} unread; {trouble.detail}"
            await self.store.trouble(self.lease, trouble.listed, TroubleKind.MOVED, detail, self.clock.now())
            self._told(events.FAILED_ITEM, identifier=name, target=target, detail=trouble.detail)

    def _told(self, event: events.Event, **fields: object) -> None:
        self.observer.event(event, client=self.client.section, folder=self.folder, **fields)
