"""What is to be reached, as data. Each goal names a figure that its bench measures; nothing fails by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MBSYNC_SPEED = "times as fast as mbsync"
MPOP_SPEED = "times as fast as mpop"
IMAPLIB_SPEED = "times as fast as imaplib"
BARE_TIME = "times bare's time"
FLOOR_TIME = "times the disk's own time"
PEAK = "MB of memory at the peak"
ROUND_TRIPS = "round trips, login included"
OCTETS = "octets both ways after the login, whatever the mailbox's size"
GROWTH = "more commands for the largest mailbox than for the smallest"
LOOK_TIME = "times the bare look's time on the wire"
EACH = "kB of memory for each mailbox"
PROCESSOR = "s of processor a minute at rest"
TO_CAPTURE = "ms from delivery to capture"
DELAYED = "times the time until all are read, with a server that hangs"
SMTPLIB_SPEED = "times as fast as smtplib on one connection"
SOURCE_SPEED = "times smtp-source's speed"
POST_TIME = "ms from POST to 202"
CLAIM_GROWTH = "times the cost of a claim, with a hundred times as many waiting"
RESTART_GROWTH = "times the time to the first message after a start, with a hundred times as many waiting"
VERSION = "ms for --version"
HELP = "ms for --help"


@dataclass(frozen=True)
class Goal:
    """One figure and its limit."""

    figure: str
    limit: float
    upwards: bool = False  # more is better

    def reached(self, value: float) -> bool:
        """Whether a measured value is good enough."""
        return value >= self.limit if self.upwards else value <= self.limit

    def words(self, measured: Mapping[str, float]) -> str:
        """The goal and what was measured, for people."""
        sign = "at least" if self.upwards else "at most"
        if self.figure not in measured:
            return f"{self.figure} {sign} {self.limit:g}: not measured"
        value = measured[self.figure]
        return f"{self.figure} {sign} {self.limit:g}: {value:.3g}, {'reached' if self.reached(value) else 'NOT reached'}"


@dataclass(frozen=True)
class Bar:
    """The least to clear, and where we are going."""

    least: tuple[Goal, ...]
    aim: tuple[Goal, ...]
    either: bool = False  # one of ``aim`` is enough


_LOOK = Bar((Goal(OCTETS, 2000), Goal(GROWTH, 0)), (Goal(LOOK_TIME, 1.5),))
_DISTANCE = Bar((Goal(ROUND_TRIPS, 20),), (Goal(ROUND_TRIPS, 12),))

BARS: Mapping[str, Bar] = {
    "capture": Bar((Goal(MBSYNC_SPEED, 8, upwards=True),), (Goal(BARE_TIME, 2),)),
    "pop3": Bar((Goal(MPOP_SPEED, 8, upwards=True),), (Goal(BARE_TIME, 2),)),
    "large": Bar(
        (Goal(IMAPLIB_SPEED, 1, upwards=True), Goal(MBSYNC_SPEED, 1, upwards=True), Goal(PEAK, 100)),
        (Goal(BARE_TIME, 2.5), Goal(FLOOR_TIME, 1)),
        either=True,
    ),
    "many": Bar((Goal(MBSYNC_SPEED, 2, upwards=True),), (Goal(BARE_TIME, 2),)),
    "unchanged": _LOOK,
    "unchanged-pop3": _LOOK,
    "distance": _DISTANCE,
    "distance-pop3": _DISTANCE,
    # Of 10,000: 1 GiB, and half of it. From delivery to the webhook 50 ms, and 20; capture is part of that.
    "idle": Bar(
        (Goal(EACH, 107), Goal(TO_CAPTURE, 50), Goal(DELAYED, 1.2)),
        (Goal(EACH, 53), Goal(TO_CAPTURE, 20), Goal(PROCESSOR, 1.2)),
    ),
    "send": Bar((Goal(SMTPLIB_SPEED, 1, upwards=True),), (Goal(SMTPLIB_SPEED, 3, upwards=True),)),
    "send-postfix": Bar((Goal(SOURCE_SPEED, 0.9, upwards=True),), (Goal(SOURCE_SPEED, 1, upwards=True),)),
    "post": Bar((Goal(POST_TIME, 50),), (Goal(POST_TIME, 10),)),
    "queue": Bar((Goal(CLAIM_GROWTH, 2), Goal(RESTART_GROWTH, 2)), (Goal(CLAIM_GROWTH, 1.2), Goal(RESTART_GROWTH, 1.2))),
    "start": Bar((Goal(VERSION, 150), Goal(HELP, 300)), (Goal(VERSION, 80), Goal(HELP, 150))),
}
