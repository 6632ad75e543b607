"""What one bench found: rows of figures, remarks, and how they stand to the bar; for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.bars import BARS

Figure = float | int | str | None

# Each figure that a row may hold: its heading and how it is written.
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "contender": ("contender", "{}"),
    "mailbox": ("mailbox", "{:,}"),
    "mailboxes": ("mailboxes", "{:,}"),
    "messages": ("messages", "{:,}"),
    "kept": ("kept", "{:,}"),
    "runs": ("runs", "{}"),
    "seconds": ("median s", "{:.3f}"),
    "fastest": ("min s", "{:.3f}"),
    "slowest": ("max s", "{:.3f}"),
    "ratio": ("x bare", "{:.2f}"),
    "rate": ("messages/s", "{:,.0f}"),
    "megabytes": ("MB/s", "{:,.0f}"),
    "cpu": ("cpu s", "{:.2f}"),
    "peak": ("peak MB", "{:.0f}"),
    "memory": ("MB", "{:.0f}"),
    "at_rest": ("cpu s/min", "{:.2f}"),
    "commands": ("commands", "{:,}"),
    "octets_out": ("sent", "{:,}"),
    "octets_in": ("received", "{:,}"),
    "round_trips": ("round trips", "{:,}"),
    "wire": ("wire s", "{:.3f}"),
    "wire_trips": ("wire/60 ms", "{:.1f}"),
    "wall_trips": ("wall/60 ms", "{:.1f}"),
    "wire_ratio": ("wire x bare", "{:.2f}"),
    "milliseconds": ("median ms", "{:.0f}"),
    "least_ms": ("min ms", "{:.0f}"),
    "most_ms": ("max ms", "{:.0f}"),
}


@dataclass
class Report:
    """One bench's findings."""

    bench: str
    work: str  # what was to be done
    rows: list[dict[str, Figure]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)  # by the figure's name in ``bars``

    def text(self) -> str:
        """A table, the remarks, the bar."""
        return "\n".join([f"{self.bench}: {self.work}", "", *self._table(), "", *self.remarks, *self._bar()]) + "\n"

    def as_json(self) -> dict[str, object]:
        """Everything, for programs."""
        return {
            "bench": self.bench,
            "work": self.work,
            "rows": self.rows,
            "remarks": self.remarks,
            "measured": self.measured,
            "bar": self._bar(),
        }

    def _table(self) -> list[str]:
        keys = [key for key in _COLUMNS if any(key in row for row in self.rows)]
        lines = [[_COLUMNS[key][0] for key in keys]]
        lines += [[_written(key, row.get(key)) for key in keys] for row in self.rows]
        widths = [max(len(line[place]) for line in lines) for place in range(len(keys))]
        return ["  " + _line(line, widths) for line in lines]

    def _bar(self) -> list[str]:
        bar = BARS[self.bench]
        least = "; ".join(goal.words(self.measured) for goal in bar.least)
        aim = (" or " if bar.either else "; ").join(goal.words(self.measured) for goal in bar.aim)
        return [f"at least: {least}", f"aim: {aim}"]


def _written(key: str, value: Figure) -> str:
    return "-" if value is None else _COLUMNS[key][1].format(value)


def _line(cells: list[str], widths: list[int]) -> str:
    first, *others = (
        cell.ljust(width) if place == 0 else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()
