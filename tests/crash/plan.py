"""What each run does. Pure: the same seed, number and length of the series give the same plan."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from servers.proxy import Direction, How

DISPOSITIONS = ("delete", "keep", "move")
Login = Literal["password", "token"]

_HOW: tuple[How, ...] = ("fin", "rst", "stall")
_TWICE, _THRICE = 0.3, 0.1  # shares of the runs that kill the restarted process too
_LOOKED = 0.75  # share of the kills after which server and store are compared before the next start
_EXPORTED = 0.1  # share of the runs whose messages are exported and read


@dataclass(frozen=True)
class Way:
    """How the mailbox is read. Each way is measured once, undisturbed."""

    disposition: str
    login: Login = "password"
    tls: bool = False

    def __str__(self) -> str:
        return f"{self.disposition} {self.login}{' tls' if self.tls else ''}"


@dataclass(frozen=True)
class Kill:
    """SIGKILL after a ``share`` of the time that an undisturbed run takes, or of the part in which it works."""

    share: float
    working: bool  # the share is of what follows the start of the program, in which nothing happens yet
    looked: bool  # server and store are compared before the next start; else that follows at once


@dataclass(frozen=True)
class KillRun:
    """One kill, or several: the process that was started again is killed too."""

    number: int
    way: Way
    kills: tuple[Kill, ...]
    exported: bool


@dataclass(frozen=True)
class PlannedCut:
    """A connection's end. ``share`` is of the octets in that direction of an undisturbed run."""

    direction: Direction
    share: float
    how: How
    early: bool  # the share is of the logarithm: greeting, login and SELECT are hit as often as bodies

    def after(self, total: int) -> int:
        """Octets let through, of so many in all."""
        return int(total**self.share) if self.early else int(total * self.share)


@dataclass(frozen=True)
class CutRun:
    """The ends of the first connections, one each; the others stay whole."""

    number: int
    way: Way
    cuts: tuple[PlannedCut, ...]
    exported: bool


def kill_run(seed: int, number: int, series: int, dispositions: Sequence[str]) -> KillRun:
    """The kill run of that number in a series of so many."""
    kinds = [(_way(each, dispositions, tls=False), _working(each // len(dispositions))) for each in range(series)]
    way, working = kinds[number]
    chance = random.Random(f"{seed} kill {number}")
    share = _spread(kinds, number, chance)
    drawn = chance.random()
    further = 2 if drawn < _THRICE else 1 if drawn < _TWICE else 0
    instants = [(share, working), *((chance.random(), True) for _ in range(further))]
    kills = tuple(Kill(*instant, chance.random() < _LOOKED) for instant in instants)
    return KillRun(number, way, kills, chance.random() < _EXPORTED)


def cut_run(seed: int, number: int, series: int, dispositions: Sequence[str]) -> CutRun:
    """The cut run of that number in a series of so many."""
    ways = [_way(each, dispositions, tls=True) for each in range(series)]
    chance = random.Random(f"{seed} cut {number}")
    first = PlannedCut(chance.choice(_directions), _spread(ways, number, chance), _how(chance), early=False)
    others = (
        PlannedCut(chance.choice(_directions), chance.random(), _how(chance), early=chance.random() < 0.5)
        for _ in range(chance.randint(1, 3))
    )
    return CutRun(number, ways[number], (first, *others), chance.random() < _EXPORTED)


_directions: tuple[Direction, ...] = ("to_server", "to_client")


def _way(number: int, dispositions: Sequence[str], *, tls: bool) -> Way:
    """Every disposition in turn; in each, one run in four with tokens, and where asked for one in four over TLS."""
    turn, place = divmod(number, len(dispositions))
    return Way(dispositions[place], "token" if turn % 4 == 1 else "password", tls and turn % 4 == 2)


def _working(turn: int) -> bool:
    """Two runs in five lie over the whole time, the others over the part in which there is work."""
    return turn % 4 in (2, 3) or turn % 8 == 5


def _spread(kinds: Sequence[object], number: int, chance: random.Random) -> float:
    """A share of the whole such that the runs of one kind lie evenly over it, each a bit off its place."""
    mine = kinds[number]
    place = sum(kind == mine for kind in itertools.islice(kinds, number))
    return (place + 0.5 + chance.uniform(-0.25, 0.25)) / kinds.count(mine)


def _how(chance: random.Random) -> How:
    return chance.choices(_HOW, weights=(2, 2, 1))[0]
