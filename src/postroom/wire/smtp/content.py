"""A message as DATA carries it: a dot doubled at the beginning of each line, and the end (RFC 5321 section 4.5.2).

A bare CR or LF is not sent (RFC 5321 section 2.3.8): some server on the way would take one for a line end, so that a part of
the message could pass for the end of it and for further commands. ``LocalProtocolError``.
"""

from __future__ import annotations

from postroom.errors import LocalProtocolError

_END = b".\r\n"


def has_bare_line_end(octets: bytes) -> bool:
    """Whether a CR or LF stands without the other."""
    pairs = octets.count(b"\r\n")
    return octets.count(b"\n") != pairs or octets.count(b"\r") != pairs


def whole(octets: bytes) -> bytes:
    """All of a message with its end, for one that is at hand. The caller knows that no line end in it is bare."""
    if b"\r\n." in octets:
        octets = octets.replace(b"\r\n.", b"\r\n..")
    if octets.startswith(b"."):
        octets = b"." + octets
    # Where the last line has no end, it gets one (RFC 5321 section 4.1.1.4).
    return octets + (_END if not octets or octets.endswith(b"\r\n") else b"\r\n" + _END)


class LineEnds:
    """Sees to it that no CR or LF stands alone in a message that comes in pieces, cut anywhere."""

    def __init__(self) -> None:
        self.last = b"\r\n"  # the last two octets; a message begins at the beginning of a line

    def check(self, octets: bytes) -> None:
        """The next piece. Raises ``LocalProtocolError``."""
        if not octets:
            return
        opened = self.last.endswith(b"\r")
        if opened is not octets.startswith(b"\n"):
            raise _bare()
        pairs = octets.count(b"\r\n")
        if octets.count(b"\n") - opened != pairs or octets.count(b"\r") - octets.endswith(b"\r") != pairs:
            raise _bare()
        self.last = (self.last + octets[-2:])[-2:]

    def end(self) -> bytes:
        """What ends the last line where it has no end. Raises ``LocalProtocolError`` for a CR before it."""
        if self.last.endswith(b"\r"):
            raise _bare()
        return b"" if self.last == b"\r\n" else b"\r\n"


class Stuffing:
    """The same for one that comes in pieces, cut anywhere. ``end`` is behind the last, and nothing before it ends a message."""

    def __init__(self) -> None:
        self._lines = LineEnds()

    def piece(self, octets: bytes) -> bytes:
        """What is sent for a piece. Raises ``LocalProtocolError`` for a bare CR or LF."""
        before = self._lines.last
        self._lines.check(octets)
        stuffed = octets.replace(b"\r\n.", b"\r\n..") if b"\r\n." in octets else octets
        if before == b"\r\n" and octets.startswith(b"."):
            return b"." + stuffed
        if before.endswith(b"\r") and octets.startswith(b"\n."):
            return b"\n.." + stuffed[2:]
        return stuffed

    def end(self) -> bytes:
        """The end of the message. Raises ``LocalProtocolError`` for a bare CR before it."""
        return self._lines.end() + _END


def _bare() -> LocalProtocolError:
    return LocalProtocolError("a CR or LF stands alone in the message")
