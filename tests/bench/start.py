"""The bench ``start``: how long the command line takes to answer at all."""

from __future__ import annotations

import functools
import sys

from bench.bars import HELP, VERSION
from bench.contenders import POSTROOM
from bench.measure import Samples, interleaved, run
from bench.report import Report
from bench.rig import Rig

TIMES = 5  # as many runs as rounds, since each takes so little


def start(rig: Rig) -> Report:
    """``postroom --version`` and ``--help`` beside Python's own start."""
    report = Report("start", "the command line's first answer")
    programs = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "postroom --version": [POSTROOM, "--version"],
        "postroom --help": [POSTROOM, "--help"],
    }
    entries = [(Samples(name, 0), functools.partial(run, argv)) for name, argv in programs.items()]
    interleaved(rig.rounds * TIMES, entries, lambda _words: None)
    floor, version, help_ = (samples for samples, _ in entries)
    report.rows = [
        {
            "contender": samples.name,
            "runs": len(samples.runs),
            "milliseconds": samples.seconds * 1000,
            "least_ms": samples.fastest * 1000,
            "most_ms": samples.slowest * 1000,
            "peak": samples.peak / 1_000_000,
        }
        for samples in (floor, version, help_)
    ]
    report.measured = {VERSION: version.seconds * 1000, HELP: help_.seconds * 1000}
    return report
