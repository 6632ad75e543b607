"""Send mail over SMTP submission (RFC 6409): the ``Submitter`` of an smtp-client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from postroom.drivers import Commit, Kit
from postroom.drivers.provider import Place
from postroom.drivers.smtp_replies import At
from postroom.drivers.smtp_session import SmtpSession
from postroom.drivers.smtp_transaction import Letter, Transaction
from postroom.errors import AuthError, LocalProtocolError, NetworkError, PostroomError, ProtocolError, Reply, Throttled
from postroom.net.credentials import Credentials
from postroom.net.stream import Trace
from postroom.outbound import Body, Content, DeliveryStatus, Envelope, Recipient, RecipientState
from postroom.wire.smtp.content import has_bare_line_end

AFTER_THE_END = 600.0
"""Seconds that a server has at least for its answer to the end of a message (RFC 5321 section 4.5.3.2.6)."""

_SMALL = 16 * 1024  # octets of a message that leaves as a whole behind its mark
_MARGIN = 60.0  # seconds before its token's end from which on a conversation takes no further message
_PARTLY = (NetworkError, ProtocolError, Throttled, AuthError, Reply)  # what a later transaction may end with


@asynccontextmanager
async def open_smtp(
    place: Place, credentials: Credentials | None, kit: Kit, trace: Trace | None, *, patience: float = AFTER_THE_END
) -> AsyncIterator[SmtpSubmitter]:
    """A submitter, logged in; with no credentials it sends without a login.

    ``patience``: seconds for the answer to the end of a message, where ``protocol_timeout`` is not longer. Raises
    ``AuthError``, ``Throttled``, ``SmtpReply``, the network's errors.
    """
    session = await SmtpSession.open(place, credentials, kit.dialer, kit.clock, trace)
    try:
        yield SmtpSubmitter(session, max(patience, place.protocol_timeout))
        if session.stream.open:
            await session.quit()
    finally:
        session.stream.abort()


class SmtpSubmitter:
    """A ``Submitter`` over one session. ``about_to_commit`` is awaited once for each transaction, where one is not enough."""

    def __init__(self, session: SmtpSession, patience: float) -> None:
        self._session = session
        self._patience = patience
        self._fault: PostroomError | None = None  # of the account, learned from the last answer
        self._transactions = 0

    async def submit(self, envelope: Envelope, content: Content, about_to_commit: Commit) -> Sequence[DeliveryStatus]:
        self._raise_fault()
        octets = b"".join(content.pieces()) if content.size <= _SMALL else None
        if (failing := self._lacking(envelope, content.size) or _unfit(envelope, octets)) is not None:
            return _all(envelope.recipients, RecipientState.FAILED, *failing)
        letter = Letter(envelope, content, octets)
        statuses: list[DeliveryStatus] = []
        for batch in self._batches(envelope.recipients):
            if statuses and (self._fault is not None or not self.stands()):
                statuses += _all(batch, RecipientState.PENDING, "", "the conversation ended before these recipients' turn")
                continue
            try:
                statuses += await self._transact(letter, batch, about_to_commit)
            except LocalProtocolError as error:  # of the envelope, before anything was sent: it never gets better
                statuses += _all(batch, RecipientState.FAILED, "5.5.4", error.detail)
            except _PARTLY as error:
                if not statuses:
                    raise
                statuses += _all(batch, RecipientState.PENDING, "", str(error))
        return statuses

    async def _transact(self, letter: Letter, batch: Sequence[Recipient], commit: Commit) -> Sequence[DeliveryStatus]:
        transaction = Transaction(self._session, letter, batch, commit, self._patience)
        self._transactions += 1
        statuses = await transaction.run()
        self._fault = transaction.fault
        return statuses

    def _raise_fault(self) -> None:
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    async def check(self) -> None:
        self._raise_fault()
        answer = await self._session.ask(b"NOOP\r\n")
        if not answer.ok:
            self._session.stream.abort()
            raise self._session.fault(answer, At.GREETING)

    def stands(self) -> bool:
        """Also where the last answer spoke of the account: what it said is raised by the next ``submit`` or ``check``."""
        session = self._session
        if self._fault is not None:
            return True
        if not (session.stream.open and session.replies.empty):  # what comes unasked announces the end
            return False
        if self._transactions >= session.capabilities.limits.get("MAILMAX", self._transactions + 1):  # RFC 9422 section 4.1
            return False
        return session.valid_until is None or session.clock.now() < session.valid_until - _MARGIN

    # --- what the server can take

    def _lacking(self, envelope: Envelope, size: int) -> tuple[str, str] | None:
        """Why no server like this one takes the message, as an enhanced code (RFC 3463 section 3) and words."""
        has = self._session.capabilities
        if has.size is not None and size > has.size:  # RFC 1870 section 6
            return "5.3.4", f"the server takes messages of {has.size:,} octets at most; this one has {size:,}"
        if envelope.body is Body.EIGHT_BIT and "8BITMIME" not in has:
            return "5.6.3", (
                "the server does not offer 8BITMIME (RFC 6152), and the message has octets above 127;"
                " composed with quoted-printable or base64 it would have none"
            )
        if envelope.body is Body.BINARY and not ("BINARYMIME" in has and "CHUNKING" in has):
            return "5.6.3", (
                "the server does not offer BINARYMIME and CHUNKING (RFC 3030), and the message has NUL, a bare CR or LF, or lines"
                " that are too long; composed with quoted-printable or base64 it would have none"
            )
        if envelope.smtputf8 and "SMTPUTF8" not in has:
            if all(address.isascii() for address in (envelope.mail_from, *(each.address for each in envelope.recipients))):
                return "5.6.9", (  # RFC 6531 section 3.5
                    "the server does not offer SMTPUTF8 (RFC 6531), and the message's header has UTF-8;"
                    " composed with encoded words (RFC 2047) it would have none"
                )
            return "5.6.7", "the server does not offer SMTPUTF8 (RFC 6531), and an address is not ASCII"
        return None

    def _batches(self, recipients: Sequence[Recipient]) -> Iterator[Sequence[Recipient]]:
        """The recipients by transactions, as many in each as the provider and the server (RFC 9422 section 4) allow."""
        limits = self._session.capabilities.limits
        most = min(self._session.place.limits.recipients or len(recipients), limits.get("RCPTMAX", len(recipients)))
        most_domains = limits.get("RCPTDOMAINMAX", len(recipients))
        if len(recipients) <= most and len(recipients) <= most_domains:
            yield recipients
            return
        batch: list[Recipient] = []
        domains: set[str] = set()
        for recipient in recipients:
            domain = recipient.address.rpartition("@")[2].lower()
            if batch and (len(batch) >= most or len(domains | {domain}) > most_domains):
                yield batch
                batch, domains = [], set()
            batch.append(recipient)
            domains.add(domain)
        if batch:
            yield batch


def _unfit(envelope: Envelope, octets: bytes | None) -> tuple[str, str] | None:
    if octets is None or envelope.body is Body.BINARY or not has_bare_line_end(octets):
        return None
    return "5.6.0", "a CR or LF stands alone in the message, and only BINARYMIME (RFC 3030) carries that"


def _all(recipients: Sequence[Recipient], state: RecipientState, enhanced: str, words: str) -> list[DeliveryStatus]:
    return [DeliveryStatus(each.address, state, 0, enhanced, words) for each in recipients]
