"""Make the series: ``python -m crash [--kills N] [--cuts N] [--seed S] [--state FILE] [--only kill:12]``."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from crash.plan import ROUTES
from crash.progress import OtherSeriesError, Outcome, Progress, Series
from crash.rig import Rig
from crash.runs import Runs, UndisturbedError
from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.gmail_pop3 import GmailPop3
from servers.install import complaints

FOUND, UNUSABLE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is not done yet, print one line for each run, then the sum; return the exit status."""
    options = _parser().parse_args(arguments)
    for name in (signal.SIGINT, signal.SIGTERM):  # also where a shell that put us aside had them ignored
        signal.signal(name, signal.default_int_handler)
    series = Series(options.seed, options.kills, options.cuts, options.messages, options.routes)
    try:
        progress = Progress.load(series, options.state)
    except OtherSeriesError as error:
        return _unusable(str(error))
    names = options.only or _names(series)
    if missing := complaints():
        return _unusable("; ".join(missing))
    folder = Path(options.evidence or tempfile.mkdtemp(prefix="postroom-crash-"))
    try:
        with rigged(series) as rig:
            _make(Runs(rig, progress, folder), names, again=bool(options.only))
    except UndisturbedError as error:
        return _unusable(str(error))
    except KeyboardInterrupt:
        print(f"interrupted; {_resume(options.state)}")
        return INTERRUPTED
    return _sum(progress, folder)


def _names(series: Series) -> list[str]:
    """All runs, kills and cuts in turn."""
    wanted = {"kill": series.kills, "cut": series.cuts}
    return [f"{kind}:{n}" for n in range(max(wanted.values())) for kind, count in wanted.items() if n < count]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="runs that kill the process (%(default)s)")
    parser.add_argument("--cuts", type=int, default=200, help="runs that cut its connections (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="where the plan comes from (%(default)s)")
    parser.add_argument("--messages", type=int, default=2000, help="messages in the mailbox (%(default)s)")
    parser.add_argument("--routes", type=_routes, default=tuple(ROUTES), help=f"some of {','.join(ROUTES)} (all)")
    parser.add_argument("--state", type=Path, help="file that remembers what is done, so that an interrupted series goes on")
    parser.add_argument("--only", action="append", type=_name, metavar="KIND:NUMBER", help="this run, done before or not")
    parser.add_argument("--evidence", type=Path, help="where what was found is kept (a new folder for temporary files)")
    return parser


def _routes(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    if not set(chosen) <= set(ROUTES):
        raise argparse.ArgumentTypeError(f"some of {','.join(ROUTES)}")
    return chosen


def _name(text: str) -> str:
    kind, _, number = text.partition(":")
    if kind not in ("kill", "cut") or not number.isdecimal():
        raise argparse.ArgumentTypeError("kill:NUMBER or cut:NUMBER")
    return text


@contextlib.contextmanager
def rigged(series: Series) -> Iterator[Rig]:
    """The servers and the mailboxes of a series."""
    with (
        Certificates() as certificates,
        Authority(certificates=certificates) as authority,
        Dovecot(authority.tokens, certificates=certificates) as dovecot,
        GmailPop3(tokens=authority.tokens, certificates=certificates) as gmail,
        tempfile.TemporaryDirectory(prefix="pr-backup-") as backup,
    ):
        yield Rig(dovecot, gmail, authority, Path(backup) / "Maildir", series.messages, series.seed)


def _make(runs: Runs, names: Sequence[str], *, again: bool) -> None:
    for place, name in enumerate(names, 1):
        if name in runs.progress.outcomes and not again:
            continue
        kind, _, number = name.partition(":")
        outcome = runs.kill(int(number)) if kind == "kill" else runs.cut(int(number))
        print(f"{place:4}/{len(names)} {_line(outcome)}", flush=True)
        for complaint in outcome.complaints:
            print(f"     {complaint}", flush=True)
        if outcome.complaints:
            print(f"     {_how_to_repeat(runs, name)}", flush=True)


def _line(outcome: Outcome) -> str:
    verdict = "FOUND" if outcome.complaints else "ok"
    return f"{outcome.name:9} {outcome.way:25} {outcome.seconds:5.1f} s  {verdict:5} {'; '.join(outcome.story)}"


def _how_to_repeat(runs: Runs, name: str) -> str:
    series, state = runs.progress.series, runs.progress.file
    command = f"python -m crash --kills {series.kills} --cuts {series.cuts} --seed {series.seed} --messages {series.messages}"
    command += f" --routes {','.join(series.routes)} --only {name}"
    command += f" --state {state}" if state else ""  # it holds the measured times, from which the instants follow
    return f"evidence: {runs.folder / name.replace(':', '-')}; again: {command}"


def _sum(progress: Progress, folder: Path) -> int:
    found = 0
    for kind, what in (("kill", "kills"), ("cut", "broken conversations")):
        outcomes = [outcome for name, outcome in progress.outcomes.items() if name.startswith(kind)]
        if not outcomes:
            continue
        bad = sum(bool(outcome.complaints) for outcome in outcomes)
        stops, between = sum(outcome.stops for outcome in outcomes), sum(outcome.between for outcome in outcomes)
        seconds = sum(outcome.seconds for outcome in outcomes)
        print(
            f"{len(outcomes)} {kind} runs in {seconds:.0f} s: {stops} {what} took place, {between} of them between"
            f" the first message kept and the last one settled (of those looked at); {bad} runs found something"
        )
        found += bad
        for route in progress.series.routes:
            mine = [outcome for outcome in outcomes if outcome.way.startswith(route.replace(":", " ") + " ")]
            stops, between = sum(outcome.stops for outcome in mine), sum(outcome.between for outcome in mine)
            print(f"  {route:12} {len(mine):4} runs, {stops:4} stops, {between:4} between")
    if not found and not any(folder.iterdir()):
        folder.rmdir()
    print("each message was kept once, and none is gone that is not here" if not found else f"evidence is in {folder}")
    return FOUND if found else 0


def _resume(state: Path | None) -> str:
    return "the same command goes on from here" if state else "with --state FILE it could go on from here"


def _unusable(words: str) -> int:
    print(words, file=sys.stderr)
    return UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
