"""What each run of the draining does. Pure: the same seed, number and length of the series give the same plan."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

InDoubt = Literal["hold", "resend"]
Program = Literal["once", "pair", "service", "command"]
Moment = Literal["instant", "step", "answer"]
Where = Literal["envelope", "content", "answer", "lost"]

KILLS_A_RUN = 4
_MOMENTS: tuple[Moment, ...] = ("instant", "instant", "step", "instant", "instant", "answer")
_PROGRAMS: tuple[Program, ...] = ("once", "pair", "service", "once", "command", "once", "pair", "service", "once", "once")
_LOOKING = (3, 17)  # of twenty turns: ``run --once``, and the service
_LATER = 0.3  # share of the restarts behind which time has passed: what was deferred is due
_AT_ONCE = 0.2  # share of the restarted processes that are killed while they start, too


@dataclass(frozen=True)
class Stop:
    """A SIGKILL when a ``share`` of what is to be sent has left.

    At an instant; before a step of the store; or while the answer to the end of a message never comes, which the server has
    ``taken`` or not.
    """

    moment: Moment
    share: float  # of the whole draining
    phase: float  # of the time between two messages, or of a start
    taken: bool
    later: bool  # the process begins minutes after the one before
    starting: bool = False  # a kill more, before it: while the process starts


@dataclass(frozen=True)
class Cut:
    """The end of a connection at a ``share`` of the draining: in the envelope, in the content, or at the answer to its end."""

    where: Where  # lost: the answer is, and the message is taken over
    share: float
    reset: bool  # else an orderly end


@dataclass(frozen=True)
class Way:
    """Who sends, how, and what becomes of doubts."""

    in_doubt: InDoubt
    program: Program  # ``run --once``, two of them at a time, the service, or the service with an interpreter's start
    chunking: bool  # the server offers it; else DATA
    looks: bool = False  # the server files copies in Sent, where they can be looked for

    def __str__(self) -> str:
        return f"{self.in_doubt} {self.program} {'BDAT' if self.chunking else 'DATA'}{' looks' if self.looks else ''}"


@dataclass(frozen=True)
class DrainRun:
    """One queue that is drained, with its kills, in the order of their shares."""

    number: int
    way: Way
    stops: tuple[Stop, ...]
    cuts: tuple[Cut, ...]


def drain_run(seed: int, number: int, runs: int) -> DrainRun:
    """The run of that number in a series of so many."""
    chance = random.Random(f"{seed} drain {number}")
    stops = tuple(_stop(place, number, runs, chance) for place in range(KILLS_A_RUN))
    cuts = tuple(
        Cut(chance.choice(get_args(Where)), chance.random(), reset=chance.random() < 0.5) for _ in range(chance.choice((0, 1, 3)))
    )
    return DrainRun(number, way_of(number), stops, cuts)


def way_of(number: int) -> Way:
    """Every way in turn."""
    turn, odd = divmod(number, 2)
    again, place = divmod(turn, len(_PROGRAMS))
    return Way("resend" if odd else "hold", _PROGRAMS[place], chunking=(again + place) % 2 == 0, looks=turn % 20 in _LOOKING)


def _stop(place: int, number: int, runs: int, chance: random.Random) -> Stop:
    """Of each run every stop lies in a quarter of its own; those of one kind lie evenly over it, each a bit off its place."""
    kinds = [(_moment(place, each), way_of(each).in_doubt) for each in range(runs)]
    mine = kinds[number]
    at = sum(kind == mine for kind in itertools.islice(kinds, number))
    within = (at + 0.5 + chance.uniform(-0.25, 0.25)) / kinds.count(mine)
    moment = mine[0]
    starting = place > 0 and chance.random() < _AT_ONCE
    later = place > 0 and chance.random() < _LATER
    return Stop(moment, (place + within) / KILLS_A_RUN, chance.random(), chance.random() < 0.5, later, starting)


def _moment(place: int, number: int) -> Moment:
    moments: Sequence[Moment] = _MOMENTS
    return moments[(number // 2 + place) % len(moments)]
