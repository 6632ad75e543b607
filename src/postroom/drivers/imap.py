"""Read a mailbox over IMAP.

The state of a folder keeps two marks: all from ``oldest`` to ``newest`` (UIDs) is accounted for. New mail comes first, above
``newest``; then what is still to be read below ``oldest``, the newest first. An unchanged folder costs SELECT and a look at
one message.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from postroom.drivers import Kit, Settlement
from postroom.drivers.imap_fetch import Fetching
from postroom.drivers.imap_session import ImapSession, Selected, identifier
from postroom.drivers.imap_settle import settle
from postroom.drivers.provider import Place
from postroom.model import Absent, Changes, Fetched, Listed, Unfetched, Unsettled
from postroom.net.credentials import Credentials
from postroom.net.stream import Trace
from postroom.wire.imap import commands, types

IDLE_LONGEST = 9 * 60.0  # seconds; below the half hour of RFC 2177 and the time-outs of most address translators
_WIDTH_LIMIT = 1_000_000  # UIDs asked for at once in a sparse folder


@asynccontextmanager
async def open_imap(place: Place, credentials: Credentials, kit: Kit, trace: Trace | None) -> AsyncIterator[ImapReader]:
    """A reader over a logged-in conversation."""
    session = await ImapSession.open(place, credentials, kit.dialer, kit.clock, trace)
    try:
        yield ImapReader(session, kit)
    except BaseException:
        session.stream.abort()
        raise
    await session.close()


@dataclass(frozen=True, slots=True)
class State:
    """How far a folder was listed."""

    validity: int
    next: int  # UIDNEXT as last seen; it never runs backwards
    newest: int
    oldest: int
    modseq: int = 0
    mark: int = 0  # UID of the highest message that was listed …
    evidence: str = ""  # … and its size and date: it must still be the same one

    @classmethod
    def read(cls, text: str) -> State:
        """From the store's text."""
        return cls(**json.loads(text))

    def text(self) -> str:
        """For the store."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @property
    def whole(self) -> bool:
        """True when nothing below is still to be read."""
        return self.oldest <= 1


class ImapReader:
    """A ``Reader`` over one conversation."""

    def __init__(self, session: ImapSession, kit: Kit) -> None:
        self._session = session
        self._kit = kit
        self._first: str | None = None  # the folder to idle on …
        self._known: State | None = None  # … and how far it was listed last
        self._listed: dict[str, Listed] = {}  # listed in this conversation since the folder was opened
        self._opened: set[str] = set()  # folders that this conversation opened: STATUS alone does not show a restored server

    # --- listing

    async def changes(self, folder: str, since: str | None, limit: int) -> Changes:
        self._first = self._first or folder
        changes = await self._changes(folder, since, limit)
        if folder == self._first and changes.new_state:
            self._known = State.read(changes.new_state)
        return changes

    async def _changes(self, folder: str, since: str | None, limit: int) -> Changes:
        state = None if since is None else State.read(since)
        selected = await self._look(folder, state)
        if selected is None:  # STATUS says that nothing changed
            return Changes((), since or "")
        began = ""
        if state is None:
            state = self._beginning(selected, await self._next(selected))
            began = state.text()
        elif reason := _reset_reason(state, selected):
            return Changes((), "", reset=reason)
        if not selected.touched and state.whole:
            return Changes((), state.text())
        return replace(await self._list(selected, state, limit), began=began)

    async def _look(self, folder: str, state: State | None) -> Selected | None:
        """Open the folder, or learn what is new in the open one. None: unchanged, and not opened."""
        session = self._session
        selected = session.selected
        if selected is not None and selected.folder == folder:
            if not selected.touched and (state is None or state.whole):  # else the listing below hears of news
                await session.command(b"NOOP")
            return selected
        opened = selected is not None and folder in self._opened
        if opened and state is not None and state.whole and await self._unchanged(folder, state):
            return None
        self._listed.clear()
        self._opened.add(folder)
        selected = await session.select(folder)
        if state is not None and not state.evidence and _same(state, selected.validity, selected.next, selected.modseq):
            selected.touched = False  # else the marked message is looked at: a restored server may have counted as far again
        return selected

    async def _unchanged(self, folder: str, state: State) -> bool:
        """STATUS of a folder that is not open (RFC 9051 section 6.3.11; HIGHESTMODSEQ: RFC 7162 section 3.1.7)."""
        if "CONDSTORE" not in self._session.capabilities:
            return False
        items = [b"UIDVALIDITY", b"UIDNEXT", b"HIGHESTMODSEQ"]
        for response in await self._session.command(commands.status(folder, items)):
            if isinstance(response, types.MailboxStatus):
                return _same(state, *(response.items.get(item.decode()) for item in items))
        return False

    async def _next(self, selected: Selected) -> int:
        """UIDNEXT; from the last message where the server keeps it to itself."""
        if selected.next is not None:
            return selected.next
        if selected.exists == 0:
            return 1
        responses = await self._session.command(commands.uid_fetch(b"*", b"UID"))
        return 1 + max((r.uid for r in responses if isinstance(r, types.Fetch) and r.uid), default=0)

    def _beginning(self, selected: Selected, next_: int) -> State:
        oldest = next_ if selected.exists else 1
        return State(selected.validity, next_, next_ - 1, oldest, selected.modseq or 0)

    async def _list(self, selected: Selected, state: State, limit: int) -> Changes:
        created: list[Listed] = []
        try:
            if selected.touched:
                created, state = await self._list_new(selected, state, limit)
        except _Replaced as replaced:
            return Changes((), "", reset=str(replaced))
        if not selected.touched and not state.whole and len(created) < limit:
            older, state = await self._list_old(selected, state, limit - len(created))
            created += older
        for listed in created:
            self._listed[listed.identifier] = listed
        more = selected.touched or not state.whole
        return Changes(tuple(created), state.text(), more=more, total=selected.exists)

    async def _list_new(self, selected: Selected, state: State, limit: int) -> tuple[list[Listed], State]:
        """What is above ``newest``, upwards; the folder stays ``touched`` when the limit cut it off.

        UIDNEXT is known at the moment of SELECT only; later, ``*`` stands for whatever is the last message then. The marked
        message is asked for too, and must still be the same: ``_Replaced`` when it is not.
        """
        found: list[Listed] = []
        ceiling, selected.next = selected.next, None
        selected.touched = False
        while True:
            low = state.mark or state.newest + 1
            high = None if ceiling is None else min(ceiling - 1, state.newest + max(limit * 4, 1000))
            if high is not None and high < low:
                break
            rows = await self._rows(selected, b"%d:%b" % (low, b"*" if high is None else b"%d" % high))
            _check_mark(state, rows)
            fresh = [row for row in rows if row.uid > state.newest]
            taken = fresh[: limit - len(found)]
            found += [row.listed for row in taken]
            cut = len(taken) < len(fresh)
            newest = max(high or 0, state.newest)
            if cut or high is None:  # only as far as was taken
                newest = taken[-1].uid if taken else state.newest
            if taken:
                state = replace(state, mark=taken[-1].uid, evidence=taken[-1].evidence)
            state = replace(state, newest=newest, next=max(state.next, newest + 1))
            if cut:
                selected.next = None if selected.touched else ceiling  # touched by now: news came while we listed
                selected.touched = True
                return found, state
            if ceiling is None or newest + 1 >= ceiling:
                break
        modseq = selected.modseq or state.modseq
        return found, replace(state, next=max(state.next, ceiling or 0), modseq=modseq)

    async def _list_old(self, selected: Selected, state: State, limit: int) -> tuple[list[Listed], State]:
        """What is below the oldest mark, the newest first; wider stretches where there is little."""
        found: list[Listed] = []
        width = limit * max(1, state.next // max(selected.exists, 1))
        while state.oldest > 1 and len(found) < limit:
            low = 1 if selected.exists <= limit else max(1, state.oldest - min(width, _WIDTH_LIMIT))
            rows = await self._rows(selected, b"%d:%d" % (low, state.oldest - 1))
            rows = [row for row in rows if low <= row.uid < state.oldest]
            taken = rows[-(limit - len(found)) :]
            if taken and taken[-1].uid > state.mark:
                state = replace(state, mark=taken[-1].uid, evidence=taken[-1].evidence)
            oldest = low if len(taken) == len(rows) else taken[0].uid
            found += [row.listed for row in reversed(taken)]
            state = replace(state, oldest=oldest)
            width = width * 4 if len(rows) * 2 < limit else width
        return found, state

    async def _rows(self, selected: Selected, uids: bytes) -> list[_Row]:
        items = b"UID RFC822.SIZE INTERNALDATE" + self._email_id
        responses = await self._session.command(commands.uid_fetch(uids, items))
        rows, validity = {}, selected.validity
        for response in responses:
            if isinstance(response, types.Fetch) and response.uid is not None and response.size is not None:
                listed = Listed(identifier(validity, response.uid), response.size, response.internal_date, response.email_id)
                rows[response.uid] = _Row(response.uid, listed)
        return [rows[uid] for uid in sorted(rows)]

    @property
    def _email_id(self) -> bytes:
        if "OBJECTID" in self._session.capabilities:
            return b" EMAILID"
        return b" X-GM-MSGID" if "X-GM-EXT-1" in self._session.capabilities else b""

    # --- the rest

    async def fetch(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        await self._open(folder)
        fetching = Fetching(self._session, deque(listed))
        async for item in fetching.run():
            yield item

    async def settle(self, folder: str, items: Sequence[Unsettled], target: str | None) -> Settlement:
        await self._open(folder)
        return await settle(self._session, items, target, self._listed)

    async def commit(self) -> Sequence[str]:
        return ()

    async def wait(self, seconds: float) -> None:
        if self._first is None or "IDLE" not in self._session.capabilities:
            await self._kit.clock.sleep(seconds)
            return
        before = self._session.selected
        selected = await self._open(self._first)
        if selected is not before and self._known is not None:  # opened anew after other folders: has anything come meanwhile?
            here = (self._known.validity, self._known.newest + 1)
            selected.touched = (selected.validity, selected.next or here[1]) != here
        if not selected.touched:
            await self._idle(selected, min(seconds, IDLE_LONGEST))
            if selected is not before and selected.next is None:
                selected.touched = True  # a server that keeps UIDNEXT to itself did not tell: the next cycle looks

    async def _open(self, folder: str) -> Selected:
        selected = self._session.selected
        if selected is None or selected.folder != folder:
            self._listed.clear()
            selected = await self._session.select(folder)
        return selected

    async def _idle(self, selected: Selected, seconds: float) -> None:
        """IDLE (RFC 2177) until the server tells of something, or the time is over; DONE proves that it still hears us."""
        session = self._session
        tag = await session.send(b"IDLE")
        if not await self._idling(tag):  # announced and refused: the cycle's pause is the poll
            await self._kit.clock.sleep(seconds)
            return
        session.fragments.shrink()  # the buffer comes back with the first octet
        end = self._kit.clock.monotonic() + seconds
        while not selected.touched and (left := end - self._kit.clock.monotonic()) > 0:
            if await session.unsolicited(left) is None:
                break
        await session.done()
        await session.finish(tag)

    async def _idling(self, tag: str) -> bool:
        """True once the server idles with us, False when it refuses."""
        while True:
            response = await self._session.response()
            if isinstance(response, types.Continuation):
                return True
            if isinstance(response, types.StatusResponse) and response.tag == tag:
                return False


class _Row(NamedTuple):
    uid: int
    listed: Listed

    @property
    def evidence(self) -> str:
        return f"{self.listed.size} {self.listed.internal_date}"


class _Replaced(Exception):
    pass


def _check_mark(state: State, rows: Sequence[_Row]) -> None:
    for row in rows:
        if row.uid == state.mark and state.evidence and row.evidence != state.evidence:
            raise _Replaced(f"UID {row.uid} is another message now: the server was restored from a backup")


def _same(state: State, validity: int | None, next_: int | None, modseq: int | None) -> bool:
    """True when nothing can have changed, as long as the server was not restored."""
    return (validity, next_, modseq) == (state.validity, state.next, state.modseq) and next_ == state.newest + 1


def _reset_reason(state: State, selected: Selected) -> str:
    """Why the server's numbers are not those that the state speaks of; empty when they are."""
    if selected.validity != state.validity:
        return f"UIDVALIDITY was {state.validity} and is {selected.validity}"
    if selected.next is not None and selected.next < state.next:
        return f"UIDNEXT was {state.next} and is {selected.next}: the server was restored from a backup"
    if selected.modseq is not None and selected.modseq < state.modseq:
        return f"HIGHESTMODSEQ was {state.modseq} and is {selected.modseq}: the server was restored from a backup"
    return ""
