"""Keeps what was said for a login out of what is told of the conversation: a server may repeat it in its own words."""

from __future__ import annotations

import base64
import re

MASK = b"***"
_SHORTEST = 4  # octets; a shorter secret would be masked all over the place, which tells it
_PIECE = re.compile(rb"[A-Za-z0-9+/=_.~-]{12,}")  # of base64 or of a token: a server may cut what it repeats


class Masks:
    """The secrets of one conversation. ``user`` is none of them, nor a part of it."""

    def __init__(self, user: str = "") -> None:
        self._open = {user.encode(), b""}
        self._known: list[bytes] = []  # the longest first

    def hide(self, response: bytes) -> None:
        """From now on a response of an exchange, what it is made of, and the base64 of both are masked."""
        parts = [part.removeprefix(b"auth=Bearer ") for part in re.split(rb"[\0\x01]", response)]
        self._open |= {part for part in parts if part.startswith(_PLAIN)}
        secret = {response, *parts} - self._open
        found = {*self._known, *secret, *(base64.b64encode(part) for part in secret)}
        self._known = sorted((each for each in found if len(each) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, line: bytes) -> bytes:
        """The line without what is hidden."""
        if not self._known:
            return line
        for known in self._known:
            line = line.replace(known, MASK)
        return _PIECE.sub(lambda found: MASK if self._tells(found[0]) else found[0], line)

    def _tells(self, piece: bytes) -> bool:
        """Whether a piece is one of a secret, and not of what is none."""
        return any(piece in known for known in self._known) and not any(piece in known for known in self._open)


_PLAIN = (b"user=", b"host=", b"port=", b"n,a=")  # of XOAUTH2 and OAUTHBEARER (RFC 7628 section 3.1)
