"""Servers of every kind that take mail, behind one face: sent to by a ``Submitter``, and looked into by others."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fakes import kit
from outgoing import MemoryServer, Plan, account
from postroom.clock import SystemClock
from postroom.drivers import Account, Submitter, open_submitter
from postroom.drivers.provider import Place
from postroom.drivers.smtp import open_smtp
from postroom.drivers.smtp_replies import At, Scope, fault_of, judge
from postroom.errors import LoginRefused, Lost, PostroomError
from postroom.model import AccessToken
from postroom.net.credentials import Credentials, PasswordCredentials, TokenCredentials
from postroom.net.grants import Application, RefreshToken
from postroom.net.tokens import TokenRequest
from postroom.outbound import DeliveryStatus, RecipientState
from postroom.sandbox.sasl import Verdict
from postroom.sandbox.smtp import SmtpServer
from postroom.secret import Secret
from postroom.settings import Security, SmtpClient
from postroom.wire.jwt import Wanted
from postroom.wire.smtp.replies import Reply
from servers.certificates import LOOPBACK, Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.exim import Exim
from servers.postfix import Postfix, without_trace
from servers.postfix_config import REFUSED
from servers.smtp_faults import Fault, Manner, SmtpFaults

Opening = Callable[[str], AbstractAsyncContextManager[Submitter]]
"""A conversation that logs in with this password, or token."""

_AT = {"greeting": At.GREETING, "ehlo": At.GREETING, "auth": At.LOGIN, "mail": At.MAIL, "rcpt": At.RCPT, "dot": At.END}


@dataclass(frozen=True)
class Refused:
    """A recipient that a server refuses, and how."""

    address: str
    code: int
    enhanced: str
    words: str

    @property
    def status(self) -> DeliveryStatus:
        """What is to be said of it."""
        state = RecipientState.PENDING if self.code < 500 else RecipientState.FAILED
        return DeliveryStatus(self.address, state, self.code, self.enhanced, self.words)


def refusing(words: Mapping[str, str]) -> tuple[Refused, ...]:
    """By the answers to RCPT."""
    return tuple(Refused(address, *answer_of(answer)) for address, answer in words.items())


def answer_of(words: str) -> tuple[int, str, str]:
    """A reply's code, enhanced code, and text."""
    code, enhanced, text = words.split(" ", 2)
    return int(code), enhanced, text


class Office(Protocol):
    """One server, and an account there."""

    sender: str
    refused: tuple[Refused, ...]  # recipients that it refuses

    @property
    def quiet(self) -> bool:
        """Nothing that it accepted is still on its way to a mailbox."""

    def received(self, recipient: str) -> list[bytes]:
        """What it has for a recipient of its own, as it was sent."""

    def sending(self, *, good: bool = True) -> AbstractAsyncContextManager[Submitter]:
        """A conversation of its own; where it is not ``good``, the login is none."""


class FaultyOffice(Office, Protocol):
    """One that does wrong what it is told."""

    chunks: bool  # it takes long messages by BDAT

    def fail(self, fault: Fault, octets: bytes, recipient: str) -> None:
        """Let this happen once, while these octets are sent to this recipient."""


class MemoryOffice:
    """The fake."""

    refused = refusing(REFUSED)
    chunks = False
    quiet = True

    def __init__(self, sender: str) -> None:
        self.sender = sender
        self.server = MemoryServer(refusing={each.address: each.status for each in self.refused})

    def received(self, recipient: str) -> list[bytes]:
        return [taken.octets for taken in self.server.taken if recipient in taken.recipients]

    @asynccontextmanager
    async def sending(self, *, good: bool = True) -> AsyncIterator[Submitter]:
        self.server.login = self.server.login if good else LoginRefused("535 5.7.8 no")
        try:
            async with self.server.conversation(account()) as submitter:
                yield submitter
        finally:
            self.server.login = None

    def fail(self, fault: Fault, octets: bytes, recipient: str) -> None:
        error = _error(fault)
        if fault.at in ("greeting", "ehlo", "auth"):
            self.server.login = error
        elif fault.at == "dot" and not fault.reply:
            self.server.plans[octets] = [Plan(lost=True, taken=fault.taken)]
        elif fault.at == "dot":
            self.server.plans[octets] = [Plan(answer=answer_of(fault.reply), fault=error)]
        elif error is not None:
            self.server.plans[octets] = [Plan(raises=error)]
        else:
            code, enhanced, words = answer_of(fault.reply)
            refused = Refused(recipient, code, enhanced, words)
            self.server.plans[octets] = [Plan(refused={recipient: refused.status})]


class RealOffice:
    """A real server. ``look`` is who knows what it delivered."""

    def __init__(
        self,
        sender: str,
        opening: Opening,
        password: str,
        look: Callable[[str], list[bytes]],
        refused: tuple[Refused, ...] = refusing(REFUSED),
        quiet: Callable[[], bool] = lambda: True,
    ) -> None:
        self.sender, self.refused, self.received = sender, refused, look
        self._opening, self._password, self._quiet = opening, password, quiet

    @property
    def quiet(self) -> bool:
        return self._quiet()

    def sending(self, *, good: bool = True) -> AbstractAsyncContextManager[Submitter]:
        return self._opening(self._password if good else "another")


class FaultsOffice(RealOffice):
    """The server that does wrong what it is told, with the ways of some provider."""

    def __init__(self, server: SmtpFaults, sender: str, manner: Manner, provider: str) -> None:
        server.behave(manner)
        server.allow({"good": sender})
        for each in refusing(REFUSED):
            server.fail(Fault("rcpt", REFUSED[each.address], recipient=each.address, times=0))
        there = Place(server.host, server.port, Security.START_TLS, server.ca_file, 10.0, 30.0, provider=provider)
        mechanism = "PLAIN" if "PLAIN" in manner.mechanisms and not provider else "XOAUTH2"
        word = PASSWORD if mechanism == "PLAIN" else "good"
        super().__init__(sender, _by(there, sender, mechanism), word, self._taken)
        self.chunks = "CHUNKING" in manner.keywords
        self._server = server

    def _taken(self, recipient: str) -> list[bytes]:
        return [self._server.octets(each.number) for each in self._server.taken() if recipient in each.recipients]

    def fail(self, fault: Fault, octets: bytes, recipient: str) -> None:
        self._server.fail(fault)


def at_postfix(postfix: Postfix, dovecot: Dovecot, sender: str, *, token: str = "") -> Office:
    """Postfix: with a password after STARTTLS, as the engine opens it; with a token over TLS from the first octet."""

    def quiet() -> bool:
        return not any(sender == queued.sender for queued in postfix.queue())

    if token:
        there = Place(postfix.host, postfix.submissions_port, Security.SSL_TLS, postfix.ca_file, 10.0, 30.0)
        return RealOffice(sender, _by(there, sender, "XOAUTH2"), token, _mailboxes(dovecot), quiet=quiet)

    def opening(word: str) -> AbstractAsyncContextManager[Submitter]:
        client = SmtpClient(
            section="smtp-client-a",
            name="a",
            server=postfix.host,
            port=postfix.submission_port,
            tls_ca_file=postfix.ca_file,
            enable_authentication=True,
            user=sender,
            password=Secret(word),
        )
        return open_submitter(Account(client, None, {}), kit(SystemClock()))

    return RealOffice(sender, opening, PASSWORD, _mailboxes(dovecot), quiet=quiet)


def at_exim(exim: Exim, dovecot: Dovecot, sender: str) -> Office:
    """Exim, which takes chunks, and whoever speaks before his turn is cut off."""
    there = Place(exim.host, exim.submission_port, Security.START_TLS, exim.ca_file, 10.0, 30.0)
    return RealOffice(sender, _by(there, sender, "PLAIN"), PASSWORD, _mailboxes(dovecot), quiet=lambda: not exim.queue())


@asynccontextmanager
async def at_sandbox(certificates: Certificates, sender: str) -> AsyncIterator[Office]:
    """The sandbox's server, which runs in this process. It knows no recipient that it would refuse but one without a domain."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificates.issue(*LOOPBACK))

    async def deliver(recipient: str, octets: bytes, when: datetime) -> None:
        raise AssertionError("nobody has a mailbox here")

    def judged(user: str, token: str) -> Verdict:
        return Verdict(sender) if (user, token) == (sender, "good") else Verdict("", "invalid_token")

    async with SmtpServer(judged, tls, deliver, scope="mail", discovery="https://localhost/") as server:

        def kept(recipient: str) -> list[bytes]:
            return [aside.octets for aside in server.outside if recipient in aside.recipients]

        there = Place("localhost", server.port, Security.START_TLS, certificates.ca_file, 10.0, 30.0)
        refused = refusing({"nobody": "553 5.1.3 That is no address"})
        yield RealOffice(sender, _by(there, sender, "XOAUTH2"), "good", kept, refused)


# --- logins and looks


class _Given:
    """A source of tokens that has one."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get(self, request: TokenRequest, refused: int | None = None) -> AccessToken:
        return AccessToken(Secret(self._token), (refused or 0) + 1, 3600, SystemClock().now() + 3600)


def _by(there: Place, sender: str, mechanism: str) -> Opening:
    """The driver, with this mechanism."""

    def opening(word: str) -> AbstractAsyncContextManager[Submitter]:
        credentials: Credentials = PasswordCredentials(sender, Secret(word), (mechanism,), "", "smtp-client-a")
        if mechanism == "XOAUTH2":
            request = TokenRequest("https://a/token", Application("client"), RefreshToken(Secret("r")), "mail", None, 300)
            credentials = TokenCredentials(sender, request, _Given(word), (mechanism,), Wanted(sender), SystemClock())
        return open_smtp(there, credentials, kit(SystemClock()), None)

    return opening


def _mailboxes(dovecot: Dovecot) -> Callable[[str], list[bytes]]:
    return lambda recipient: [without_trace(octets) for octets in dovecot.raw(recipient).values()]


def _error(fault: Fault) -> PostroomError | None:
    """What a driver makes of an answer that speaks of the account; of a connection that ends, where there is none."""
    if not fault.reply:
        return Lost("cut")
    code, enhanced, text = answer_of(fault.reply)
    reply, at = Reply(code, enhanced, (text.encode(),)), _AT.get(fault.at, At.DATA)
    judgement = judge(reply, at, "")
    return fault_of(judgement, reply, "memory") if judgement.scope is Scope.ACCOUNT else None
