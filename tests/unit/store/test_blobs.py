"""Segments: what is promised can be read, and what was not promised makes room."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.errors import StoreError, StoreFull
from postroom.model import Reference
from postroom.store.blobs import HEADER, MAGIC, PLAIN, Blobs


class Shelf:
    """A folder of segments, and what the database says of each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.committed: dict[int, int] = {}
        self.open: list[Blobs] = []

    def blobs(self) -> Blobs:
        """Another process's view."""
        blobs = Blobs(self.directory, lambda segment: self.committed.get(segment, 0))
        self.open.append(blobs)
        return blobs

    def promise(self, blobs: Blobs) -> None:
        """A transaction holds all that was appended so far."""
        blobs.sync()
        segment, end = blobs.ends()
        self.committed[segment] = max(self.committed.get(segment, 0), end)

    def leave(self, blobs: Blobs) -> None:
        """A process ends."""
        self.open.remove(blobs)
        blobs.close()

    def files(self) -> dict[str, int]:
        """Segments and their lengths."""
        return {path.name: path.stat().st_size for path in sorted(self.directory.iterdir())}


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path / "segments")
    yield shelf
    for blobs in list(shelf.open):
        shelf.leave(blobs)


@pytest.fixture
def blobs(shelf: Shelf) -> Blobs:
    return shelf.blobs()


BODIES = [b"", b"a", b"\r\n", bytes(range(256)), b"x" * 2047, b"y" * 2048, b"z" * 65536, b"w" * 65537, os.urandom(2_500_000)]


def test_what_was_appended_is_read(blobs: Blobs) -> None:
    references = [blobs.append(body) for body in BODIES]
    blobs.sync()
    for reference, body in zip(references, BODIES, strict=True):
        assert blobs.read(reference) == body
        assert b"".join(blobs.pieces(reference)) == body
        assert (reference.length, reference.digest) == (len(body), hashlib.sha256(body).digest())
    assert blobs.heads(references, 10) == [body[:10] for body in BODIES]


def test_another_process_reads_it(shelf: Shelf, blobs: Blobs) -> None:
    reference = blobs.append(b"hello")
    blobs.sync()
    assert shelf.blobs().read(reference) == b"hello"


def test_nothing_is_made_before_something_is_kept(shelf: Shelf, blobs: Blobs) -> None:
    blobs.sync()
    assert blobs.ends() == (0, 0)
    assert shelf.files() == {}


def test_a_record_can_be_read_without_its_database(shelf: Shelf, blobs: Blobs) -> None:
    bodies = [b"one", b"", b"three"]
    for body in bodies:
        blobs.append(body)
    blobs.sync()
    octets = (shelf.directory / "00000001.segment").read_bytes()
    for body in bodies:
        assert HEADER.unpack_from(octets) == (MAGIC, PLAIN, len(body), hashlib.sha256(body).digest())
        octets = octets[HEADER.size :]
        assert octets[: len(body)] == body
        octets = octets[len(body) :]
    assert octets == b""


def test_a_long_message_comes_in_pieces_between_short_ones(blobs: Blobs) -> None:
    before = blobs.append(b"before")
    reservation = blobs.reserve(9)
    between = blobs.append(b"between")
    reservation.write([b"abc", b"", b"def"])
    reservation.write([])
    reservation.write([b"ghi"])
    reference = reservation.finish()
    after = blobs.append(b"after")
    blobs.sync()
    assert [blobs.read(r) for r in (before, reference, between, after)] == [b"before", b"abcdefghi", b"between", b"after"]
    assert reference.digest == hashlib.sha256(b"abcdefghi").digest()


@pytest.mark.parametrize("pieces", [[b""], [b"abc"], [b"abcdefghi", b"j"], [b"abc" * 1000, b"d" * 100_000], [b"z" * 3_000_000]])
def test_a_message_may_be_of_another_length_than_announced(blobs: Blobs, pieces: list[bytes]) -> None:
    before = blobs.append(b"before")
    reservation = blobs.reserve(9)
    between = blobs.append(b"between")
    for piece in pieces:
        reservation.write([piece])
    reference = reservation.finish()
    after = blobs.append(b"after")
    blobs.sync()
    assert [blobs.read(r) for r in (before, between, after)] == [b"before", b"between", b"after"]
    assert blobs.read(reference) == b"".join(pieces)
    assert reference.length == len(b"".join(pieces))


def test_an_abandoned_room_hides_nothing(blobs: Blobs) -> None:
    first = blobs.append(b"first")
    reservation = blobs.reserve(100)
    reservation.write([b"half"])
    second = blobs.append(b"second")
    reservation.abandon()
    third = blobs.append(b"third")
    blobs.sync()
    assert [blobs.read(r) for r in (first, second, third)] == [b"first", b"second", b"third"]


def test_many_threads_append(blobs: Blobs) -> None:
    kept: list[tuple[Reference, bytes]] = []

    def run(name: int) -> None:
        for number in range(50):
            body = b"%d %d " % (name, number) * (number + 1)
            if number % 7:
                kept.append((blobs.append(body), body))
            else:
                reservation = blobs.reserve(len(body))
                reservation.write([body])
                kept.append((reservation.finish(), body))

    threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        blobs.sync()
    blobs.sync()
    assert len(kept) == 200
    for reference, body in kept:
        assert blobs.read(reference) == body


# --- after a crash ----------------------------------------------------------------------------------------------------


def test_two_living_processes_write_two_segments(shelf: Shelf, blobs: Blobs) -> None:
    other = shelf.blobs()
    assert blobs.append(b"one").segment != other.append(b"two").segment


def test_a_dead_process_segment_is_taken_over_behind_what_was_promised(shelf: Shelf, blobs: Blobs) -> None:
    promised = blobs.append(b"promised")
    shelf.promise(blobs)
    blobs.append(b"never promised to anyone")
    blobs.sync()
    shelf.leave(blobs)
    heir = shelf.blobs()
    reference = heir.append(b"new")
    heir.sync()
    assert (reference.segment, reference.offset) == (promised.segment, promised.offset + HEADER.size + len(b"promised"))
    assert heir.read(promised) == b"promised"
    assert heir.read(reference) == b"new"
    assert list(shelf.files()) == ["00000001.segment"]


def test_what_was_half_written_is_skipped(shelf: Shelf, blobs: Blobs) -> None:
    promised = blobs.append(b"promised")
    shelf.promise(blobs)
    shelf.leave(blobs)
    path = shelf.directory / "00000001.segment"
    with path.open("ab") as file:
        file.write(HEADER.pack(MAGIC, PLAIN, 1000, b"x" * 32)[:20])
    heir = shelf.blobs()
    reference = heir.append(b"new")
    heir.sync()
    assert (heir.read(promised), heir.read(reference)) == (b"promised", b"new")


def test_a_full_segment_is_followed_by_another(shelf: Shelf, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.store.blobs._SEGMENT", 100)
    references = []
    for number in range(10):
        references.append(blobs.append(b"%d" % number * 60))
        shelf.promise(blobs)
    assert len({reference.segment for reference in references}) > 3
    assert [blobs.read(r) for r in references] == [b"%d" % n * 60 for n in range(10)]
    shelf.leave(blobs)
    heir = shelf.blobs()
    new = heir.append(b"new")
    heir.sync()
    assert [heir.read(r) for r in [*references, new]] == [*(b"%d" % n * 60 for n in range(10)), b"new"]


def test_a_batch_reaches_over_the_end_of_a_segment(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.store.blobs._SEGMENT", 100)
    references = [blobs.append(b"%d" % number * 60) for number in range(6)]
    blobs.sync()
    assert [blobs.read(r) for r in references] == [b"%d" % n * 60 for n in range(6)]


# --- faults of the disk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, HEADER.size + 3])
def test_damaged_octets_are_detected(shelf: Shelf, blobs: Blobs, place: int) -> None:
    blobs.append(b"first")
    reference = blobs.append(b"octets")
    blobs.sync()
    with (shelf.directory / "00000001.segment").open("r+b") as file:
        file.seek(reference.offset + place)
        octet = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([octet[0] ^ 1]))
    if place:
        with pytest.raises(StoreError, match="the octets are damaged"):
            blobs.read(reference)
    else:  # the header serves those who have no database
        assert blobs.read(reference) == b"octets"


def test_a_segment_that_was_cut_off_is_detected(shelf: Shelf, blobs: Blobs) -> None:
    reference = blobs.append(b"octets" * 100)
    blobs.sync()
    os.truncate(shelf.directory / "00000001.segment", 200)
    with pytest.raises(StoreError, match="damaged"):
        blobs.read(reference)


def test_a_segment_that_is_gone_is_a_fault_of_the_store(shelf: Shelf, blobs: Blobs) -> None:
    reference = blobs.append(b"octets")
    blobs.sync()
    (shelf.directory / "00000001.segment").unlink()
    with pytest.raises(StoreError, match="segment 1: No such file"):
        blobs.read(reference)


def test_a_full_disk_is_tried_again_at_the_same_place(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    references = [blobs.append(body) for body in (b"first", b"second")]
    real, room = os.pwrite, 30

    def pwrite(file: int, octets: bytes, offset: int) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = min(room, len(octets))
        room -= count
        return real(file, octets[:count], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(StoreFull, match="No space left"):
        blobs.sync()
    references.append(blobs.append(b"third"))
    room = 10_000
    blobs.sync()
    assert not any(blobs.damaged(reference) for reference in references)
    assert [blobs.read(r) for r in references] == [b"first", b"second", b"third"]


def test_a_full_disk_is_told_of_while_a_long_message_comes(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    reservation = blobs.reserve(6)
    reservation.write([b"abc"])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoreFull):
            reservation.write([b"def"])
    reservation.write([b"def"])
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoreFull):
            reservation.finish()
    reservation.abandon()


def test_a_segment_that_cannot_be_begun_is_told_of(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("postroom.store.blobs.fcntl.flock", full)
        with pytest.raises(StoreFull):
            blobs.append(b"hello")
        with pytest.raises(StoreFull):
            blobs.reserve(5)
    reference = blobs.append(b"hello")
    blobs.sync()
    assert blobs.read(reference) == b"hello"


class Failing:
    """An fdatasync that fails once, after something else was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.meanwhile: list[tuple[Blobs, bytes]] = []
        self.references: list[Reference] = []
        self._real = os.fdatasync
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, file: int) -> None:
        self._monkeypatch.setattr(os, "fdatasync", self._real)
        for blobs, body in self.meanwhile:
            self.references.append(blobs.append(body))
        raise OSError(errno.EIO, "Input/output error")


def test_what_was_not_durable_is_refused_for_ever(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fdatasync a second one proves nothing: the pages count as clean."""
    lost = blobs.append(b"lost")
    Failing(monkeypatch)
    with pytest.raises(OSError, match="Input/output"):
        blobs.sync()
    blobs.sync()
    assert blobs.damaged(lost)
    new = blobs.append(b"new")
    blobs.sync()
    assert not blobs.damaged(new)
    assert new.segment != lost.segment
    assert blobs.read(new) == b"new"


def test_what_comes_while_the_disk_fails_does_not_shift_what_follows(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs.append(b"lost")
    failing = Failing(monkeypatch)
    failing.meanwhile.append((blobs, b"appended at the wrong moment"))
    with pytest.raises(OSError, match="Input/output"):
        blobs.sync()
    new = blobs.append(b"new")
    blobs.sync()
    assert blobs.damaged(failing.references[0])
    assert not blobs.damaged(new)
    assert blobs.read(new) == b"new"


def test_a_failed_segment_is_not_taken_again(shelf: Shelf, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = blobs.append(b"lost")
    Failing(monkeypatch)
    with pytest.raises(OSError, match="Input/output"):
        blobs.sync()
    assert blobs.append(b"new").segment != lost.segment
