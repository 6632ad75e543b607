"""The benches that watch the line: ``unchanged`` counts octets and commands, ``distance`` round trips; by IMAP and by POP3."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import mail
from bench.bars import GROWTH, LOOK_TIME, MBSYNC_SPEED, MPOP_SPEED, OCTETS, ROUND_TRIPS
from bench.contenders import Account, Bare, Contender, Mbsync, Postroom
from bench.contenders_pop3 import BarePop3, Mpop
from bench.measure import Run, fresh, run
from bench.report import Figure, Report
from bench.rig import Line, Rig, check

DELAY = 0.030  # seconds each way
TRIP = 2 * DELAY
PEERS_READ = 10_000  # messages: more would take the peers minutes, and nobody would learn anything new


@dataclass(frozen=True)
class Way:
    """A protocol, and who speaks it."""

    protocol: str
    peer: Contender
    bare: Contender
    look: Contender  # bare, without reading anything


IMAP = Way("IMAP", Mbsync(), Bare(), Bare("look"))
POP3 = Way("POP3", Mpop(), BarePop3(), BarePop3("look"))


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
    def cpu(self) -> float:
        """The median time on the processor."""
        return statistics.median(run.cpu for run in self.runs)

    @property
    def peak(self) -> int:
        """The highest peak of memory."""
        return max(run.peak for run in self.runs)

    @property
    def octets(self) -> int:
        """Both ways."""
        return self.to_server + self.to_client

    @property
    def wire_seconds(self) -> float:
        """The median time from the first octet to the last."""
        return statistics.median(self.wire)


def unchanged(rig: Rig) -> Report:
    """One more look at a mailbox that was copied before and has not changed since."""
    report = Report("unchanged", "one more look at a mailbox that has nothing new; octets after the login, commands in all")
    return _unchanged(rig, IMAP, report, "login, select, logout")


def unchanged_pop3(rig: Rig) -> Report:
    """The same by POP3."""
    report = Report(
        "unchanged-pop3", "one more look by POP3 at a mailbox that has nothing new; octets after the login, commands in all"
    )
    return _unchanged(rig, POP3, report, "login, STAT, QUIT")


def _unchanged(rig: Rig, way: Way, report: Report, bare_does: str) -> Report:
    sizes = (rig.count(200, 20), rig.count(PEERS_READ, 100), rig.mailbox)
    contenders, report.remarks = rig.present([Postroom(way.protocol), way.peer])
    ours: list[Talks] = []
    for size in sizes:
        talks = _looks(rig, way, size, contenders if size <= PEERS_READ else contenders[:1])
        report.rows += [_look_row(one, size, talks["bare"]) for one in talks.values()]
        ours.append(talks["postroom"])
    last = ours[-1]
    report.measured = {
        OCTETS: max(one.octets for one in ours),
        GROWTH: last.lines - ours[0].lines,
        LOOK_TIME: max(float(str(row["wire_ratio"])) for row in report.rows if row["contender"] == "postroom"),
    }
    report.remarks.append(f"bare: {bare_does}; wire: from the first octet on the line to the last, programs' starts left out")
    report.remarks.append("one new: the same with a message delivered before each look")
    return report


def _look_row(one: Talks, size: int, bare: Talks) -> dict[str, Figure]:
    row: dict[str, Figure] = {"contender": one.name, "mailbox": size, "runs": len(one.runs), "commands": one.lines}
    row |= {"octets_out": one.to_server, "octets_in": one.to_client, "round_trips": one.round_trips}
    row |= {"wire": one.wire_seconds, "wire_ratio": one.wire_ratio(bare), "seconds": one.seconds}
    row |= {"ratio": one.seconds / bare.seconds, "cpu": one.cpu, "peak": one.peak / 1_000_000}
    return row


def _looks(rig: Rig, way: Way, size: int, contenders: Sequence[Contender]) -> dict[str, Talks]:
    """Copy once, then look ``rounds`` times; then ``rounds`` times more, each time behind a new message."""
    account = rig.reached(rig.alike(size), way.protocol)
    with ExitStack() as stack:
        line = Line("127.0.0.1", account.port)
        stack.enter_context(line)
        there = replace(account, host=line.host, port=line.port)
        programs: list[tuple[Talks, Callable[[], Run]]] = []
        copied: list[tuple[Contender, Path, list[str], int]] = []
        for contender in contenders:
            folder = stack.enter_context(fresh(rig.folder))
            argv = contender.prepare(folder, there)
            took = run(argv)
            rig.told(f"  {contender.name} copied {size:,} messages in {took.wall:.1f} s, {took.peak / 1e6:.0f} MB")
            check(contender, folder, size)
            copied.append((contender, folder, argv, size))
            programs.append((Talks(contender.name), _again(contender, folder, argv, size)))
        look = way.look.prepare(rig.folder, there)
        programs.append((Talks("bare"), lambda: run(look)))
        for _round in range(rig.rounds):
            for talks, once in programs:
                _listen(rig, line, account, talks, once)
        behind = _behind_new_mail(rig, line, account, *copied[0])
        return {talks.name: talks for talks in (*(talks for talks, _ in programs), behind)}


def _behind_new_mail(
    rig: Rig, line: Line, account: Account, contender: Contender, folder: Path, argv: list[str], had: int
) -> Talks:
    talks = Talks(f"{contender.name}, one new")
    (message,) = mail.small(1)
    for number in range(had + 1, had + rig.rounds + 1):
        rig.dovecot.deliver(account.user, message)
        _listen(rig, line, account, talks, _again(contender, folder, argv, number))
    rig.dovecot.doveadm("expunge", "-u", account.user, "mailbox", "INBOX", "uid", f"{had + 1}:*")
    return talks


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
    return _distance(rig, IMAP, "distance", MBSYNC_SPEED)


def distance_pop3(rig: Rig) -> Report:
    """The same by POP3."""
    return _distance(rig, POP3, "distance-pop3", MPOP_SPEED)


def _distance(rig: Rig, way: Way, name: str, figure: str) -> Report:
    count = rig.count(1000, 50)
    report = Report(name, f"{count:,} messages of 4 kB by {way.protocol} over a line of {DELAY * 1000:.0f} ms each way")
    account = rig.reached(rig.small(count), way.protocol)
    contenders, report.remarks = rig.present([Postroom(way.protocol), way.peer, way.bare])
    talks = [Talks(contender.name) for contender in contenders]
    line = Line("127.0.0.1", account.port, delay=DELAY)
    with line:
        there = replace(account, host=line.host, port=line.port)
        for _round in range(rig.rounds):
            for one, contender in zip(talks, contenders, strict=True):
                line.begin()
                one.took(line, rig.copy(contender, there, count))
                rig.told(f"  {one.name}: {one.round_trips} round trips, {one.runs[-1].wall:.2f} s")
    ours, bare = talks[0], talks[-1]
    for one in talks:
        row: dict[str, Figure] = {"contender": one.name, "messages": count, "runs": len(one.runs), "commands": one.lines}
        row |= {"octets_out": one.to_server, "octets_in": one.to_client, "round_trips": one.round_trips}
        row |= {"wire": one.wire_seconds, "wire_trips": one.wire_seconds / TRIP, "seconds": one.seconds}
        row |= {"wall_trips": one.seconds / TRIP, "ratio": one.seconds / bare.seconds}
        report.rows.append(row)
    report.remarks.append("octets with the login; the connection itself costs one more round trip, which only the times hold")
    report.remarks += [f"{figure}: {peer.wire_ratio(ours):.1f}, on the wire" for peer in talks[1:-1]]
    report.measured = {ROUND_TRIPS: ours.round_trips}
    return report
