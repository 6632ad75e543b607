"""The buffer that a codec lends to the network: octets are received where they are read.

It grows with what the peer sends, up to a limit, and gives its memory back when asked. A ``Receiver`` (``net.stream``).
"""

from __future__ import annotations

from postroom.errors import LimitExceeded

SMALL = 8 * 1024  # octets of buffer of a conversation at rest
ROOM = 4 * 1024  # lend no less


class Receiving:
    """Octets between ``_start``, the first not yet taken, and ``_end``. ``largest``: what the buffer grows to."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._buffer = bytearray(SMALL)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._scan = 0  # what is looked for does not begin before

    def get_buffer(self) -> memoryview:
        """Room for octets. Empty only while a whole buffer waits to be taken."""
        if self._start == self._end and self._start:
            full = self._end == len(self._buffer)
            self._start = self._end = self._scan = 0
            if full and len(self._buffer) < self._largest:  # the peer has more than we let it send at once
                self._replace(min(len(self._buffer) * 8, self._largest))
        if len(self._buffer) - self._end < ROOM:
            self._make_room()
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """So many octets were written to the buffer lent last."""
        self._end += count

    def feed(self, octets: bytes) -> None:
        """Receive octets that are at hand."""
        while octets:
            room = self.get_buffer()
            count = min(len(room), len(octets))
            if not count:
                raise LimitExceeded("more octets than were taken")
            room[:count] = octets[:count]
            self.received(count)
            octets = octets[count:]

    @property
    def full(self) -> bool:
        """True when no room is left until something is taken."""
        return self._end == len(self._buffer) and self._start == 0 and self._end >= self._largest

    @property
    def empty(self) -> bool:
        """True when nothing was received that was not taken."""
        return self._start == self._end

    def take(self) -> bytes:
        """All that was received and not taken, as it came: what follows is another encoding."""
        octets = bytes(self._view[self._start : self._end])
        self._start = self._end = self._scan = 0
        return octets

    def shrink(self) -> None:
        """Give memory back; for a conversation that is about to idle."""
        if self._start == self._end and self._buffer:
            self._replace(0)

    def _make_room(self) -> None:
        waiting = self._end - self._start
        size = len(self._buffer)
        if size - waiting < max(ROOM, size // 2) and size < self._largest:
            size = min(max(size * 8, waiting + ROOM, SMALL), self._largest)
            self._replace(size)
        elif self._start:
            self._buffer[:waiting] = self._buffer[self._start : self._end]
            self._moved()

    def _replace(self, size: int) -> None:
        buffer = bytearray(size)
        buffer[: self._end - self._start] = self._view[self._start : self._end]
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._moved()

    def _moved(self) -> None:
        self._scan = max(self._scan - self._start, 0)
        self._end -= self._start
        self._start = 0
