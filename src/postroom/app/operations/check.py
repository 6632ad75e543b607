"""``postroom check``: take the way to each server for real, step by step. Nothing is read into the store, nothing changed at a
server, no mail sent."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import click

from postroom.app.config import Live
from postroom.app.core import Core, opened
from postroom.app.forecasting import forecast
from postroom.app.observing import Quiet
from postroom.app.operations.shown import fitted
from postroom.clock import SystemClock
from postroom.drivers import First, Step, open_probe
from postroom.engine.forecast import Ending, soon
from postroom.errors import PostroomError
from postroom.net.credentials import TokenSource
from postroom.settings import Client, PopClient, SmtpClient

_AT_ONCE = 16


@dataclass(frozen=True)
class Finding:
    """One client: what each step found, or what does not work and the remedy."""

    client: str
    ok: bool
    words: str
    remedy: str = ""
    steps: tuple[Step, ...] = ()
    endings: tuple[Ending, ...] = field(default=())  # what ends within the next weeks

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        steps = [
            {"step": step.name, "ok": step.error is None, "words": str(step.error) if step.error else step.words}
            for step in self.steps
        ]
        endings = [ending.as_dict() for ending in self.endings]
        return {
            "client": self.client,
            "ok": self.ok,
            "words": " ".join(self.words.splitlines()),
            "remedy": self.remedy,
            "steps": steps,
            "endings": endings,
        }


async def check(live: Live, sections: Sequence[str]) -> list[Finding]:
    """Take the way to each client's server: of a mailbox up to its folders, of an account up to where it could send."""
    clock = SystemClock()
    log = Quiet(live, clock)
    async with opened(live, clock, log, log.trace) as core:
        core.kit.tokens.remembers_refusals = False  # what was mended at the authority must show here
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(section: str) -> Finding:
            async with gate:
                return await check_client(core, section)

        findings = await asyncio.gather(*(one(section) for section in sections))
        now = clock.now()
        coming = await forecast(core, now)
        return [dataclasses.replace(each, endings=soon(coming.get(each.client, ()), now)) for each in findings]


async def check_client(core: Core, section: str, tokens: TokenSource | None = None) -> Finding:
    """One client; with ``tokens`` by a token that is not in the vault yet."""
    configuration = core.live.configuration
    if section not in configuration.clients and section not in configuration.senders:
        faults = configuration.faults_of(section)
        return Finding(section, False, "\n".join(map(str, faults)), "Correct the named lines.")
    login = core.login(section)
    if login is None:
        return Finding(section, True, "disabled (enable-client = false)")
    try:
        probe = open_probe(login, core.kit, tokens)
        steps = tuple([step async for step in probe.steps(*await _looked_at(core, login.client))])
    except PostroomError as error:
        return Finding(section, False, str(error), error.remedy)
    last = steps[-1]
    if last.error is not None:
        return Finding(section, False, str(last.error), last.error.remedy, steps)
    found = next((step.words for step in reversed(steps) if step.name in ("select", "maildrop", "limits")), last.words)
    place = core.kit.providers.place_of(login.client, login.authorities)
    return Finding(section, True, f"{_logged_in(login.client, f'{place.host}:{place.port}')}; {found}", steps=steps)


def _logged_in(client: Client, where: str) -> str:
    if isinstance(client, SmtpClient) and not client.authenticates:
        return f"connected to {where} without a login"
    name = client.mailbox if isinstance(client, PopClient) else client.user
    return f"logged in at {where} as {name} {'with a token' if client.uses_oauth else 'with the password'}"


async def _looked_at(core: Core, client: Client) -> tuple[tuple[str, ...], dict[str, First]]:
    """The folders that are read, and those that never were, with what would be read of them now; what sends has none."""
    if not isinstance(client, PopClient):
        return (), {}
    place = (client.type.value, core.kit.providers.place_of(client, core.live.configuration.authorities).host.lower())
    read = {
        row.folder
        for row in await core.store.folders()
        if not row.unread and (row.type, row.server, row.login) == (*place, client.account)
    }
    return client.folder_path, {folder: client.first_read for folder in client.folder_path if folder not in read}


def as_lines(finding: Finding) -> Iterator[str]:
    """A finding for people: a line for the client, one for each step, the remedy; no wider than their terminal."""
    return fitted(_as_lines(finding))


def _as_lines(finding: Finding) -> Iterator[str]:
    mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red")
    stopped = f"does not get past {finding.steps[-1].name}" if finding.steps and not finding.ok else finding.words
    first, *others = stopped.splitlines() or [""]
    if others:
        yield f"{mark} {finding.client}: {len(others) + 1} faults"
        yield from (f"     {fault}" for fault in (first, *others))
    else:
        yield f"{mark} {finding.client}: {first}"
    for step in finding.steps:
        good = step.error is None
        sign = click.style("ok", fg="green") if good else click.style("no", fg="red")
        yield f"       {sign} {step.name:12} {step.words if good else step.error}"
    if finding.remedy:
        yield f"     → {finding.remedy}"
    for ending in finding.endings:
        yield f"     {click.style('soon', fg='yellow')} {ending}"
