"""What a maildrop holds, under identities that outlast the session.

A message number means nothing beyond its session (RFC 1939 section 5). The server's unique-ids are the identities (section
7). Where it has none, or gives one to two messages, a digest of the header and the size stands in, and where even TOP is
not to be had, a digest of the whole message. Which of them it is belongs to the state, for identities of one sort cannot be
compared with those of another.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from postroom.drivers import First
from postroom.drivers.pop3_session import Pop3Session, pop3_error
from postroom.errors import Pop3Error
from postroom.model import Listed, Preview
from postroom.settings import FirstRead
from postroom.wire import pop3

_PAIRS = re.compile(rb"^[ \t]*(\d{1,10})[ \t]+(\S+)", re.MULTILINE)
# What servers themselves write into a header after delivery; it changes while the message does not.
_CHANGING = re.compile(rb"^(?:X-)?(?:Status|UIDL?|Keywords|IMAP[A-Za-z]*):", re.IGNORECASE)
WINDOW = 500  # commands in flight where the server takes several


class Identity(enum.Enum):
    """What stands for a message between sessions."""

    UNIQUE_ID = "uidl"
    HEADER = "top"
    WHOLE = "whole"


@dataclass(frozen=True)
class Maildrop:
    """The messages of one session, the oldest first as servers number them."""

    identity: Identity
    messages: tuple[Listed, ...]
    numbers: dict[str, int]  # by identifier
    sizes: dict[int, int]  # by number
    flaw: str = ""  # why the unique-ids are not used; empty where they are

    def held(self, listed: Listed) -> int | None:
        """The number of a message in this session; None where the server holds none, or another, under its identity."""
        number = self.numbers.get(listed.identifier)
        return number if number is not None and self.sizes[number] == listed.size else None


async def take_stock(session: Pop3Session, identity: Identity, *, top: bool) -> Maildrop:
    """List the maildrop. Falls from the wanted identity to the next that the server has. Raises ``Pop3Error``."""
    flaw = ""
    unique: dict[int, str] = {}
    if identity is Identity.UNIQUE_ID:
        unique, sizes, flaw = await _unique_ids(session)
    else:
        sizes = await _sizes(session)
    if identity is Identity.UNIQUE_ID and not flaw:
        return _maildrop(Identity.UNIQUE_ID, sizes, ((number, unique[number]) for number in sizes))
    if identity is not Identity.WHOLE and top:
        digests = await _header_digests(session, sizes)
        if digests is not None:
            return _maildrop(Identity.HEADER, sizes, digests, flaw)
    return _maildrop(Identity.WHOLE, sizes, await _whole_digests(session, sizes), flaw)


def _maildrop(identity: Identity, sizes: dict[int, int], names: Iterable[tuple[int, str]], flaw: str = "") -> Maildrop:
    numbers = {name: number for number, name in names}
    messages = tuple(Listed(name, sizes[number], "") for name, number in numbers.items())
    return Maildrop(identity, messages, numbers, sizes, flaw)


async def stat(session: Pop3Session) -> tuple[int, int]:
    """How many messages and octets there are (STAT, RFC 1939 section 5); -1 each where the server does not tell."""
    words = (await session.command(b"STAT")).text.split()
    if len(words) < 2 or not (words[0].isdigit() and words[1].isdigit()):
        return -1, -1  # never the same as before: all is listed
    return int(words[0]), int(words[1])


async def preview(session: Pop3Session, first: First) -> Preview:
    """What a first read would take. The server has no dates: where a day is chosen this is the most."""
    count, octets = await stat(session)
    return Preview(0, 0) if first is FirstRead.NEW else Preview(max(count, 0), max(octets, 0))


async def _sizes(session: Pop3Session) -> dict[int, int]:
    await session.command(b"LIST")
    return await _size_lines(session)


async def _size_lines(session: Pop3Session) -> dict[int, int]:
    return {number: int(word) async for number, word in _pairs(session) if word.isdigit()}


async def _unique_ids(session: Pop3Session) -> tuple[dict[int, str], dict[int, int], str]:
    """UIDL and LIST; the flaw is why the unique-ids cannot be used."""
    if session.offers("PIPELINING"):
        await session.send([b"UIDL", b"LIST"])
        answer = await session.reply()
        unique = await _unique_lines(session) if answer.ok else {}
        listed = await session.reply()
        if not listed.ok:
            raise pop3_error(listed)
        sizes = await _size_lines(session)
    else:
        answer = await session.ask(b"UIDL")
        unique = await _unique_lines(session) if answer.ok else {}
        sizes = await _sizes(session)
    if not answer.ok:
        return {}, sizes, f"the server gives no unique-ids: {answer.text or '-ERR'}"
    return unique, sizes, _flaw(unique, sizes)


async def _unique_lines(session: Pop3Session) -> dict[int, str]:
    return {number: pop3.printable(word) async for number, word in _pairs(session)}


def _flaw(unique: dict[int, str], sizes: dict[int, int]) -> str:
    missing = [number for number in sizes if number not in unique]
    if missing:
        return f"the server gives message {missing[0]} no unique-id"
    if len({unique[number] for number in sizes}) == len(sizes):
        return ""
    twice, times = Counter(unique[number] for number in sizes).most_common(1)[0]
    return f"the server gives {times} messages the unique-id {twice}"


async def _pairs(session: Pop3Session) -> AsyncIterator[tuple[int, bytes]]:
    async for lines in session.listing():
        for number, word in _PAIRS.findall(b"\n".join(lines)):
            yield int(number), word


# --- without unique-ids -----------------------------------------------------------------------------------------------


async def _header_digests(session: Pop3Session, sizes: dict[int, int]) -> list[tuple[int, str]] | None:
    """A name for each message from its header and size; None where the server does not give headers."""
    try:
        heads = await tops(session, list(sizes))
    except Pop3Error:
        return None
    return _numbered((number, f"h:{_header_digest(heads[number])}.{size}") for number, size in sizes.items())


def _header_digest(header: bytes) -> str:
    lines = [line for line in header.splitlines() if not _CHANGING.match(line)]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()[:40]


async def _whole_digests(session: Pop3Session, sizes: dict[int, int]) -> list[tuple[int, str]]:
    """Read every message, only to know which it is: the last resort. One that cannot be had is known by its size alone."""
    names = []
    for number, size in sizes.items():
        if not (await session.ask(b"RETR %d" % number)).ok:
            names.append((number, f"s:{size}"))
            continue
        digest = hashlib.sha256()
        body = await session.body()
        if isinstance(body, bytes):
            digest.update(body)
        else:
            async for piece in session.pieces():
                digest.update(piece)
        names.append((number, f"w:{digest.hexdigest()[:40]}"))
    return _numbered(names)


def _numbered(names: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """Two messages that are alike are two: the second has a number behind its name, and so on."""
    times: Counter[str] = Counter()
    numbered = []
    for number, name in names:
        times[name] += 1
        numbered.append((number, name if times[name] == 1 else f"{name}#{times[name]}"))
    return numbered


async def tops(session: Pop3Session, numbers: Sequence[int]) -> dict[int, bytes]:
    """The headers of messages (TOP n 0, RFC 1939 section 7), without a body's lines. Raises ``Pop3Error`` for the first no."""
    heads: dict[int, bytes] = {}
    refused: pop3.Reply | None = None
    width = WINDOW if session.offers("PIPELINING") else 1
    for start in range(0, len(numbers), width):
        asked = numbers[start : start + width]
        await session.send([b"TOP %d 0" % number for number in asked])
        for number in asked:
            answer = await session.reply()
            if answer.ok:
                heads[number] = await read_head(session)
            else:
                refused = refused or answer
        if refused is not None:
            raise pop3_error(refused)
    return heads


async def read_head(session: Pop3Session) -> bytes:
    """A header out of the answer to TOP or RETR; what follows it is read over."""
    body = await session.body()
    head = body if isinstance(body, bytes) else b""
    if not isinstance(body, bytes):
        async for piece in session.pieces():
            if len(head) < _LONGEST_HEAD and b"\r\n\r\n" not in head:
                head += piece
    end = head.find(b"\r\n\r\n")
    return head if end < 0 else head[: end + 4]


_LONGEST_HEAD = 4 * 1024 * 1024
