"""What the demo shows: on a terminal a screen that is kept up to date, else one line after the other."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from unicodedata import bidirectional

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

STEPS = ("Sandbox", "Samples", "Consent", "Token", "Service", "Login", "Capture", "Answer", "New mail")
SANDBOX, SAMPLES, CONSENT, TOKEN, SERVICE, LOGIN, CAPTURE, ANSWER, NEW_MAIL = range(len(STEPS))

WIDEST = 110  # columns; longer lines are hard to follow
_SUBTITLE = "on this machine only; people and mail are made up"


@dataclass(frozen=True, slots=True)
class Row:
    """A message as the table shows it."""

    time: str
    client: str
    sender: str
    subject: str
    size: str
    after: str = ""  # how long after its delivery it was kept, for one that came while we looked


class View(Protocol):
    """Is told of everything as it happens."""

    def doing(self, step: int, words: str) -> None:
        """A step is under way."""

    def done(self, step: int, words: str) -> None:
        """A step is over: its evidence."""

    def messages(self, rows: Sequence[Row]) -> None:
        """All messages that are kept, the newest last."""

    def footer(self, words: str) -> None:
        """What goes on, and what may be pressed."""


class Lines:
    """For pipes and logs: what is over is said once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[int] = set()
        self._shown = 0

    def doing(self, step: int, words: str) -> None: ...

    def done(self, step: int, words: str) -> None:
        if step in self._said:
            return
        self._said.add(step)
        first, *others = words.splitlines()
        self._print(f"{step + 1} {STEPS[step]:9} {first}", *(f"{'':12}{line}" for line in others))

    def messages(self, rows: Sequence[Row]) -> None:
        for row in rows[self._shown :]:
            after = f"  kept after {row.after}" if row.after else ""
            self._print(f"  {row.time}  {row.client:8}  {_cut(row.sender, 20)}  {_cut(row.subject, 34)}  {row.size:>7}{after}")
        self._shown = len(rows)

    def footer(self, words: str) -> None: ...

    def _print(self, *lines: str) -> None:
        for line in lines:
            self._console.print(Text(line), soft_wrap=True)


class Screen:
    """For a terminal: the steps, below them the newest messages, the newest first."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._marks = [("·", "dim")] * len(STEPS)
        self._words = [""] * len(STEPS)
        self._rows: Sequence[Row] = ()
        self._footer = ""
        self._live: Live | None = None

    def doing(self, step: int, words: str) -> None:
        self._set(step, ("›", "bold cyan"), words)

    def done(self, step: int, words: str) -> None:
        self._set(step, ("✓", "bold green"), words)

    def messages(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._refresh()

    def footer(self, words: str) -> None:
        self._footer = words
        self._refresh()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the screen up to date within the block; its last state stays."""
        with _no_echo(), Live(self, console=self._console, auto_refresh=False) as self._live:
            try:
                yield
            finally:
                self._footer = ""
                self._refresh()
                self._live = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        options = options.update(width=min(options.max_width, WIDEST))
        top = Group(self._title(), Rule(style="bright_black"), self._steps())
        used = len(console.render_lines(top, options)) + 5  # two empty lines, the table's head, the footer, the cursor
        parts: list[RenderableType] = [top]
        if self._rows:
            parts += ["", self._table(max(options.size.height - used, 3))]
        if self._footer:
            parts += ["", Text(self._footer, "dim")]
        yield Constrain(Group(*parts), options.max_width)

    def _set(self, step: int, mark: tuple[str, str], words: str) -> None:
        self._marks[step], self._words[step] = mark, words
        self._refresh()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.refresh()

    def _title(self) -> RenderableType:
        grid = Table.grid(expand=True)
        grid.add_column()
        grid.add_column(justify="right")
        grid.add_row(Text("Postroom demo", "bold"), Text(_SUBTITLE, "dim"))
        return grid

    def _steps(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for title, (mark, style), words in zip(STEPS, self._marks, self._words, strict=True):
            grid.add_row(Text(mark, style), Text(f"{title:9}", "bold" if words else "dim"), Text(words))
        return grid

    def _table(self, height: int) -> RenderableType:
        table = Table(expand=True, box=None, padding=(0, 1, 0, 1), pad_edge=False, header_style="dim")
        table.add_column("Time", no_wrap=True, style="dim")
        table.add_column("Client", no_wrap=True)
        table.add_column("From", no_wrap=True, ratio=2)
        table.add_column("Subject", no_wrap=True, ratio=3)
        table.add_column("Size", no_wrap=True, justify="right", style="dim")
        table.add_column("Kept after", no_wrap=True, justify="right", style="green")
        newest = list(reversed(self._rows[-height:]))
        for number, row in enumerate(newest):
            fresh = "bold" if row.after and number == 0 else ""
            # Where a terminal writes from right to left, the columns beside such a text stay in their places.
            mark = "\N{LEFT-TO-RIGHT MARK}" if _has_right_to_left(row.sender + row.subject) else ""
            cells = (row.time, row.client, row.sender, mark + row.subject, mark + row.size, row.after)
            table.add_row(*(Text(cell) for cell in cells), style=fresh)
        return table


def plain() -> bool:
    """Whether lines are wanted: nobody looks at a terminal, or colours and movement are not wanted on it."""
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("CI") or os.environ.get("TERM") in ("dumb", "unknown")
    return bool(unwanted) or not sys.stdout.isatty()


def console_for(*, lines: bool) -> Console:
    """The console, without colour where lines are wanted."""
    return Console(force_terminal=False, color_system=None, highlight=False) if lines else Console(highlight=False)


@contextmanager
def _no_echo() -> Iterator[None]:
    """Keep typed keys, and the ^C of Ctrl-C, off the screen."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    quiet = termios.tcgetattr(descriptor)
    quiet[3] &= ~termios.ECHO  # the local modes
    termios.tcsetattr(descriptor, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _has_right_to_left(text: str) -> bool:
    return any(bidirectional(character) in ("R", "AL") for character in text)


def _cut(text: str, width: int) -> str:
    cell = Text(text, overflow="ellipsis", no_wrap=True)
    cell.truncate(width, overflow="ellipsis", pad=True)
    return cell.plain
