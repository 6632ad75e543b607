"""The benches that copy a mailbox: ``capture`` of many small messages, ``large`` of few long ones."""

from __future__ import annotations

import datetime
import functools
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import mail
from bench.bars import BARE_TIME, FLOOR_TIME, IMAPLIB_SPEED, MBSYNC_SPEED, MPOP_SPEED, PEAK
from bench.contenders import Account, Bare, Contender, Getmail, Imaplib, Mbsync, Postroom
from bench.contenders_pop3 import BarePop3, Mpop, Poplib
from bench.measure import SCRIPTS, Run, Samples, fresh, interleaved, run
from bench.report import Figure, Report
from bench.rig import Rig

MEGA = 1_000_000
BETWEEN_SYNCS = 64 * MEGA


def capture(rig: Rig) -> Report:
    """10,000 messages of 4 kB. getmail6 takes minutes for them: it is given a tenth, and its time is multiplied."""
    count = rig.count(10_000, 200)
    report = Report("capture", f"{count:,} messages of 4 kB from Dovecot, each durable")
    account, tenth = rig.small(count), rig.small(count // 10)
    contenders, report.remarks = rig.present([Bare(), Postroom(), Mbsync(), Imaplib(), Getmail()])
    kept_after: list[float] = []
    entries: list[tuple[Samples, Callable[[], Run]]] = []
    for contender in contenders:
        some = isinstance(contender, Getmail)
        samples = Samples(contender.name, count // 10 if some else count, 10.0 if some else 1.0)
        then = functools.partial(_last_kept, kept_after) if isinstance(contender, Postroom) else None
        entries.append((samples, functools.partial(rig.copy, contender, tenth if some else account, samples.count, then)))
    interleaved(rig.rounds, entries, rig.told)
    all_samples = [samples for samples, _ in entries]
    report.rows = [{**_row(samples, all_samples), "rate": count / samples.seconds} for samples in all_samples]
    report.remarks += [
        f"{s.name} was given {s.count:,} messages; its times are times {s.scale:g}" for s in all_samples if s.scale != 1
    ]
    whole = statistics.median(kept_after)
    report.remarks.append(
        f"postroom: the last batch was handed to the disk {whole:.3f} s after the start (median), "
        f"{whole / _named(all_samples, 'bare').seconds:.2f} times bare; the rest of its time is work on the messages and the end"
    )
    _compare(report, all_samples)
    return report


def pop3(rig: Rig) -> Report:
    """The same 10,000 messages by POP3."""
    count = rig.count(10_000, 200)
    report = Report("pop3", f"{count:,} messages of 4 kB from Dovecot by POP3, each durable")
    account = rig.over_pop3(rig.small(count))
    rig.copy(BarePop3(), account, None)  # what Dovecot finds out at the first time is known to it
    contenders, report.remarks = rig.present([BarePop3(), Postroom("POP3"), Mpop(), Poplib()])
    entries = [_entry(rig, contender, account, count) for contender in contenders]
    interleaved(rig.rounds, entries, rig.told)
    all_samples = [samples for samples, _ in entries]
    report.rows = [{**_row(samples, all_samples), "rate": count / samples.seconds} for samples in all_samples]
    _compare(report, all_samples)
    return report


def large(rig: Rig) -> Report:
    """200 messages of 5 MB."""
    count = rig.count(200, 4)
    octets = sum(len(message) for message in mail.large(count))
    report = Report("large", f"{count:,} messages of 5 MB from Dovecot ({octets / MEGA:,.0f} MB), each durable")
    account = rig.account(f"large{count}", mail.large(count))
    contenders, report.remarks = rig.present([Bare(), Postroom(), Mbsync(), Imaplib(together=1)])
    entries = [_entry(rig, contender, account, count) for contender in contenders]
    entries.append((Samples("disk", count), functools.partial(_floor, rig, octets)))
    interleaved(rig.rounds, entries, rig.told)
    all_samples = [samples for samples, _ in entries]
    report.rows = [{**_row(samples, all_samples), "megabytes": octets / MEGA / samples.seconds} for samples in all_samples]
    report.remarks.append(f"disk: the same octets written one after the other, with an fdatasync each {BETWEEN_SYNCS // MEGA} MB")
    _compare(report, all_samples)
    postroom = _named(all_samples, "postroom")
    report.measured[PEAK] = postroom.peak / MEGA
    report.measured[FLOOR_TIME] = postroom.ratio(_named(all_samples, "disk"))
    return report


def _entry(rig: Rig, contender: Contender, account: Account, count: int) -> tuple[Samples, Callable[[], Run]]:
    return Samples(contender.name, count), functools.partial(rig.copy, contender, account, count)


def _floor(rig: Rig, octets: int) -> Run:
    with fresh(rig.folder) as folder:
        return run([sys.executable, str(SCRIPTS / "floor.py"), str(folder / "octets"), str(octets), str(BETWEEN_SYNCS)])


def _last_kept(found: list[float], folder: Path, done: Run) -> None:
    """When the last message's batch was kept, in seconds since the program's start."""
    received = [json.loads(line)["received"] for line in Postroom().listed(folder)]
    found.append(datetime.datetime.fromisoformat(max(received)).timestamp() - done.began_at)


def _row(samples: Samples, others: Sequence[Samples]) -> dict[str, Figure]:
    return {
        "contender": samples.name,
        "messages": samples.count,
        "runs": len(samples.runs),
        "seconds": samples.seconds,
        "fastest": samples.fastest,
        "slowest": samples.slowest,
        "ratio": samples.ratio(_named(others, "bare")),
        "cpu": samples.cpu,
        "peak": samples.peak / MEGA,
    }


def _named(samples: Sequence[Samples], name: str) -> Samples:
    return next(one for one in samples if one.name == name)


def _compare(report: Report, samples: Sequence[Samples]) -> None:
    postroom = _named(samples, "postroom")
    for figure, name in ((MBSYNC_SPEED, "mbsync"), (MPOP_SPEED, "mpop"), (IMAPLIB_SPEED, "imaplib")):
        for peer in samples:
            if peer.name == name:
                report.measured[figure] = peer.ratio(postroom)
    report.measured[BARE_TIME] = postroom.ratio(_named(samples, "bare"))
