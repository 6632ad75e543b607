"""Raw octets in append-only segment files.

Two verbs: ``append`` gives a reference at once, ``sync`` makes everything appended so far durable. A reference is promised
to nobody before the transaction that holds it is committed, and that comes after ``sync``.

A segment belongs to one process, which holds a lock on it. ``segments.committed`` in the database says how far references
reach: what a crash left behind that point is cut off by the next process that takes the segment over.

A record: magic (4 octets), codec (1), zeros (3), length (8, big endian), SHA-256 of the octets as they came (32), octets.
The header makes a segment readable without its database. Codec 0: as they came.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from postroom.errors import StoreError
from postroom.model import Reference
from postroom.store.database import translated

HEADER = struct.Struct(">4sB3xQ32s")
MAGIC = b"PRB1"
PLAIN = 0
_SEGMENT = 1024 * 1024 * 1024  # a new file is begun when one is longer
_PIECE = 1024 * 1024
_SHORT = 64 * 1024
_STEP = 2047


class Blobs:
    """The segments of one data directory, and the one that this process writes.

    ``append``, ``reserve`` may be called on any thread; ``sync`` on the store's. ``committed`` answers how far the
    references into a segment reach (0 for one that nothing refers to).
    """

    def __init__(self, directory: Path, committed: Callable[[int], int]) -> None:
        self._directory = directory
        self._committed = committed
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []  # written by the next sync, in order, from _written on
        self._written = 0
        self._end = 0  # behind the last octet given away
        self._number = 0
        self._file: int | None = None
        self._old: list[int] = []  # full segments that were not synced since
        self._unsynced: set[int] = set()  # their numbers
        self._damaged: set[int] = set()
        directory.mkdir(parents=True, exist_ok=True)

    def append(self, octets: bytes) -> Reference:
        """Take a message. It is durable after the next ``sync``."""
        digest = _sha256(octets)
        header = HEADER.pack(MAGIC, PLAIN, len(octets), digest)
        with self._lock:
            segment, offset = self._give(len(header) + len(octets))
            self._waiting.append(header)
            self._waiting.append(octets)
            return Reference(segment, offset, len(octets), digest)

    def reserve(self, length: int) -> Reservation:
        """Take room for a long message of about that length whose octets come in pieces."""
        return Reservation(self._room, length)

    def _room(self, length: int) -> Room:
        with self._lock:
            self._write_waiting()
            segment, offset = self._give(HEADER.size + length)
            assert self._file is not None
            self._written = self._end  # the room is written through the reservation
            return Room(os.dup(self._file), segment, offset, length)

    def sync(self) -> None:
        """Make durable what was appended. Raises ``OSError``, ``StoreFull``, ``StoreError``.

        What could not be written is tried again by the next call. After a failed fdatasync the octets may be gone although
        a second one succeeds (the pages count as clean), so the segment is left and ``damaged`` tells its references.
        """
        with self._lock:
            self._write_waiting()
            files = [*self._old, *([] if self._file is None else [self._file])]
            self._old = []
            numbers = self._unsynced | {self._number}
        try:
            for file in files:
                os.fdatasync(file)
        except OSError:
            with self._lock:
                self._damaged |= numbers
                self._waiting.clear()  # what was appended meanwhile is of that segment too, and not of the next one
                self._file, self._number = None, 0
            raise
        finally:
            with self._lock:
                for file in files:
                    if file != self._file:
                        os.close(file)
                self._unsynced.clear()

    def damaged(self, reference: Reference) -> bool:
        """True for a reference given away before its segment failed; the message must be fetched again."""
        return reference.segment in self._damaged

    def ends(self) -> tuple[int, int]:
        """The present segment and how far it is given away, for ``segments.committed``."""
        return self._number, self._end

    def read(self, reference: Reference) -> bytes:
        """A message's octets. Raises ``StoreError`` when they are not those that were kept."""
        return b"".join(self.pieces(reference))

    def heads(self, references: Sequence[Reference], length: int) -> list[bytes]:
        """The first octets of messages, unchecked: for looking at headers. Raises ``OSError``, ``ValueError``."""
        maps: dict[int, mmap.mmap] = {}
        try:
            heads = []
            for reference in references:
                if reference.segment not in maps:
                    with open(self._path(reference.segment), "rb") as file:
                        maps[reference.segment] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                start = reference.offset + HEADER.size
                heads.append(maps[reference.segment][start : start + min(length, reference.length)])
            return heads
        finally:
            for mapped in maps.values():
                mapped.close()

    def pieces(self, reference: Reference) -> Iterator[bytes]:
        """A message's octets in pieces; the digest is checked at the end. Raises ``StoreError``."""
        digest = hashlib.sha256()
        try:
            file = os.open(self._path(reference.segment), os.O_RDONLY)
        except OSError as error:
            raise StoreError(f"segment {reference.segment}: {error.strerror}") from error
        try:
            position, end = reference.offset + HEADER.size, reference.offset + HEADER.size + reference.length
            while position < end:
                piece = os.pread(file, min(_PIECE, end - position), position)
                if not piece:
                    break
                digest.update(piece)
                position += len(piece)
                yield piece
        finally:
            os.close(file)
        if digest.digest() != reference.digest:
            raise StoreError(f"segment {reference.segment} at {reference.offset}: the octets are damaged")

    def close(self) -> None:
        """Let the segment go. What was not synced is dropped."""
        with self._lock:
            for file in [*self._old, *([] if self._file is None else [self._file])]:
                os.close(file)
            self._file, self._old, self._waiting = None, [], []

    def _give(self, length: int) -> tuple[int, int]:
        if self._file is None or self._end > _SEGMENT:
            self._next_segment()
        offset = self._end
        self._end += length
        return self._number, offset

    @translated()
    def _write_waiting(self) -> None:
        if self._file is None or not self._waiting:
            return
        octets = b"".join(self._waiting)
        view, position = memoryview(octets), self._written
        while view:  # pwrite: a repetition after a full disk writes the same octets to the same place
            count = os.pwrite(self._file, view, position)
            view, position = view[count:], position + count
        self._waiting.clear()
        self._written = position

    @translated()
    def _next_segment(self) -> None:
        self._write_waiting()
        if self._file is not None:
            self._old.append(self._file)
            self._unsynced.add(self._number)
        numbers = self._numbers()
        for number in [*numbers[-8:], (numbers[-1] if numbers else 0) + 1]:
            if self._take(number):
                return
        self._take_new((numbers[-1] if numbers else 0) + 2)

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self._directory.glob("*.segment") if path.stem.isdigit())

    def _take_new(self, number: int) -> None:
        while not self._take(number):
            number += 1

    def _take(self, number: int) -> bool:
        """Lock a segment and go on behind its last reference; False when it is another's, or full."""
        if number == self._number or number in self._damaged:
            return False
        file = os.open(self._path(number), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        committed = self._committed(number)
        if committed > _SEGMENT:
            os.close(file)
            return False
        os.ftruncate(file, committed)
        _sync_directory(self._directory)  # the file's name must be as durable as its octets
        self._file, self._number, self._end, self._written = file, number, committed, committed
        return True

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:08d}.segment"


class Room(NamedTuple):
    """Octets of a segment that are one message's."""

    file: int  # of its own
    segment: int
    offset: int  # of the header
    length: int  # behind the header

    @property
    def start(self) -> int:
        """Where the message's octets begin."""
        return self.offset + HEADER.size


class Reservation:
    """Room for one long message. ``write`` its pieces in order, then ``finish``; or ``abandon`` it.

    A message that grows longer than announced (RFC 1939 lets a server say what it likes) moves to a larger room.
    """

    def __init__(self, room: Callable[[int], Room], length: int) -> None:
        self._take = room
        self._room = room(length)
        self._length = 0
        self._digest = hashlib.sha256()

    @translated()
    def write(self, pieces: Sequence[bytes]) -> None:
        """Write the next pieces. Raises ``StoreFull``, ``StoreError``."""
        for octets in pieces:
            self._digest.update(octets)
            view = memoryview(octets)
            if self._length + len(view) > self._room.length:
                self._move(2 * (self._length + len(view)))
            while view:
                count = os.pwrite(self._room.file, view, self._room.start + self._length)
                view, self._length = view[count:], self._length + count

    def _move(self, length: int) -> None:
        former, self._room = self._room, self._take(length)
        moved = 0
        while moved < self._length:
            piece = os.pread(former.file, min(_PIECE, self._length - moved), former.start + moved)
            if not piece:
                raise StoreError(f"segment {former.segment} at {former.offset}: octets are missing")
            moved += os.pwrite(self._room.file, piece, self._room.start + moved)
        os.close(former.file)

    @translated()
    def finish(self) -> Reference:
        """Write the header; the message is durable after the next ``sync``. Raises ``StoreFull``, ``StoreError``."""
        digest = self._digest.digest()
        os.pwrite(self._room.file, HEADER.pack(MAGIC, PLAIN, self._length, digest), self._room.offset)
        os.close(self._room.file)
        return Reference(self._room.segment, self._room.offset, self._length, digest)

    def abandon(self) -> None:
        """Give up; the room stays unused until the segment is reclaimed."""
        os.close(self._room.file)


def _sha256(octets: bytes) -> bytes:
    """SHA-256 of a short message. In steps of less than 2 KiB hashlib keeps the interpreter's lock, which costs far less than
    to wait for it again behind the store's thread, once for each message."""
    if len(octets) > _SHORT:
        return hashlib.sha256(octets).digest()
    digest, view = hashlib.sha256(), memoryview(octets)
    for start in range(0, len(octets), _STEP):
        digest.update(view[start : start + _STEP])
    return digest.digest()


def _sync_directory(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
