"""``postroom run --once``: read every mailbox whole, do all work, tell how each fared."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from postroom.app.config import Live
from postroom.app.core import opened
from postroom.app.observing import Quiet
from postroom.app.operations.shown import summary
from postroom.app.serve import run_once, send_once, silent
from postroom.app.terminal import ELSEWHERE, FAILED, print_json, run_to_end, shown_span
from postroom.clock import SystemClock
from postroom.drivers import shown_octets
from postroom.engine.read import Progress
from postroom.engine.supervise import Result
from postroom.errors import LeaseHeld, LeaseLost
from postroom.model import Condition, Health
from postroom.outbound import LaneCounts

_OFTEN = 0.1  # seconds from one line on the terminal to the next


def once(live: Live, sections: Sequence[str], *, as_json: bool) -> int:
    """Carry it out for mailboxes and accounts; return the exit status."""
    log = Quiet(live, SystemClock())
    configuration = live.configuration
    senders = [section for section in sections if section in configuration.senders]
    faulty = [section for section in sections if section in configuration.sender_sections and section not in senders]
    sections = [section for section in sections if section not in configuration.sender_sections]
    ready = [s for s in sections if s in configuration.clients and configuration.clients[s].enable_client]
    down = [section for section in sections if section not in configuration.clients] + faulty
    watch, progress = _progress() if sys.stderr.isatty() else (None, silent)
    try:
        results: list[Result] = run_to_end(lambda: run_once(live, log, ready, progress))
        sent: list[Sent] = run_to_end(lambda: _send(live, log, senders)) if senders else []
    finally:
        if watch is not None:
            watch()
    for result in results:
        _tell(result, as_json=as_json)
    for section in down:
        _tell_down(live, section, as_json=as_json)
    for one in sent:
        _tell_sent(one, as_json=as_json)
    if any(one.condition.fault for one in sent):
        down.append("")
    if down or any(result.error for result in results):
        held = [r for r in results if isinstance(r.error, LeaseHeld | LeaseLost)]
        others = down or any(r.error and r not in held for r in results)
        return FAILED if others else ELSEWHERE
    return 0


@dataclass(frozen=True)
class Sent:
    """What one pass over an account came to."""

    condition: Condition
    counts: LaneCounts
    paused_by: str = ""


async def _send(live: Live, log: Quiet, senders: Sequence[str]) -> list[Sent]:
    conditions = await send_once(live, log, senders)
    async with opened(live, SystemClock(), log, log.trace) as core:
        counts, pauses = await core.store.outbox.counts(), await core.store.commands.pauses()
    found = {condition.client: condition for condition in conditions}
    return [
        Sent(
            found.get(section) or Condition(section, Health.PAUSED),
            counts.get(section, LaneCounts()),
            pauses[section].asked_by if section in pauses and section not in found else "",
        )
        for section in senders
    ]


def _tell_sent(sent: Sent, *, as_json: bool) -> None:
    condition, counts = sent.condition, sent.counts
    if as_json:
        left = {"queued": counts.ready + counts.leased, "in_doubt": counts.waiting, "failed": counts.dead}
        told = {"error": condition.fault or None, "remedy": condition.remedy or None}
        paused = {"paused_by": sent.paused_by} if sent.paused_by else {}
        print_json({"client": condition.client, "ok": not condition.fault, **left, **told, **paused})
        return
    words = ", ".join(line.partition(": ")[2] for line in summary({condition.client: counts})) or "nothing is left to send"
    if sent.paused_by:
        words = f"not sent: paused by {sent.paused_by}; postroom resume lets it go on ({words})"
    if condition.fault:
        words = f"{condition.fault} ({words}, unharmed)"
    click.secho(f"{condition.client}: {words}", fg="red" if condition.fault else None)
    if condition.fault and condition.remedy:
        click.echo(f"  {condition.remedy}")


def _tell(result: Result, *, as_json: bool) -> None:
    total, error = result.watch.total, result.error
    if as_json:
        print_json(
            {
                "client": result.section,
                "ok": error is None,
                "captured": total.captured,
                "matched": total.matched,
                "octets": total.octets,
                "settled": total.settled,
                "troubles": total.troubles,
                "error": str(error) if error else None,
                "remedy": error.remedy if error else None,
                **({"paused_by": result.paused_by} if result.paused_by else {}),
            }
        )
        return
    words = f"{total.captured} captured ({shown_octets(total.octets)})"
    words += f", {total.matched} met again" if total.matched else ""
    words += f", {total.settled} settled" if total.settled else ""
    words += f", {total.troubles} in trouble" if total.troubles else ""
    mark = click.style("ok  ", fg="green") if error is None else click.style("FAIL", fg="red")
    if isinstance(error, LeaseHeld | LeaseLost):
        mark, words = click.style("busy", fg="cyan"), "not read here"
    if result.paused_by:
        mark, words = click.style("held", fg="yellow"), f"not read: paused by {result.paused_by}; postroom resume lets it go on"
    click.echo(f"{mark} {result.section}: {words}")
    if error is not None:
        click.echo(f"     {error}\n     {error.remedy}")


def _tell_down(live: Live, section: str, *, as_json: bool) -> None:
    faults = [str(fault) for fault in live.configuration.faults_of(section)]
    if as_json:
        print_json({"client": section, "ok": False, "error": " ".join(faults), "remedy": "Correct the named lines."})
        return
    click.echo(f"{click.style('FAIL', fg='red')} {section}: its section has a fault")
    for fault in faults:
        click.echo(f"     {fault}")


class Meter:
    """How far a run is, over all folders: what came, how fast, and how long the rest takes."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._folders: dict[tuple[str, str], _Folder] = {}

    def note(self, client: str, folder: str, captured: int, octets: int, left: int | None) -> None:
        """A cycle of a folder is so far; a smaller number than before is another cycle's."""
        seen = self._folders.setdefault((client, folder), _Folder())
        if captured < seen.captured:
            seen.before += seen.captured
            seen.octets_before += seen.octets
        seen.captured, seen.octets, seen.left = captured, octets, left

    def words(self, now: float) -> str:
        """One line for the terminal."""
        folders = self._folders.values()
        seconds = max(now - self._began, 0.01)
        messages = sum(each.before + each.captured for each in folders)
        rate = messages / seconds
        octets = sum(each.octets_before + each.octets for each in folders) / seconds
        line = f"{messages:,} messages captured, {rate:,.0f} messages/s, {octets / 1e6:,.1f} MB/s"
        left = sum(each.left or 0 for each in folders)
        if left and rate and all(each.left is not None for each in folders):
            line += f", {left:,} left, about {shown_span(left / rate)}"
        return f"{line} ({len(self._folders)} folders)" if len(self._folders) > 1 else line


@dataclass
class _Folder:
    captured: int = 0
    octets: int = 0
    left: int | None = None
    before: int = 0  # in the cycles before
    octets_before: int = 0


def _progress() -> tuple[Callable[[], None], Progress]:
    """One line on the terminal that tells how far it is; and how to take it away."""
    meter = Meter(time.monotonic())
    shown = 0.0

    def progress(client: str, folder: str, captured: int, octets: int, left: int | None) -> None:
        nonlocal shown
        meter.note(client, folder, captured, octets, left)
        now = time.monotonic()
        if now - shown >= _OFTEN:
            shown = now
            sys.stderr.write(f"\r\x1b[K{meter.words(now)}")
            sys.stderr.flush()

    def end() -> None:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    return end, progress
