from __future__ import annotations

from pathlib import Path

from fakes import HandClock
from postroom.store import Store


def opened(directory: Path) -> Store:
    return Store(directory, HandClock(), f"file:{directory / 'vault.key'}", {})


async def test_what_waits_for_a_restart_is_seen_by_others_while_its_process_lives(tmp_path: Path) -> None:
    service, other = opened(tmp_path), opened(tmp_path)
    await service.pending.keep({"smtp-client-a": ("port", "user"), "smtp-client-b": ("server",)})
    assert await other.pending.all() == {"smtp-client-a": ("port", "user"), "smtp-client-b": ("server",)}
    await service.pending.keep({"smtp-client-b": ("server",)})
    await other.pending.keep({})
    assert await other.pending.all() == {"smtp-client-b": ("server",)}
    service.close()
    assert await other.pending.all() == {}
    await other.pending.keep({"smtp-client-a": ("port",)})
    assert await other.pending.all() == {"smtp-client-a": ("port",)}
    other.close()
