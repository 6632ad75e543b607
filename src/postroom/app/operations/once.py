"""``postroom run --once``: read every mailbox whole, do all work, tell how each fared."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import click

from postroom.app.config import Live
from postroom.app.observing import Quiet
from postroom.app.serve import run_once, silent
from postroom.app.terminal import ELSEWHERE, FAILED, print_json, run_to_end
from postroom.clock import SystemClock
from postroom.engine.read import Progress
from postroom.engine.supervise import Result
from postroom.errors import LeaseHeld, LeaseLost


def once(live: Live, sections: Sequence[str], *, as_json: bool) -> int:
    """Carry it out; return the exit status."""
    log = Quiet(live, SystemClock())
    configuration = live.configuration
    ready = [s for s in sections if s in configuration.clients and configuration.clients[s].enable_client]
    down = [section for section in sections if section not in configuration.clients]
    watch, progress = _progress() if sys.stderr.isatty() else (None, silent)
    try:
        results: list[Result] = run_to_end(lambda: run_once(live, log, ready, progress))
    finally:
        if watch is not None:
            watch()
    for result in results:
        _tell(result, as_json=as_json)
    for section in down:
        _tell_down(live, section, as_json=as_json)
    if down or any(result.error for result in results):
        held = [r for r in results if isinstance(r.error, LeaseHeld | LeaseLost)]
        others = down or any(r.error and r not in held for r in results)
        return FAILED if others else ELSEWHERE
    return 0


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
            }
        )
        return
    words = f"{total.captured} captured ({_octets(total.octets)})"
    words += f", {total.matched} met again" if total.matched else ""
    words += f", {total.settled} settled" if total.settled else ""
    words += f", {total.troubles} in trouble" if total.troubles else ""
    mark = click.style("ok  ", fg="green") if error is None else click.style("FAIL", fg="red")
    if isinstance(error, LeaseHeld | LeaseLost):
        mark, words = click.style("busy", fg="cyan"), "not read here"
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


def _octets(count: int) -> str:
    for unit in ("octets", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "octets" else f"{count:.1f} {unit}"
        count /= 1000  # type: ignore[assignment]
    return ""


def _progress() -> tuple[Callable[[], None], Progress]:
    """One line on the terminal that tells how far it is; and how to take it away."""
    began = time.monotonic()
    done: dict[str, tuple[int, int]] = {}
    shown = [0.0]

    def progress(client: str, folder: str, captured: int, octets: int) -> None:
        key = f"{client}/{folder}"
        before = done.get(key, (0, 0))
        done[key] = (captured, octets) if captured >= before[0] else (before[0] + captured, before[1] + octets)
        now = time.monotonic()
        if now - shown[0] < 0.1:
            return
        shown[0] = now
        messages = sum(count for count, _ in done.values())
        rate = messages / max(now - began, 0.01)
        sys.stderr.write(f"\r\x1b[K{messages} messages captured, {rate:,.0f} a second, {len(done)} folders")
        sys.stderr.flush()

    def end() -> None:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    return end, progress
