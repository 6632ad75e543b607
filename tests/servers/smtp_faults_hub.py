"""What all connections of the faulty SMTP server share: orders, accounts with their limits, and the record of its mail."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import imaplib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servers.dovecot_config import PASSWORD
from servers.introspection import introspect
from servers.smtp_faults_orders import Fault, Manner

DAY = 24 * 60 * 60.0  # seconds; both providers count over the last 24 hours

_MESSAGE_ID = re.compile(rb"^Message-ID:[ \t]*(?:\r\n[ \t]+)*(\S+)", re.IGNORECASE | re.MULTILINE)


class AuthorityFailed(Exception):
    """Nobody can tell whether a token is good."""


class Hub:
    """One server's state; ``directory`` has what outlives its process."""

    def __init__(self, directory: Path, introspection_url: str, imap_port: int) -> None:
        self.manner = Manner()
        self.tokens: dict[str, str] = {}  # good ones and whose they are, beside those of the authority
        self.ahead = 0.0  # seconds that its clock is ahead of the system's
        self.log: list[dict[str, Any]] = []
        self.go_on = asyncio.Event()  # whether answers that are held may be given
        self.logins: dict[int, str] = {}  # whose session this is; in the order of the logins
        self._faults: list[tuple[Fault, list[int]]] = []  # with the occasions that each has had
        self._sent: dict[str, collections.deque[tuple[float, int]]] = collections.defaultdict(collections.deque)
        self._introspection_url = introspection_url
        self._imap_port = imap_port
        self._directory = directory
        self._sessions = 0
        ledger = directory / "ledger"
        whole = ledger.read_bytes().rpartition(b"\n")[:2] if ledger.exists() else (b"", b"")
        # A half line is of a message whose end was never answered: its process was killed.
        ledger.write_bytes(b"".join(whole))
        self._taken = whole[0].count(b"\n") + len(whole[1])
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_APPEND)

    def now(self) -> float:
        """The server's time in seconds."""
        return time.time() + self.ahead

    def next_session(self) -> int:
        """The number of a connection that begins."""
        self._sessions += 1
        return self._sessions

    def due(self, at: str, session: int, called: str, recipient: str = "") -> Fault | None:
        """The fault that happens now, if one does. An occasion that one fault has used does not count for those behind it."""
        found = None
        for fault, occasions in self._faults:
            here = fault.session in (0, session) and fault.called in ("", called)
            meant = fault.at == at and here and fault.recipient.lower() in ("", recipient.lower())
            if meant and found is None:
                occasions[0] += 1
                past = occasions[0] - fault.skip
                if past > 0 and (fault.times == 0 or past <= fault.times):
                    found = fault
        return found

    # Logins

    async def owns(self, user: str, token: str) -> bool:
        """Whether the token is good for the user; ``AuthorityFailed`` when the authority cannot tell."""
        if token in self.tokens:
            return self.tokens[token].lower() == user.lower()
        if not self._introspection_url:
            return False
        try:
            said = await asyncio.to_thread(introspect, self._introspection_url, token)
        except (OSError, ValueError) as error:
            raise AuthorityFailed from error
        return said.get("active") is True and str(said.get("email", "")).lower() == user.lower()

    # Messages

    def refusal(self, session: int, user: str, recipients: int) -> str:
        """Why a message is refused at its end; empty when it is not."""
        manner = self.manner
        rank = [other for other, name in self.logins.items() if name == user].index(session) if user else 0
        if manner.connections and rank >= manner.connections:
            return manner.too_many
        sent = [(when, count) for when, count in self._sent[user] if when > self.now() - DAY]
        if manner.messages_per_day and len(sent) >= manner.messages_per_day:
            return manner.over_quota
        if manner.recipients_per_day and sum(count for _, count in sent) + recipients > manner.recipients_per_day:
            return manner.over_quota
        return ""

    def hold(self, user: str) -> float:
        """For how many seconds the answer to the next message is held back."""
        manner = self.manner
        recent = [when for when, _ in self._sent[user] if when > self.now() - manner.minute]
        if not manner.per_minute or len(recent) < manner.per_minute:
            return 0.0
        return max(0.0, recent[-manner.per_minute] + manner.minute - self.now())

    async def take(self, session: int, user: str, sender: str, recipients: list[str], octets: bytes) -> None:
        """Take a message over: when this returns, it is on the record, whatever is answered and whoever is killed."""
        self._sent[user].append((self.now(), len(recipients)))
        self._taken += 1
        found = _MESSAGE_ID.search(octets.partition(b"\r\n\r\n")[0])
        (self._directory / f"{self._taken}.eml").write_bytes(octets)
        entry = {
            "number": self._taken,
            "session": session,
            "user": user,
            "sender": sender,
            "recipients": recipients,
            "message_id": found[1].decode(errors="replace") if found else "",
        }
        os.write(self._ledger, json.dumps(entry).encode() + b"\n")
        if self.manner.sent_folder and user:
            await asyncio.to_thread(self._file, user, octets)

    def _file(self, user: str, octets: bytes) -> None:
        folder = self.manner.sent_folder
        connection = imaplib.IMAP4("127.0.0.1", self._imap_port)
        try:
            connection.login(user, PASSWORD)
            connection.create(folder)  # it may be there
            connection.append(folder, r"(\Seen)", None, octets)  # no date: the server's own
        finally:
            connection.logout()

    # Orders

    def order(self, name: str, given: dict[str, Any]) -> Any:
        """Carry out an order of the tests; what it returns is JSON."""
        orders: dict[str, Callable[..., Any]] = {
            "behave": self._behave,
            "fail": self._fail,
            "allow": lambda tokens: setattr(self, "tokens", tokens),
            "go_ahead": lambda seconds: setattr(self, "ahead", seconds),
            "go_on": self.go_on.set,
            "forget": self._forget,
            "log": lambda: self.log,
            "logins": lambda: list(self.logins.values()),
        }
        return orders[name](**given)

    def _behave(self, manner: dict[str, Any]) -> None:
        fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in manner.items()}
        self.manner = Manner(**fields)

    def _fail(self, faults: list[dict[str, Any]]) -> None:
        self._faults += [(Fault(**fault), [0]) for fault in faults]
        self.go_on.clear()

    def _forget(self) -> None:
        self._faults.clear()
        self._sent.clear()
        self.go_on.set()
        self.manner, self.tokens, self.ahead, self.log = Manner(), {}, 0.0, []


def as_json(order: Manner | Fault) -> dict[str, Any]:
    """An order as it goes over the control port."""
    return dataclasses.asdict(order)
