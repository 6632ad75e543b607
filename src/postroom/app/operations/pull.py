"""Messages that applications read by lease: leased, acknowledged, refused, extended, replayed; by REST and command line alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from postroom import events
from postroom.app.config import Live
from postroom.app.core import Core
from postroom.app.operations.messages import as_dict as message_dict
from postroom.app.operations.shown import moment
from postroom.app.terminal import shown_span
from postroom.engine.applications import Applications
from postroom.engine.pause import pause
from postroom.errors import ConfigError
from postroom.mime.recipients import header_of, people
from postroom.mime.text import BODY, text_of
from postroom.settings import PullApplication
from postroom.store import Store
from postroom.store.pull import Backlog, DeadLetter, Leased, Verdict

LONGEST_WAIT = 60.0  # seconds
LONGEST_LEASE = 12 * 3600.0  # seconds
MOST = 100  # messages of one lease
_LOOK = 1.0  # seconds between looks at what other processes brought
_REASON = 1000  # characters of a refusal's reason that are kept


@dataclass(frozen=True)
class Wish:
    """What a consumer asks for."""

    consumer: str  # who asks, for persons to see
    limit: int = 10
    wait: float = 0.0  # seconds to wait where there is nothing
    seconds: float | None = None  # of the lease; None: as the application's lease-time says


@dataclass(frozen=True)
class Waiting:
    """What waits for an application."""

    section: str
    state: str  # configured; faulty: what is written cannot be used; absent: it is not in the configuration any more
    backlog: Backlog
    oldest_age: float | None  # seconds


def find_application(live: Live, name: str) -> PullApplication:
    """An application by its section or the part after ``pull-``, in any case. Raises ``ConfigError`` with those there are."""
    applications = live.configuration.applications
    found = applications.get(name.lower()) or applications.get(f"pull-{name}".lower())
    if found is None:
        names = ", ".join(application.name for application in applications.values())
        problem = f"no application that reads by pull is named '{name}'"
        if not names:
            problem += f"; write a section [pull-{name.lower().removeprefix('pull-')}] into {live.configuration.file.name}"
        raise ConfigError(problem, value=name, valid=names)
    return found


async def _stays() -> bool:
    return False


async def lease(core: Core, application: PullApplication, wish: Wish, gone: Callable[[], Awaitable[bool]] = _stays) -> list[Leased]:
    """Lease messages, the oldest first; where there are none, wait for them. None to a consumer that is ``gone`` meanwhile.

    Woken at once by what this process brings, and within a second by what others bring.
    """
    section, end = application.section, core.clock.monotonic() + wish.wait
    seconds = application.lease_time if wish.seconds is None else wish.seconds
    with core.arrivals.listening(section) as woken:
        while True:
            woken.clear()
            if await core.store.pull.due(section):
                most = application.maximum_attempts
                leased, died = await core.store.pull.lease(section, wish.consumer, wish.limit, seconds, most)
                if died:
                    core.observer.event(events.DEAD_LETTERS, application=section, messages=len(died), reason=died[0][1])
                if leased and await gone():
                    await core.store.pull.release(section, [each.token for each in leased])
                    return []
                if leased:
                    return leased
            left = end - core.clock.monotonic()
            if left <= 0 or core.arrivals.ended or await gone():
                return []
            await pause(core.clock, min(left, _LOOK), woken)


async def acknowledge(core: Core, application: PullApplication, tokens: Sequence[str]) -> list[Verdict]:
    """These are done."""
    return await core.store.pull.acknowledge(application.section, tokens)


async def refuse(
    core: Core,
    application: PullApplication,
    tokens: Sequence[str],
    reason: str,
    *,
    retry_after: float | None,
    dead: bool,
    told: bool = False,
) -> list[Verdict]:
    """These are not done; see ``Pull.refuse``. ``told``: a person sees the verdicts, so that the log need not tell of the dead."""
    section, most = application.section, application.maximum_attempts
    verdicts = await core.store.pull.refuse(section, tokens, reason[:_REASON], most=most, retry_after=retry_after, dead=dead)
    if died := verdicts.count(Verdict.DEAD):
        if not told:
            core.observer.event(events.DEAD_LETTERS, application=section, messages=died, reason=reason[:_REASON])
    elif retry_after == 0:
        core.arrivals.tell([section])
    return verdicts


async def extend(core: Core, application: PullApplication, tokens: Sequence[str], seconds: float) -> list[Verdict]:
    """These leases run for so long from now on."""
    return await core.store.pull.extend(application.section, tokens, seconds)


async def items(store: Store, leased: Sequence[Leased]) -> list[dict[str, object]]:
    """Leased messages for programs, with what an answer needs: who wrote, and the text."""
    return [await asyncio.to_thread(_item, store, each) for each in leased]


def _item(store: Store, leased: Leased) -> dict[str, object]:
    try:
        (head,) = store.blobs.heads([leased.reference], BODY)
    except (OSError, ValueError):  # a disk that lost octets must not hold up the others of the lease
        head = b""
    header, _ = header_of(head)
    text = text_of(head, leased.reference.length)
    named = {field: [person._asdict() for person in people(header, field)] for field in ("From", "Reply-To", "To", "Cc")}
    return {
        "token": leased.token,
        "leased_until": moment(leased.until),
        "attempts": leased.attempts,
        "refusal": leased.fault or None,
        "message": message_dict(leased.row),
        "from": named["From"][0] if named["From"] else None,
        "reply_to": named["Reply-To"],
        "to": named["To"],
        "cc": named["Cc"],
        "text": text.text,
        "text_cut": text.cut,
    }


async def waiting(core: Core) -> list[Waiting]:
    """Every application that is configured, or that something waits for."""
    backlogs, rows = await core.store.pull.backlogs(), await core.store.applications.rows()
    configuration, now = core.live.configuration, core.clock.now()
    faulty = {section.lower() for section in configuration.faulty}
    sections = dict.fromkeys([*configuration.applications, *(row.section for row in rows), *backlogs])
    found = []
    for section in sections:
        backlog = backlogs.get(section, Backlog())
        state = "faulty" if section in faulty else "configured" if section in configuration.applications else "absent"
        age = None if backlog.oldest is None else max(now - backlog.oldest, 0.0)
        found.append(Waiting(section, state, backlog, age))
    return found


def waiting_dict(each: Waiting) -> dict[str, object]:
    """For programs."""
    backlog = each.backlog
    return {
        "application": each.section,
        "state": each.state,
        "waiting": backlog.waiting,
        "deferred": backlog.deferred,
        "leased": backlog.leased,
        "dead": backlog.dead,
        "oldest_age": each.oldest_age,
    }


def waiting_lines(found: Sequence[Waiting]) -> Iterator[str]:
    """For people."""
    if not found:
        yield "No application reads by pull; write a section pull-NAME."
    width = max((len(each.section) for each in found), default=0)
    for each in found:
        backlog, state = each.backlog, "" if each.state == "configured" else f"  {each.state}"
        oldest = "" if each.oldest_age is None else f", the oldest {shown_span(each.oldest_age)} old"
        numbers = f"{backlog.waiting} waiting, {backlog.leased} leased, {backlog.deferred} deferred, {backlog.dead} dead"
        yield f"{each.section:{width}}  {numbers}{oldest}{state}"
        if each.state == "absent":
            yield f"{'':{width}}  → It is not in the configuration. Put it back, or: postroom pull forget {each.section}"
        if backlog.dead:
            name = each.section.removeprefix("pull-")
            yield f"{'':{width}}  → postroom pull dead {name} tells why; postroom pull replay {name} --dead hands them out anew."


def letter_dict(letter: DeadLetter) -> dict[str, object]:
    """A dead letter for programs."""
    return {
        "id": letter.id,
        "client": letter.client,
        "subject": letter.subject,
        "from": letter.sender,
        "attempts": letter.attempts,
        "first_failed": moment(letter.first_failed_at),
        "reason": letter.reason,
    }


async def revive(core: Core, application: PullApplication) -> int:
    """Hand out anew what is laid aside; return how many."""
    count = await core.store.pull.revive(application.section)
    core.arrivals.tell([application.section])
    return count


async def replay(core: Core, application: PullApplication, since: float) -> None:
    """Hand out again what was captured from then on and passes the application's filter, whatever became of it before.

    The wish is durable first. Then it is carried out; where that is stopped, the service goes on with it.
    """
    asked = Applications(core.store, lambda: {application.section: application}, core.arrivals)
    await core.store.applications.replay(application.section, since)
    while await asked.fill():
        pass


async def forget(core: Core, name: str) -> int:
    """Drop what waits for an application that is not in the configuration; return how many messages. Raises ``ConfigError``."""
    section = name.lower() if name.lower().startswith("pull-") else f"pull-{name.lower()}"
    state = {each.section: each.state for each in await waiting(core)}.get(section)
    if state is None:
        raise ConfigError(f"nothing waits for an application named '{name}'", value=name, valid="a name of postroom pull list")
    if state != "absent":
        raise ConfigError(f"{section} is in the configuration", value=name, valid="an application that is taken out of it")
    return await core.store.applications.forget(section)
