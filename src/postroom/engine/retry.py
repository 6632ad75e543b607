"""Error to decision. Pure: what to do, and after how long, from what happened, how often and since when."""

from __future__ import annotations

from dataclasses import dataclass

from postroom.errors import Fate, LoginRefused, PostroomError, StoreFull, Throttled, TokenRefused

_FIRST = 5.0  # seconds
_LONGEST = 900.0
_REAUTHORIZE = 3600.0  # a person must act; rare attempts see that somebody did
_STORE_FULL = 15.0
_PASSING = 3  # refusals in a row …
_LASTING = 120.0  # … over so many seconds, before a refused login is believed

_WORK_GIVE_UP = 8  # attempts


@dataclass(frozen=True, slots=True)
class Decision:
    """``seconds`` until the next attempt; ``person``: somebody must act; ``dead``: no attempt follows."""

    seconds: float
    person: bool = False
    dead: bool = False


def decide(error: BaseException, failures: int, first_failed_at: float, now: float) -> Decision:
    """What becomes of a mailbox that failed so many times in a row, first at that time."""
    fate = error.fate if isinstance(error, PostroomError) else Fate.RETRY
    backed_off = min(_FIRST * 2 ** min(failures - 1, 10), _LONGEST)
    if isinstance(error, Throttled):
        return Decision(max(backed_off, error.retry_after or 0.0))
    if isinstance(error, StoreFull):
        return Decision(_STORE_FULL)
    if fate is Fate.REAUTHORIZE:
        # Servers refuse good logins in passing, Microsoft's above all, and its authority says invalid_grant in passing too: a
        # first refusal is tried again soon, and is believed once it has lasted. A no whose words name the reason is final.
        passing = isinstance(error, LoginRefused | TokenRefused) and not error.certain
        believed = not passing or failures > _PASSING or now - first_failed_at > _LASTING
        return Decision(_REAUTHORIZE if believed else backed_off, person=True)
    return Decision(backed_off)


def decide_work(error: BaseException, attempts: int) -> Decision:
    """What becomes of a piece of work that failed."""
    fate = error.fate if isinstance(error, PostroomError) else Fate.RETRY
    if fate is Fate.GIVE_UP or attempts >= _WORK_GIVE_UP:
        return Decision(0.0, dead=True)
    return Decision(min(_FIRST * 2 ** min(attempts - 1, 10), _LONGEST))


def submission_again(attempts: int) -> float:
    """Seconds until a refusal for now, or a copy that could not be filed, is tried again.

    Soon at first: greylisting and locks pass in minutes. RFC 5321 section 4.5.4.1 wants half an hour, or a better strategy; after
    some attempts it is an hour.
    """
    return float(min(60.0 * 2 ** min(max(attempts, 1) - 1, 10), 3600.0))


def trouble_again(attempts: int, *, absent: bool) -> float:
    """Seconds until a message in trouble is asked for again. An absent one is looked for in a later conversation."""
    first = 180.0 if absent else 10.0
    return float(min(first * 2 ** min(attempts, 12), 6 * 3600.0))
