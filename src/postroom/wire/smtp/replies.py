"""Cut a server's stream into replies (RFC 5321 section 4.2), with their enhanced codes (RFC 2034, RFC 3463).

Memory is bounded by construction: a line, and all lines of one reply together, have a limit; beyond it stands
``LimitExceeded``. A line may end with a bare LF, and its text may hold any octets: they are shown, never understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from postroom.errors import LimitExceeded, RemoteProtocolError
from postroom.wire.receiving import ROOM, Receiving

LINE = 12288  # octets: a challenge may be so long (RFC 4954 section 4), any other line 512 (RFC 5321 section 4.5.3.1.5)
REPLY = 64 * 1024  # octets of all lines of one reply

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +|$)")  # RFC 2034 section 4, RFC 3463 section 2
_SHOWN = 1000  # characters of a reply that are kept for people


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, however many lines it had."""

    code: int
    enhanced: str = ""  # as "5.1.1"; empty where the server has none
    lines: tuple[bytes, ...] = ()  # their texts, without both codes

    @property
    def text(self) -> str:
        """The server's own words on one line, fit for a log."""
        return printable(b" ".join(line for line in self.lines if line))

    @property
    def words(self) -> str:
        """The reply as it came, on one line."""
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)

    @property
    def ok(self) -> bool:
        """Positive completion (RFC 5321 section 4.2.1)."""
        return 200 <= self.code < 300

    @property
    def passing(self) -> bool:
        """Negative for now; the code decides, whatever the enhanced one says."""
        return 400 <= self.code < 500


def printable(octets: bytes) -> str:
    """A server's words, fit for a log."""
    words = octets[:_SHOWN].decode("utf-8", "replace")
    return words if words.isprintable() else "".join(c if c.isprintable() else "?" for c in words)


class Replies(Receiving):
    """The stream's state. One per connection; it is a ``Receiver``."""

    def __init__(self) -> None:
        super().__init__(REPLY + ROOM)
        self._lines: list[bytes] = []  # of a reply whose last line has not come
        self._code = b""
        self._enhanced = b""
        self._held = 0  # their octets

    def reply(self) -> Reply | None:
        """Take one reply; None when octets are missing. Raises ``RemoteProtocolError``, ``LimitExceeded``."""
        while (line := self._line()) is not None:
            found = _LINE.fullmatch(line)
            if found is None:
                raise RemoteProtocolError(f"no SMTP reply: {printable(line[:80])}")
            code, hyphen, text = found.groups(b"")
            if self._lines and code != self._code:  # RFC 5321 section 4.2.1: the code of all lines is the same
                raise RemoteProtocolError(f"a reply that begins with {self._code.decode()} goes on with {printable(line[:80])}")
            text = self._without_enhanced(code, text)
            self._lines.append(text)
            if hyphen != b"-":
                return self._whole(code)
            self._code = code
            self._held += len(line)
            if self._held > REPLY:
                raise LimitExceeded(f"a reply of more than {REPLY} octets")
        return None

    def _without_enhanced(self, code: bytes, text: bytes) -> bytes:
        """Each line of a reply carries the enhanced code (RFC 2034 section 4); no 3yz has one."""
        if code.startswith(b"3"):
            return text
        found = _ENHANCED.match(text)
        if found is None:
            return text
        self._enhanced = self._enhanced or found[1]
        return text[found.end() :]

    def _whole(self, code: bytes) -> Reply:
        reply = Reply(int(code), self._enhanced.decode("ascii"), tuple(self._lines))
        self._lines.clear()
        self._enhanced, self._held = b"", 0
        return reply

    @property
    def empty(self) -> bool:
        """True when nothing was received that was not taken, the beginning of a reply included."""
        return self._start == self._end and not self._lines

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", max(self._scan, self._start), self._end)
        length = (end if end >= 0 else self._end) - self._start
        if length > LINE:
            raise LimitExceeded(f"a line of more than {LINE} octets")
        if end < 0:
            self._scan = self._end
            return None
        line = bytes(self._view[self._start : end])
        self._start = self._scan = end + 1
        return line.removesuffix(b"\r")
