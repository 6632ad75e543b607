"""Commands and responses of one IMAP connection, with what every response says of the session noted.

The order of things is the caller's: ``ImapSession`` logs in and opens folders. Here is what holds at any time: tags,
literals, deadlines, the trace, and how a conversation ends.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from postroom.clock import Clock
from postroom.drivers.provider import Place
from postroom.drivers.refused import throttled_by
from postroom.errors import ImapStatus, LocalProtocolError, Lost, NetworkError, RemoteProtocolError, SessionEnded, Throttled
from postroom.net.stream import Stream, Trace
from postroom.wire.imap import commands, types
from postroom.wire.imap.fragments import Fragment, Fragments, LiteralBegin, LiteralEnd, LiteralPiece
from postroom.wire.imap.grammar import parse
from postroom.wire.imap.quirks import Quirk, quirks_of
from postroom.wire.masking import Masks

_LONGEST_UNASKED = 4096  # octets of a literal that goes without leave under LITERAL- (RFC 7888 section 5)
_LATE = 5.0  # seconds before a token's end from which on a closed conversation is its end


@dataclass
class Selected:
    """The folder that is open, as the server last described it."""

    folder: str  # as folder-path writes it
    validity: int = 0
    next: int | None = None  # UIDNEXT, at SELECT; unknown once something arrived after it
    exists: int = 0
    modseq: int | None = None
    touched: bool = True  # something may have changed since it was last listed
    opened: bool = False  # SELECT was answered
    expunged: int = 0  # messages that left while it was open
    lasting: bool = True  # UIDs outlast this SELECT
    begun: bool = False  # listed from nothing since this SELECT


@dataclass
class Login:
    """The login that the conversation lives by."""

    version: int = 0
    valid_until: float | None = None
    at: float = 0.0


@dataclass
class Conversation:
    """One task uses it; after an error it is closed and never used again."""

    stream: Stream
    fragments: Fragments
    place: Place
    clock: Clock
    trace: Trace | None
    capabilities: frozenset[str] = frozenset()
    selected: Selected | None = None
    greeting: str = ""
    server_id: Mapping[str, str] = field(default_factory=dict)  # what the server calls itself (RFC 2971)
    enabled: frozenset[str] = frozenset()  # extensions that the server switched on (RFC 5161)
    login: Login = field(default_factory=Login)
    masks: Masks = field(default_factory=Masks)  # what the trace and errors must not hold, whoever says it
    _tag: int = 0
    _unanswered: int = 0  # commands in flight
    _refused: dict[str, types.StatusResponse] = field(default_factory=dict)  # by tag: before all was sent
    _bye: types.StatusResponse | None = None
    _quirks: frozenset[Quirk] | None = None

    @property
    def quirks(self) -> frozenset[Quirk]:
        """What this server does otherwise, as far as it can be told by now."""
        if self._quirks is None:
            self._quirks = quirks_of(self.greeting, self.capabilities, self.server_id)
        return self._quirks

    @property
    def utf8(self) -> bool:
        """Whether folder names are UTF-8 (RFC 9755 section 3; RFC 9051 section 5.1 and appendix A), else modified UTF-7."""
        if self.enabled & {"UTF8=ACCEPT", "IMAP4REV2"}:
            return True
        return "IMAP4REV2" in self.capabilities and "IMAP4REV1" not in self.capabilities

    def knows(self, *extensions: str) -> bool:
        """Whether the server announces one of these, or IMAP4rev2, which holds the extensions that we ask for (appendix E)."""
        return not self.capabilities.isdisjoint(extensions) or "IMAP4REV2" in self.capabilities

    # --- sending

    async def send(self, line: bytes, *, shown: bytes | None = None) -> str:
        """Send a command; return its tag.

        Where a literal needs the server's leave (RFC 9051 section 4.3) nothing else may be in flight; a refusal then is
        what ``until`` raises.
        """
        self._tag += 1
        self._unanswered += 1
        tag = f"P{self._tag}"
        *first, last = commands.pieces(tag.encode() + b" " + line, self._unasked)
        if first and self._unanswered > 1:
            raise LocalProtocolError("a synchronizing literal while other commands are in flight")
        masked = None if shown is None else tag.encode() + b" " + shown
        for piece in first:
            await self.write(piece, shown=masked)
            masked = masked and b"***"
            if not await self._may_go_on(tag):
                return tag
        await self.write(last, shown=masked)
        return tag

    @property
    def _unasked(self) -> int:
        """Octets of the longest literal that needs no leave (RFC 7888 sections 4 and 5)."""
        if "LITERAL+" in self.capabilities:
            return commands.UNLIMITED
        return _LONGEST_UNASKED if self.knows("LITERAL-") else -1

    async def _may_go_on(self, tag: str) -> bool:
        while True:
            response = await self.response()
            if isinstance(response, types.Continuation):
                return True
            if isinstance(response, types.StatusResponse) and response.tag == tag:
                if response.status is types.Status.OK:
                    raise RemoteProtocolError(f"{tag} is answered before it was sent")
                self._refused[tag] = response
                return False

    async def send_long(self, line: bytes, size: int, pieces: AsyncIterator[bytes]) -> str:
        """Send a command that ends in a literal of so many octets; return its tag. Nothing else may be in flight.

        A refusal is what ``until`` raises. A long literal waits for the server's leave even where it need not: a server that
        is full says so before the octets come, instead of reading them all (RFC 7888 section 4).
        """
        unasked = size <= min(self._unasked, _LONGEST_UNASKED)
        tag = await self.send(line + b" {%d%b}" % (size, b"+" if unasked else b""))
        if tag in self._refused or not (unasked or await self._may_go_on(tag)):
            return tag
        left = size
        async for piece in pieces:
            left -= len(piece)
            if left < 0:
                break
            await self._put(piece)
        if left:
            raise LocalProtocolError(f"a literal of {size} octets has {size - left}")
        await self.write(b"", shown=b"{...}")
        return tag

    async def write(self, line: bytes, *, shown: bytes | None = None) -> None:
        """Send a line that is no command of its own. Raises what ``fragment`` does."""
        if self.trace is not None:
            self.trace("C", self.masks(line) if shown is None else shown)
        await self._put(line + b"\r\n")

    async def _put(self, octets: bytes) -> None:
        try:
            await self.stream.write(octets, self.place.protocol_timeout)
        except Lost as error:
            raise self._ended(error) from None

    async def done(self) -> None:
        """End IDLE (RFC 2177 section 3)."""
        await self.write(b"DONE")

    # --- receiving

    async def command(self, line: bytes) -> list[types.Response]:
        """Carry out one command; return the untagged responses. Raises ``ImapStatus`` for NO and BAD."""
        return await self.finish(await self.send(line))

    async def finish(self, tag: str) -> list[types.Response]:
        """Read until a command's end; return the untagged responses. Raises ``ImapStatus``."""
        return [response async for response in self.until(tag)]

    async def until(self, tag: str) -> AsyncIterator[types.Response]:
        """Untagged responses until a command's end. Raises ``ImapStatus``."""
        if (refused := self._refused.pop(tag, None)) is not None:
            raise imap_status(refused)
        while True:
            at_hand = self.fragments.next()
            response = self.note(at_hand) if isinstance(at_hand, list) else await self.response()
            if isinstance(response, types.StatusResponse) and response.tag:
                if response.tag != tag:
                    raise RemoteProtocolError(f"an answer to {response.tag} where one to {tag} was due")
                if response.status is not types.Status.OK:
                    raise imap_status(response)
                return
            yield response

    async def response(self, timeout: float | None = None) -> types.Response:
        """The next response; its effect on the session's state is noted. A long literal nobody asked for is read over."""
        while True:
            fragment = await self.fragment(timeout)
            if isinstance(fragment, list):
                return self.note(fragment)
            if not isinstance(fragment, LiteralBegin | LiteralPiece | LiteralEnd):
                raise LocalProtocolError("an unknown fragment")

    async def fragment(self, timeout: float | None = None) -> Fragment:
        """The next fragment. Raises ``Lost``, ``SessionEnded``, ``Throttled``, ``TimedOut``, ``RemoteProtocolError``."""
        while (fragment := self.fragments.next()) is None:
            try:
                await self.stream.more(self.place.protocol_timeout if timeout is None else timeout)
            except Lost as error:
                raise self._ended(error) from None
        return fragment

    async def unsolicited(self, seconds: float) -> types.Response | None:
        """What the server says by itself; None after so long a silence. Raises the errors of ``fragment``."""
        while (fragment := self.fragments.next()) is None:
            try:
                if not await self.stream.more_within(seconds):
                    return None
            except Lost as error:
                raise self._ended(error) from None
        return self.note(fragment) if isinstance(fragment, list) else types.Other("literal")

    # --- noting

    def note(self, parts: list[bytes]) -> types.Response:
        """Read a response and note what it says of the session."""
        if not parts[0][2:3].isdigit():  # a status or a challenge, whose words may end in an error
            parts = [self.masks(parts[0]), *parts[1:]]
        response = parse(parts)
        if self.trace is not None:
            self.trace("S", self.masks(b" {...} ".join(part for part in parts[::2]) if len(parts) > 1 else parts[0]))
        if isinstance(response, types.Fetch):
            return response
        if isinstance(response, types.StatusResponse):
            self._note_status(response)
        elif isinstance(response, types.Capability):
            self.capabilities = _shared(response.names)
            self._quirks = None
        elif isinstance(response, types.ServerId):
            self.server_id = response.fields
            self._quirks = None
        elif isinstance(response, types.Enabled):
            self.enabled |= response.names
        elif self.selected is not None:
            self._note_folder(self.selected, response)
        return response

    def _note_folder(self, selected: Selected, response: types.Response) -> None:
        if isinstance(response, types.Exists):
            selected.touched = True
            selected.exists = response.number
            if selected.opened:
                selected.next = None
            return
        gone = 0
        if isinstance(response, types.Expunged):
            gone = 1
        elif isinstance(response, types.Vanished) and not response.earlier:  # RFC 7162 section 3.2.10.2
            gone = len(response.uids)
        if gone:
            selected.touched = True
            selected.expunged += gone
            selected.exists = max(selected.exists - gone, 0)

    def _note_status(self, response: types.StatusResponse) -> None:
        if response.tag:
            self._unanswered -= 1
        if response.code == "CAPABILITY":
            self.capabilities = _named(response.arguments)
            self._quirks = None
        if response.status is types.Status.BYE:
            self._bye = response
        if self.selected is None or response.tag:
            return
        number = int(response.arguments) if response.arguments.isdigit() else None
        if response.code == "UIDVALIDITY" and number is not None:
            self.selected.validity = number
        elif response.code == "UIDNOTSTICKY":
            self.selected.lasting = False
        elif response.code == "UIDNEXT":
            self.selected.next = number
        elif response.code == "HIGHESTMODSEQ":
            self.selected.modseq = number

    # --- ending

    def _ended(self, error: Lost) -> NetworkError | Throttled:
        """How the conversation ended: by the server's limits, by its token's hour, or by the network."""
        bye = self._bye
        if bye is not None and (less := throttled_by(self.place.host, words_of(bye).removeprefix("BYE "))) is not None:
            return less
        words = f"{self.place.host}: {bye.text or 'BYE'}" if bye is not None else error.detail
        until = self.login.valid_until
        if until is not None and self.clock.now() >= until - _LATE and until > self.login.at:
            return SessionEnded(words)
        return Lost(words)

    async def _log_out(self) -> None:
        """End politely where the conversation is in step."""
        if self.stream.open and not self._unanswered:
            await self.command(b"LOGOUT")


def words_of(status: types.StatusResponse) -> str:
    """A status response as the server said it, without what only machines read."""
    code = f"[{status.code}] " if status.code else ""
    return f"{status.status.value} {code}{status.text}".strip()


def imap_status(status: types.StatusResponse) -> ImapStatus:
    """A server's no as an error."""
    return ImapStatus(words_of(status), status=status.status.value, code=status.code, text=status.text)


@functools.lru_cache(64)
def _named(capabilities: str) -> frozenset[str]:
    return _shared(frozenset(capabilities.upper().split()))


@functools.lru_cache(64)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """One object for all conversations with servers alike: thousands of them idle."""
    return names
