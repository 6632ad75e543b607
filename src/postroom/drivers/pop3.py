"""Read a mailbox over POP3 (RFC 1939): one session for each cycle, and none while waiting, for a session locks the maildrop.

What settle marks for deletion the server removes at QUIT alone, which ``commit`` sends. A session that ends in any other
way changes nothing at the server: so it ends when the store could not keep what was retrieved. Where the provider hides
what was retrieved once QUIT was said (Gmail), that hiding is an act like a deletion: it is owed to every message that is
kept, it is committed by QUIT, and there is no QUIT while a message could not be had.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace

from postroom.drivers import First, Kit, Settlement
from postroom.drivers.pop3_fetch import Fetching
from postroom.drivers.pop3_listing import Identity, Maildrop, preview, stat, take_stock, tops
from postroom.drivers.pop3_session import Pop3Session
from postroom.drivers.provider import Place
from postroom.errors import ConfigError, Pop3Error
from postroom.model import Absent, Changes, Disposition, Fetched, Listed, Preview, Unfetched, Unsettled
from postroom.net.credentials import Credentials
from postroom.net.stream import Trace
from postroom.settings import RECENT, FirstRead

_SURE = 3600.0  # seconds for which the same count, octets and last unique-id are taken for an unchanged maildrop
_PIECE = 2000  # messages of a census at once
_SAMPLE = 32  # unique-ids kept in the state


@asynccontextmanager
async def open_pop3(
    place: Place, credentials: Credentials, kit: Kit, trace: Trace | None, *, read_only: bool = False
) -> AsyncIterator[Pop3Reader]:
    """A reader, its first session logged in."""
    reader = Pop3Reader(place, credentials, kit, trace, read_only=read_only)
    try:
        await reader.session()
        yield reader
    finally:
        reader.drop()


@dataclass(frozen=True, slots=True)
class State:
    """The maildrop as it was listed last."""

    identity: str
    count: int
    octets: int
    last: str  # identity of the last message
    looked_at: float  # when all of it was listed
    fresh: tuple[str, ...] = ()  # identities that were listed for the first time …
    stayed: tuple[str, ...] = ()  # … and some that outlasted a session: one of them must still be there

    def lasting(self) -> State:
        """The same maildrop in another session."""
        stayed = (*self.stayed, *self.fresh)[:_SAMPLE]
        return replace(self, fresh=(), stayed=stayed)

    @classmethod
    def read(cls, text: str) -> State:
        """From the store's text."""
        fields = json.loads(text)
        return cls(**{**fields, "fresh": tuple(fields["fresh"]), "stayed": tuple(fields["stayed"])})

    def text(self) -> str:
        """For the store."""
        return json.dumps(asdict(self), separators=(",", ":"))


class Pop3Reader:
    """A ``Reader`` over one session after another."""

    def __init__(self, place: Place, credentials: Credentials, kit: Kit, trace: Trace | None, *, read_only: bool = False) -> None:
        self._read_only = read_only  # no session ends with QUIT: nothing was done at the server then (RFC 1939 section 6)
        self._place = place
        self._credentials = credentials
        self._kit = kit
        self._trace = trace
        self._identity = Identity.UNIQUE_ID
        self._login_delay = 0.0
        self._session: Pop3Session | None = None
        self._maildrop: Maildrop | None = None  # of this session
        self._fetching: Fetching | None = None  # of this session
        self._marked: list[str] = []  # what QUIT makes final

    # --- sessions

    async def session(self) -> Pop3Session:
        """The session of this cycle, opened where there is none."""
        if self._session is None:
            clock = self._kit.clock
            self._maildrop, self._fetching, self._marked = None, None, []
            self._session = await Pop3Session.open(self._place, self._credentials, self._kit.dialer, clock, self._trace)
            self._login_delay = self._session.login_delay
        return self._session

    def drop(self) -> None:
        """End the session without QUIT: the server forgets what was marked (RFC 1939 section 6)."""
        if self._session is not None:
            self._session.stream.abort()
            self._session = None

    async def _stock(self) -> Maildrop:
        session = await self.session()
        if self._maildrop is None:
            self._maildrop = await take_stock(session, self._identity, top=self._place.manners.top)
        return self._maildrop

    # --- listing

    async def changes(self, folder: str, since: str | None, limit: int, first: First = FirstRead.ALL) -> Changes:
        session = await self.session()
        state = State.read(since) if since else None
        if state is not None:
            self._identity = Identity(state.identity)
        count, octets = await stat(session)
        if state is not None and since is not None and await self._unchanged(session, state, count, octets):
            return Changes((), state.lasting().text(), hides=self._hides, behind=self._behind, total=count, pace=self._login_delay)
        maildrop = await self._stock()
        if maildrop.flaw:
            self._check_recent(maildrop.flaw)
        if maildrop.identity is not self._identity:
            self._identity = maildrop.identity
            if state is not None:
                return Changes((), "", reset=maildrop.flaw or "the server does not give headers any more")
        if state is not None and not self._hides and (reason := _reset_reason(state, maildrop)):
            return Changes((), "", reset=reason)
        created = tuple(reversed(maildrop.messages))
        spared: tuple[Listed, ...] = ()
        if first is FirstRead.NEW:  # days are told by headers alone, which the caller asks for
            created, spared = (), created
        new = _state(maildrop, state, count, octets, self._kit.clock.now())
        partly = replace(new, count=-1)  # never the same as a maildrop: all is listed again
        return Changes(
            created,
            new.text(),
            began=partly.text(),
            complete=True,
            hides=self._hides,
            behind=self._behind,
            total=len(maildrop.messages),
            left=0,
            spared=spared,
            pace=self._login_delay,
        )

    @property
    def _hides(self) -> bool:
        if (known := self._place.manners.hides_retrieved) is not None:
            return known
        # EXPIRE 0: what was retrieved may be removed at QUIT (RFC 2449 section 6.7)
        return self._session is not None and self._session.capabilities.get("EXPIRE", ())[:1] == ("0",)

    @property
    def _behind(self) -> bool:
        if self._place.manners.hides_retrieved is not None:
            return self._place.manners.hides_retrieved
        return self._hides and not self._login_delay  # nobody knows: an empty look is worth it where it costs no delay

    async def _unchanged(self, session: Pop3Session, state: State, count: int, octets: int) -> bool:
        """Whether nothing can have come: a maildrop grows at its end. Now and then all is listed all the same."""
        if (count, octets) != (state.count, state.octets) or self._kit.clock.now() - state.looked_at > _SURE:
            return False
        if not count:
            return True
        if state.identity != Identity.UNIQUE_ID.value:
            return False
        answer = await session.ask(b"UIDL %d" % count)
        return answer.ok and answer.text.split()[1:2] == [state.last]

    def _check_recent(self, flaw: str) -> None:
        if self._credentials.user.lower().startswith(RECENT):
            raise ConfigError(
                f"{flaw}: with recent: every client is shown the same mail again, and only unique-ids tell it apart",
                option="mailbox",
            )

    # --- the rest

    async def headers(self, folder: str, listed: Sequence[Listed]) -> Mapping[str, bytes]:
        session, maildrop = await self.session(), await self._stock()
        numbers = {number: message.identifier for message in listed if (number := maildrop.held(message)) is not None}
        if not self._place.manners.top:
            return {}
        try:
            heads = await tops(session, list(numbers))
        except Pop3Error:
            return {}
        return {numbers[number]: head for number, head in heads.items()}

    async def preview(self, folder: str, first: First) -> Preview:
        return await preview(await self.session(), first)

    async def fetch(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        maildrop = await self._stock()
        async for item in self._fetcher(await self.session()).run(maildrop, listed):
            yield item

    async def fetch_headers(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        maildrop = await self._stock()
        fetcher = self._fetcher(await self.session())
        async for item in fetcher.fetch_headers(maildrop, listed, top=self._place.manners.top):
            yield item

    def _fetcher(self, session: Pop3Session) -> Fetching:
        if self._fetching is None:
            self._fetching = Fetching(session)
        return self._fetching

    async def settle(self, folder: str, items: Sequence[Unsettled], target: str | None) -> Settlement:
        session = await self.session()
        maildrop = await self._stock()
        gone = [item.listed.identifier for item in items if maildrop.held(item.listed) is None]
        here = {item.listed.identifier: item for item in items if maildrop.held(item.listed) is not None}
        fetcher = self._fetcher(session)
        doomed = [name for name, item in here.items() if item.disposition is Disposition.DELETE]
        deleted, refusals = await fetcher.delete({name: maildrop.numbers[name] for name in doomed})
        kept = [item.listed for item in here.values() if item.disposition is Disposition.RETRIEVED]
        await fetcher.retrieve_again(maildrop, [listed for listed in kept if listed.identifier not in fetcher.retrieved])
        hidden = [listed.identifier for listed in kept if listed.identifier in fetcher.retrieved]
        self._marked += [*deleted, *hidden]
        strange = {item.disposition.value for item in here.values()} - {"delete", "retrieved"}
        remarks = [f"POP3 cannot do what after-capture = {word} asks for" for word in sorted(strange)]
        return Settlement((), tuple(gone), (*remarks, *dict.fromkeys(refusals)))

    async def census(self, folder: str) -> AsyncIterator[Sequence[Listed]]:
        messages = (await self._stock()).messages
        for start in range(0, len(messages), _PIECE):
            yield messages[start : start + _PIECE]

    async def commit(self) -> Sequence[str]:
        session, fetching, marked = self._session, self._fetching, self._marked
        if session is None:
            return ()
        if self._read_only or (fetching is not None and (fetching.midway or (fetching.failed and self._hides))):
            self.drop()
            return ()
        made_final = await session.quit()
        self._session = None
        return tuple(marked) if made_final else ()

    async def wait(self, seconds: float) -> None:
        self.drop()  # there is one only where a cycle did not come to its commit
        await self._kit.clock.sleep(seconds)

    def stands(self) -> bool:
        return False  # a session locks the maildrop (RFC 1939 section 4)


def _state(maildrop: Maildrop, before: State | None, count: int, octets: int, now: float) -> State:
    names = maildrop.numbers
    met = [] if before is None else [name for name in (*before.stayed, *before.fresh) if name in names]
    stayed = tuple(dict.fromkeys(met))[:_SAMPLE]
    fresh = tuple(listed.identifier for listed in maildrop.messages[-_SAMPLE:] if listed.identifier not in stayed)
    last = maildrop.messages[-1].identifier if maildrop.messages else ""
    return State(maildrop.identity.value, count, octets, last, now, fresh, stayed)


def _reset_reason(state: State, maildrop: Maildrop) -> str:
    """Why the identities are not those that the state speaks of; empty when they are."""
    known = (*state.stayed, *state.fresh)
    if not state.stayed or not maildrop.messages or any(name in maildrop.numbers for name in known):
        return ""
    return f"none of the {len(state.stayed)} unique-ids that were there before is there now: the server counts anew"
