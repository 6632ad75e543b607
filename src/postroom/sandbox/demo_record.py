"""What the demo saw with its own eyes: the authority's answers, the service's log, and the mail that was put in.

Nothing here is assumed: a step is shown when its evidence is here. ``Record.until`` waits for evidence.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from postroom import events
from postroom.sandbox.tokens import AccessToken, Code, Grant, RefreshToken, TokenStore
from postroom.secret import Secret

PATIENCE = 30.0  # seconds for anything that takes a fraction of one


class Broken(Exception):
    """The demo cannot go on: what happened, and what to do."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy


@dataclass(slots=True, eq=False)
class Delivery:
    """A message put into a mailbox."""

    client: str
    digest: str  # SHA-256
    begun: float  # monotonic, before the first octet went in
    is_new: bool  # it came while the service ran
    seconds: float | None = None  # until the service's log said that it is kept

    @classmethod
    def of(cls, client: str, octets: bytes, *, is_new: bool) -> Delivery:
        """One that begins now."""
        return cls(client, hashlib.sha256(octets).hexdigest(), time.monotonic(), is_new)


@dataclass(frozen=True, slots=True)
class Consented:
    """A code that the authority changed for tokens: somebody had consented on its page."""

    challenge: str  # the method of RFC 7636 section 4.3, whose verifier was found right; empty without PKCE
    lifetime: float  # of the access token, seconds
    refresh_token: Secret


@dataclass
class Record:
    """All evidence, by client section. The service's log lines come in by ``heard``."""

    deliveries: list[Delivery] = field(default_factory=list)
    consents: dict[str, Consented] = field(default_factory=dict)  # by account
    started: dict[str, Any] = field(default_factory=dict)  # the log's line
    asked: dict[str, datetime] = field(default_factory=dict)  # when XOAUTH2 was sent
    logins: dict[str, float] = field(default_factory=dict)  # seconds until it was answered OK
    senders: set[str] = field(default_factory=set)  # accounts whose XOAUTH2 the server took
    logged_in_at: datetime | None = None  # the last of them
    captured: Counter[str] = field(default_factory=Counter)
    octets: int = 0
    captured_at: datetime | None = None
    announced: Counter[str] = field(default_factory=Counter)  # how often the server told of mail while the service idled
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)  # by id: the log's line of a submission that a server took
    remark: str = ""  # the last thing the service complained of
    trouble: Broken | None = None  # what only a person can put right
    _tags: dict[str, str] = field(default_factory=dict)  # of the logins under way
    _idling: set[str] = field(default_factory=set)
    _asking: set[str] = field(default_factory=set)  # accounts whose last AUTH was XOAUTH2
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Return when the condition holds. Raises ``Broken`` when it does not come about, with what is known."""
        try:
            async with asyncio.timeout(patience):
                while not condition():
                    if self.trouble is not None:
                        raise self.trouble
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise Broken(f"{what}: not within {patience:.0f} s", self.remark) from None

    def heard(self, line: Mapping[str, Any]) -> None:
        """Take in a line of the service's log."""
        client = line.get("client", "")
        match line["event"]:
            case events.STARTED.name:
                self.started = dict(line)
            case events.PROTOCOL.name:
                self._conversation(client, line)
            case events.SENT.name:
                self.sent[line["id"]] = dict(line)
            case events.READ.name:
                self._captured(client, line)
            case events.NEEDS_PERSON.name | events.CONFIG_FAULT.name | events.UNFORESEEN.name:
                what = line.get("error") or line.get("fault")
                self.trouble = Broken(f"the service says: {client} {what}".replace("  ", " "), str(line.get("remedy", "")))
            case _ if line["level"] in ("warning", "error"):
                self.remark = f"The service's last complaint: {line.get('error') or line['event']}"
        self._news.set()

    def complete(self) -> bool:
        """Whether everything put in is kept, by the service's count."""
        return all(delivery.seconds is not None for delivery in self.deliveries)

    def _conversation(self, client: str, line: Mapping[str, Any]) -> None:
        tag, _, words = str(line["line"]).partition(" ")
        if client.startswith("smtp-client"):
            self._submission(client, line["side"], str(line["line"]))
            return
        at = datetime.fromisoformat(line["time"])
        if line["side"] == "C" and words.startswith("AUTHENTICATE XOAUTH2"):
            self._tags[client], self.asked[client] = tag, at
        elif line["side"] == "S" and tag == self._tags.get(client) and words.startswith("OK"):
            self.logins[client] = (at - self.asked[client]).total_seconds()
            self.logged_in_at = at
            del self._tags[client]
        elif line["side"] == "C":
            (self._idling.add if words == "IDLE" else self._idling.discard)(client)
        elif client in self._idling and tag == "*" and words.endswith(" EXISTS"):
            self.announced[client] += 1

    def _submission(self, client: str, side: str, line: str) -> None:
        """A line of a conversation with the server that mail is handed to."""
        # An account's conversations talk across each other here: the next line need not be the answer. 235 answers AUTH alone.
        if side == "C" and line.startswith("AUTH "):
            (self._asking.add if line.startswith("AUTH XOAUTH2") else self._asking.discard)(client)
        elif side == "S" and line.startswith("235") and client in self._asking:
            self.senders.add(client)

    def _captured(self, client: str, line: Mapping[str, Any]) -> None:
        now = time.monotonic()
        # A mailbox is read in the order of its arrivals.
        waiting = [delivery for delivery in self.deliveries if delivery.client == client and delivery.seconds is None]
        for delivery in waiting[: line["captured"]]:
            delivery.seconds = now - delivery.begun
        self.captured[client] += line["captured"]
        self.octets += line["octets"]
        self.captured_at = datetime.fromisoformat(line["time"])


class Witness(TokenStore):
    """The authority's tokens, telling the record of every code that was changed for some."""

    def __init__(self, like: TokenStore, record: Record) -> None:
        super().__init__(like.clock, lifetime=like.lifetime, rotates=like.rotates)
        self._record = record
        self._code: Code | None = None  # that is being exchanged
        self._access_token: AccessToken | None = None  # that answers it

    def code(self, text: str) -> Code | None:
        """As the store's."""
        self._code = super().code(text)
        return self._code

    def add_access(self, text: str, grant: Grant, scope: str, lifetime: float | None = None) -> AccessToken:
        """As the store's. Authlib comes here when it has found the code, its client and its verifier right."""
        token = super().add_access(text, grant, scope, lifetime)
        self._access_token = token if self._code is not None and grant is self._code.grant else None
        return token

    def add_refresh(self, text: str, grant: Grant) -> RefreshToken:
        """As the store's. With the refresh token the exchange is complete."""
        token = super().add_refresh(text, grant)
        code, access = self._code, self._access_token
        if code is not None and access is not None and access.grant is grant:
            lifetime = access.expires_at - access.issued_at
            self._record.consents[grant.account] = Consented(code.code_challenge_method or "", lifetime, Secret(text))
            self._code = self._access_token = None
        return token
