"""Mail as a company's mailboxes get it: enquiries, attachments, foreign scripts, bounces, automatic replies, oddities.

``samples`` are one of each kind, the same at every call for the same moment; ``later`` is an endless stream of short
new ones. All names are made up, all addresses belong to domains reserved for examples (RFC 2606, RFC 6761).
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from postroom.clock import Clock, SystemClock
from postroom.sandbox import sample_reports, sample_texts
from postroom.sandbox.parts import CRLF, Letter


@dataclass(frozen=True, slots=True)
class Sample:
    """A message and what it is an example of."""

    name: str
    octets: bytes
    when: datetime  # its Date, which suits as the date of its arrival


def samples(now: datetime, to: str = "sales@example.test") -> list[Sample]:
    """One message of every kind, the oldest first and all within the two days before ``now``."""
    makers = (*sample_texts.MAKERS, *sample_reports.MAKERS)
    made: list[Sample] = []
    earlier = ""
    for number, (name, domain, make) in enumerate(makers):
        when = now - timedelta(minutes=150 * (len(makers) - number))
        message_id = f"<{when:%Y%m%d%H%M%S}.{name}@{domain}>"
        made.append(Sample(name, make(Letter(to, when, message_id, earlier)), when))
        earlier = message_id
    return made


def colleague(author: str, to: str, clock: Clock | None = None) -> Sample:
    """A question within the house, dated now."""
    when = datetime.fromtimestamp((clock or SystemClock()).now(), UTC)
    letter = Letter(to, when, f"<{uuid.uuid4()}@{author.rpartition('@')[2]}>", "")
    head = letter.head(author, "Saturday?", ("Content-Type", 'text/plain; charset="us-ascii"'))
    return Sample("colleague", head + CRLF + b"Until when are you open on Saturday? A customer asks." + CRLF, when)


def later(to: str = "sales@example.test", clock: Clock | None = None) -> Iterator[Sample]:
    """New mail without end, dated when it is asked for, each with a Message-ID that no other has."""
    clock = clock or SystemClock()
    for number, (sender, subject, text) in enumerate(itertools.cycle(sample_texts.SHORT), 1):
        when = datetime.fromtimestamp(clock.now(), UTC)
        domain = sender.rpartition("@")[2].rstrip(">")
        letter = Letter(to, when, f"<{uuid.uuid4()}@{domain}>", "")
        head = letter.head(sender, subject, ("Content-Type", 'text/plain; charset="us-ascii"'))
        yield Sample(f"later-{number}", head + CRLF + text.encode("ascii") + CRLF, when)
