"""What stands for a message that is too large to be taken whole: its header, and a note in the place of its text.

The octets depend on the message alone and not on the limit, so that the same message met again is the same.
"""

from __future__ import annotations

import re

FIELD = b"X-Postroom-Withheld:"
"""The first line of such a message names its octets at the server."""

_STRUCTURE = re.compile(rb"^(?=(?:Content-[A-Za-z-]+|MIME-Version)[ \t]*:)", re.IGNORECASE | re.MULTILINE)
_WITHHELD = re.compile(rb"X-Postroom-Withheld: (\d{1,20}) octets\r\n")


def withheld(head: bytes, size: int) -> bytes:
    """A whole message out of a header and the octets that the message has at its server.

    The fields that describe the absent text are kept under other names (RFC 2045 section 9).
    """
    header = head.partition(b"\r\n\r\n")[0].rstrip(b"\r\n")
    header = _STRUCTURE.sub(b"X-Withheld-", header)
    lines = [
        FIELD + b" %d octets" % size,
        *([header] if header else []),
        b"MIME-Version: 1.0",
        b"Content-Type: text/plain; charset=us-ascii",
        b"",
        b"This message has %d octets, more than maximum-msg-size allows." % size,
        b"Only its header was taken.",
        b"",
    ]
    return b"\r\n".join(lines)


def withheld_octets(head: bytes) -> int | None:
    """How many octets the message had at its server; None for one that was taken whole."""
    found = _WITHHELD.match(head) if head.startswith(FIELD) else None
    return int(found[1]) if found else None
