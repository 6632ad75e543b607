"""The bench ``many``: 200 mailboxes of 50 messages, by one process and by eight of mbsync."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import mail
from bench.bars import BARE_TIME, MBSYNC_SPEED
from bench.contenders import POSTROOM, Account, Bare, Mbsync, absent
from bench.measure import FailedError, Run, Samples, fresh, interleaved, run
from bench.report import Report
from bench.rig import Rig

EACH = 50
AT_ONCE = 8


def many(rig: Rig) -> Report:
    """One process of Postroom; mbsync and the bare client in eight processes, each with its share of the mailboxes."""
    count = rig.count(200, 8)
    report = Report("many", f"{count:,} mailboxes of {EACH} messages of 4 kB from Dovecot, each durable")
    accounts = [rig.account(f"many{number}", mail.small(EACH)) for number in range(count)]
    ways: list[tuple[str, Callable[[Rig, list[Account]], Run]]] = [("bare", _bare), ("postroom", _postroom)]
    if absent(Mbsync()):
        report.remarks.append("mbsync is not installed and was left out")
    else:
        ways.append(("mbsync", _mbsync))
    entries = [(Samples(name, count * EACH), functools.partial(way, rig, accounts)) for name, way in ways]
    interleaved(rig.rounds, entries, rig.told)
    samples = {one.name: one for one, _ in entries}
    bare, postroom = samples["bare"], samples["postroom"]
    report.rows = [
        {
            "contender": one.name,
            "mailboxes": count,
            "messages": one.count,
            "runs": len(one.runs),
            "seconds": one.seconds,
            "fastest": one.fastest,
            "slowest": one.slowest,
            "ratio": one.ratio(bare),
            "rate": one.count / one.seconds,
            "cpu": one.cpu,
            "peak": one.peak / 1_000_000,
        }
        for one in samples.values()
    ]
    report.measured[BARE_TIME] = postroom.ratio(bare)
    if "mbsync" in samples:
        report.measured[MBSYNC_SPEED] = samples["mbsync"].ratio(postroom)
    report.remarks.append(
        f"bare and mbsync: {AT_ONCE} processes at once, each with {count // AT_ONCE} mailboxes one after the other"
    )
    return report


def _postroom(rig: Rig, accounts: list[Account]) -> Run:
    with fresh(rig.folder) as folder:
        file = folder / "postroom.ini"
        sections = [
            f"[pop-client-{number}]\ntype = IMAP\nserver = {account.host}\nport = {account.port}\n"
            f"pop-connection-security = none\nmailbox = {account.user}\npassword = {account.password}\n"
            for number, account in enumerate(accounts)
        ]
        file.write_text(f"[settings]\ndata-directory = {folder / 'data'}\n" + "".join(sections))
        done = run([POSTROOM, "--config", str(file), "run", "--once"])
        command = [POSTROOM, "--config", str(file), "messages", "list", "--json"]
        _check("postroom", accounts, subprocess.run(command, capture_output=True, check=True).stdout.count(b"\n"))
        return done


def _mbsync(rig: Rig, accounts: list[Account]) -> Run:
    with fresh(rig.folder) as folder:
        programs = []
        for share in range(AT_ONCE):
            own = folder / str(share)
            own.mkdir()
            lines, names = [], []
            for number, account in enumerate(accounts[share::AT_ONCE]):
                (own / f"mail{number}").mkdir()
                lines.append(
                    f"IMAPAccount a{number}\nHost {account.host}\nPort {account.port}\nUser {account.user}\n"
                    f"Pass {account.password}\nSSLType None\nAuthMechs LOGIN\n\n"
                    f"IMAPStore far{number}\nAccount a{number}\n\n"
                    f"MaildirStore near{number}\nPath {own}/mail{number}/\nInbox {own}/mail{number}/INBOX\n\n"
                    f"Channel c{number}\nFar :far{number}:\nNear :near{number}:\nPatterns INBOX\nCreate Near\n"
                    "Sync Pull\nSyncState *\n\n"
                )
                names.append(f"c{number}")
            (own / "mbsyncrc").write_text("".join(lines))
            programs.append(["mbsync", "-q", "-c", str(own / "mbsyncrc"), *names])
        done = run(*programs)
        _check("mbsync", accounts, sum(_files(folder)))
        return done


def _files(folder: Path) -> list[int]:
    return [len(list(part.iterdir())) for where in ("cur", "new") for part in folder.glob(f"*/mail*/INBOX/{where}")]


def _bare(rig: Rig, accounts: list[Account]) -> Run:
    shares = (accounts[share::AT_ONCE] for share in range(AT_ONCE))
    return run(*([*Bare().prepare(rig.folder, first), *(one.user for one in others)] for first, *others in shares))


def _check(name: str, accounts: list[Account], kept: int) -> None:
    if kept != len(accounts) * EACH:
        raise FailedError(f"{name} kept {kept} messages of {len(accounts) * EACH}")
