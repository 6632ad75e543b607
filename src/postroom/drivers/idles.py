"""How long IDLE may last, learned from where it was cut."""

from __future__ import annotations

LONGEST = 9 * 60.0  # seconds; below the half hour of RFC 2177 and the time-outs of most address translators
_SHORTEST = 60.0  # what is cut before is no time-out
_ALIKE = 0.1  # two ages are about the same
_EARLIER = 0.75


class Idles:
    """How long each mailbox's IDLE may last. One for a process: it outlives the conversations that it is learned from."""

    def __init__(self) -> None:
        self._cut: dict[str, float] = {}  # by mailbox: the age at which IDLE was cut last
        self._longest: dict[str, float] = {}

    def longest(self, mailbox: str) -> float:
        """Seconds after which IDLE had better begin anew."""
        return self._longest.get(mailbox, LONGEST)

    def cut(self, mailbox: str, age: float) -> None:
        """IDLE was cut at so many seconds. Twice at about the same age is somebody's time-out: a quarter earlier from now on."""
        before = self._cut.get(mailbox)
        self._cut[mailbox] = age
        if before is not None and age >= _SHORTEST and abs(before - age) <= _ALIKE * max(before, age):
            self._longest[mailbox] = max(min(before, age) * _EARLIER, _SHORTEST)
