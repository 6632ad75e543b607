"""``postroom vault``: change the key that seals the store's secrets, and see what it seals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from postroom.app.config import Live
from postroom.app.core import opened
from postroom.app.observing import Quiet
from postroom.clock import SystemClock
from postroom.store.rotation import Rotation, VaultStatus


async def rotate(live: Live) -> Rotation:
    """Seal everything anew with another key; whoever uses the store meanwhile goes on. Raises ``StoreError`` and its kinds."""
    clock = SystemClock()
    log = Quiet(live, clock)
    async with opened(live, clock, log, log.trace) as core:
        return await core.store.rotate_key()


async def status(live: Live) -> VaultStatus:
    """Where the keys are, and what they seal. Raises ``StoreError`` and its kinds."""
    clock = SystemClock()
    log = Quiet(live, clock)
    async with opened(live, clock, log, log.trace) as core:
        return await core.store.vault_status()


def rotation_dict(done: Rotation) -> dict[str, object]:
    """A rotation for programs."""
    return {
        "place": done.place,
        "from": done.former,
        "to": done.current,
        "sealed": sum(done.sealed.values()),
        "tables": dict(done.sealed),
        "finished_earlier": done.finished,
        "keys_to_remove": list(done.left),
        "next": _next_step(done),
    }


def rotation_lines(done: Rotation) -> Iterator[str]:
    """A rotation for people."""
    if done.finished:
        yield f"An earlier rotation had been stopped, and is finished now: from key {done.former} to {done.current}."
    else:
        yield f"Rotated from key {done.former} to {done.current}."
    yield f"{_counted(done.sealed)}; each opens with the new key alone."
    yield _next_step(done)


def _next_step(done: Rotation) -> str:
    backup = "Back the store and its key up anew: a backup from before opens with the former key only"
    if not done.left:
        return f"The former key was taken out of {done.place}. {backup}."
    return (
        f"Take {', '.join(done.left)} out of {done.place} (postroom vault status lists the keys in their order); what runs "
        f"goes on meanwhile. {backup}; keep it with those."
    )


def status_dict(found: VaultStatus) -> dict[str, object]:
    """The vault for programs."""
    return {
        "place": found.place,
        "key": found.current,
        "keys": [{"id": key, "state": state} for key, state in found.keys],
        "sealed": dict(found.sealed),
        "unopened": dict(found.unopened),
    }


def status_lines(found: VaultStatus) -> Iterator[str]:
    """The vault for people."""
    yield f"key {found.current} in {found.place}"
    if len(found.keys) > 1:
        yield from (f"  {number}. {key} {state}" for number, (key, state) in enumerate(found.keys, 1))
    yield _counted(found.sealed)
    if any(found.unopened.values()):
        yield f"NOT opened by any key that is here: {_counted(found.unopened)}"


def _counted(tables: Mapping[str, int]) -> str:
    total = sum(tables.values())
    words = ", ".join(f"{table} {count}" for table, count in tables.items())
    return f"{total} sealed value{'' if total == 1 else 's'} ({words})"
