"""What each run does. Pure: the same seed, number and length of the series give the same plan."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from servers.proxy import Direction, How

Login = Literal["password", "token"]
Where = Literal["even", "early", "late"]

_HOW: tuple[How, ...] = ("fin", "rst", "stall")
_TWICE, _THRICE = 0.3, 0.1  # shares of the runs that kill the restarted process too
_LOOKED = 0.75  # share of the kills after which server and store are compared before the next start
_EXPORTED = 0.1  # share of the runs whose messages are exported and read


@dataclass(frozen=True)
class Aim:
    """What ``after-capture`` leaves at the server when all is done."""

    stays: bool  # the mailbox goes on listing it
    seen: bool | None = None  # marked so; None: that is the server's own affair
    moved: bool = False  # into the other folder


ROUTES: Mapping[str, Aim] = {
    "imap:delete": Aim(stays=False),
    "imap:keep": Aim(stays=True, seen=False),
    "imap:seen": Aim(stays=True, seen=True),
    "imap:move": Aim(stays=False, moved=True),
    "pop3:delete": Aim(stays=False),
    "pop3:keep": Aim(stays=True),  # a POP3 server may mark as seen what was retrieved
    "gmail:keep": Aim(stays=False),  # POP3 at Gmail in its normal mode: what was popped is listed no more
}
"""Whose protocol, and ``after-capture``."""


@dataclass(frozen=True)
class Way:
    """How the mailbox is read. Each way is measured once, undisturbed."""

    protocol: str
    disposition: str
    login: Login = "password"
    tls: bool = False

    @property
    def aim(self) -> Aim:
        """What is to be left at the server."""
        return ROUTES[f"{self.protocol}:{self.disposition}"]

    def __str__(self) -> str:
        return f"{self.protocol} {self.disposition} {self.login}{' tls' if self.tls else ''}"


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
    """A connection's end. ``share`` is of the octets in that direction of an undisturbed run.

    Early, it is of their logarithm: greeting, login and listing are hit as often as bodies. Late, the same from the end:
    what settles, and the farewell.
    """

    direction: Direction
    share: float
    how: How
    where: Where = "even"

    def after(self, total: int) -> int:
        """Octets let through, of so many in all."""
        if self.where == "even":
            return int(total * self.share)
        return int(total**self.share) if self.where == "early" else total - int(total ** (1 - self.share))


@dataclass(frozen=True)
class CutRun:
    """The ends of the first connections, one each; the others stay whole."""

    number: int
    way: Way
    cuts: tuple[PlannedCut, ...]
    exported: bool


def kill_run(seed: int, number: int, series: int, routes: Sequence[str]) -> KillRun:
    """The kill run of that number in a series of so many."""
    kinds = [(_way(each, routes, tls=False), _working(each // len(routes))) for each in range(series)]
    way, working = kinds[number]
    chance = random.Random(f"{seed} kill {number}")
    share = _spread(kinds, number, chance)
    drawn = chance.random()
    further = 2 if drawn < _THRICE else 1 if drawn < _TWICE else 0
    instants = [(share, working), *((chance.random(), True) for _ in range(further))]
    kills = tuple(Kill(*instant, chance.random() < _LOOKED) for instant in instants)
    return KillRun(number, way, kills, chance.random() < _EXPORTED)


def cut_run(seed: int, number: int, series: int, routes: Sequence[str]) -> CutRun:
    """The cut run of that number in a series of so many."""
    kinds = [(_way(each, routes, tls=True), _where(each // len(routes))) for each in range(series)]
    way, where = kinds[number]
    chance = random.Random(f"{seed} cut {number}")
    first = PlannedCut(chance.choice(_directions), _spread(kinds, number, chance), _how(chance), where)
    others = (
        PlannedCut(chance.choice(_directions), chance.random(), _how(chance), chance.choices(_wheres, weights=(2, 2, 1))[0])
        for _ in range(chance.randint(1, 3))
    )
    return CutRun(number, way, (first, *others), chance.random() < _EXPORTED)


_directions: tuple[Direction, ...] = ("to_server", "to_client")
_wheres: tuple[Where, ...] = ("even", "early", "late")


def _way(number: int, routes: Sequence[str], *, tls: bool) -> Way:
    """Every route in turn; in each, one run in four with tokens, and where asked for one in four over TLS."""
    turn, place = divmod(number, len(routes))
    protocol, _, disposition = routes[place].partition(":")
    return Way(protocol, disposition, "token" if turn % 4 == 1 else "password", tls and turn % 4 == 2)


def _working(turn: int) -> bool:
    """Two runs in five lie over the whole time, the others over the part in which there is work."""
    return turn % 4 in (2, 3) or turn % 8 == 5


def _where(turn: int) -> Where:
    """Every other run, and of each way every other one, towards the end."""
    return "late" if (turn + turn // 4) % 2 else "even"


def _spread(kinds: Sequence[object], number: int, chance: random.Random) -> float:
    """A share of the whole such that the runs of one kind lie evenly over it, each a bit off its place."""
    mine = kinds[number]
    place = sum(kind == mine for kind in itertools.islice(kinds, number))
    return (place + 0.5 + chance.uniform(-0.25, 0.25)) / kinds.count(mine)


def _how(chance: random.Random) -> How:
    return chance.choices(_HOW, weights=(2, 2, 1))[0]
