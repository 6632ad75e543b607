"""The benches of sending: a queue drained into ``smtp-sink`` and into Postfix, a ``POST``, and a queue of 100,000."""

from __future__ import annotations

import asyncio
import functools
import json
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.bars import CLAIM_GROWTH, POST_TIME, RESTART_GROWTH, SMTPLIB_SPEED, SOURCE_SPEED
from bench.contenders import POSTROOM
from bench.measure import SCRIPTS, FailedError, Run, Samples, fresh, interleaved, run
from bench.report import Report
from bench.rig import Rig
from postroom.clock import SystemClock
from postroom.outbound import Composed, Envelope, Handed, Recipient
from postroom.store import Store
from servers.dovecot import Dovecot
from servers.install import program
from servers.postfix import Postfix
from servers.sink import Sink
from servers.waiting import wait_for

SECTION = "smtp-client"
OCTETS = 4000
CONNECTIONS = 10
_AT_ONCE = 500  # handed in together while a queue is made
_POSTS = 300


def send(rig: Rig) -> Report:
    """10,000 waiting messages of 4 kB over 10 connections into ``smtp-sink``."""
    count = rig.count(10_000, 200)
    report = Report("send", f"{count:,} waiting messages of 4 kB into smtp-sink; postroom marks each durably before its final dot")
    with Sink() as sink, _queue(rig, count) as queued:
        entries = _entries(rig, queued, sink.host, sink.port, count, lambda: sink.messages, smtplib=True)
        interleaved(rig.rounds, entries, rig.told)
    _tabulate(report, [samples for samples, _ in entries], count)
    return report


def send_postfix(rig: Rig) -> Report:
    """2,000 into Postfix itself, which syncs each message; it throws them away behind its queue."""
    count = rig.count(2_000, 50)
    report = Report("send-postfix", f"{count:,} waiting messages of 4 kB into Postfix, which keeps each on the disk")
    with Dovecot(sasl=True) as dovecot, Postfix(dovecot) as postfix, _queue(rig, count) as queued:
        entries = _entries(rig, queued, postfix.host, postfix.relay_port, count, None, smtplib=False, settled=postfix.forget)
        interleaved(rig.rounds, entries, rig.told)
    _tabulate(report, [samples for samples, _ in entries], count)
    return report


def post(rig: Rig) -> Report:
    """From ``POST /v1/submissions`` to 202, one after the other on one connection, while the service sends."""
    count = rig.count(_POSTS, 20)
    report = Report("post", f"{count:,} drafts of 4 kB handed in over the API, each durable before its answer")
    with fresh(rig.folder) as folder, Sink() as sink:
        _configure(folder, sink.host, sink.port)
        key = subprocess.run(
            [POSTROOM, "--config", str(folder / "postroom.ini"), "keys", "create", "bench", "--role", "application", "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        spans = _posted(folder, json.loads(key.stdout)["key"], count)
    report.rows = [
        {
            "contender": "postroom",
            "messages": count,
            "milliseconds": statistics.median(spans) * 1000,
            "least_ms": min(spans) * 1000,
            "most_ms": max(spans) * 1000,
        }
    ]
    report.measured = {POST_TIME: statistics.median(spans) * 1000}
    return report


def queue(rig: Rig) -> Report:
    """What a claim and a restart cost with 100,000 waiting, beside 1,000."""
    few, many = rig.count(1_000, 50), rig.count(100_000, 500)
    report = Report("queue", f"{many:,} waiting messages: a claim of 200, and from the start of the process to its first message")
    costs = []
    with Sink() as sink:
        for count in (few, many):
            with _queue(rig, count) as queued:
                costs.append((count, _claim(queued, rig), _restart(queued, sink, rig)))
    report.rows = [
        {"contender": name, "messages": count, "milliseconds": statistics.median(spans) * 1000, "least_ms": min(spans) * 1000}
        for count, *both in costs
        for name, spans in zip(("claim", "restart"), both, strict=True)
    ]
    (_, claim, restart), (_, claim_many, restart_many) = costs
    report.measured = {
        CLAIM_GROWTH: statistics.median(claim_many) / statistics.median(claim),
        RESTART_GROWTH: statistics.median(restart_many) / statistics.median(restart),
    }
    return report


# --- queues -------------------------------------------------------------------------------------------------------------


@contextmanager
def _queue(rig: Rig, count: int) -> Iterator[Path]:
    """A data directory with so many messages waiting; to be copied, or used once."""
    with fresh(rig.folder) as folder:
        rig.told(f"  handing in {count:,} messages")
        asyncio.run(_fill(folder / "data", count))
        yield folder


async def _fill(data: Path, count: int) -> None:
    store = Store(data, SystemClock(), f"file:{data / 'vault.key'}", {})
    try:
        for start in range(0, count, _AT_ONCE):
            await asyncio.gather(*(store.outbox.hand_in(_handed(n)) for n in range(start, min(count, start + _AT_ONCE))))
    finally:
        store.close()


def _handed(number: int) -> Handed:
    head = f"From: a@example.test\r\nTo: b@example.net\r\nSubject: Letter {number}\r\nMessage-ID: <{number}@example.test>\r\n\r\n"
    octets = (head + ("x" * 70 + "\r\n") * (OCTETS // 72)).encode()
    envelope = Envelope("a@example.test", (Recipient("b@example.net"),))
    return Handed(SECTION, Composed(envelope, octets, f"<{number}@example.test>", f"Letter {number}"))


def _configure(folder: Path, host: str, port: int) -> Path:
    file = folder / "postroom.ini"
    file.write_text(
        f"[settings]\ndata-directory = {folder / 'data'}\n[web]\nlisten = 127.0.0.1:0\n"
        f"[{SECTION}]\nserver = {host}\nport = {port}\nsmtp-connection-security = none\ncnx-pool-size = {CONNECTIONS}\n"
    )
    return file


# --- contenders ---------------------------------------------------------------------------------------------------------


def _entries(
    rig: Rig,
    queued: Path,
    host: str,
    port: int,
    count: int,
    taken: Callable[[], int] | None,
    *,
    smtplib: bool,
    settled: Callable[[], None] | None = None,
) -> list[tuple[Samples, Callable[[], Run]]]:
    """Each contender's samples, and how it runs once; ``taken`` says how many messages the server got since it was made."""

    def checked(once: Callable[[], Run]) -> Run:
        before = taken() if taken is not None else 0
        done = once()
        if taken is not None and taken() - before < count:
            raise FailedError(f"{taken() - before} messages of {count} arrived")
        if settled is not None:
            settled()
        return done

    source = [program("smtp-source") or "smtp-source", "-4", "-d", "-s", str(CONNECTIONS), "-m", str(count), "-l", str(OCTETS)]
    source += ["-f", "a@example.test", "-t", "b@example.net", "-M", "bench.example.test", f"{host}:{port}"]
    programs: dict[str, Callable[[], Run]] = {
        "postroom": functools.partial(_drained, rig, queued, host, port),
        "smtp-source": functools.partial(run, source),
    }
    if smtplib:
        script = [sys.executable, str(SCRIPTS / "smtp_send.py"), host, str(port), str(count), str(OCTETS)]
        programs["smtplib"] = functools.partial(run, script)
    return [(Samples(name, count), functools.partial(checked, once)) for name, once in programs.items()]


def _drained(rig: Rig, queued: Path, host: str, port: int) -> Run:
    """One drain of a copy of the queue, the start of the process included."""
    with fresh(rig.folder) as folder:
        shutil.copytree(queued / "data", folder / "data")
        done = run([POSTROOM, "--config", str(_configure(folder, host, port)), "run", "--once", SECTION])
        left = [line for line in done.words.splitlines() if "nothing is left to send" not in line]
        if left:
            raise FailedError(f"postroom left something: {left}")
        return done


def _tabulate(report: Report, samples: list[Samples], count: int) -> None:
    by_name = {one.name: one for one in samples}
    report.rows = [
        {
            "contender": one.name,
            "messages": count,
            "runs": len(one.runs),
            "seconds": one.seconds,
            "fastest": one.fastest,
            "slowest": one.slowest,
            "rate": count / one.seconds,
            "cpu": one.cpu,
            "peak": one.peak / 1_000_000,
        }
        for one in samples
    ]
    postroom = by_name["postroom"]
    report.measured[SOURCE_SPEED] = by_name["smtp-source"].ratio(postroom)
    if "smtplib" in by_name:
        report.measured[SMTPLIB_SPEED] = by_name["smtplib"].ratio(postroom)


# --- single figures -----------------------------------------------------------------------------------------------------


def _posted(folder: Path, key: str, count: int) -> list[float]:
    """Seconds from each request to its answer; the service runs meanwhile."""
    log = folder / "log"
    with log.open("wb") as err:
        service = subprocess.Popen([POSTROOM, "--config", str(folder / "postroom.ini"), "run"], stderr=err)
    try:
        address = wait_for(functools.partial(_address, log), "the API")
        draft = {"from": "a@example.test", "to": ["b@example.net"], "subject": "Letter", "text": "x" * OCTETS}
        spans = []
        for number in range(count + 10):
            body = json.dumps({**draft, "subject": f"Letter {number}"}).encode()
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            request = urllib.request.Request(f"{address}/v1/submissions", body, headers)
            began = time.perf_counter()
            with urllib.request.urlopen(request) as answer:
                answer.read()
            spans.append(time.perf_counter() - began)
        return spans[10:]
    finally:
        service.terminate()
        service.wait()


def _address(log: Path) -> str | None:
    for line in log.read_text().splitlines():
        if '"started"' in line:
            return str(json.loads(line)["web"])
    return None


def _claim(queued: Path, rig: Rig) -> list[float]:
    """Seconds for each claim of 200, given back afterwards."""
    return asyncio.run(_claims(queued / "data", rig.count(20, 3)))


async def _claims(data: Path, times: int) -> list[float]:
    store = Store(data, SystemClock(), f"file:{data / 'vault.key'}", {})
    try:
        spans = []
        for _ in range(times):
            began = time.perf_counter()
            taken = await store.outbox.take(SECTION, 200)
            spans.append(time.perf_counter() - began)
            await store.outbox.release([outgoing.work for outgoing in taken])
        return spans
    finally:
        store.close()


def _restart(queued: Path, sink: Sink, rig: Rig) -> list[float]:
    """Seconds from the start of a process to the first message that the server has."""
    spans = []
    for _ in range(rig.count(5, 1)):
        with fresh(rig.folder) as folder:
            shutil.copytree(queued / "data", folder / "data")
            file = _configure(folder, sink.host, sink.port)
            before, began = sink.messages, time.perf_counter()
            process = subprocess.Popen([POSTROOM, "--config", str(file), "run"], stderr=subprocess.DEVNULL)
            try:
                wait_for(lambda before=before: sink.messages > before or None, "the first message")  # type: ignore[misc]
                spans.append(time.perf_counter() - began)
            finally:
                process.kill()
                process.wait()
    return spans
