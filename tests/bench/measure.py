"""Run a program and measure it whole: time on the wall, on the processor, and its peak of memory."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent / "scripts"


class FailedError(Exception):
    """A program did not do its work; the words are its own."""


@dataclass(frozen=True)
class Run:
    """What one run of a program cost."""

    wall: float  # seconds
    cpu: float  # seconds, user and system
    peak: int  # octets of memory
    began_at: float  # seconds since 1970
    words: str = ""  # what it printed


@dataclass
class Samples:
    """All runs of one contender. ``count`` is what it was given, ``scale`` what its time is multiplied with to compare."""

    name: str
    count: int
    scale: float = 1.0
    runs: list[Run] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median time for the whole work."""
        return self.scale * statistics.median(run.wall for run in self.runs)

    @property
    def fastest(self) -> float:
        """The least time for the whole work."""
        return self.scale * min(run.wall for run in self.runs)

    @property
    def slowest(self) -> float:
        """The most time for the whole work."""
        return self.scale * max(run.wall for run in self.runs)

    @property
    def cpu(self) -> float:
        """The median time on the processor for the whole work."""
        return self.scale * statistics.median(run.cpu for run in self.runs)

    def ratio(self, other: Samples) -> float:
        """How many times the other's time it took: the median over the rounds, so that what slows a round slows both."""
        pairs = zip(self.runs, other.runs, strict=True)
        return self.scale / other.scale * statistics.median(mine.wall / its.wall for mine, its in pairs)

    @property
    def peak(self) -> int:
        """The highest peak of memory."""
        return max(run.peak for run in self.runs)


def run(*programs: Sequence[str]) -> Run:
    """Run a program to its end, or several at once. Raises ``FailedError`` when one fails."""
    with tempfile.NamedTemporaryFile(prefix="bench-words-") as words:
        launch = [sys.executable, "-I", "-S", str(SCRIPTS / "launch.py"), words.name, json.dumps(programs)]
        done = subprocess.run(launch, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        printed = Path(words.name).read_text(errors="replace")
    cost = json.loads(done.stdout)
    if cost["status"]:
        raise FailedError(f"{' '.join(programs[0])} ended with {cost['status']}: {printed[-2000:]}")
    return Run(cost["wall"], cost["cpu"], cost["peak"], cost["began_at"], printed)


@contextmanager
def fresh(parent: Path) -> Iterator[Path]:
    """A new folder on the disk that is measured; gone afterwards, and the disk at rest."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    folder.chmod(0o711)  # a program that steps down from root must reach its files
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        os.sync()


def interleaved(rounds: int, contenders: Sequence[tuple[Samples, Callable[[], Run]]], told: Callable[[str], None]) -> None:
    """A B C A B C …: whatever else the machine does meets all of them alike."""
    for number in range(rounds):
        for samples, once in contenders:
            done = once()
            samples.runs.append(done)
            told(f"  round {number + 1}: {samples.name} {samples.scale * done.wall:.3f} s")
