"""Kill who sends, at instants spread evenly over the draining of 200 queued messages: ``python -m crash.drain --kills 1000``."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from crash.drain_plan import KILLS_A_RUN
from crash.drain_rig import Queue, Record
from crash.drain_runs import DrainOutcome, Drains
from crash.nursery import Nursery
from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.smtp_faults import SmtpFaults

MESSAGES = 200
FOUND, UNUSABLE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is not done yet, print one line for each run, then the sum; return the exit status."""
    options = _parser().parse_args(arguments)
    for name in (signal.SIGINT, signal.SIGTERM):  # also where a shell that put us aside had them ignored
        signal.signal(name, signal.default_int_handler)
    runs = -(-options.kills // KILLS_A_RUN)
    series = {"seed": options.seed, "runs": runs, "messages": options.messages}
    done = done_before(options.state, series)
    if done is None:
        print(f"{options.state} belongs to another series; name another file or remove it", file=sys.stderr)
        return UNUSABLE
    folder = Path(tempfile.mkdtemp(prefix="postroom-drain-"))
    try:
        with rigged(folder, options.seed, runs, options.messages) as drains:
            for number in options.only or range(runs):
                if number in done and not options.only:
                    continue
                outcome = drains.run(number)
                done[number] = outcome
                _tell(outcome, folder)
                if options.state:
                    keep(options.state, series, outcome)
    except KeyboardInterrupt:
        print(f"interrupted; {'the same command goes on from here' if options.state else 'with --state FILE it could go on'}")
        return INTERRUPTED
    return _sum(list(done.values()), folder)


@contextlib.contextmanager
def rigged(folder: Path, seed: int, runs: int, messages: int) -> Iterator[Drains]:
    """Servers and queue of a series."""
    with (
        Certificates() as certificates,
        Authority(certificates=certificates) as authority,
        Dovecot(authority.tokens, certificates=certificates) as dovecot,
        queued(certificates, dovecot, folder, seed, runs, messages) as drains,
    ):
        yield drains


@contextlib.contextmanager
def queued(
    certificates: Certificates, dovecot: Dovecot, folder: Path, seed: int, runs: int, messages: int = MESSAGES
) -> Iterator[Drains]:
    """The same, where a Dovecot is there."""
    with SmtpFaults(certificates=certificates, dovecot=dovecot) as server, Nursery() as nursery:
        yield Drains(nursery, Record(server, dovecot), Queue(folder / "queue", seed, messages), folder, seed, runs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m crash.drain", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="kills, four in each run at least (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="where the plan comes from (%(default)s)")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="in the queue (%(default)s)")
    parser.add_argument("--state", type=Path, help="file that remembers what is done, so that an interrupted series goes on")
    parser.add_argument("--only", action="append", type=int, metavar="NUMBER", help="this run, done before or not")
    return parser


def done_before(state: Path | None, series: dict[str, int]) -> dict[int, DrainOutcome] | None:
    """What was done of the series; None where the file is of another."""
    if state is None or not state.exists():
        return {}
    first, *lines = state.read_text().splitlines()
    if json.loads(first) != series:
        return None
    records = [json.loads(line) for line in lines]
    outcomes = [
        DrainOutcome(**{**record, **{name: tuple(record[name]) for name in ("positions", "complaints", "story")}})
        for record in records
    ]
    return {outcome.number: outcome for outcome in outcomes}


def keep(state: Path, series: dict[str, int], outcome: DrainOutcome) -> None:
    """A line for each run; the first names the series."""
    new = not state.exists()
    with state.open("a") as file:
        file.write((json.dumps(series) + "\n" if new else "") + json.dumps(asdict(outcome)) + "\n")


def _tell(outcome: DrainOutcome, folder: Path) -> None:
    figures = (
        f"{outcome.kills} kills, {outcome.doubts} doubts, {outcome.found} found, {outcome.twice} twice, {outcome.resolved} resolved"
    )
    result = "FOUND" if outcome.complaints else "ok"
    print(
        f"{outcome.number:4} {outcome.way:20} {outcome.seconds:5.1f} s {result:5} {figures}; {'; '.join(outcome.story)}", flush=True
    )
    for complaint in outcome.complaints:
        print(f"     {complaint}", flush=True)
    if outcome.complaints:
        print(f"     evidence: {folder / str(outcome.number)}", flush=True)


def _sum(outcomes: Sequence[DrainOutcome], folder: Path) -> int:
    bad = sum(bool(outcome.complaints) for outcome in outcomes)
    positions = [position for outcome in outcomes for position in outcome.positions]
    tenths = [sum(min(int(position * 10), 9) == tenth for position in positions) for tenth in range(10)]
    for in_doubt in ("hold", "resend"):
        mine = [outcome for outcome in outcomes if outcome.way.startswith(in_doubt)]
        names = ("kills", "delivered", "doubts", "found", "twice", "resolved")
        sums = ", ".join(f"{sum(getattr(outcome, name) for outcome in mine)} {name}" for name in names)
        print(f"in-doubt = {in_doubt}: {len(mine)} queues drained, {sums}")
    idle = sum(outcome.idle for outcome in outcomes)
    spread = " ".join(map(str, tenths))
    print(f"{len(positions)} kills under way, by tenths of the draining: {spread}; {idle} when nothing was left to do")
    if not bad:
        shutil.rmtree(folder)
    print(f"{bad} runs found something{f'; evidence is in {folder}' if bad else ''}")
    return FOUND if bad else 0


if __name__ == "__main__":
    sys.exit(main())
