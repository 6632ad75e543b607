"""A reader of a scripted mailbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from fakes import HandClock, ScriptedServer, kit, place
from postroom.clock import Clock
from postroom.drivers.imap import ImapReader, open_imap
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret

Reading = Callable[..., AbstractAsyncContextManager[ImapReader]]


@pytest.fixture
def reading() -> Reading:
    """``async with reading(script, name=octets) as reader``: a reader of the script's mailbox, to the end of the script."""

    @asynccontextmanager
    async def converse(
        script: str, *, clock: Clock | None = None, timeout: float = 5.0, **literals: bytes
    ) -> AsyncIterator[ImapReader]:
        hands = kit(clock or HandClock())
        password = PasswordCredentials("user", Secret("pw"), (), "", "pop-client-a")
        async with (
            ScriptedServer(script, literals=literals) as server,
            open_imap(place(server.port, timeout=timeout), password, hands, None) as reader,
        ):
            yield reader

    return converse
