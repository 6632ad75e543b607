"""The bench ``idle``: many mailboxes with IDLE over TLS in one process, on one Dovecot; then the same with a server that hangs.

What is measured of the process is what the kernel says of it; what it did and when is read from its log.
"""

from __future__ import annotations

import datetime
import itertools
import json
import os
import smtplib
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import mail
from bench.bars import DELAYED, EACH, PROCESSOR, TO_CAPTURE
from bench.contenders import POSTROOM
from bench.measure import SCRIPTS, fresh
from bench.report import Figure, Report
from bench.rig import Rig
from servers.dovecot import Dovecot
from servers.dovecot_config import DOMAIN, PASSWORD
from servers.idling import HIBERNATING, hibernation, hung_server, room_for_idling
from servers.waiting import wait_for

PATIENCE = 300.0  # seconds until everything is idle
KILO = 1000
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Service:
    """A running ``postroom run`` and its log."""

    process: subprocess.Popen[bytes]
    log: Path
    began_at: float = field(default_factory=time.time)
    records: list[dict[str, object]] = field(default_factory=list)
    _read: int = 0

    def seen(self, event: str) -> list[dict[str, object]]:
        """The log's lines of one event until now."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                self.records.append(json.loads(line))
        return [record for record in self.records if record["event"] == event]

    def when(self, event: str, clients: set[str]) -> float:
        """When the last of these clients came to an event for the first time, in seconds since the service's start."""

        def first() -> dict[str, float] | None:
            found: dict[str, float] = {}
            for record in self.seen(event):
                found.setdefault(str(record["client"]), stamp(record))
            return found if clients <= set(found) else None

        times = wait_for(first, f"{event} of {len(clients)} clients", timeout=PATIENCE)
        return max(times[name] for name in clients) - self.began_at

    @property
    def memory(self) -> int:
        """Octets that it holds in memory now."""
        return resident(self.process.pid)

    @property
    def cpu(self) -> float:
        """Seconds on the processor until now."""
        return processor(self.process.pid)


def stamp(record: dict[str, object]) -> float:
    """When a log line was written."""
    return datetime.datetime.fromisoformat(str(record["time"])).timestamp()


def resident(pid: int) -> int:
    """Octets that a process holds in memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def processor(pid: int) -> float:
    """Seconds on the processor, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass
class Household:
    """Mailboxes on one Dovecot, each with one message."""

    dovecot: Dovecot
    folder: Path
    users: list[str]

    @classmethod
    def of(cls, dovecot: Dovecot, folder: Path, count: int, told: Callable[[str], None]) -> Household:
        """So many mailboxes."""
        told(f"  filling {count:,} mailboxes")
        users = [f"idle{number}@{DOMAIN}" for number in range(count)]
        (message,) = mail.small(1)
        for user in users:
            dovecot.seed_unseen(user, message)
        return cls(dovecot, folder, users)

    @contextmanager
    def service(self, count: int, *, hung: int = 0, hung_port: int = 0) -> Iterator[Service]:
        """Postroom with the first so many of them, and with mailboxes on a server that hangs."""
        with fresh(self.folder) as folder:
            file, log = folder / "postroom.ini", folder / "log"
            lines = [f"[settings]\ndata-directory = {folder / 'data'}\n[web]\nlisten = 127.0.0.1:0\n[log]\nlevel = info"]
            names = self.users[:count] + [f"hung{number}@{DOMAIN}" for number in range(hung)]
            for number, user in enumerate(names):
                port = self.dovecot.imaps_port if number < count else hung_port
                server = self.dovecot.host if number < count else "127.0.0.1"
                # Those that hang come first and among the others, as in a file that grew.
                lines.append(
                    f"[pop-client-{_name(user)}]\ntype = IMAP\nserver = {server}\nport = {port}\nmailbox = {user}\n"
                    f"password = {PASSWORD}\ntls-ca-file = {self.dovecot.ca_file}"
                )
            file.write_text("\n".join([lines[0], *sorted(lines[1:], key=lambda line: zlib.crc32(line.encode()))]) + "\n")
            with log.open("wb") as words:
                process = subprocess.Popen(
                    [POSTROOM, "--config", str(file), "run"], stdin=subprocess.DEVNULL, stdout=words, stderr=words
                )
            try:
                yield Service(process, log)
            finally:
                process.terminate()
                process.wait()

    def clients(self, count: int) -> set[str]:
        """The sections of the first so many."""
        return {f"pop-client-{_name(user)}" for user in self.users[:count]}

    def deliver(self, service: Service, user: str) -> float:
        """One message arrives by LMTP; seconds from Dovecot's yes until it was captured."""
        section = f"pop-client-{_name(user)}"

        def captured() -> list[float]:
            return [stamp(record) for record in service.seen("read") if record["client"] == section]

        before = len(captured())
        (message,) = mail.small(1)
        with smtplib.LMTP("127.0.0.1", self.dovecot.lmtp_port) as lmtp:
            lmtp.sendmail("sender@example.net", [user], message)
            at = time.time()
        return wait_for(lambda: captured()[before:], f"the mail of {user}", timeout=60)[0] - at


def _name(user: str) -> str:
    return user.partition("@")[0]


def idle(rig: Rig) -> Report:
    """1,000 mailboxes; 50 more on a server that hangs."""
    count, hung, rest = rig.count(1000, 20), rig.count(50, 2), 60.0 if not rig.quick else 2.0
    report = Report("idle", f"{count:,} mailboxes with IDLE over TLS in one process, on one Dovecot")
    with (
        room_for_idling(count) as told_at_once,
        Dovecot(extra=hibernation(), imap=HIBERNATING) as dovecot,
        hung_server() as port,
    ):
        household = Household.of(dovecot, rig.folder, count, rig.told)
        with household.service(1) as service:
            service.when("read", household.clients(1))
            alone = _settled_memory(service.process.pid)
        bare = _bare(household, count)
        rig.told(f"  bare: {bare}")
        quiet = _live(household, count, 0, 0, rest, rig.told)
        loud = _live(household, count, hung, port, rest, rig.told)
    each = (float(str(quiet["memory"])) * KILO * KILO - alone) / (count - 1) / KILO
    report.rows = [bare, {"contender": "postroom", **quiet}, {"contender": f"postroom, {hung} more hang", **loud}]
    report.measured = {
        EACH: each,
        PROCESSOR: float(str(quiet["at_rest"])),
        TO_CAPTURE: float(str(quiet["milliseconds"])),
        DELAYED: float(str(loud["seconds"])) / float(str(quiet["seconds"])),
    }
    report.remarks = [
        f"one mailbox alone: {alone / KILO / KILO:.0f} MB; each further one {each:.0f} kB, {each * 10:.0f} MB for 10,000",
        "bare: asyncio's streams that log in, open the folder, idle and never look again",
        "median s: from the process's start until the last mailbox was read; ms: from LMTP's yes until the message was captured",
    ]
    if not told_at_once:
        report.remarks.append("fs.inotify.max_user_instances is too small and may not be raised: Dovecot itself looks now and then")
    return report


def _live(household: Household, count: int, hung: int, port: int, rest: float, told: Callable[[str], None]) -> dict[str, Figure]:
    with household.service(count, hung=hung, hung_port=port) as service:
        seconds = service.when("read", household.clients(count))
        told(f"  {count:,} mailboxes read after {seconds:.1f} s")
        memory = _settled_memory(service.process.pid)
        began, before = time.monotonic(), service.cpu
        time.sleep(rest)  # at rest: this is what is measured
        at_rest = (service.cpu - before) * 60 / (time.monotonic() - began)
        users = itertools.islice(itertools.cycle(household.users[:: max(count // 20, 1)]), 20)
        waits = [household.deliver(service, user) * 1000 for user in users]
        told(f"  {memory / KILO / KILO:.0f} MB, {at_rest:.2f} s of processor a minute, {statistics.median(waits):.0f} ms")
        return {
            "mailboxes": count,
            "seconds": seconds,
            "memory": memory / KILO / KILO,
            "at_rest": at_rest,
            "milliseconds": statistics.median(waits),
            "most_ms": max(waits),
        }


def _bare(household: Household, count: int) -> dict[str, Figure]:
    dovecot = household.dovecot
    users = household.users[:count]
    words = [dovecot.host, str(dovecot.imaps_port), str(dovecot.ca_file), PASSWORD, "8", *users]
    began = time.monotonic()
    command = [sys.executable, str(SCRIPTS / "bare_idle.py"), *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.monotonic() - began
        memory = _settled_memory(process.pid)
        process.kill()
    return {"contender": "bare", "mailboxes": count, "seconds": seconds, "memory": memory / KILO / KILO}


def _settled_memory(pid: int) -> int:
    """What a process holds once it has stopped growing."""
    before, now = 0, resident(pid)
    while now > before * 1.001:
        time.sleep(0.5)
        before, now = now, resident(pid)
    return now
