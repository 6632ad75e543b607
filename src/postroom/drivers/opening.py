"""How a session begins, whatever it speaks: the connection, the greeting, the login."""

from __future__ import annotations

from typing import Protocol

from postroom.drivers.provider import Place
from postroom.net.credentials import Credentials
from postroom.net.stream import Dialer, Receiver, Stream
from postroom.settings import Security


class Opening(Protocol):
    """A session that is connected, and no more."""

    stream: Stream

    async def greet(self, dialer: Dialer) -> None: ...

    async def log_in(self, credentials: Credentials) -> None: ...


async def dial(place: Place, dialer: Dialer, receiver: Receiver) -> Stream:
    """Connect, with TLS where the place begins with it. Raises ``ConnectError``, ``TimedOut``, ``TlsError``."""
    tls = place.security is Security.SSL_TLS
    return await dialer.connect(
        place.host, place.port, receiver, tls=tls, ca_file=place.ca_file, timeout=place.connect_timeout, via=place.via
    )


async def begin(session: Opening, dialer: Dialer, credentials: Credentials | None) -> None:
    """Greet and log in, without credentials the former alone; what goes wrong ends the connection."""
    try:
        await session.greet(dialer)
        if credentials is not None:
            await session.log_in(credentials)
    except BaseException:
        session.stream.abort()
        raise
