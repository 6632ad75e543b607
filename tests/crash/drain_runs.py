"""Carry out the runs of the draining: kill who sends, look, go on with what is left, until a person has resolved the last doubt."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from crash import drain_verdict as verdict
from crash.drain_plan import Cut, DrainRun, Program, Stop, drain_run
from crash.drain_rig import Here, Queue, Record
from crash.drain_verdict import Recorded, State
from crash.nursery import PATIENCE, Nursery, Order, Pair, Process
from crash.persons import resolve
from postroom.model import WorkState
from postroom.outbound import RecipientState
from servers.smtp_faults import Fault

_IDLE = 5.0  # seconds without a message after which a service is taken to have nothing more to send
_LATER = 200.0  # seconds; refusals for now are tried again, and doubts looked at
_MUCH_LATER = 4000.0
_ROUNDS = 12  # of sending what is left
_START = 0.1  # share of the draining that stands for the start, however long an interpreter takes
_NOT_NOW = "450 4.2.1 Mailbox busy, try again later"


@dataclass(frozen=True)
class Measured:
    """An undisturbed draining by one program."""

    start: float  # seconds until the server has the first message
    seconds: float  # until it has the last
    steps: int  # of the store


@dataclass(frozen=True)
class DrainOutcome:
    """How one run went."""

    number: int
    way: str
    seconds: float
    kills: int
    idle: int  # kills of a service that had nothing to do any more; not among the former
    positions: tuple[float, ...]  # of each kill: the share of the queue that the server had
    delivered: int
    doubts: int
    found: int  # doubts that a copy in Sent settled
    twice: int
    resolved: int
    complaints: tuple[str, ...] = ()
    story: tuple[str, ...] = ()


class FoundError(Exception):
    """A run found something; nothing more is started, so that what is there can be looked at."""


@dataclass
class _Run:
    """One run under way."""

    plan: DrainRun
    here: Here
    record: Record
    queue: Queue
    nursery: Nursery
    measured: Measured
    ahead: float = 0.0
    base: int = 0  # messages at the server when the process began
    kills: int = 0
    idle: int = 0
    resolved: int = 0
    positions: list[float] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    state: State = field(default_factory=lambda: State({}, (), ()))

    @property
    def resends(self) -> bool:
        return self.plan.way.in_doubt == "resend"

    # --- processes

    def start(self, program: Program | None = None, *, steps: bool = False, die_at: int = 0) -> Process | Pair:
        """Who sends, by the way of the run. With ``steps`` those of the store are counted."""
        program = program or self.plan.way.program
        once = ("--once", "--json") if program in ("once", "pair") else ()
        arguments = ("--config", str(self.here.file), "run", *once)
        self.base = self.record.count
        if program == "command" and not steps:
            return self.nursery.start(str(self.here.directory), *arguments)
        plain = Order(str(self.here.directory), arguments, ahead=self.ahead)
        counted = replace(plain, steps=str(self.steps), die_at=die_at) if steps else plain
        made = self.nursery.make(counted)
        return Pair(made, self.nursery.make(plain)) if program == "pair" else made

    @property
    def steps(self) -> Path:
        """Where a process that ends tells how many steps its store made."""
        return self.here.directory / "steps"

    def command(self, *arguments: str) -> None:
        """A command of a person, which must do its work. Raises ``FoundError``."""
        process = self.nursery.make(
            Order(str(self.here.directory), ("--config", str(self.here.file), *arguments), ahead=self.ahead)
        )
        if process.status:
            self.check([f"postroom {' '.join(arguments)} ended with {process.status}: {process.printed}{process.errors}"])

    def killed(self, *, took_place: bool, words: str) -> None:
        """Count a kill."""
        self.kills += took_place
        if took_place:
            self.positions.append(round(self.record.count / len(self.queue.queued), 3))
        self.story.append(words if took_place else f"{words} (came after the end)")

    # --- looking

    def look(self) -> None:
        """Compare what is recorded with what the server has. Raises ``FoundError``."""
        copies = self.record.copies()
        self.state = State(self.queue.queued, copies, self.here.recorded())
        self.check(verdict.always(self.state, resends=self.resends))

    def check(self, complaints: Sequence[str]) -> None:
        """Stop here if there is something to complain of. Raises ``FoundError``."""
        if complaints:
            raise FoundError("\n".join(complaints))

    def to_send(self) -> int:
        """How many messages the next process can hand over at once."""
        now = time.time() + self.ahead
        wanted = {RecipientState.PENDING, *((RecipientState.SENDING,) if self.resends else ())}

        def can(known: Recorded) -> bool:
            row = known.row
            due = row.state is WorkState.LEASED or (row.state is WorkState.READY and row.not_before <= now)
            return due and any(person.state in wanted for person in row.recipients)

        return sum(map(can, self.state.recorded))

    def open(self) -> list[Recorded]:
        """What is neither at its end nor waits for a person."""
        return [known for known in self.state.recorded if known.row.state in (WorkState.READY, WorkState.LEASED)]

    # --- the end

    def send_the_rest(self) -> None:
        """Let time pass and send, until nothing is left to do but for a person. Raises ``FoundError``."""
        program: Program = "once" if self.plan.way.program in ("once", "pair") else "service"
        for _ in range(_ROUNDS):
            self.ahead += _MUCH_LATER
            process = self.start(program)
            if program == "service":
                self._until_sent(process)
                process.stop()
            if process.status:
                self.check([f"run ended with {process.status}: {process.printed}{process.errors[-2000:]}"])
            if "Traceback" in process.errors or '"unforeseen"' in process.errors:
                self.check([f"an error that nobody foresaw: {process.errors[:2000]}"])
            self.look()
            if not self.open():
                return
        self.check(verdict.drained(self.state, resends=self.resends))

    def replay(self) -> None:
        """Send what a person gave up, after all. Raises ``FoundError``."""
        if any(known.row.state is WorkState.DEAD for known in self.state.recorded):
            self.command("outbox", "replay", "--failed")
            self.send_the_rest()

    def _until_sent(self, process: Process | Pair) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not process.ended(0.1):
            self.state = State(self.queue.queued, (), self.here.recorded())
            now = time.time() + self.ahead
            if not any(known.row.state is WorkState.LEASED or known.row.not_before <= now for known in self.open()):
                return

    def outcome(self, begun: float, complaints: Sequence[str]) -> DrainOutcome:
        """What it came to."""
        return DrainOutcome(
            self.plan.number,
            str(self.plan.way),
            round(time.monotonic() - begun, 3),
            self.kills,
            self.idle,
            tuple(self.positions),
            verdict.delivered(self.state),
            verdict.doubts(self.state),
            verdict.found(self.state),
            verdict.twice(self.state),
            self.resolved,
            tuple(complaints),
            tuple(self.story),
        )


@dataclass
class Drains:
    """The runs of a series. Directories of runs that found something stay in ``folder``."""

    nursery: Nursery
    record: Record
    queue: Queue
    folder: Path
    seed: int
    runs: int
    _measured: dict[Program, Measured] = field(default_factory=dict)

    def run(self, number: int) -> DrainOutcome:
        """Carry out the run of that number."""
        plan = drain_run(self.seed, number, self.runs)
        measured = self._measure(plan.way.program)
        begun = time.monotonic()
        run = self._begin(plan, measured)
        complaints: list[str] = []
        try:
            self._disturb(run)
            run.send_the_rest()
            if not run.resends:
                run.check(verdict.drained(run.state, resends=False))
                run.resolved += resolve(run.state, run.command)
                run.send_the_rest()
            run.replay()
            run.check(verdict.at_the_end(run.state, resends=run.resends))
        except FoundError as found:
            complaints = str(found).splitlines()
        outcome = run.outcome(begun, complaints)
        if complaints:
            (run.here.directory / "outcome.json").write_text(json.dumps(asdict(outcome), indent=1))
            shutil.copy(self.record.server.ledger, run.here.directory / "ledger")
        else:
            shutil.rmtree(run.here.directory)
        return outcome

    def _begin(self, plan: DrainRun, measured: Measured) -> _Run:
        here = self.queue.copied(self.folder / str(plan.number))
        here.configure(plan.way.in_doubt, self.record.server.port, self.record.dovecot.imap_port if plan.way.looks else 0)
        self.record.begin(plan.way)
        refused = [Fault("rcpt", _NOT_NOW, recipient=address) for address in self.queue.deferred]
        self.record.server.fail(*refused, *(_fault_of(cut, len(self.queue.queued)) for cut in plan.cuts))
        run = _Run(plan, here, self.record, self.queue, self.nursery, measured)
        run.look()
        return run

    def _disturb(self, run: _Run) -> None:
        """All kills, one after the other."""
        before = Stop("instant", 0.0, 0.0, taken=False, later=False)
        for stop in run.plan.stops:
            run.ahead += _LATER if stop.later else 0.0
            if stop.starting:
                took_place = _after(run.start(), stop.phase * run.measured.start)
                run.killed(took_place=took_place, words="killed while it starts")
                run.look()
            if stop.moment == "instant" and stop.share < _START:
                took_place = _after(run.start(), stop.share / _START * run.measured.start)
                run.killed(took_place=took_place, words="killed before the first message")
            else:
                start = 0.0 if stop.moment == "step" else _START  # a start is made of steps too
                self._strike(run, stop, _left(before.share, stop.share, start))
            before = stop
            run.look()
            if run.resends and any(map(_is_doubtful, run.open())):
                run.resolved += resolve(run.state, run.command)
                run.look()

    def _strike(self, run: _Run, stop: Stop, share: float) -> None:
        """Kill when this share of what is left was handed over."""
        strike = {"instant": self._at_an_instant, "step": self._at_a_step, "answer": self._at_an_answer}[stop.moment]
        strike(run, stop, run.to_send() * share)

    def _at_an_instant(self, run: _Run, stop: Stop, messages: float) -> None:
        count = int(messages)
        process = run.start()
        idle = _until(lambda: run.record.count >= run.base + count, run.record, process.ended)
        time.sleep(stop.phase * (run.measured.seconds - run.measured.start) / len(run.queue.queued))
        took_place = process.kill()
        run.idle += idle
        run.killed(took_place=took_place and not idle, words=f"killed behind {count} messages more")

    def _at_a_step(self, run: _Run, _stop: Stop, messages: float) -> None:
        """Before a step of the store: that share of the steps which an undisturbed draining makes."""
        share = messages / len(run.queue.queued) / (2 if run.plan.way.program == "pair" else 1)
        die_at = 1 + int(run.measured.steps * share)
        process = run.start(steps=True, die_at=die_at)
        idle = _until(process.ended, run.record, process.ended)
        if idle:
            process.kill()
        run.idle += idle
        run.killed(took_place=process.status == -signal.SIGKILL and not idle, words=f"killed before step {die_at} of the store")

    def _at_an_answer(self, run: _Run, stop: Stop, messages: float) -> None:
        """While the answer to the end of a message never comes."""
        server, count = run.record.server, int(messages)

        def hangs() -> int:
            return sum(said.line == "(hang at dot)" for said in server.log())

        before = hangs()
        server.fail(Fault("dot", do="hang", taken=stop.taken, skip=count))
        process = run.start()
        idle = _until(lambda: run.record.count >= run.base + count and hangs() > before, run.record, process.ended)
        took_place = process.kill() and hangs() > before
        had = "has" if stop.taken else "has not"
        run.killed(took_place=took_place, words=f"killed while an answer does not come, {count} messages on; the server {had} it")
        run.idle += idle and not took_place
        if not took_place:
            run.record.calm(run.plan.way)  # what was ordered must not happen later

    def _measure(self, program: Program) -> Measured:
        """An undisturbed draining, made once for each program."""
        if program not in self._measured:
            if "once" not in self._measured and program != "once":
                self._measure("once")
            least = [self._undisturbed(program) for _ in range(1 if self._measured else 3)]
            self._measured[program] = min(least, key=lambda each: each.seconds)
        return self._measured[program]

    def _undisturbed(self, program: Program) -> Measured:
        plan = drain_run(self.seed, 0, 1)
        run = self._begin(plan, Measured(0.0, 1.0, 1))
        begun = time.monotonic()
        process = run.start(program, steps=program == "once")
        start, seconds = _times(run, begun)
        if program in ("service", "command"):
            process.stop()
        run.check([f"even undisturbed it ends with {process.status}: {process.errors}"] if process.status else [])
        made = int(run.steps.read_text()) if program == "once" else self._measured["once"].steps
        shutil.rmtree(run.here.directory)
        return Measured(start, seconds, made)


def _left(before: float, share: float, start: float) -> float:
    """Which share of what was left at one place of the draining has left at another; ``start`` of it is before the first."""
    was, is_ = (max(0.0, at - start) / (1 - start) for at in (before, share))
    return (is_ - was) / (1 - was)


def _times(run: _Run, begun: float) -> tuple[float, float]:
    """When the server has the first message, and when all that come at once."""
    times = []
    for wanted in (1, len(run.queue.queued) * 9 // 10):  # the last of all may have been cut, and come later
        _until(lambda wanted=wanted: run.record.count >= wanted, run.record, lambda: False)  # type: ignore[misc]
        times.append(time.monotonic() - begun)
    return times[0], times[0] + (times[1] - times[0]) / 0.9


def _after(process: Process | Pair, seconds: float) -> bool:
    """Kill after so many seconds; false where it had ended."""
    process.ended(seconds)
    return process.kill()


def _until(there: Callable[[], bool], record: Record, ended: Callable[[], bool]) -> bool:
    """Wait for something, or the process's end; true where instead nothing came any more."""
    count, since = record.count, time.monotonic()
    while not there() and not ended():
        time.sleep(0.0003)
        if record.count != count:
            count, since = record.count, time.monotonic()
        elif time.monotonic() - since > (_IDLE if count else PATIENCE):
            return True
    return False


def _is_doubtful(known: Recorded) -> bool:
    return known.row.state is WorkState.READY and any(person.state is RecipientState.DOUBT for person in known.row.recipients)


def _fault_of(cut: Cut, messages: int) -> Fault:
    do = "reset" if cut.reset else "cut"
    skip = int(cut.share * messages)
    if cut.where == "envelope":
        return Fault("rcpt" if cut.reset else "mail", do=do, skip=skip)  # type: ignore[arg-type]
    if cut.where == "content":
        return Fault("content", do=do, after=200, skip=skip)  # type: ignore[arg-type]
    return Fault("dot", do=do, taken=cut.where == "lost", skip=skip)  # type: ignore[arg-type]
