"""The sandbox's IMAP server: pymap's in-memory server in our loop, with the logins and the promptness that a test
needs.

It listens twice on loopback: in the clear with STARTTLS, and with TLS from the first octet. Mail is delivered from
within, by ``ImapServer.deliver``; everything else is pymap's own. What is corrected here stands beside its reason.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
import uuid
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proxyprotocol.sock import SocketInfo
from pymap.backend.dict import Config, Identity, Login
from pymap.backend.dict.filter import FilterSet
from pymap.concurrent import Subsystem
from pymap.context import connection_exit
from pymap.exceptions import AuthorizationFailure, InvalidAuth
from pymap.imap import IMAPConnection
from pymap.imap.state import ConnectionState
from pymap.parsing.message import AppendMessage
from pymap.parsing.specials import FetchRequirement
from pymap.user import UserMetadata
from pysasl import SASLAuth
from pysasl.hashing import Cleartext
from pysasl.mechanism.plain import PlainMechanism

from postroom.clock import Clock, SystemClock
from postroom.sandbox.mailboxes import Mailboxes
from postroom.sandbox.sasl import Bearer, BearerCredentials, Judge, Oauthbearer, Xoauth2

LINE_LIMIT = 1 << 20  # octets of a command line; asyncio's 64 kB ends a session at a long set of UIDs
CLOSE_TIMEOUT = 0.5  # seconds for a connection's farewell

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A message as a mailbox holds it."""

    uid: int
    when: datetime  # INTERNALDATE
    flags: frozenset[str]
    octets: bytes


class ImapServer:
    """Mailboxes in memory behind two listeners. Use it as ``async with``; the ports are known inside.

    A delivery is visible to every session before ``deliver`` returns, and idling ones are woken by it.
    """

    def __init__(
        self,
        judge: Judge,
        tls: ssl.SSLContext,
        *,
        scope: str,
        discovery: str,
        port: int = 0,
        tls_port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.port = port  # in the clear, with STARTTLS; 0 until started: any free one
        self.tls_port = tls_port  # TLS from the first octet
        self._clock = clock or SystemClock()
        self._tls = tls
        mechanisms = [
            Xoauth2(b"XOAUTH2", judge, scope, discovery),
            Oauthbearer(b"OAUTHBEARER", judge, scope, discovery),
        ]
        self._config = _Config.create(tls, mechanisms, starttls=True)
        # A configuration of its own, since pymap would announce STARTTLS inside TLS too.
        self._tls_config = _Config.create(tls, mechanisms, starttls=False)
        self._login = _Login(self._config)
        self._servers: list[asyncio.Server] = []
        self._sessions: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> ImapServer:
        try:
            self.port = await self._listen(self.port, self._config, None)
            self.tls_port = await self._listen(self.tls_port, self._tls_config, self._tls)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    def create_user(self, account: str, password: str) -> None:
        """Open an empty mailbox for the account. It logs in with the password too, by PLAIN and LOGIN."""
        account = account.lower()
        self._login.passwords[account] = password
        self._login.users_dict[account] = UserMetadata(self._config, account)
        self._config.set_cache[account] = (Mailboxes(), FilterSet())

    async def deliver(self, account: str, octets: bytes, when: datetime | None = None) -> int:
        """Put the octets, unchanged, into the account's INBOX and return the UID. Idling clients are told at once."""
        when = when or datetime.fromtimestamp(self._clock.now(), UTC)
        inbox = await self._mailbox(account, "INBOX")
        message = await inbox.append(AppendMessage(octets, when, frozenset()), recent=True)
        return int(message.uid)

    async def listing(self, account: str, folder: str = "INBOX") -> list[Held]:
        """What the mailbox holds now, by rising UID."""
        box = await self._mailbox(account, folder)
        held = []
        async for message in box.messages():
            content = await message.load_content(FetchRequirement.CONTENT)
            flags = frozenset(flag.value.decode() for flag in message.permanent_flags)
            held.append(Held(message.uid, message.internal_date, flags, bytes(content)))
        return held

    async def _mailbox(self, account: str, folder: str) -> Any:
        cached = self._config.set_cache.get(account.lower())
        if cached is None:
            raise ValueError(f"the sandbox has no account {account}")
        return await cached[0].get_mailbox(folder)

    async def _listen(self, port: int, config: Any, tls: ssl.SSLContext | None) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(config, reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls, limit=LINE_LIMIT)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _serve(self, config: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        connection = _Connection(config, reader, writer)
        try:
            await connection.serve(self._login)
        except Exception as error:  # noqa: BLE001 - pymap says BYE and raises; only this session ends
            _log.debug("IMAP session ended: %r", error)
        finally:
            await connection.farewell()
            self._sessions.discard(task)

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()


class _Config(Config):  # type: ignore[misc]
    """pymap's settings for one listener."""

    mechanisms: Sequence[Bearer] = ()

    @classmethod
    def create(cls, tls: ssl.SSLContext, mechanisms: Sequence[Bearer], *, starttls: bool) -> Any:
        config = cls(
            Namespace(proxy_protocol=None),
            host=None,
            port=0,
            ssl_context=tls,
            tls_enabled=starttls,
            hash_context=Cleartext(),
            cpu_subsystem=Subsystem.for_asyncio(),  # the default is a thread pool that nobody ever ends
            demo_data=False,
            demo_user="",
            demo_password="",
        )
        config.mechanisms = mechanisms
        return config

    @property
    def tls_auth(self) -> Any:
        return SASLAuth([PlainMechanism(), *self.mechanisms])

    @property
    def greeting(self) -> bytes:
        return b"Postroom sandbox ready"  # pymap's asks the name service at every connection, which may take seconds


class _Password:
    """An account's password. pysasl's own identity cannot compare with octets that are not UTF-8."""

    def __init__(self, password: str) -> None:
        self._octets = password.encode()

    def compare_authcid(self, authcid: str) -> bool:
        """True: it was found by that name."""
        return True

    def compare_secret(self, secret: str) -> bool:
        """Whether it is the password."""
        return hmac.compare_digest(self._octets, secret.encode("utf-8", "surrogateescape"))


class _Login(Login):  # type: ignore[misc]
    """Who may open what: everybody their own mailbox, by password or token."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.passwords: dict[str, str] = {}

    async def authenticate(self, credentials: Any) -> Any:
        """Return the identity proved by the credentials, or raise the NO with its code AUTHENTICATIONFAILED."""
        account = credentials.authcid.lower()
        if isinstance(credentials, BearerCredentials):
            proved = credentials.accepted and account in self.passwords
        else:
            known = self.passwords.get(account)
            proved = known is not None and credentials.verify(_Password(known))
        if not proved:
            raise InvalidAuth
        return Identity(account, self, None, frozenset())

    async def authorize(self, authenticated: Any, authzid: str) -> Any:
        """Nobody acts for somebody else here."""
        if authzid.lower() != authenticated.name:
            raise AuthorizationFailure
        return authenticated


class _Connection(IMAPConnection):  # type: ignore[misc]
    """One session, which leaves nothing running behind."""

    def __init__(self, config: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = SocketInfo.get(writer, None, unique_id=uuid.uuid4().bytes)
        super().__init__(config.commands, config, reader, writer, info)
        self._children: set[asyncio.Task[Any]] = set()

    async def serve(self, login: Any) -> None:
        """Hold the conversation until either side ends it."""
        async with AsyncExitStack() as stack:
            connection_exit.set(stack)
            stack.enter_context(closing(self))
            await self.run(ConnectionState(login, self.config))

    async def handle_updates(self, *arguments: Any) -> None:
        """pymap's task that tells an idling client; remembered, since pymap drops it when the session is cancelled."""
        task = asyncio.current_task()
        assert task is not None
        self._children.add(task)
        task.add_done_callback(self._children.discard)
        await super().handle_updates(*arguments)

    async def farewell(self) -> None:
        """Return when the session's tasks have ended and its socket is closed."""
        for child in self._children:
            child.cancel()
        await asyncio.gather(*self._children, return_exceptions=True)
        self.writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self.writer.wait_closed(), CLOSE_TIMEOUT)
        self.writer.transport.abort()  # where the client did not close its side of TLS
