"""POP3 without I/O (RFC 1939, RFC 2449): cut the server's stream into reply lines, listings and messages; write commands.

Whether lines follow a reply depends on the command that it answers, so the caller says what it takes: ``line``, ``listing``
or ``body``; ``message`` is the short way where all is at hand. A message longer than ``inline`` is not gathered: ``body``
answers ``LONG``, and ``piece`` hands it out in parts.

Memory is bounded by construction: the buffer never grows beyond ``inline`` and a line, and a line without an end is a
``LimitExceeded``.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from postroom.errors import LimitExceeded, RemoteProtocolError
from postroom.wire.receiving import ROOM, Receiving


class Mark(enum.Enum):
    """What a taker answers beside octets."""

    LONG = "long"  # the message is longer than what is gathered: take it in pieces
    END = "end"  # the message is over


@dataclass(frozen=True, slots=True)
class Reply:
    """One status line (RFC 1939 section 3)."""

    ok: bool
    code: str  # of RFC 2449 section 8, upper case, without brackets: "IN-USE", "SYS/TEMP"; empty where there is none
    text: str  # the server's own words


@dataclass(frozen=True, slots=True)
class Challenge:
    """The server goes on within AUTH (RFC 5034 section 4)."""

    text: bytes  # base64


_CODE = re.compile(rb"\[([A-Za-z0-9/_.-]{1,64})\] ?")  # resp-code, RFC 2449 section 3
_END = b"\r\n.\r\n"
_STUFFED = b"\r\n.."


def reply(line: bytes) -> Reply | Challenge:
    """Read a status line. Raises ``RemoteProtocolError`` for what is none."""
    word, _, rest = line.partition(b" ")
    if word == b"+":
        return Challenge(rest.strip())
    word = word.upper()
    if word not in (b"+OK", b"-ERR"):
        raise RemoteProtocolError(f"no POP3 reply: {printable(line[:80])}")
    found = _CODE.match(rest)
    code = found[1].decode("ascii").upper() if found else ""
    return Reply(word == b"+OK", code, printable(rest[found.end() if found else 0 :]))


def printable(octets: bytes) -> str:
    """A server's words, fit for a log."""
    words = octets[:400].decode("utf-8", "replace")
    return words if words.isprintable() else "".join(c if c.isprintable() else "?" for c in words)


class Replies(Receiving):
    """The stream's state. One per connection; it is a ``Receiver``.

    ``inline``: the longest message that is gathered, in octets as they travel. ``limit``: the longest line.
    """

    def __init__(self, *, inline: int = 256 * 1024, limit: int = 64 * 1024) -> None:
        super().__init__(inline + ROOM)
        self._limit = min(limit, inline)
        self._begun = False  # within a message, behind its beginning
        self._long = False  # within a message that is handed out in pieces

    def line(self) -> bytes | None:
        """Take one line, without its end; None when octets are missing. Raises ``LimitExceeded``."""
        end = self._buffer.find(b"\r\n", self._start, self._end)
        length = (end if end >= 0 else self._end) - self._start
        if length > self._limit:
            raise LimitExceeded(f"a line of more than {self._limit} octets")
        if end < 0:
            return None
        line = bytes(self._view[self._start : end])
        self._start = self._scan = end + 2
        return line

    def listing(self) -> tuple[list[bytes], bool] | None:
        """Take the whole lines at hand of a multi-line reply, and whether it is over; None when octets are missing."""
        last = self._buffer.rfind(b"\r\n", self._start, self._end)
        if last < 0:
            self.line()  # for its limit
            return None
        octets = bytes(self._view[self._start : last])
        lines = octets.split(b"\r\n")
        if not octets.startswith(b".") and b"\r\n." not in octets:
            self._start = self._scan = last + 2
            return lines, False
        over = b"." in lines
        if over:
            lines = lines[: lines.index(b".")]
            self._start += sum(map(len, lines)) + 2 * len(lines) + 3
        else:
            self._start = last + 2
        self._scan = self._start
        return [line[1:] if line.startswith(b".") else line for line in lines], over

    def message(self) -> bytes | None:
        """Take a status line that says +OK and the whole message behind it, where both are at hand.

        None where they are not: then ``line`` and ``body`` take them as they come, and nothing was taken.
        """
        buffer, start, end = self._buffer, self._start, self._end
        if self._begun or not buffer.startswith(b"+OK", start, end):
            return None
        first = buffer.find(b"\r\n", start, min(start + self._limit, end))
        last = buffer.find(_END, first, end) if first >= 0 else -1  # an empty message ends with its status line
        if last < 0:
            return None
        stuffed = buffer.startswith(_STUFFED, first, last)
        octets = bytes(self._view[first + (3 if stuffed else 2) : last + 2])
        self._start = self._scan = last + 5
        return octets.replace(_STUFFED, b"\r\n.") if _STUFFED in octets else octets

    def body(self) -> bytes | Mark | None:
        """Take a whole message without its byte-stuffing (RFC 1939 section 3); ``LONG`` for one in pieces; None: wait."""
        if not self._begun and (empty := self._begin()) is not None:
            return empty
        if not self._begun:
            return None
        end = self._buffer.find(_END, max(self._scan, self._start), self._end)
        if end >= 0:
            octets = bytes(self._view[self._start : end + 2])
            self._start = self._scan = end + 5
            self._begun = False
            return octets.replace(_STUFFED, b"\r\n.") if _STUFFED in octets else octets
        self._scan = max(self._end - 4, self._start)
        if self._end - self._start < self._largest - ROOM:
            return None
        self._long = True
        return Mark.LONG

    def _begin(self) -> bytes | None:
        """Read a message's first octets, where they are here; a message without any is over with them."""
        if self._end - self._start < 3:
            return None
        head = bytes(self._view[self._start : self._start + 3])
        if head == b".\r\n":
            self._start = self._scan = self._start + 3
            return b""
        if head.startswith(b".."):
            self._start += 1
        self._scan = self._start
        self._begun = True
        return None

    def piece(self) -> bytes | Mark | None:
        """Take the next part of a long message; ``END`` behind its last; None when octets are missing."""
        if not self._long:
            self._begun = False
            return Mark.END
        end = self._buffer.find(_END, self._start, self._end)
        if end >= 0:
            cut, after = end + 2, end + 5
            self._long = False
        else:
            # What may be the beginning of an end, or of a stuffed line, stays for the next look.
            last = self._buffer.rfind(b"\r\n", self._start, self._end)
            cut = after = last if last > self._start else self._start if last == self._start else self._end - 1
            if last == self._start and self._end - self._start > 4:  # a line longer than the octets at hand
                cut = after = self._end - 1
            if cut <= self._start:
                return None
        octets = bytes(self._view[self._start : cut])
        self._start = self._scan = after
        return octets.replace(_STUFFED, b"\r\n.") if _STUFFED in octets else octets
