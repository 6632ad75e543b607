"""What a server offers in its answer to EHLO (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from postroom.wire.smtp.replies import Reply, printable


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The keywords of the extensions with their parameters, all in upper case."""

    keywords: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.keywords

    @property
    def mechanisms(self) -> Sequence[str]:
        """How one can log in (RFC 4954 section 3)."""
        return self.keywords.get("AUTH", ())

    @property
    def size(self) -> int | None:
        """The most octets of a message (RFC 1870 section 4); None where the server names no limit."""
        words = self.keywords.get("SIZE", ())
        return _number(words[0]) if words else None  # 0 means no limit

    @property
    def limits(self) -> Mapping[str, int]:
        """RFC 9422 section 4: RCPTMAX, MAILMAX, RCPTDOMAINMAX."""
        pairs = (word.partition("=") for word in self.keywords.get("LIMITS", ()))
        found = {name: _number(value) for name, _, value in pairs}
        return {name: number for name, number in found.items() if number is not None}


def capabilities(reply: Reply) -> Capabilities:
    """Read the answer to EHLO. Its first line is the server's greeting, and tells nothing."""
    keywords: dict[str, tuple[str, ...]] = {}
    for line in reply.lines[1:]:
        words = printable(line).upper().split()
        if words and words[0].startswith("AUTH="):  # of servers older than RFC 2554, still sent for older clients
            words = ["AUTH", words[0].removeprefix("AUTH="), *words[1:]]
        if words:
            name, *parameters = words
            keywords[name] = tuple(dict.fromkeys((*keywords.get(name, ()), *filter(None, parameters))))
    return Capabilities(keywords)


def _number(word: str) -> int | None:
    return int(word) or None if word.isascii() and word.isdigit() and len(word) <= 20 else None
