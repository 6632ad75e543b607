"""The folder of what was sent, over IMAP: look whether a message is there, and file a copy.

A server's SEARCH is a hint. HEADER finds parts of an id too, some servers find whole ids only or none that begins oddly, and
what came a moment ago may not be in an index yet. So what was found is compared by its own Message-ID, and where nothing
was found, that of the newest messages is read.
"""

from __future__ import annotations

import asyncio
import datetime
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from postroom.drivers import Kit
from postroom.drivers.imap_session import ImapSession
from postroom.drivers.provider import Place
from postroom.errors import ImapStatus
from postroom.net.credentials import Credentials
from postroom.net.stream import Trace
from postroom.outbound import Content
from postroom.wire.imap import commands, dates, types, utf7

USE = "\\Sent"
"""RFC 6154 section 2."""

_USUAL = "Sent"  # the folder that is made where the server has none of this use
_NEWEST = 100  # messages whose Message-ID is read where SEARCH finds nothing
_FOUND = 500  # messages that are looked at where a SEARCH finds more than can be meant
_ZONES = datetime.timedelta(days=2)  # SINCE asks by the server's own date, whatever its time zone
# Gmail and Outlook.com put an id of their own in the place of one that they do not like, and keep the sender's beside it:
# https://github.com/xhit/go-simple-mail/issues/47, https://github.com/chatmail/core/pull/2250
_FIELDS = b"MESSAGE-ID X-GOOGLE-ORIGINAL-MESSAGE-ID X-MICROSOFT-ORIGINAL-MESSAGE-ID"
_ITEMS = b"UID INTERNALDATE BODY.PEEK[HEADER.FIELDS (" + _FIELDS + b")]"
_ID = re.compile(
    rb"^(?:x-(?:google|microsoft)-original-)?message-id[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE
)
_PLAIN = re.compile(r"<([!-;=?-~]+)>")  # an id that means itself in Gmail's query, which knows quotes and blanks
_GMAIL_MEANS = frozenset('"(){}')


@asynccontextmanager
async def open_imap_sent(
    place: Place, credentials: Credentials, kit: Kit, trace: Trace | None, folder: str = USE
) -> AsyncIterator[ImapSent]:
    """A ``SentFolder`` over a conversation of its own; ``folder`` as ``folder-path`` has it."""
    session = await ImapSession.open(place, credentials, kit.dialer, kit.clock, trace)
    session.read_only = True  # EXAMINE: looking leaves \Recent to others
    try:
        yield ImapSent(session, folder)
    except BaseException:
        session.stream.abort()
        raise
    await session.close()


class ImapSent:
    """A ``SentFolder`` over one conversation."""

    def __init__(self, session: ImapSession, folder: str = USE) -> None:
        self._session = session
        self._wanted = folder
        self.folder = folder  # for people, once the server's name for it is known

    async def has(self, message_id: str, since: float) -> bool:
        if not await self._opened():
            return False
        selected = self._session.selected
        assert selected is not None
        wanted = _whole(message_id.encode())
        found = await self._search(message_id, since)
        for uids in commands.sequence_sets(found):
            if await self._among(commands.uid_fetch(uids, _ITEMS), wanted, since):
                return True
        if not selected.exists:
            return False
        newest = b"%d:*" % max(1, selected.exists - _NEWEST + 1)
        return await self._among(commands.fetch(newest, _ITEMS), wanted, since)

    async def file(self, content: Content, when: float) -> None:
        name = await self._name()
        if (limit := await self._limit()) is not None and content.size > limit:
            words = f"the message has {content.size:,} octets, and the server takes {limit:,} at most"
            raise ImapStatus(f"NO [TOOBIG] {words}", status="NO", code="TOOBIG", text=words)
        try:
            await self._append(name, content, when)
        except ImapStatus as refused:
            # RFC 9051 section 6.3.12: TRYCREATE says that the folder can be made; other words may hide that it is elsewhere
            await self._append(await self._session.folders.made(self._wanted, refused), content, when)
            await self._name()

    async def _append(self, name: bytes, content: Content, when: float) -> None:
        line = commands.append(name, b"\\Seen", when)
        await self._session.finish(await self._session.send_long(line, content.size, _pieces(content)))

    async def _limit(self) -> int | None:
        """The longest message that the server takes; None: it does not say (RFC 7889 sections 2 and 3.1)."""
        for name in self._session.capabilities:
            head, _, limit = name.partition("=")
            if head == "APPENDLIMIT" and limit.isdigit():
                return int(limit)
        if "APPENDLIMIT" not in self._session.capabilities:
            return None
        try:
            status = await self._session.status(self._wanted, [b"APPENDLIMIT"])
        except ImapStatus:  # as where the folder is still to be made
            return None
        return None if status is None else status.items.get("APPENDLIMIT")

    # --- the folder

    async def _name(self) -> bytes:
        """The server's name, as far as it is known. Where no folder has the use, the usual name stands in for it."""
        folders = self._session.folders
        try:
            name = await folders.name(self._wanted)
        except ImapStatus as refused:
            if refused.code != "NONEXISTENT":
                raise
            self._wanted = _USUAL
            name = await folders.name(_USUAL)
        self.folder = utf7.decode(name)
        return name

    async def _opened(self) -> bool:
        """Open the folder; False where there is none. Raises ``ImapStatus`` where the server refuses for another reason."""
        session = self._session
        if session.selected is not None and session.selected.opened:
            return True
        await self._name()
        try:
            await session.select(self._wanted)
            await self._name()  # it may be elsewhere than written
        except ImapStatus as refused:
            if refused.code in ("NONEXISTENT", "TRYCREATE"):
                return False
            if refused.status == "NO" and not refused.code and not await session.folders.exists(self._wanted):
                return False
            raise
        return True

    # --- looking

    async def _search(self, message_id: str, since: float) -> Iterable[int]:
        """What the server finds, the newest of it; nothing where it cannot search so."""
        criteria = self._criteria(message_id, since)
        if criteria is None:
            return ()
        try:
            found = await self._session.searched(criteria)
        except ImapStatus:
            return ()
        return list(found or ())[-_FOUND:]

    def _criteria(self, message_id: str, since: float) -> bytes | None:
        plain = _PLAIN.fullmatch(message_id)
        if "X-GM-EXT-1" in self._session.capabilities and plain is not None and _GMAIL_MEANS.isdisjoint(message_id):
            # Gmail's HEADER does not find every id: https://github.com/jstedfast/MailKit/issues/647
            return commands.gmail_search(f"rfc822msgid:{plain[1]}")
        if not message_id.isprintable():  # a literal could hold all but NUL, and no server would find it
            return None
        day = (datetime.datetime.fromtimestamp(since, datetime.UTC) - _ZONES).date()
        criteria = commands.since(day) + b" " + commands.header(b"Message-ID", message_id.encode())
        # RFC 9755 section 3: no CHARSET once UTF8=ACCEPT is on; without it the default is US-ASCII (RFC 3501 section 6.4.4)
        return criteria if message_id.isascii() or self._session.utf8 else b"CHARSET UTF-8 " + criteria

    async def _among(self, line: bytes, wanted: bytes, since: float) -> bool:
        """Whether one of the messages is the wanted one, and not one from before."""
        there = False
        async for response in self._session.until(await self._session.send(line)):
            if isinstance(response, types.Fetch) and not there:
                there = wanted in _ids(response) and _is_since(response.internal_date, since)
        return there


def _ids(fetch: types.Fetch) -> set[bytes]:
    fields = [value for name, value in fetch.others.items() if name.startswith("BODY[HEADER") and isinstance(value, bytes)]
    return {_whole(found) for field in fields for found in _ID.findall(field)}


def _whole(message_id: bytes) -> bytes:
    """An id without the folds that a line may have got on its way."""
    return b" ".join(message_id.split())


def _is_since(internal_date: str, since: float) -> bool:
    when = dates.read_date_time(internal_date)
    return when is None or when.timestamp() >= since


async def _pieces(content: Content) -> AsyncIterator[bytes]:
    pieces = content.pieces()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
