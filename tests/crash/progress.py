"""What is done of a series, in a file that is replaced as a whole after each run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class OtherSeriesError(Exception):
    """The file belongs to a series with other parameters."""


@dataclass(frozen=True)
class Series:
    """What makes two series the same."""

    seed: int
    kills: int
    cuts: int
    messages: int
    routes: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """One way's undisturbed run."""

    start: float  # seconds until it begins to work
    seconds: float  # in all
    to_server: int  # octets through the proxy, in the longest conversation
    to_client: int


@dataclass(frozen=True)
class Outcome:
    """How one run went."""

    name: str  # kill:12, cut:7
    way: str
    seconds: float
    starts: int
    stops: int  # kills or cuts that took place; the others came after the end
    between: int  # stops after which the work was begun and not finished, by what store and server showed
    complaints: tuple[str, ...] = ()
    story: tuple[str, ...] = ()


@dataclass
class Progress:
    """The measurements and outcomes of a series; kept in ``file`` where there is one."""

    series: Series
    file: Path | None = None
    measured: dict[str, Measured] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @classmethod
    def load(cls, series: Series, file: Path | None) -> Progress:
        """From the file where there is one. Raises ``OtherSeriesError``."""
        if file is None or not file.exists():
            return cls(series, file)
        record = json.loads(file.read_text())
        theirs = Series(**{**record["series"], "routes": tuple(record["series"]["routes"])})
        if theirs != series:
            raise OtherSeriesError(f"{file} belongs to another series ({theirs}); name another file or remove it")
        measured = {way: Measured(**values) for way, values in record["measured"].items()}
        outcomes = {name: _outcome(values) for name, values in record["outcomes"].items()}
        return cls(series, file, measured, outcomes)

    def add(self, outcome: Outcome) -> None:
        """Remember a run."""
        self.outcomes[outcome.name] = outcome
        self._save()

    def measure(self, key: str, measured: Measured) -> None:
        """Remember a measurement."""
        self.measured[key] = measured
        self._save()

    def _save(self) -> None:
        if self.file is None:
            return
        record = {
            "series": asdict(self.series),
            "measured": {way: asdict(measured) for way, measured in self.measured.items()},
            "outcomes": {name: asdict(outcome) for name, outcome in self.outcomes.items()},
        }
        partial = self.file.with_name(self.file.name + ".partial")
        partial.write_text(json.dumps(record, indent=1))
        partial.replace(self.file)


def _outcome(values: dict[str, Any]) -> Outcome:
    return Outcome(**{**values, "complaints": tuple(values["complaints"]), "story": tuple(values["story"])})
