"""Carry out the runs of a series, one by one.

A kill run: restore the mailbox, start Postroom, SIGKILL, look, start it again, compare. A cut run: the same through a proxy
that ends the first connections at an octet each, with starts until one comes to its end.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from crash import verdict
from crash.plan import CutRun, KillRun, Way, cut_run, kill_run
from crash.program import CommandFailedError, Ended, Postroom
from crash.progress import Measured, Outcome, Progress
from crash.rig import Rig
from servers.proxy import Cut, FaultProxy

_FURTHER = 5  # starts beyond one for each cut: a busy machine may be slower than a short protocol-timeout
_SHORT, _LONG = 1, 20  # protocol-timeout in seconds, with a stall among the cuts and without
_CALM = 60  # where nothing is cut
_FORESEEN = re.compile(r"The (connection was lost|server did not answer|server cannot be reached|network failed)")


class Stopped(Exception):
    """A run found something; nothing more is started, so that what is there can be looked at."""


@dataclass
class _Run:
    """One run under way."""

    rig: Rig
    way: Way
    name: str
    postroom: Postroom
    starts: int = 0
    stops: int = 0
    between: int = 0
    complaints: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def start(self, *, kill_after: float | None = None, cut: bool = False) -> Ended | None:
        """Start Postroom; None when it was killed. Raises ``Stopped``."""
        self.starts += 1
        begun = time.monotonic()
        ended = self.postroom.run(kill_after=kill_after)
        what = "killed" if ended is None else f"ended with {ended.status}"
        self.story.append(f"start {self.starts}: {what} after {time.monotonic() - begun:.3f} s")
        if ended is not None:
            self.check(_complaints_of(ended, cut=cut))
        return ended

    def look(self) -> None:
        """Compare store and server after a stop. Raises ``Stopped``."""
        served = self.rig.of(self.way)
        left = served.left()  # before what is here: it may be settled while we look
        kept = self.postroom.kept()
        self.story.append(f"here {len(kept)}, in the mailbox {len(left.listed)}")
        self.between += bool(kept) and not verdict.finished(self.way.aim, served.seeded, left, kept)
        self.check(verdict.after_a_stop(served.seeded, left, kept))

    def finish(self, *, exported: bool) -> None:
        """Compare at the end. Raises ``Stopped``."""
        served = self.rig.of(self.way)
        left = served.left()
        self.check(verdict.at_the_end(served.seeded, self.postroom.kept()))
        self.check(verdict.at_the_server(self.way.aim, served.seeded, left, served.moved()))
        if exported:
            self.check(verdict.octets(served.seeded, self.postroom.exported()))
        self.postroom.redirect(self.rig.port(self.way), _CALM)
        self.check(verdict.audited(self.postroom.audit(), left))
        self.check(verdict.at_the_server(self.way.aim, served.seeded, served.left(), served.moved()))  # the audit changed nothing

    def check(self, complaints: list[str]) -> None:
        """Stop here if there is something to complain of. Raises ``Stopped``."""
        self.complaints += complaints
        if self.complaints:
            raise Stopped


@dataclass
class Runs:
    """The runs of a series over one rig. Directories of runs that found something stay in ``folder``."""

    rig: Rig
    progress: Progress
    folder: Path
    measurements: int = 3  # undisturbed runs for each way; the quickest counts
    _warm: bool = False

    def kill(self, number: int) -> Outcome:
        """Carry out the kill run of that number."""
        series = self.progress.series
        plan = kill_run(series.seed, number, series.kills, series.routes)
        measured = self._measured("kill", plan.way)
        return self._carry_out(f"kill:{number}", plan, lambda run: self._kill(run, plan, measured))

    def _kill(self, run: _Run, plan: KillRun, measured: Measured) -> None:
        for kill in plan.kills:
            begin = measured.start if kill.working else 0.0
            after = begin + kill.share * (measured.seconds - begin)
            run.story.append(f"to be killed after {after:.3f} of {measured.seconds:.3f} s")
            if run.start(kill_after=after) is None:
                run.stops += 1
            if kill.looked:
                run.look()
        run.start()
        run.finish(exported=plan.exported)

    def cut(self, number: int) -> Outcome:
        """Carry out the cut run of that number."""
        series = self.progress.series
        plan = cut_run(series.seed, number, series.cuts, series.routes)
        measured = self._measured("cut", plan.way)
        return self._carry_out(f"cut:{number}", plan, lambda run: self._cut(run, plan, measured))

    def _cut(self, run: _Run, plan: CutRun, measured: Measured) -> None:
        totals = {"to_server": measured.to_server, "to_client": measured.to_client}
        cuts = [Cut(cut.direction, cut.after(totals[cut.direction]), cut.how) for cut in plan.cuts]
        run.story.append(f"cuts {', '.join(f'{cut.how} {cut.direction} after {cut.after}' for cut in cuts)}")
        with FaultProxy("127.0.0.1", self.rig.port(plan.way)) as proxy:
            timeout = _SHORT if any(cut.how == "stall" for cut in cuts) else _LONG
            run.postroom.redirect(proxy.port, timeout)
            proxy.cut_next(*cuts)
            for _ in range(len(cuts) + _FURTHER):
                ended = run.start(cut=True)
                if ended is not None and ended.status == 0:
                    run.finish(exported=plan.exported)
                    return
                run.stops += 1
                if not plan.way.aim.stays:  # else nothing is ever taken away, and the end shows all
                    run.look()
        run.check([f"it did not come to its end in {run.starts} starts"])

    def _carry_out(self, name: str, plan: KillRun | CutRun, do: Callable[[_Run], None]) -> Outcome:
        begun = time.monotonic()
        run = self._begin(name, plan.way)
        try:
            do(run)
        except Stopped:
            pass
        except CommandFailedError as failed:
            run.complaints.append(str(failed))
        seconds = time.monotonic() - begun
        complaints, story = tuple(run.complaints), tuple(run.story)
        outcome = Outcome(name, str(plan.way), seconds, run.starts, run.stops, run.between, complaints, story)
        self._tidy(run, outcome)
        self.progress.add(outcome)
        return outcome

    def _begin(self, name: str, way: Way) -> _Run:
        directory = self.folder / name.replace(":", "-")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self.rig.restore(way)
        return _Run(self.rig, way, name, self.rig.configure(directory, way, _CALM))

    def _tidy(self, run: _Run, outcome: Outcome) -> None:
        """Keep all that shows what went wrong: configuration, store, output, the server's mail and log."""
        directory = run.postroom.directory
        if not outcome.complaints:
            shutil.rmtree(directory)
            return
        (directory / "outcome.json").write_text(json.dumps(asdict(outcome), indent=1))
        self.rig.of(run.way).preserve(directory)

    def _measured(self, kind: str, way: Way) -> Measured:
        """The undisturbed run of a way, made once in a series."""
        key = f"{kind} {way}"
        if key not in self.progress.measured:
            if not self._warm:  # the first start of all reads files that no other reads again
                self._measure(kind, way)
                self._warm = True
            times = self.measurements if kind == "kill" else 1  # octets are the same every time
            self.progress.measure(key, min((self._measure(kind, way) for _ in range(times)), key=lambda each: each.seconds))
        return self.progress.measured[key]

    def _measure(self, kind: str, way: Way) -> Measured:
        run = self._begin("measure", way)
        with FaultProxy("127.0.0.1", self.rig.port(way)) as proxy:
            if kind == "cut":
                run.postroom.redirect(proxy.port, _CALM)
            begun = time.monotonic()
            ended = run.postroom.run()
            seconds = time.monotonic() - begun
            passed = max(proxy.each, key=lambda each: each.to_client, default=proxy.total)
        start = 0.0
        if kind == "kill":
            (run.postroom.directory / "data").rename(run.postroom.directory / "used")
            begun = time.monotonic()
            run.postroom.kept()  # starts as a run does, finds an empty store, and ends
            start = time.monotonic() - begun
        if ended is None or ended.status:
            raise UndisturbedError(f"even undisturbed ({way}) it ends with {ended}")
        shutil.rmtree(run.postroom.directory)
        return Measured(min(start, seconds / 2), seconds, passed.to_server, passed.to_client)


class UndisturbedError(Exception):
    """Postroom does not come to its end although nothing disturbs it."""


def _complaints_of(ended: Ended, *, cut: bool) -> list[str]:
    """What a run that came to its own end must not have done. With ``cut`` its connections were ended by us."""
    if '"unforeseen"' in ended.errors or "Traceback" in ended.errors:
        return [f"an error that nobody foresaw: {ended.errors[:1000]}"]
    if ended.status == 0:
        return []
    reports = [json.loads(line) for line in ended.reported.splitlines()]
    errors = [str(report["error"]) for report in reports if not report["ok"]]
    if cut and ended.status == 1 and errors and all(_FORESEEN.match(error) for error in errors):
        return []
    return [f"run --once ended with {ended.status}: {errors or ended.errors[:1000]}"]
