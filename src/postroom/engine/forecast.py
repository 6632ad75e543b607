"""What ends when: refresh tokens, application secrets, certificates, and what providers announced. Pure.

The facts come from the configuration, the vault's dates, the certificates and the providers' data; ``endings`` joins them.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

DAY = 86400.0
_PUBLISH = (
    "Make the Google application Internal, or publish it, and write publishing-status = internal or production in its "
    "secret- section."
)
_IDLE = 2 * DAY  # "not used for a few days", less what is left to act
LOGINS = frozenset({"basic", "password-grant", "oob"})
DISTANCES = (30, 14, 3)  # days ahead at which an ending is announced


@dataclass(frozen=True, slots=True)
class Ending:
    """Something that will stop a client."""

    client: str  # section
    what: str  # stable word: refresh-token, refresh-token-unused, testing, client-secret, certificate, announcement
    at: float  # seconds since 1970
    words: str  # what ends
    remedy: str
    certain: bool = True  # False: it ends then only if nothing is done in between, or if the application is in testing
    source: str = ""

    @property
    def key(self) -> str:
        """What tells this ending from others, also of the same client."""
        return f"{self.client}/{self.what}/{self.at:.0f}"

    def days(self, now: float) -> float:
        """Days until it; negative when it is over."""
        return (self.at - now) / DAY

    @property
    def day(self) -> str:
        """The day, in UTC."""
        return datetime.datetime.fromtimestamp(self.at, datetime.UTC).date().isoformat()

    def __str__(self) -> str:
        return f"{self.day}: {self.words}. {self.remedy}"

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        return {
            "client": self.client,
            "what": self.what,
            "at": self.day,
            "words": self.words,
            "remedy": self.remedy,
            "certain": self.certain,
            "source": self.source,
        }


def distance(ending: Ending, now: float) -> int | None:
    """The announced distance that an ending is within: 30, 14 or 3 days; None while it is farther."""
    days = ending.days(now)
    return min((near for near in DISTANCES if days <= near), default=None)


def soon(found: Iterable[Ending], now: float) -> tuple[Ending, ...]:
    """Those that are near enough to be told of, and not over."""
    return tuple(ending for ending in found if ending.days(now) >= 0 and distance(ending, now) is not None)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one client's credentials. Times are seconds since 1970; None is not known."""

    client: str
    consented_at: float | None = None  # when a person consented, or a configured refresh token was first seen
    used_at: float | None = None  # when the authority last gave a token
    refresh_ends_at: float | None = None  # as the authority said
    unused_days: int = 0  # a refresh token ends after so long without use
    testing_days: int = 0  # … and so long after the consent, for an application in testing
    testing: bool | None = None  # whether the application is in testing
    secret_ends_at: float | None = None
    secret_name: str = ""
    certificate_ends_at: float | None = None
    type: str = ""  # of the mailbox
    login: str = ""  # how it is opened, in the words of announcements: basic, password-grant, oob; else empty
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Announced:
    """A provider's dated announcement."""

    name: str
    provider: str
    at: float
    touches: frozenset[str]  # types of mailboxes, and logins: with one of these only such logins of the types
    what: str
    remedy: str
    source: str


def endings(facts: Facts, announced: Iterable[Announced], now: float) -> list[Ending]:
    """All that will stop this client, the first first."""
    found = [*_tokens(facts, now), *_application(facts), *_announcements(facts, announced)]
    return sorted(found, key=lambda ending: ending.at)


def _tokens(facts: Facts, now: float) -> Iterator[Ending]:
    again = f"Run: postroom authorize {facts.client}"
    if facts.refresh_ends_at is not None:
        words = "the refresh token ends, as the authority said when it gave it"
        yield Ending(facts.client, "refresh-token", facts.refresh_ends_at, words, f"{again}. {_PUBLISH}")
    else:
        yield from _testing(facts, again, now)
    last = facts.used_at if facts.used_at is not None else facts.consented_at
    if last is not None and facts.unused_days:
        words = f"the refresh token ends if it is not used for {facts.unused_days} days"
        remedy = f"Let Postroom {_used(facts)} before, or run: postroom check {facts.client}"
        yield Ending(facts.client, "refresh-token-unused", last + facts.unused_days * DAY, words, remedy, certain=False)


def _testing(facts: Facts, again: str, now: float) -> Iterator[Ending]:
    if facts.consented_at is None or not facts.testing_days or facts.testing is False:
        return
    at = facts.consented_at + facts.testing_days * DAY
    if facts.testing is None and at < now:
        return  # it has outlived that day, so the application is not in testing
    supposed = "" if facts.testing else "if "
    words = f"{supposed}the application is in testing, its refresh token ends {facts.testing_days} days after the consent"
    yield Ending(facts.client, "testing", at, words, f"{_PUBLISH} {again}.", certain=bool(facts.testing))
    last = facts.used_at if facts.used_at is not None else facts.consented_at
    if facts.testing and now - last > _IDLE and at > now:
        words = "in testing a refresh token may stop working when it is not used for a few days"
        remedy = f"Let Postroom {_used(facts)}, or run: postroom check {facts.client}"
        yield Ending(facts.client, "testing-unused", last + _IDLE + DAY, words, remedy, certain=False)


def _used(facts: Facts) -> str:
    """How the token of a client is used."""
    return "send by this account" if facts.type == "SMTP" else "read the mailbox"


def _application(facts: Facts) -> Iterator[Ending]:
    if facts.secret_ends_at is not None:
        words = f"the client_secret of [{facts.secret_name}] ends"
        remedy = "Make a new one in the provider's console, write it as password there, and its end as expires."
        yield Ending(facts.client, "client-secret", facts.secret_ends_at, words, remedy)
    if facts.certificate_ends_at is not None:
        words = f"the certificate of [{facts.secret_name}] ends"
        remedy = "Register a new certificate for the application, then write it as certificate and private-key there."
        yield Ending(facts.client, "certificate", facts.certificate_ends_at, words, remedy)


def _announcements(facts: Facts, announced: Iterable[Announced]) -> Iterator[Ending]:
    for one in announced:
        logins = one.touches & LOGINS
        if one.provider == facts.provider and facts.type in one.touches and (not logins or facts.login in logins):
            yield Ending(facts.client, f"announcement:{one.name}", one.at, one.what, one.remedy, source=one.source)
