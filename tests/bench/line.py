"""The benches that watch the line: ``unchanged`` counts octets and commands, ``distance`` round trips."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.bars import GROWTH, LOOK_TIME, OCTETS, ROUND_TRIPS
from bench.contenders import Account, Bare, Contender, Mbsync, Postroom
from bench.measure import Run, fresh, run
from bench.report import Figure, Report
from bench.rig import Line, Rig, check

DELAY = 0.030  # seconds each way
TRIP = 2 * DELAY


@dataclass
class Talks:
    """What passed in the runs of one contender."""

    name: str
    runs: list[Run] = field(default_factory=list)
    wire: list[float] = field(default_factory=list)
    lines: int = 0
    round_trips: int = 0
    to_server: int = 0  # octets, after the login where Dovecot counted them
    to_client: int = 0

    def took(self, line: Line, done: Run) -> None:
        """Note a run that went through the line."""
        self.runs.append(done)
        self.wire.append(line.seconds)
        self.lines = line.lines
        self.round_trips = line.total.round_trips
        self.to_server, self.to_client = line.total.to_server, line.total.to_client

    @property
    def seconds(self) -> float:
        """The median time of the whole program."""
        return statistics.median(run.wall for run in self.runs)

    def wire_ratio(self, other: Talks) -> float:
        """How many times the other's time its conversation took: the median over the rounds."""
        return statistics.median(mine / its for mine, its in zip(self.wire, other.wire, strict=True))

    @property
    def wire_seconds(self) -> float:
        """The median time from the first octet to the last."""
        return statistics.median(self.wire)


def unchanged(rig: Rig) -> Report:
    """One more look at a mailbox that was copied before and has not changed since."""
    sizes = (rig.count(200, 20), rig.count(10_000, 100))
    report = Report("unchanged", "one more look at a mailbox that has nothing new; octets after the login, commands in all")
    contenders, report.remarks = rig.present([Postroom(), Mbsync()])
    commands, octets, ratios = [], [], []
    for size in sizes:
        talks = _looks(rig, size, contenders)
        bare = talks[-1]
        for one in talks:
            row: dict[str, Figure] = {"contender": one.name, "mailbox": size, "runs": len(one.runs), "commands": one.lines}
            row |= {"octets_out": one.to_server, "octets_in": one.to_client, "round_trips": one.round_trips}
            row |= {"wire": one.wire_seconds, "wire_ratio": one.wire_ratio(bare), "seconds": one.seconds}
            row["ratio"] = one.seconds / bare.seconds
            report.rows.append(row)
        commands.append(talks[0].lines)
        octets.append(talks[0].to_server + talks[0].to_client)
        ratios.append(talks[0].wire_ratio(bare))
    report.remarks.append(
        "bare: login, select, logout; wire: from the first octet on the line to the last, programs' starts left out"
    )
    report.measured = {OCTETS: max(octets), GROWTH: commands[-1] - commands[0], LOOK_TIME: max(ratios)}
    return report


def _looks(rig: Rig, size: int, contenders: Sequence[Contender]) -> list[Talks]:
    """Copy once, then look ``rounds`` times; the bare client's looks come last in the answer."""
    account = rig.small(size)
    with ExitStack() as stack:
        line = Line("127.0.0.1", account.port)
        stack.enter_context(line)
        there = replace(account, host=line.host, port=line.port)
        programs: list[tuple[Talks, Callable[[], Run]]] = []
        for contender in contenders:
            folder = stack.enter_context(fresh(rig.folder))
            argv = contender.prepare(folder, there)
            rig.told(f"  {contender.name} copies {size:,} messages")
            run(argv)
            check(contender, folder, size)
            programs.append((Talks(contender.name), _again(contender, folder, argv, size)))
        look = [*Bare().prepare(rig.folder, there)[:-1], "look"]
        programs.append((Talks("bare"), lambda: run(look)))
        for _round in range(rig.rounds):
            for talks, once in programs:
                _listen(rig, line, account, talks, once)
    return [talks for talks, _ in programs]


def _again(contender: Contender, folder: Path, argv: list[str], size: int) -> Callable[[], Run]:
    def once() -> Run:
        done = run(argv)
        check(contender, folder, size)
        return done

    return once


def _listen(rig: Rig, line: Line, account: Account, talks: Talks, once: Callable[[], Run]) -> None:
    """One look; the octets are those that Dovecot itself counted after the login."""
    before = len(rig.dovecot.ended(account.user))
    line.begin()
    talks.took(line, once())
    ended = rig.dovecot.ended(account.user, at_least=before + line.connections)[before:]
    talks.to_server = sum(session.octets_in for session in ended)
    talks.to_client = sum(session.octets_out for session in ended)


def distance(rig: Rig) -> Report:
    """1,000 messages of 4 kB over a line of 30 ms each way."""
    count = rig.count(1000, 50)
    report = Report("distance", f"{count:,} messages of 4 kB over a line of {DELAY * 1000:.0f} ms each way")
    account = rig.small(count)
    contenders, report.remarks = rig.present([Postroom(), Mbsync(), Bare()])
    talks = [Talks(contender.name) for contender in contenders]
    line = Line("127.0.0.1", account.port, delay=DELAY)
    with line:
        there = replace(account, host=line.host, port=line.port)
        for _round in range(rig.rounds):
            for one, contender in zip(talks, contenders, strict=True):
                line.begin()
                one.took(line, rig.copy(contender, there, count))
                rig.told(f"  {one.name}: {one.round_trips} round trips, {one.runs[-1].wall:.2f} s")
    bare = talks[-1]
    for one in talks:
        row: dict[str, Figure] = {"contender": one.name, "messages": count, "runs": len(one.runs), "commands": one.lines}
        row |= {"octets_out": one.to_server, "octets_in": one.to_client, "round_trips": one.round_trips}
        row |= {"wire": one.wire_seconds, "wire_trips": one.wire_seconds / TRIP, "seconds": one.seconds}
        row |= {"wall_trips": one.seconds / TRIP, "ratio": one.seconds / bare.seconds}
        report.rows.append(row)
    report.remarks.append("octets with the login; the connection itself costs one more round trip, which only the times hold")
    report.measured = {ROUND_TRIPS: talks[0].round_trips}
    return report
