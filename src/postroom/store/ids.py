"""Public ids of messages: UUIDs of version 7 (RFC 9562 section 5.7)."""

from __future__ import annotations

import os


class PublicIds:
    """Gives ids that sort in the order in which they were given, also within a millisecond and when the clock steps back.

    Behind the milliseconds stands a counter of 26 bits (section 6.2, method 1), then 48 random bits.
    """

    def __init__(self) -> None:
        self._milliseconds = 0
        self._next = 0

    def take(self, now: float, count: int) -> list[str]:
        """So many ids."""
        milliseconds = int(now * 1000) & 0xFFFFFFFFFFFF
        if milliseconds > self._milliseconds or self._next + count >= 1 << 26:
            self._milliseconds = max(milliseconds, self._milliseconds + 1)
            self._next = 0
        first, self._next = self._next, self._next + count
        stem = f"{self._milliseconds:012x}"
        stem = f"{stem[:8]}-{stem[8:]}-7"
        noise = os.urandom(6 * count).hex()
        return [
            f"{stem}{number >> 14:03x}-{0x8000 | number & 0x3FFF:04x}-{noise[12 * index : 12 * index + 12]}"
            for index, number in enumerate(range(first, first + count))
        ]
