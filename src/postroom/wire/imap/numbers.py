"""Many UIDs in little memory: a mailbox of 200,000 messages is a handful of ranges as a rule, and 2 MB at the worst."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator

LARGEST = 2**32 - 1  # nz-number (RFC 9051 section 9)

_SEQUENCE_SET = re.compile(rb"[0-9]{1,10}(?::[0-9]{1,10})?(?:,[0-9]{1,10}(?::[0-9]{1,10})?)*\Z")


class Numbers:
    """A set of UIDs, kept as ranges that neither touch nor overlap, in rising order. Never changed once made."""

    __slots__ = ("_highs", "_lows")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """``ranges`` with both ends included, in any order; they may overlap. ``ValueError`` for a number that is no UID."""
        self._lows = array("I")
        self._highs = array("I")
        for low, high in sorted(ranges):
            if not 1 <= low <= high <= LARGEST:
                raise ValueError(f"{low}:{high} are no UIDs")
            if self._highs and low <= self._highs[-1] + 1:
                self._highs[-1] = max(self._highs[-1], high)
            else:
                self._lows.append(low)
                self._highs.append(high)

    @classmethod
    def of(cls, uids: Iterable[int]) -> Numbers:
        """Single UIDs, in any order."""
        return cls((uid, uid) for uid in uids)

    @classmethod
    def read(cls, octets: bytes) -> Numbers:
        """Read a sequence-set (RFC 9051 section 9) that a server wrote: without ``*``. Raises ``ValueError``."""
        if not _SEQUENCE_SET.match(octets):
            raise ValueError("no sequence-set")
        ranges = []
        for item in octets.split(b","):
            first, _, last = item.partition(b":")
            low, high = int(first), int(last or first)
            ranges.append((min(low, high), max(low, high)))  # "2:4 and 4:2 are equivalent"
        return cls(ranges)

    def __or__(self, other: Numbers) -> Numbers:
        """What is in either."""
        return Numbers([*self.ranges(), *other.ranges()])

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The ranges, both ends included."""
        return zip(self._lows, self._highs, strict=True)

    def __contains__(self, uid: int) -> bool:
        at = bisect_right(self._lows, uid)
        return at > 0 and uid <= self._highs[at - 1]

    def __iter__(self) -> Iterator[int]:
        """Each UID, rising."""
        for low, high in self.ranges():
            yield from range(low, high + 1)

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self.ranges())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbers) and self._lows == other._lows and self._highs == other._highs

    def __hash__(self) -> int:
        return hash((self._lows.tobytes(), self._highs.tobytes()))

    def __repr__(self) -> str:
        return f"Numbers({','.join(f'{low}:{high}' if high > low else str(low) for low, high in self.ranges())})"
