"""What a refused login is: passing trouble, a wish for less, or a no. The table of refusals decides, for every protocol."""

from __future__ import annotations

from collections.abc import Callable

from postroom.errors import LoginRefused, PostroomError, Throttled
from postroom.net.credentials import Explained
from postroom.net.refusals import Verdict, Where, backoff_of, explain, heard_from_words, limit_of


def throttled(said: str, remedy: str) -> Throttled:
    """A refusal that asks for less, with what its words name: a limit, a time."""
    return Throttled(said, retry_after=backoff_of(said), limit=limit_of(said), remedy=remedy)


def throttled_by(host: str, words: str, remedy: str = "") -> Throttled | None:
    """What a server's words ask for, where that is less; with the limit that they name. None: they ask for nothing."""
    rule = explain(heard_from_words(Where.LOGIN, "", words))
    if rule is None or rule.fate is not Verdict.THROTTLE:
        return None
    return throttled(f"{host}: {words}", remedy or rule.advice(""))


def passing(explained: Explained, said: str, reply: Callable[[str], PostroomError]) -> PostroomError | None:
    """A refusal that means passing trouble; ``reply`` makes the protocol's own error with a remedy. None: it is a no."""
    fate = explained.rule.fate if explained.rule is not None else None
    if fate is Verdict.THROTTLE:
        return throttled(said, explained.remedy)
    return reply(explained.remedy) if fate is Verdict.RETRY else None


def refused(explained: Explained, said: str, *, certain: bool = False) -> LoginRefused:
    """A no; ``certain`` where the server's own code says so."""
    certain = certain or (explained.rule is not None and explained.rule.certain)
    return LoginRefused(said, remedy=explained.remedy, certain=certain)
