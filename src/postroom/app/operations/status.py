"""``postroom status``: how each client fares, from what is stored; with the service running or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from postroom.app.config import Live
from postroom.app.core import Core, opened
from postroom.app.forecasting import forecast
from postroom.app.observing import Quiet
from postroom.app.operations.audit import as_dict as audit_dict
from postroom.app.operations.shown import fitted
from postroom.app.terminal import shown_span
from postroom.clock import SystemClock
from postroom.engine.first import seconds_left
from postroom.engine.forecast import Ending, soon
from postroom.engine.silence import silent_for
from postroom.engine.standing import PROOF
from postroom.model import Audit, Condition, Health, Trouble
from postroom.outbound import LaneCounts
from postroom.settings import PopClient
from postroom.store.commands import Pause
from postroom.store.reading import Counts, FolderRow

_COLOURS = {
    Health.WORKING: "green",
    Health.STARTING: "cyan",
    Health.RETRYING: "yellow",
    Health.PAUSED: "yellow",
    Health.NEEDS_PERSON: "red",
    Health.DISABLED: "bright_black",
    Health.STALE: "red",
}


@dataclass(frozen=True)
class ClientStatus:
    """One client as status shows it. Ages are seconds."""

    client: str
    health: Health
    proved_age: float | None
    messages: int
    octets: int
    open_work: int
    last_age: float | None
    fault: str
    remedy: str
    retry_in: float | None
    process: str = ""  # the living one that reads the mailbox now
    troubles: tuple[tuple[str, Trouble], ...] = ()  # with their folders
    folders: tuple[FolderRow, ...] = ()
    seen_at: float = 0.0  # when all this was so
    endings: tuple[Ending, ...] = ()  # what ends within the next weeks
    audit: dict[str, object] | None = None  # the last one of its folders, summed
    address: str = ""  # that the mailbox serves
    shadow: bool = False  # read beside another system
    labels: Mapping[str, str] = field(default_factory=dict)
    queue: LaneCounts | None = None  # what an smtp-client has to send; None: a mailbox, which sends nothing
    restart_pending: tuple[str, ...] = ()  # options of an smtp-client that wait for its restart, in the process that runs it

    @property
    def needs_person(self) -> bool:
        """True when nothing goes on before somebody acts."""
        return self.health in (Health.NEEDS_PERSON, Health.STALE)

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        return {
            "client": self.client,
            "address": self.address or None,
            "shadow": self.shadow,
            "labels": dict(self.labels),
            "queue": _queue_dict(self.queue, self.seen_at),
            "restart_pending": list(self.restart_pending),
            "health": self.health.value,
            "proved_age": self.proved_age,
            "messages": self.messages,
            "octets": self.octets,
            "open_work": self.open_work,
            "last_message_age": self.last_age,
            "fault": " ".join(self.fault.splitlines()),
            "remedy": self.remedy,
            "retry_in": self.retry_in,
            "process": self.process or None,
            "troubles": [
                {
                    "folder": folder,
                    "identifier": trouble.listed.identifier,
                    "kind": trouble.kind.value,
                    "detail": trouble.detail,
                    "attempts": trouble.attempts,
                }
                for folder, trouble in self.troubles
            ],
            "folders": [_folder_dict(row) for row in self.folders],
            "endings": [ending.as_dict() for ending in self.endings],
            "audit": self.audit,
        }


async def status(live: Live) -> list[ClientStatus]:
    """Every client of the configuration, and those of before that brought messages."""
    clock = SystemClock()
    log = Quiet(live, clock)
    async with opened(live, clock, log, log.trace) as core:
        return await status_of(core)


async def status_of(core: Core) -> list[ClientStatus]:
    """The same from a store that is open."""
    live = core.live
    conditions, counts = await core.store.conditions(), await core.store.counts()
    troubles, readers = await core.store.troubles_of(), await core.store.readers()
    folders = await core.store.folders()
    audits = await core.store.audits.results()
    shadowed = {shadow.client for shadow in await core.store.shadows.all() if shadow.taken_at is None}
    lanes, pending = await core.store.outbox.counts(), await core.store.pending.all()
    paused, labels = await core.store.commands.pauses(), await core.store.labels.all()
    now = core.clock.now()
    coming = await forecast(core, now)
    sections = list(live.configuration.sections)
    sections += [section for section in sorted(counts) if section not in sections]
    found = (
        _status(live, section, conditions.get(section), counts.get(section, Counts()), troubles, readers, now)
        for section in sections
    )
    senders = list(live.configuration.sender_sections)
    senders += [section for section in sorted(lanes) if section not in senders]
    sending = (_sender(live, section, conditions.get(section), lanes.get(section, LaneCounts()), now) for section in senders)
    return [
        dataclasses.replace(
            each,
            restart_pending=pending.get(each.client, ()),
            endings=soon(coming.get(each.client, ()), now),
            folders=_folders_of(live.client(each.client), folders),
            audit=_audited(live, each.client, audits, now),
            shadow=each.client in shadowed,
            labels=labels.get(each.client, {}),
            seen_at=now,
            **_held(each, paused.get(each.client), now),
        )
        for each in (*found, *sending)
    ]


def _held(status: ClientStatus, pause: Pause | None, now: float) -> dict[str, Any]:
    """What a pause says in the place of a client's own health."""
    if pause is None or status.health is Health.DISABLED:
        return {}
    fault = f"paused by {pause.asked_by}, {shown_span(max(now - pause.asked_at, 0.0))} ago"
    return {"health": Health.PAUSED, "fault": fault, "remedy": f"postroom resume {status.client}", "retry_in": None}


def _folders_of(client: PopClient | None, rows: Sequence[FolderRow]) -> tuple[FolderRow, ...]:
    if client is None:
        return ()
    mine = (client.type.value, client.account)
    return tuple(row for row in rows if (row.type, row.login) == mine and row.folder in client.folder_path)


def _audited(live: Live, section: str, audits: Sequence[Audit], now: float) -> dict[str, object] | None:
    """The last audits of the folders that are read."""
    client = live.client(section)
    folders = client.folder_path if client is not None else ()
    return audit_dict([audit for audit in audits if audit.client == section and audit.folder in folders], now)


def _status(
    live: Live,
    section: str,
    condition: Condition | None,
    counts: Counts,
    troubles: Sequence[tuple[str, str, Trouble]],
    readers: Mapping[str, str],
    now: float,
) -> ClientStatus:
    condition = condition or Condition(section, Health.STARTING)
    client = live.client(section)
    health, fault, remedy = condition.health, condition.fault, condition.remedy
    if section in live.configuration.faulty:
        health, remedy = Health.NEEDS_PERSON, "Correct the named lines."
        fault = "\n".join(map(str, live.configuration.faults_of(section)))
    elif client is None:
        health, fault, remedy = Health.DISABLED, "no longer in the configuration", ""
    elif not client.enable_client:
        health, fault, remedy = Health.DISABLED, "enable-client = false", ""
    login = client.account if client is not None else ""
    process = readers.get(login, "")
    if client is not None and silent_for(dataclasses.replace(condition, health=health), client, now) is not None:
        health, fault = Health.STALE, fault or "no check was proved for longer than its cycles explain"
        remedy = "Look at the service's log." if process else "No process reads it now: start the service, postroom run."
    return ClientStatus(
        section,
        health,
        _age(condition.proved_at, now),
        counts.messages,
        counts.octets,
        counts.open_work,
        _age(counts.last_received, now),
        fault,
        remedy,
        condition.retry_at - now if condition.retry_at is not None and condition.retry_at > now else None,
        process,
        tuple((folder, trouble) for name, folder, trouble in troubles if name == login),
        address=client.serves if client is not None else "",
    )


def _sender(live: Live, section: str, condition: Condition | None, queue: LaneCounts, now: float) -> ClientStatus:
    """An smtp-client, by what the process that sends for it reported last."""
    condition = condition or Condition(section, Health.STARTING)
    client = live.sender(section)
    health, fault, remedy = condition.health, condition.fault, condition.remedy
    if section in live.configuration.faulty:
        health, remedy = Health.NEEDS_PERSON, "Correct the named lines."
        fault = "\n".join(map(str, live.configuration.faults_of(section)))
    elif client is None:
        health, fault, remedy = Health.DISABLED, "no longer in the configuration", ""
        if queue.ready or queue.leased:
            health, fault = Health.NEEDS_PERSON, f"{fault}, and nobody sends its mail"
            remedy = f"Put the section back, or: postroom outbox list --client {section}; postroom outbox replay ID --via CLIENT"
    elif health in (Health.STARTING, Health.WORKING) and _waits_for_nobody(condition, queue, now):
        health, fault = Health.STALE, "mail waits, and nobody proved the way to the server for hours"
        remedy = "No process sends now: start the service, postroom run."
    retry_in = condition.retry_at - now if condition.retry_at is not None and condition.retry_at > now else None
    proved = _age(condition.proved_at, now)
    addresses = ", ".join(client.addresses) if client is not None else ""
    return ClientStatus(section, health, proved, 0, 0, 0, None, fault, remedy, retry_in, address=addresses, queue=queue)


def _waits_for_nobody(condition: Condition, queue: LaneCounts, now: float) -> bool:
    """Whether mail waits for longer than the account's last sign of life explains: a living process proves it by the hour."""
    seen, waits = _age(condition.proved_at, now), _age(queue.oldest, now)
    return waits is not None and waits > 2 * PROOF and (seen is None or seen > 2 * PROOF)


def _queue_dict(queue: LaneCounts | None, now: float) -> dict[str, object] | None:
    if queue is None:
        return None
    counts = {"ready": queue.ready, "sending": queue.leased, "in_doubt": queue.waiting, "failed": queue.dead}
    return {**counts, "oldest_age": _age(queue.oldest, now)}


def _queue_words(queue: LaneCounts, now: float) -> str:
    oldest = _age(queue.oldest, now)
    since = f", the oldest for {shown_span(oldest)}" if oldest is not None else ""
    parts = [
        f"{queue.ready + queue.leased} to be sent{since}",
        f"{queue.waiting} wait for a person" if queue.waiting else "",
        f"{queue.dead} given up" if queue.dead else "",
    ]
    return ", ".join(filter(None, parts))


def _queue_remedies(client: str, queue: LaneCounts) -> Iterator[str]:
    """What a person does about mail that waits for one."""
    if queue.waiting:
        what = "postroom outbox resolve ID --as sent|resend|failed"
        yield f"in doubt: postroom outbox list --state in-doubt --client {client}; {what}"
    if queue.dead:
        yield f"given up: postroom outbox list --state failed --client {client}; postroom outbox replay ID"


def _age(at: float | None, now: float) -> float | None:
    return None if at is None else max(now - at, 0.0)


def _folder_lines(row: FolderRow, now: float) -> Iterator[str]:
    """How far a first read is, and what the last repair came to."""
    first, repair = row.first, row.repair
    if first is not None and first.ended_at is None:
        seconds = seconds_left(first.left, first.rate)
        left = f", about {shown_span(seconds)} left" if seconds is not None else ""
        yield f"first read: {max(first.total - first.left, 0):,} of {first.total:,}{left}"
    if repair is not None:
        when = f"{shown_span(max(now - (repair.ended_at or repair.begun_at), 0))} ago"
        done = f"repaired {when}" if repair.ended_at is not None else f"under repair, begun {when}"
        numbers = f"{repair.matched:,} matched ({repair.compared:,} compared), {repair.fresh:,} new, {repair.vanished:,} vanished"
        yield f"{done}: {numbers}; {repair.reason}"


def _folder_dict(row: FolderRow) -> dict[str, object]:
    first, repair = row.first, row.repair
    reading = None
    if first is not None and first.ended_at is None:
        reading = {"total": first.total, "left": first.left, "rate": first.rate, "choice": first.choice}
        reading["seconds_left"] = seconds_left(first.left, first.rate)
    return {
        "folder": row.folder,
        "first_read": reading,
        "repair": None
        if repair is None
        else {
            "begun_at": repair.begun_at,
            "ended_at": repair.ended_at,
            "reason": repair.reason,
            "matched": repair.matched,
            "compared": repair.compared,
            "new": repair.fresh,
            "vanished": repair.vanished,
        },
    }


def as_lines(statuses: Sequence[ClientStatus], *, colour: bool) -> Iterator[str]:
    """The statuses for people, no wider than their terminal."""
    return fitted(_as_lines(statuses, colour=colour))


def _as_lines(statuses: Sequence[ClientStatus], *, colour: bool) -> Iterator[str]:
    if not statuses:
        yield "No client is configured; write a pop-client section; the README shows one."
    width = max((len(item.client) for item in statuses), default=0)
    for item in statuses:
        health = f"{item.health.value:15}"
        shown = click.style(health, fg=_COLOURS[item.health]) if colour else health
        proved = f"proved {shown_span(item.proved_age)} ago" if item.proved_age is not None else "never proved"
        last = f", the last {shown_span(item.last_age)} ago" if item.last_age is not None else ""
        work = f", {item.open_work} waiting to be processed" if item.open_work else ""
        process = f", read by {item.process}" if item.process else ""
        held = f"{item.messages} messages{last}{work}{process}" if item.queue is None else _queue_words(item.queue, item.seen_at)
        yield f"{item.client:{width}}  {shown} {proved:20} {held}"
        if item.fault and item.health is not Health.WORKING:
            yield from (f"{'':{width}}  {fault}" for fault in item.fault.splitlines())
        if item.remedy and item.health is not Health.WORKING:
            yield f"{'':{width}}  → {item.remedy}"
        if item.retry_in is not None and item.health in (Health.RETRYING, Health.PAUSED, Health.NEEDS_PERSON):
            yield f"{'':{width}}  tried again in {shown_span(item.retry_in)}"
        yield from (f"{'':{width}}  {words}" for words in _more(item))


def _more(item: ClientStatus) -> Iterator[str]:
    """What is known of a client beside its health."""
    if item.labels:
        yield ", ".join(f"{name}={value}" for name, value in item.labels.items())
    if item.queue is not None:
        yield from _queue_remedies(item.client, item.queue)
    if item.restart_pending:
        yield f"restart pending: {', '.join(item.restart_pending)}; what is written acts after: postroom restart {item.client}"
    for folder, trouble in item.troubles:
        yield f"trouble: {folder} {trouble.listed.identifier}, {trouble.attempts} attempts: {trouble.detail}"
    for row in item.folders:
        yield from (f"{row.folder}: {words}" for words in _folder_lines(row, item.seen_at))
    if item.shadow:
        yield "in shadow: another system has the mailbox, nothing is changed there and nothing handed on"
    if item.audit is not None:
        found = item.audit
        words = f"{found['on_server']} on the server, {found['accounted']} accounted for, {found['missing']} missing"
        yield f"audited {shown_span(float(str(found['age'])))} ago: {words}"
    for ending in item.endings:
        yield f"soon: {ending}"
