"""Applications: who gets messages, and which. Everything here acts on what is understood from the next moment on."""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

import datetime
import enum
from collections.abc import Sequence
from dataclasses import dataclass

from postroom.settings import values
from postroom.settings.option import Effect, Surroundings, option

_WHOLE = "The option."


class Begin(enum.Enum):
    """With which message a new application begins, unless that is a day."""

    NOW = "now"
    ALL = "all"


def begin(value: str, surroundings: Surroundings) -> Begin | datetime.date:
    """``now``, ``all`` or a day."""
    if value.lower() in {choice.value for choice in Begin}:
        return Begin(value.lower())
    return values.date(value, surroundings)


def names(value: str, surroundings: Surroundings) -> tuple[str, ...]:
    """Names with commas between them, in lower case, each once."""
    found = (values.text(part.strip().lower(), surroundings) for part in value.split(","))
    return tuple(dict.fromkeys(filter(None, found)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PullApplication:
    """An application that reads messages by lease and acknowledges them."""

    section: str  # whole name of the section in lower case: under it its messages wait
    name: str  # the part after "pull-", as written

    clients: tuple[str, ...] = option(
        "clients",
        names,
        default="",
        default_words="All clients",
        valid="names of pop-clients, with commas between them",
        effect=Effect.IMMEDIATELY,
        ours=_WHOLE,
        sentence="Only messages that these clients captured.",
    )
    folders: tuple[str, ...] | None = option(
        "folders",
        values.folders,
        default_words="All folders",
        valid="folders, with commas between them",
        effect=Effect.IMMEDIATELY,
        ours=_WHOLE,
        sentence="Only messages that were captured from these folders.",
    )
    addresses: tuple[str, ...] = option(
        "addresses",
        values.addresses,
        default="",
        default_words="All addresses",
        valid="e-mail addresses and domains, with commas between them",
        effect=Effect.IMMEDIATELY,
        ours=_WHOLE,
        sentence="Only messages of mailboxes that serve one of these addresses (`address`), or that name one in To or Cc. Of a "
        "message that copies were made of, only the copies for these recipients.",
    )
    lease_time: float = option(
        "lease-time",
        values.time_span(minimum=1),
        default="5m",
        valid=values.TIME_SPAN,
        effect=Effect.IMMEDIATELY,
        ours=_WHOLE,
        sentence="How long a message belongs to whoever leased it, unless they ask for another time. What is neither acknowledged "
        "nor refused nor extended by then is handed out again.",
    )
    maximum_attempts: int = option(
        "maximum-attempts",
        values.integer(1, 1000),
        default="10",
        valid="1..1000",
        effect=Effect.IMMEDIATELY,
        ours=_WHOLE,
        sentence="How often a message is handed out without being acknowledged before it is laid aside as dead. `postroom pull "
        "replay` hands it out anew.",
    )
    begin: Begin | datetime.date = option(
        "begin",
        begin,
        default="now",
        valid="now, all, or a day: YYYY-MM-DD (UTC)",
        effect=Effect.IMMEDIATELY,
        ours=_WHOLE,
        sentence="With which messages the application begins when its section is read for the first time: those from then on, all, "
        "or those captured from that day on. Later it acts no more; `postroom pull replay APP --since` does.",
    )

    def since(self) -> float | None:
        """From when on messages of before are its own too, in seconds since 1970; None for none of them."""
        if isinstance(self.begin, datetime.date):
            return datetime.datetime.combine(self.begin, datetime.time(), datetime.UTC).timestamp()
        return 0.0 if self.begin is Begin.ALL else None

    def takes_client(self, section: str) -> bool:
        """Whether messages are its own that the pop-client of this section captured; ``clients`` may name it whole or in short."""
        whole = section.lower()
        return not self.clients or whole in self.clients or whole.removeprefix("pop-client-") in self.clients


def strange_clients(application: PullApplication, sections: Sequence[str]) -> list[str]:
    """Names in ``clients`` that no section has."""
    known = {name for section in sections for name in (section.lower(), section.lower().removeprefix("pop-client-"))}
    return [name for name in application.clients if name not in known]
