"""What a refusal means: from what authorities and mail servers say to a verdict and a remedy in words.

The knowledge is data, ``refusals.toml``, with the fields of ``Rule``. Every condition that an entry names must hold; of
the entries that fit, the first is taken, so the more special stands before the more general. Nothing here does anything:
who asks decides what to do about the verdict.
"""

from __future__ import annotations

import enum
import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postroom.net.rules import read_file

_AADSTS = re.compile(r"AADSTS(\d{4,9})")  # Microsoft's numbers, as they stand in its words
_ON_PAGE = re.compile(r"\berror (\d{3}): ([a-z_]{4,60})", re.IGNORECASE)  # Google: "Error 403: access_denied"
# Dovecot "(mail_max_userip_connections=10)"; hosters "limit of 16 connections", "more than 5 concurrent connections"
_LIMIT = re.compile(
    r"connections\s*[=:]\s*(\d{1,5})\b|(?<![\d.])(\d{1,5}) (?:simultaneous |concurrent |parallel |IMAP )*connections\b",
    re.IGNORECASE,
)
# Exchange "Suggested Backoff Time: 89117 milliseconds"
_BACKOFF = re.compile(r"back-?off time:?\s*(\d{1,9}) (milliseconds|ms|seconds)\b", re.IGNORECASE)
_WORDS = 2000  # characters kept of what somebody said


class Where(enum.Enum):
    """Where somebody said no."""

    TOKEN = "token"  # noqa: S105 - the token endpoint
    LOGIN = "login"  # a mail server
    PAGE = "page"  # a page in the person's browser, or the error that it sends back to us
    DEVICE = "device"  # the token endpoint, while a person enters a device code


class Verdict(enum.Enum):
    """What a refusal asks for."""

    RETRY = "retry"  # passing trouble: again later
    THROTTLE = "throttle"  # again later, and less often
    REAUTHORIZE = "reauthorize"  # a person must act


# The token endpoint answers a device code too, and Microsoft's pages show the same numbers as its token endpoint.
_LOOKED_THROUGH = {
    Where.TOKEN: (Where.TOKEN,),
    Where.LOGIN: (Where.LOGIN,),
    Where.PAGE: (Where.PAGE, Where.TOKEN),
    Where.DEVICE: (Where.DEVICE, Where.TOKEN),
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What somebody said when they refused."""

    at: Where
    authority: str = ""  # "google", "microsoft" or ""; of a mail server: whose server it is
    status: int | None = None  # HTTP
    error: str = ""  # RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section 3.5
    suberror: str = ""  # Microsoft's suberror, Google's error_subtype
    codes: tuple[int, ...] = ()  # Microsoft's AADSTS numbers
    words: str = ""  # the description; all that a mail server said, with the challenge of RFC 7628 section 3.2.2


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the table. An empty condition always holds."""

    name: str
    at: Where
    fate: Verdict
    means: str
    remedy: str
    source: str  # where the fact comes from
    example: str  # what it is chosen for: a token endpoint's body, a server's or a page's words
    authority: str = ""
    status: tuple[int, ...] = ()  # any of them
    error: str = ""
    suberror: str = ""
    codes: tuple[int, ...] = ()  # any of them
    words: str = ""  # a regular expression, searched in any case
    certain: bool = True  # False: said of good credentials in passing too; to be believed only once it has lasted

    def advice(self, client: str) -> str:
        """What it means and what to do, with the client's name in the commands to type."""
        return named(f"{self.means} {self.remedy}", client)

    def fits(self, heard: Heard) -> bool:
        """Whether every condition holds of what was heard; ``at`` is not looked at."""
        return (
            self.authority in ("", heard.authority)
            and (not self.status or heard.status in self.status)
            and self.error in ("", heard.error)
            and self.suberror in ("", heard.suberror)
            and (not self.codes or not set(self.codes).isdisjoint(heard.codes))
            and (not self.words or re.search(self.words, heard.words, re.IGNORECASE) is not None)
        )


def named(words: str, client: str) -> str:
    """Words of advice with a client's name in the place of ``CLIENT``."""
    return re.sub(r"\bCLIENT\b", client, words) if client else words


def explain(heard: Heard) -> Rule | None:
    """The entry that fits best; None where nothing is known."""
    candidates = (rule for at in _LOOKED_THROUGH[heard.at] for rule in rules() if rule.at is at)
    return next((rule for rule in candidates if rule.fits(heard)), None)


def heard_from_token_body(authority: str, status: int, body: bytes, at: Where = Where.TOKEN) -> Heard:
    """Read a token endpoint's refusal (RFC 6749 section 5.2). Whatever the body holds, something comes back."""
    fields = _fields(body)
    if fields is None:
        return Heard(at, authority, status, words=_printable(body.decode("utf-8", "replace")))
    words = _text(fields.get("error_description"))
    numbers = fields.get("error_codes")
    codes = [number for number in numbers if type(number) is int] if isinstance(numbers, list) else []
    return Heard(
        at,
        authority,
        status,
        error=_text(fields.get("error")),
        suberror=_text(fields.get("suberror")) or _text(fields.get("error_subtype")),
        codes=tuple(dict.fromkeys([*codes, *_numbers(words)])),
        words=_printable(words),
    )


def heard_from_words(at: Where, authority: str, words: str) -> Heard:
    """Take what a server said, or what a person reads off a page, together with the codes within. Never raises."""
    shown = _ON_PAGE.search(words)
    return Heard(
        at,
        authority,
        status=int(shown[1]) if shown else None,
        error=shown[2].lower() if shown else "",
        codes=tuple(dict.fromkeys(_numbers(words))),
        words=_printable(words),
    )


def limit_of(words: str) -> int | None:
    """How many connections a server says that it allows; None where it names no number."""
    found = _LIMIT.search(words)
    number = int(found[1] or found[2]) if found is not None else 0
    return number or None


def backoff_of(words: str) -> float | None:
    """The seconds that a server asks for in its words; None where it names no time."""
    found = _BACKOFF.search(words)
    return None if found is None else int(found[1]) / (1 if found[2].lower() == "seconds" else 1000)


def _fields(body: bytes) -> dict[str, object] | None:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _numbers(words: str) -> list[int]:
    return [int(number) for number in _AADSTS.findall(words)]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:_WORDS])


# --- the table


@functools.cache
def rules() -> tuple[Rule, ...]:
    """The table, in its order. It is read once. ValueError, with the entry's name, for a fault in it."""
    return read_file(Path(__file__).with_name("refusals.toml"), "refusal", rule_of)


def rule_of(entry: dict[str, Any]) -> Rule:
    """Read one entry, which is used up. Raises ``KeyError``, ``TypeError``, ``ValueError``, ``re.error``."""
    rule = Rule(
        at=Where(entry.pop("at")),
        fate=Verdict(entry.pop("fate")),
        status=tuple(entry.pop("status", ())),
        codes=tuple(entry.pop("codes", ())),
        **entry,
    )
    re.compile(rule.words)
    if rule.authority not in ("", "google", "microsoft"):
        raise ValueError(f"authority {rule.authority!r}")
    if not (rule.status or rule.error or rule.suberror or rule.codes or rule.words):
        raise ValueError("it fits everything")
    return rule
