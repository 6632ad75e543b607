"""How operations write what programs read, and long lines for people."""

from __future__ import annotations

import datetime
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import overload

import click

from postroom.outbound import LaneCounts


@overload
def moment(seconds: float) -> str: ...
@overload
def moment(seconds: None) -> None: ...
@overload
def moment(seconds: float | None) -> str | None: ...


def moment(seconds: float | None) -> str | None:
    """A time as RFC 3339 has it, in UTC with milliseconds."""
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shortened(text: str, width: int) -> str:
    """A text of so many characters at most; what is left out shows."""
    return text if len(text) <= width else text[: width - 1] + "…"


def fitted(lines: Iterable[str]) -> Iterator[str]:
    """Lines no wider than the terminal, what goes on below indented; as they are where nobody looks at a terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in lines:
        plain = click.unstyle(line)
        if width < 40 or len(plain) <= width:
            yield line
            continue
        indent = " " * (len(plain) - len(plain.lstrip()) + 2)
        yield from textwrap.wrap(
            line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, expand_tabs=False
        )


def summary(counts: dict[str, LaneCounts]) -> list[str]:
    """How many submissions of each client stand where, a line each."""
    lines = []
    for client, count in sorted(counts.items()):
        words = [
            f"{number} {name}"
            for number, name in (
                (count.ready, "queued"),
                (count.leased, "sending"),
                (count.waiting, "in doubt"),
                (count.dead, "failed"),
            )
            if number
        ]
        lines.append(f"{client}: {', '.join(words)}")
    return lines
