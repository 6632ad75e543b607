"""Read a mailbox over IMAP.

The state of a folder keeps two marks: all from ``oldest`` to ``newest`` (UIDs) is accounted for. New mail comes first, above
``newest``; then what is still to be read below ``oldest``, the newest first. An unchanged folder costs SELECT and a look at
one message.
"""

from __future__ import annotations

import datetime
import heapq
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from postroom.drivers import First, Kit, Settlement, imap_first
from postroom.drivers.imap_census import census
from postroom.drivers.imap_fetch import Fetching
from postroom.drivers.imap_headers import fetch_headers
from postroom.drivers.imap_idle import idle
from postroom.drivers.imap_session import ImapSession, Selected, identifier
from postroom.drivers.imap_settle import settle
from postroom.drivers.provider import Place
from postroom.model import Absent, Changes, Fetched, Listed, Preview, Unfetched, Unsettled
from postroom.net.credentials import Credentials
from postroom.net.stream import Trace
from postroom.settings import FirstRead
from postroom.wire.imap import commands, types

_WIDTH_LIMIT = 1_000_000  # UIDs asked for at once in a sparse folder


@asynccontextmanager
async def open_imap(
    place: Place, credentials: Credentials, kit: Kit, trace: Trace | None, *, read_only: bool = False
) -> AsyncIterator[ImapReader]:
    """A reader over a logged-in conversation."""
    session = await ImapSession.open(place, credentials, kit.dialer, kit.clock, trace)
    session.read_only = read_only
    try:
        yield ImapReader(session, kit, f"{credentials.user} at {place.host}:{place.port}")
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
    first: str = FirstRead.ALL.value  # of what is below ``oldest``: all is read, none, or what came on a day or later

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

    def __init__(self, session: ImapSession, kit: Kit, mailbox: str = "") -> None:
        self._session = session
        self._kit = kit
        self._mailbox = mailbox  # whose IDLE it is
        self._first: str | None = None  # the folder to idle on …
        self._known: State | None = None  # … and how far it was listed last
        self._listed: dict[str, Listed] = {}  # listed in this conversation since the folder was opened
        self._widths: dict[str, int] = {}  # UIDs asked for at once below the oldest mark, by folder
        self._opened: set[str] = set()  # folders that this conversation opened: STATUS alone does not show a restored server

    # --- listing

    async def changes(self, folder: str, since: str | None, limit: int, first: First = FirstRead.ALL) -> Changes:
        self._first = self._first or folder
        changes = await self._changes(folder, since, limit, first)
        if folder == self._first and changes.new_state:
            self._known = State.read(changes.new_state)
        return changes

    async def _changes(self, folder: str, since: str | None, limit: int, first: First) -> Changes:
        state = None if since is None else State.read(since)
        selected = await self._look(folder, state)
        if selected is None:  # STATUS says that nothing changed
            return Changes((), since or "")
        began = ""
        if state is None:
            state = self._beginning(selected, await self._next(selected), first)
            began = state.text()
            selected.begun = True
        elif reason := _reset_reason(state, selected):
            return Changes((), "", reset=reason, lasting=selected.lasting)
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
        if (
            state is not None
            and not state.evidence
            and selected.lasting
            and _same(state, selected.validity, selected.next, selected.modseq)
        ):
            selected.touched = False  # else the marked message is looked at: a restored server may have counted as far again
        return selected

    async def _unchanged(self, folder: str, state: State) -> bool:
        """STATUS of a folder that is not open (RFC 9051 section 6.3.11; HIGHESTMODSEQ: RFC 7162 section 3.1.7)."""
        if "CONDSTORE" not in self._session.capabilities:
            return False
        items = [b"UIDVALIDITY", b"UIDNEXT", b"HIGHESTMODSEQ"]
        status = await self._session.status(folder, items)
        return status is not None and _same(state, *(status.items.get(item.decode()) for item in items))

    async def _next(self, selected: Selected) -> int:
        """UIDNEXT; from the last message where the server keeps it to itself."""
        if selected.next is not None:
            return selected.next
        if selected.exists == 0:
            return 1
        responses = await self._session.command(commands.uid_fetch(b"*", b"UID"))
        return 1 + max((r.uid for r in responses if isinstance(r, types.Fetch) and r.uid), default=0)

    def _beginning(self, selected: Selected, next_: int, first: First) -> State:
        oldest = next_ if selected.exists else 1
        chosen = first.value if isinstance(first, FirstRead) else first.isoformat()
        return State(selected.validity, next_, next_ - 1, oldest, selected.modseq or 0, first=chosen)

    async def _list(self, selected: Selected, state: State, limit: int) -> Changes:
        fresh: list[_Row] = []
        older: list[_Row] = []
        try:
            if selected.touched:
                fresh, state = await self._list_new(selected, state, limit)
        except _Replaced as replaced:
            return Changes((), "", reset=str(replaced))
        if not selected.touched and not state.whole and len(fresh) < limit:
            older, state = await self._list_old(selected, state, limit - len(fresh))
        every = state.first == FirstRead.ALL.value
        spared = [] if every else [row.listed for row in older if _is_spared(state.first, row.listed)]
        created = [row.listed for row in (*fresh, *older)]
        if spared:
            left_alone = set(spared)
            created = [listed for listed in created if listed not in left_alone]
        self._listed = {listed.identifier: listed for listed in created}  # of this listing alone: a folder may be large
        more = selected.touched or not state.whole
        left = None
        if not more:
            left = 0
        elif older:  # as many are below the lowest as its sequence number says (RFC 9051 section 2.3.1.2)
            left = older[-1].number - 1
        return Changes(tuple(created), state.text(), more=more, total=selected.exists, left=left, spared=tuple(spared))

    async def _list_new(self, selected: Selected, state: State, limit: int) -> tuple[list[_Row], State]:
        """What is above ``newest``, upwards; the folder stays ``touched`` when the limit cut it off.

        UIDNEXT is known at the moment of SELECT only; later, ``*`` stands for whatever is the last message then. The marked
        message is asked for too, and must still be the same: ``_Replaced`` when it is not.
        """
        found: list[_Row] = []
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
            found += taken
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

    async def _list_old(self, selected: Selected, state: State, limit: int) -> tuple[list[_Row], State]:
        """What is below the oldest mark, the newest first; wider stretches where there is little, narrower where there is much."""
        found: list[_Row] = []
        width = self._widths.get(selected.folder) or min(limit * max(1, state.next // max(selected.exists, 1)), _WIDTH_LIMIT)
        while state.oldest > 1 and len(found) < limit:
            low = 1 if selected.exists <= limit else max(1, state.oldest - width)
            taken, count = await self._highest(selected, low, state.oldest - 1, limit - len(found))
            if taken and taken[-1].uid > state.mark:
                state = replace(state, mark=taken[-1].uid, evidence=taken[-1].evidence)
            oldest = low if len(taken) == count else taken[0].uid
            found += reversed(taken)
            state = replace(state, oldest=oldest)
            if count * 2 < limit:
                width = min(width * 4, _WIDTH_LIMIT)
            elif count > limit * 2:
                width = max(limit, width * limit // count)
        self._widths[selected.folder] = width
        return found, state

    async def _rows(self, selected: Selected, uids: bytes) -> list[_Row]:
        rows = {row.uid: row async for row in self._listing(selected, uids)}
        return [rows[uid] for uid in sorted(rows)]

    async def _highest(self, selected: Selected, low: int, high: int, most: int) -> tuple[list[_Row], int]:
        """The highest so many of a stretch, rising, and how many are in it; no more than these are ever held."""
        kept: list[_Row] = []
        count = 0
        async for row in self._listing(selected, b"%d:%d" % (low, high)):
            if not low <= row.uid <= high:
                continue
            count += 1
            if len(kept) < most:
                heapq.heappush(kept, row)
            elif row > kept[0]:
                heapq.heapreplace(kept, row)
        return list({row.uid: row for row in sorted(kept)}.values()), count

    async def _listing(self, selected: Selected, uids: bytes) -> AsyncIterator[_Row]:
        validity = selected.validity
        async for response in self._session.until(await self._session.send(commands.uid_fetch(uids, self._items))):
            if isinstance(response, types.Fetch) and response.uid is not None and response.size is not None:
                listed = Listed(identifier(validity, response.uid), response.size, response.internal_date, response.email_id)
                yield _Row(response.uid, listed, response.number)

    @property
    def _items(self) -> bytes:
        email_id = b" X-GM-MSGID" if "X-GM-EXT-1" in self._session.capabilities else b""
        if "OBJECTID" in self._session.capabilities:
            email_id = b" EMAILID"
        return b"UID RFC822.SIZE INTERNALDATE" + email_id

    # --- the rest

    async def headers(self, folder: str, listed: Sequence[Listed]) -> Mapping[str, bytes]:
        await self._open(folder)
        return await imap_first.headers(self._session, listed)

    async def preview(self, folder: str, first: First) -> Preview:
        return await imap_first.preview(self._session, folder, first)

    async def fetch(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        await self._open(folder)
        fetching = Fetching(self._session, deque(listed))
        async for item in fetching.run():
            yield item

    async def fetch_headers(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        await self._open(folder)
        async for item in fetch_headers(self._session, listed):
            yield item

    async def settle(self, folder: str, items: Sequence[Unsettled], target: str | None) -> Settlement:
        await self._open(folder)
        return await settle(self._session, items, target, self._listed)

    async def census(self, folder: str) -> AsyncIterator[Sequence[Listed]]:
        selected = await self._open(folder)
        async for piece in census(self._session, selected, self._items):
            yield piece

    async def commit(self) -> Sequence[str]:
        return ()

    def stands(self) -> bool:
        return True

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
            await idle(self._session, selected, seconds, self._kit.clock, self._kit.idles, self._mailbox)
            if selected is not before and selected.next is None:
                selected.touched = True  # a server that keeps UIDNEXT to itself did not tell: the next cycle looks

    async def _open(self, folder: str) -> Selected:
        selected = self._session.selected
        if selected is None or selected.folder != folder:
            self._listed.clear()
            selected = await self._session.select(folder)
        return selected


class _Row(NamedTuple):
    uid: int
    listed: Listed
    number: int  # sequence number

    @property
    def evidence(self) -> str:
        return f"{self.listed.size} {self.listed.internal_date}"


class _Replaced(Exception):
    pass


def _check_mark(state: State, rows: Sequence[_Row]) -> None:
    for row in rows:
        if row.uid == state.mark and state.evidence and row.evidence != state.evidence:
            raise _Replaced(f"UID {row.uid} is another message now: the server was restored from a backup")


def _is_spared(first: str, listed: Listed) -> bool:
    """True for a message that a first read of less than all leaves alone. What has no readable date is read."""
    day = None if first == FirstRead.NEW.value else imap_first.utc_day(listed.internal_date) or datetime.date.max
    return day is None or day < datetime.date.fromisoformat(first)


def _same(state: State, validity: int | None, next_: int | None, modseq: int | None) -> bool:
    """True when nothing can have changed, as long as the server was not restored."""
    return (
        state.validity != 0
        and (validity, next_, modseq) == (state.validity, state.next, state.modseq)
        and next_ == state.newest + 1
    )


def _reset_reason(state: State, selected: Selected) -> str:
    """Why the server's numbers are not those that the state speaks of; empty when they are."""
    if selected.validity == 0:
        return "" if selected.begun else "the server keeps no UIDs from one SELECT to the next: it names no lasting UIDVALIDITY"
    if selected.validity != state.validity:
        return f"UIDVALIDITY was {state.validity} and is {selected.validity}"
    if selected.next is not None and selected.next < state.next:
        return f"UIDNEXT was {state.next} and is {selected.next}: the server was restored from a backup"
    if selected.modseq is not None and selected.modseq < state.modseq:
        return f"HIGHESTMODSEQ was {state.modseq} and is {selected.modseq}: the server was restored from a backup"
    return ""
