"""What a server's refusal means for a message on its way: whom it concerns, and for how long.

The knowledge is data, ``smtp_replies.toml``, with the fields of ``Rule``; of the entries whose every condition holds the
first is taken. What no entry knows is judged by RFC 5321 section 4.2: the class of the code, and the command that it answers.
Why a login is refused is told by ``net/refusals.toml``; here stands what it limits.
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postroom.errors import LoginRefused, Lost, PostroomError, SmtpReply, Throttled, TlsError
from postroom.net.refusals import backoff_of, limit_of
from postroom.net.rules import read_file
from postroom.wire.smtp.replies import Reply


class At(enum.Enum):
    """What was answered."""

    GREETING = "greeting"  # the connection itself, EHLO, NOOP
    LOGIN = "login"  # AUTH
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # DATA, or a chunk that is not the last
    END = "end"  # the end of the message


class Scope(enum.Enum):
    """Whom a refusal concerns."""

    ACCOUNT = "account"  # every message of the account: none of them fails by it
    MESSAGE = "message"  # this message, whoever gets it
    RECIPIENT = "recipient"


class What(enum.Enum):
    """What a refusal of the account is about."""

    AUTH = "auth"  # the login is missing, or is not enough
    CONNECTIONS = "connections"  # too many at once
    RATE = "rate"  # too fast
    QUOTA = "quota"  # too much of a day, or a full mailbox
    BLOCKED = "blocked"  # the provider does not let the account send
    TLS = "tls"
    CLOSING = "closing"  # the server ends the conversation
    TROUBLE = "trouble"  # passing, of the server


_LESS = frozenset({What.CONNECTIONS, What.RATE, What.QUOTA, What.BLOCKED})


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the table. An empty condition always holds."""

    name: str
    scope: Scope
    means: str
    source: str  # where the fact comes from
    example: str  # what it is chosen for
    what: What | None = None  # of an account's
    permanent: bool | None = None  # None: as the code says
    remedy: str = ""
    provider: str = ""
    anonymous: bool = False  # only where nobody logged in, though the server offers it
    at: tuple[At, ...] = ()  # any of them
    code: tuple[int, ...] = ()  # any of them
    enhanced: tuple[str, ...] = ()  # any of them; "x.7.1" is 4.7.1 and 5.7.1
    words: str = ""  # a regular expression, searched in any case
    retry_after: float | None = None  # seconds
    limit: int | None = None  # connections at once

    def fits(self, reply: Reply, at: At, provider: str, anonymous: bool) -> bool:
        """Whether every condition holds."""
        return (
            self.provider in ("", provider)
            and (anonymous or not self.anonymous)
            and (not self.at or at in self.at)
            and (not self.code or reply.code in self.code)
            and (not self.enhanced or reply.enhanced in self.enhanced or f"x{reply.enhanced[1:]}" in self.enhanced)
            and (not self.words or re.search(self.words, reply.text, re.IGNORECASE) is not None)
        )

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return f"{self.means} {self.remedy}".strip()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a refusal means."""

    scope: Scope
    permanent: bool  # of a message or a recipient; an account's never is
    rule: Rule | None = None


def judge(reply: Reply, at: At, provider: str, *, anonymous: bool = False) -> Judgement:
    """Judge a refusal. ``anonymous``: nobody logged in, though the server offers it."""
    rule = next((rule for rule in rules() if rule.fits(reply, at, provider, anonymous)), None)
    permanent = not reply.passing
    if rule is not None:
        return Judgement(rule.scope, permanent if rule.permanent is None else rule.permanent, rule)
    scope = {At.GREETING: Scope.ACCOUNT, At.LOGIN: Scope.ACCOUNT, At.RCPT: Scope.RECIPIENT}.get(at, Scope.MESSAGE)
    return Judgement(scope, permanent)


def fault_of(judgement: Judgement, reply: Reply, host: str) -> PostroomError:
    """A refusal of the account as an error: ``Throttled``, ``LoginRefused``, ``TlsError``, ``Lost``, else ``SmtpReply``."""
    said = f"{host}: {reply.words}"
    rule = judgement.rule
    what, advice = (rule.what, rule.advice) if rule is not None else (None, "")
    match what:
        case What.AUTH:
            return LoginRefused(said, remedy=advice)
        case What.TLS:
            return TlsError(said, remedy=advice)
        case What.CLOSING:
            return Lost(said)
    less = throttled_by(judgement, reply, host)
    return less or SmtpReply(said, code=reply.code, enhanced=reply.enhanced, text=reply.text, remedy=advice)


def throttled_by(judgement: Judgement, reply: Reply, host: str) -> Throttled | None:
    """What a refusal asks for, where that is less. None: it asks for nothing.

    What the server's own words say of times and limits comes before what is known of its provider.
    """
    rule = judgement.rule
    if rule is None or rule.what not in _LESS:
        return None
    after, limit = backoff_of(reply.text) or rule.retry_after, limit_of(reply.text) or rule.limit
    return Throttled(f"{host}: {reply.words}", retry_after=after, limit=limit, remedy=rule.advice)


# --- the table


@functools.cache
def rules() -> tuple[Rule, ...]:
    """The table, in its order. It is read once. ValueError, with the entry's name, for a fault in it."""
    return read_file(Path(__file__).with_name("smtp_replies.toml"), "reply", rule_of)


def rule_of(entry: dict[str, Any]) -> Rule:
    """Read one entry, which is used up. Raises ``KeyError``, ``TypeError``, ``ValueError``, ``re.error``."""
    rule = Rule(
        scope=Scope(entry.pop("scope")),
        what=What(entry.pop("what")) if "what" in entry else None,
        at=tuple(map(At, entry.pop("at", ()))),
        code=tuple(entry.pop("code", ())),
        enhanced=tuple(entry.pop("enhanced", ())),
        **entry,
    )
    re.compile(rule.words)
    if not (rule.code or rule.enhanced or rule.words):
        raise ValueError("it fits everything")
    if (rule.scope is Scope.ACCOUNT) is not (rule.what is not None):
        raise ValueError("what belongs to an account's refusal, and to no other")
    return rule
