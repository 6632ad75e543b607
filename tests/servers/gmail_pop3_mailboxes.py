"""All mailboxes of the Gmail-like POP3 server, what it is told to do, and what clients said to it."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any

from servers.gmail_pop3_box import Box, Mail, Place, Popped
from servers.gmail_pop3_faults import Faults, Manner
from servers.introspection import introspect


class Refusal(Exception):
    """A command answers -ERR with these words."""


class Mailboxes:
    """All accounts, what is done wrong, and what clients said."""

    def __init__(self, introspection_url: str = "") -> None:
        self.boxes: dict[str, Box] = {}
        self.tokens: dict[str, str] = {}  # good ones and whose they are, beside those of the authority
        self.manner = Manner()
        self.faults = Faults()
        self.ahead = 0.0  # seconds that its clock is ahead of the system's
        self.log: list[dict[str, Any]] = []
        self._introspection_url = introspection_url
        self._uidls = 0
        self._sessions = 0

    def now(self) -> float:
        """The server's time."""
        return time.time() + self.ahead

    def next_session(self) -> int:
        """The number of a session that begins."""
        self._sessions += 1
        return self._sessions

    # Tokens

    async def owns(self, user: str, token: str) -> bool:
        """Whether the token opens the user's mailbox; a ``Refusal`` when the authority cannot tell."""
        if token in self.tokens:
            return self.tokens[token] == user
        if not self._introspection_url:
            return False
        try:
            said = await asyncio.to_thread(introspect, self._introspection_url, token)
        except (OSError, ValueError) as error:
            raise Refusal("[SYS/TEMP] Temporary system problem, please try again later.") from error
        return said.get("active") is True and str(said.get("email", "")).lower() == user

    # Orders

    def order(self, name: str, given: dict[str, Any]) -> Any:
        """Carry out an order of the tests; what it returns is JSON."""
        orders: dict[str, Callable[..., Any]] = {
            "add_user": self._add_user,
            "deliver": self._deliver,
            "mails": self._mails,
            "unpop": self._unpop,
            "log": lambda: self.log,
            "set": self._set,
        }
        return orders[name](**given)

    def _add_user(self, user: str, password: str, setting: str) -> None:
        box = self.boxes.setdefault(user.lower(), Box(user.lower(), password))
        box.password, box.setting = password, Popped(setting)

    def _deliver(self, user: str, octets: str, age: float, *, sent: bool) -> str:
        self._uidls += 1
        mail = Mail(f"GmailId{self._uidls:016x}", base64.b64decode(octets), self.now() - age, popped=sent)
        if sent:
            mail.place = Place.ARCHIVE
        self.boxes[user.lower()].mails.append(mail)
        return mail.uidl

    def _mails(self, user: str) -> list[dict[str, Any]]:
        return [{"uidl": mail.uidl, "popped": mail.popped, "place": mail.place.value} for mail in self.boxes[user.lower()].mails]

    def _unpop(self, user: str) -> None:
        self.boxes[user.lower()].unpop()

    def _set(self, what: str, value: Any) -> None:
        kinds: dict[str, Callable[[Any], Any]] = {
            "manner": lambda fields: Manner(**{**fields, "mechanisms": tuple(fields["mechanisms"])}),
            "faults": lambda fields: Faults(**{**fields, "retr_refused": tuple(fields["retr_refused"])}),
            "tokens": dict,
            "ahead": float,
        }
        setattr(self, what, kinds[what](value))
