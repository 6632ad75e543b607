"""Restart, pause and resume a client: rows in the store that the service notices, wherever they were written."""

from __future__ import annotations

from postroom.app.core import Core
from postroom.store.commands import Verb


async def restart_client(core: Core, section: str, asked_by: str) -> None:
    """End the client's conversation and begin it anew, with its settings as they are; within a second."""
    await core.store.commands.ask(section, Verb.RESTART, asked_by)


async def pause_client(core: Core, section: str, asked_by: str) -> bool:
    """Let the client stand still after the cycle that runs, over restarts of the service too; False where it did already."""
    return await core.store.commands.pause(section, asked_by)


async def resume_client(core: Core, section: str) -> bool:
    """Let the client go on at once; False where it was not paused."""
    return await core.store.commands.resume(section)
