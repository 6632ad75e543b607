"""Cut the server's stream into responses. Knows lines and literals, nothing of their meaning.

The caller lends its receive buffer: ``get_buffer`` gives room, ``received`` says how much was written there, ``next``
takes fragments out until it returns None. A response comes as its parts, text and literals in turn. A literal longer than
``inline`` is not gathered: it comes as ``LiteralBegin``, ``LiteralPiece`` …, ``LiteralEnd``, and stands as ``STREAMED``
among the parts of the response that follows.

Memory is bounded by construction: the buffer never grows beyond ``inline`` and a line, and a server that sends more
without an end is a ``LimitExceeded``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from postroom.errors import LimitExceeded, RemoteProtocolError
from postroom.wire.receiving import ROOM, Receiving

STREAMED = b"\0STREAMED"
"""Stands for a streamed literal among a response's parts. No literal is mistaken for it: it is compared by identity."""

# literal = "{" number64 ["+"] "}" CRLF; literal8 = "~{" number64 "}" CRLF (RFC 9051 section 9)
_LITERAL = re.compile(rb"~?\{(\d{1,20})\+?\}\Z")
# Lines whose human-readable end may look like a literal and is none: resp-text of status responses, continuations.
_TEXT_ONLY = re.compile(rb"\* (?:OK|NO|BAD|BYE|PREAUTH)(?: |\Z)|(?!\* )", re.IGNORECASE)


Parts = list[bytes]
"""A whole response: text, literal, text, … without the line ends."""


@dataclass(frozen=True, slots=True)
class LiteralBegin:
    """A long literal begins; ``parts`` is what its response said before."""

    parts: Parts
    size: int


@dataclass(frozen=True, slots=True)
class LiteralPiece:
    """Octets of the long literal."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class LiteralEnd:
    """The long literal is over."""


Fragment = Parts | LiteralBegin | LiteralPiece | LiteralEnd


class Fragments(Receiving):
    """The stream's state. One per connection.

    ``inline``: the longest literal that is gathered. ``line``: the longest line and the most text of one response.
    """

    def __init__(self, *, inline: int = 256 * 1024, line: int = 1024 * 1024) -> None:
        super().__init__(inline + ROOM)
        self._inline = inline
        self._line = line
        self._longest = min(line, inline)  # octets of one line: what the buffer holds
        self._parts: Parts = []
        self._text = 0  # octets gathered in _parts
        self._pending: int | None = None  # size of a literal to be gathered
        self._streaming: int | None = None  # octets of a long literal still to come

    @property
    def empty(self) -> bool:
        """True when nothing was received that was not taken."""
        return super().empty and not self._parts

    # --- taking

    def next(self) -> Fragment | None:
        """Take the next fragment; None when octets are missing. Raises ``RemoteProtocolError`` when the stream is broken."""
        if self._streaming is not None:
            return self._take_piece()
        while True:
            if self._pending is not None and not self._take_literal():
                return None
            end = self._buffer.find(b"\r\n", self._scan, self._end)
            if end < 0:
                # "\r" may be the last octet here and "\n" the first of the next read
                self._scan = max(self._end - 1, self._start)
                self._check_line(self._end - self._start - 1)  # the last octet may be the line's CR
                return None
            self._check_line(end - self._start)  # wherever the stream was cut
            line = bytes(self._view[self._start : end])
            self._start = self._scan = end + 2
            if line.endswith(b"}"):
                literal = _LITERAL.search(line)
                if literal is not None and (self._parts or not _TEXT_ONLY.match(line)):
                    if (begin := self._literal_begins(line, literal)) is not None:
                        return begin
                    continue
            if not self._parts:
                return [line]
            parts, self._parts, self._text = self._parts, [], 0
            parts.append(line)
            return parts

    def _literal_begins(self, line: bytes, literal: re.Match[bytes]) -> LiteralBegin | None:
        self._parts.append(line[: literal.start()])
        self._gathered(len(line))  # with the announcement: empty literals add up too
        size = int(literal[1])
        if size <= self._inline:
            self._pending = size
            return None
        if size >= 2**63:
            raise RemoteProtocolError(f"a literal of {size} octets")
        self._streaming = size
        return LiteralBegin(list(self._parts), size)

    def _take_literal(self) -> bool:
        assert self._pending is not None
        end = self._start + self._pending
        if end > self._end:
            return False
        self._parts.append(bytes(self._view[self._start : end]))
        if len(self._parts) > _MANY_PARTS:
            # One body and a few short strings are what we ask for; many literals add up like text.
            self._gathered(self._pending)
        self._start = self._scan = end
        self._pending = None
        return True

    def _take_piece(self) -> Fragment | None:
        assert self._streaming is not None
        if self._streaming == 0:
            self._streaming = None
            self._parts.append(STREAMED)
            return LiteralEnd()
        count = min(self._streaming, self._end - self._start)
        if not count:
            return None
        piece = bytes(self._view[self._start : self._start + count])
        self._start += count
        self._scan = self._start
        self._streaming -= count
        return LiteralPiece(piece)

    def _gathered(self, count: int) -> None:
        self._text += count
        if self._text > self._line:
            raise LimitExceeded(f"one response of more than {self._line} octets")

    def _check_line(self, length: int) -> None:
        if length > self._longest:
            raise LimitExceeded(f"a line of more than {self._longest} octets")


_MANY_PARTS = 16
