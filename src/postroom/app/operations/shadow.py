"""``postroom shadow``: read a mailbox beside another system, compare with what that has, take over from it.

Every step may be stopped anywhere and run again. Whether a mailbox is in shadow stands in the store, and each process that
captures sees it in the transaction that does; the take-over is one transaction.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import click

from postroom.app.config import Live
from postroom.app.core import Core
from postroom.app.observing import Quiet
from postroom.app.operations.elsewhere import Elsewhere
from postroom.app.serve import Service, assembled
from postroom.app.terminal import MISSING, Failure, print_json
from postroom.clock import SystemClock
from postroom.drivers import Mailbox, place_of
from postroom.engine.supervise import Supervisor
from postroom.engine.watch import Watch
from postroom.errors import LeaseHeld
from postroom.mime.fingerprint import Fingerprint, fingerprint, known_as
from postroom.model import Reference
from postroom.store.shadows import Begun, Comparison

_SHOWN = 20
_PAGE = 200


@dataclass(frozen=True)
class Wish:
    """What is to be done beside reading and comparing."""

    take_over: bool = False
    despite_troubles: bool = False
    undo: bool = False
    give_back: bool = False  # a mailbox that is read here


async def shadow(live: Live, section: str, other: Elsewhere, wish: Wish, *, as_json: bool) -> int:
    """Carry it out and print; return the exit status. Raises what stops it; what was done before is kept."""
    clock = SystemClock()
    log = Quiet(live, clock)
    async with assembled(live, log, clock) as service:
        core = service.core
        await core.look_at_consents()
        mailbox = _mailbox(core, section)
        server = place_of(mailbox, core.kit.providers).host
        source = await core.store.source(mailbox.client.type.value, server, mailbox.client.account)
        if wish.undo:
            return await _undo(core, section, source, as_json=as_json)
        if not await _begin(service, section, source, wish):
            click.echo(f"{section}: was taken over already; nothing is changed", err=True)
            return 0
        held = await _read(service, section, wish)
        found = await _compared(core, source, other) if other.named else None
        if wish.take_over:
            await _take_over(core, section, source, found, wish)
        elif held:
            click.echo(f"     {held}; compared with what it has captured so far", err=True)
        await _show(core, section, source, found, "taken over" if wish.take_over else "shadow", as_json=as_json)
    return MISSING if found is not None and not wish.take_over and (found.only_there or found.only_here) else 0


def _mailbox(core: Core, section: str) -> Mailbox:
    mailbox = core.mailbox(section, also_disabled=True)
    if mailbox is None:
        faults = " ".join(map(str, core.live.configuration.faults_of(section)))
        raise Failure(f"{section} cannot be read: {faults}", "Correct the named lines.")
    return mailbox


async def _begin(service: Service, section: str, source: int, wish: Wish) -> bool:
    """From now on in shadow; False where the take-over that is wished for was made already.

    What we captured before under the client's own settings is settled first: the other system must not meet it.
    """
    core = service.core
    shadows = core.store.shadows
    before = await shadows.of(source)
    if wish.take_over and not wish.give_back and before is not None and before.taken_at is not None:
        return False
    begun = await shadows.begin(source, section, give_back=wish.give_back)
    if begun is Begun.OWED:
        await Watch(section, lambda: core.mailbox(section, also_disabled=True), service.supervisor.around).settle()
        begun = await shadows.begin(source, section, give_back=wish.give_back)
    if begun is Begun.OURS:
        raise Failure(
            f"{section} is read here under its own settings",
            "To give it to another system: set enable-client = false, then postroom shadow --give-back before that one starts.",
        )
    if begun is Begun.OWED:
        raise Failure(
            f"{section}: {begun.value}, and it does not do so",
            "See postroom status; the mailbox can be given to another system once they are.",
        )
    await core.look_at_consents()
    return True


async def _read(service: Service, section: str, wish: Wish) -> str:
    """Read the mailbox whole, in shadow. Why not, where a service does: then it reads in shadow too."""
    core = service.core
    supervisor = Supervisor(
        lambda name: core.mailbox(name, also_disabled=True), service.supervisor.around, service.supervisor.worker
    )
    (result,) = await supervisor.once([section], 1)
    if isinstance(result.error, LeaseHeld) and not wish.take_over:
        return str(result.error)
    if result.error is not None:
        raise result.error
    return ""


async def _compared(core: Core, source: int, other: Elsewhere) -> Comparison:
    shadows = core.store.shadows
    after = 0
    while page := await shadows.unknown(source, after):
        await shadows.know(await asyncio.to_thread(_fingerprints, core, page))
        after = max(page)
    await shadows.forget(source)
    messages, number = other.messages(), 1
    while found := await asyncio.to_thread(_page, messages):
        await shadows.there(source, number, found)
        number += len(found)
    return await shadows.compare(source)


def _fingerprints(core: Core, page: dict[int, Reference]) -> list[tuple[int, Fingerprint]]:
    found = []
    for message, reference in page.items():
        print_ = fingerprint(core.store.blobs.pieces(reference))
        found.append((message, print_._replace(message_id=known_as(print_.message_id))))
    return found


def _page(messages: Iterator[tuple[str, bytes | None, str]]) -> Sequence[tuple[str, bytes | None, str]]:
    return list(itertools.islice(messages, _PAGE))


async def _take_over(core: Core, section: str, source: int, found: Comparison | None, wish: Wish) -> None:
    assert found is not None
    if found.troubles and not wish.despite_troubles:
        raise Failure(
            f"{section}: {found.troubles} messages are listed and could not be had, so that it cannot be known whether the other "
            "system has handled them",
            "Wait until they are had (postroom status shows them), or add --despite-troubles: then they are handled here.",
        )
    client = core.live.client(section)
    assert client is not None
    await core.store.shadows.take_over(source, client.after_capture)


async def _undo(core: Core, section: str, source: int, *, as_json: bool) -> int:
    since = await core.store.shadows.undo(source)
    if since:
        raise Failure(
            f"{section}: {since} messages were captured, settled or handed to an application since the take-over; it stands",
            "postroom shadow --give-back gives the mailbox to the other system again; what was handled here stays handled.",
        )
    if as_json:
        print_json({"client": section, "state": "shadow"})
    else:
        click.echo(f"{section}: the take-over is undone; the mailbox is read in shadow")
    return 0


async def _show(core: Core, section: str, source: int, found: Comparison | None, state: str, *, as_json: bool) -> None:
    if as_json:
        numbers = None if found is None else {"both": found.both, "only_there": found.only_there, "only_here": found.only_here}
        more = {} if found is None else {"twice": found.twice, "troubles": found.troubles}
        print_json({"client": section, "state": state, **(numbers or {}), **more})
    elif found is None:
        click.echo(f"{section}: read in shadow; name what the other system has to compare with it")
    else:
        click.echo(f"{section}: {found.both} both, {found.only_there} only there, {found.only_here} only here")
        if found.twice:
            click.echo(f"     {found.twice} were handled here and are there too")
        if found.troubles:
            click.echo(f"     {found.troubles} are listed and could not be had: whether they are there is not known")
        if state == "taken over":
            click.echo("     taken over: what is there is marked as handled elsewhere, all else is handled here")
    if found is None or state == "taken over":
        return
    shadows = core.store.shadows
    await _list(shadows.only_there(source), section, "there", found.only_there, as_json=as_json)
    await _list(shadows.only_here(source), section, "here", found.only_here, as_json=as_json)


async def _list(rows: AsyncIterator[tuple[str, str]], section: str, where: str, count: int, *, as_json: bool) -> None:
    shown = 0
    async for name, message_id in rows:
        if as_json:
            print_json({"client": section, "only": where, "name": name, "message_id": message_id})
            continue
        if shown == _SHOWN:
            click.echo(f"     … and {count - shown} more only {where}; --json prints all")
            return
        shown += 1
        click.echo(f"     only {where}: {name} {message_id}")
