"""One address on which programs hand mail in: who may connect, and who may log in."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from postroom import events
from postroom.app.binding import unbound
from postroom.app.listener.conversation import HANDSHAKE, Conversation, Desk
from postroom.app.listener.intake import Intake
from postroom.clock import Clock
from postroom.errors import TlsError
from postroom.events import Observer
from postroom.net.accepted import Accepted
from postroom.settings import ListenerSettings, Security
from postroom.wire.submission import Reply

CONNECTIONS = 200  # at once
MEMORY = 256 * 1024 * 1024  # octets of messages that are just coming in, all together; at least one message fits
GRACE = 15.0  # seconds that a message which is just being kept has when everything ends
_ATTEMPTS = 10  # refused logins of one name from one address, after which it waits
_WAIT = 60.0  # seconds
_KNOWN = 10_000  # names and addresses whose refused logins are remembered

_REFUSED = Reply(535, "5.7.8", "Name or password is wrong")


@dataclass(slots=True)
class _Attempts:
    count: int
    last: float  # monotonic


class Listener:
    """One address on which programs hand mail in. Use it as ``async with``; ``address`` is known inside.

    Raises ``ConnectError`` where the port is taken, ``TlsError`` where the certificate cannot be used. At the end a message
    that is just being kept is answered; all else is told to come again.
    """

    def __init__(
        self, settings: ListenerSettings, intake: Intake, sends: Callable[[], bool], observer: Observer, clock: Clock
    ) -> None:
        assert settings.listen is not None
        self._settings = settings
        self._observer = observer
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._accounts = {
            account.name.lower(): (f"smtp-listener-account-{account.name}", self._digest(account.password.reveal()))
            for account in settings.accounts
        }
        self._nobody = self._digest(secrets.token_hex(16))
        self._attempts: dict[tuple[str, str], _Attempts] = {}
        self._memory = 0
        self._most_memory = max(MEMORY, 2 * settings.maximum_msg_size)
        self._context: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._conversations: dict[Conversation, Accepted] = {}
        self._desk = Desk(
            security=settings.security,
            limit=settings.maximum_msg_size,
            without_login=settings.allow_without_login,
            has_accounts=bool(settings.accounts),
            sends=sends,
            login=self._login,
            take=intake.take,
            refused=self._tell_refused,
            room=self._room,
            start_tls=self._start_tls,
        )

    async def __aenter__(self) -> Listener:
        loop = asyncio.get_running_loop()
        host, port = self._settings.host, self._settings.port
        if self._settings.security is not Security.NONE:
            self._context = _tls()
            self.read_certificate()
        implicit = self._context if self._settings.security is Security.SSL_TLS else None
        shake = HANDSHAKE if implicit else None
        try:
            self._server = await loop.create_server(
                lambda: Accepted(self._converse), host, port, ssl=implicit, ssl_handshake_timeout=shake
            )
        except OSError as error:
            raise unbound("smtp-listener.listen", host, port, error) from error
        self._observer.event(events.LISTENING, address=self.address, security=self._settings.security.value)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        tasks: list[asyncio.Task[None]] = []
        for conversation, line in list(self._conversations.items()):
            conversation.ending = True
            if line.task is not None:
                tasks.append(line.task)
                if line.waits:
                    line.task.cancel()
        if tasks:
            late = (await asyncio.wait(tasks, timeout=GRACE))[1]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def read_certificate(self) -> None:
        """Show the certificate that is in its file now to whoever connects from now on.

        Raises ``TlsError``, and shows what it showed.
        """
        if self._context is None:
            return
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        assert certificate is not None
        try:
            _tls().load_cert_chain(certificate, key)  # a half of it would spoil the context that is in use
            self._context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise TlsError(
                f"tls-certificate {certificate}, tls-key {key}: {error}",
                remedy="Name a certificate and the private key that belongs to it, both in PEM form.",
            ) from error

    async def _converse(self, line: Accepted) -> None:
        conversation = Conversation(line, self._desk)
        try:
            if len(self._conversations) >= CONNECTIONS:
                await line.write(Reply(421, "4.3.2", "Too many connections; come again").octets(), 1.0)
                return
            self._conversations[conversation] = line
            await conversation.run()
        except asyncio.CancelledError:
            pass  # the listener ends, and has said so
        finally:
            self._conversations.pop(conversation, None)
            line.close()

    async def _start_tls(self, line: Accepted) -> None:
        assert self._context is not None
        await line.start_tls(self._context, HANDSHAKE)

    def _room(self, octets: int) -> bool:
        """Count octets that are held from now on, or no more. False where they are too many with those of all others."""
        self._memory += octets
        return octets <= 0 or self._memory <= self._most_memory

    def _login(self, name: str, password: str, peer: str) -> str | Reply:
        """The account's section. Takes the same time whether the name or the password is wrong."""
        key, now = (peer, name.lower()), self._clock.monotonic()
        attempts = self._attempts.get(key)
        if attempts is not None and attempts.count >= _ATTEMPTS and now - attempts.last < _WAIT:
            return Reply(454, "4.7.0", "Too many logins were refused; come again later")
        section, known = self._accounts.get(name.lower(), ("", self._nobody))
        if hmac.compare_digest(known, self._digest(password)) and section:
            self._attempts.pop(key, None)
            return section
        if len(self._attempts) >= _KNOWN:
            self._attempts.clear()
        self._attempts[key] = _Attempts(1 if attempts is None else attempts.count + 1, now)
        self._observer.event(events.LISTENER_REFUSED, peer=peer, reply=f"login of {name[:80]!r}: {_REFUSED.code} {_REFUSED.words}")
        return _REFUSED

    def _digest(self, password: str) -> bytes:
        """All of one length, so that comparing them tells nothing of a password's own."""
        return hmac.digest(self._key, password.encode("utf-8", "surrogatepass"), "sha256")

    def _tell_refused(self, peer: str, reply: Reply) -> None:
        self._observer.event(events.LISTENER_REFUSED, peer=peer, reply=f"{reply.code} {reply.enhanced} {reply.words}")


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
