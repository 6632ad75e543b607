"""The faulty SMTP server's process: ``python -m servers.smtp_faults_server CONFIGURATION``.

It speaks RFC 5321 with 1870, 2920, 3030, 3207, 3461, 4954, 6152 and 6531, strictly: a parameter that was not announced is
refused. The configuration is JSON: ``port``, ``tls_port``, ``control_port``, ``certificate``, ``key``,
``introspection_url``, ``imap_port``, ``directory``. It serves until its standard input ends. Orders come in over the
control port, one JSON object a line, each answered by one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import re
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from servers.dovecot_config import PASSWORD
from servers.smtp_faults_conversation import Conversation, Hangup
from servers.smtp_faults_hub import AuthorityFailed, Hub
from servers.smtp_faults_orders import Fault

MASK = "***"

_PATH = re.compile(r"(?:FROM|TO): ?<([^>]*)>(?: (.*))?$", re.IGNORECASE)
_END = b"\r\n.\r\n"


class Session(Conversation):
    """One client's conversation."""

    def __init__(self, hub: Hub, tls: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(hub, reader, writer)
        self._tls = tls
        self._encrypted = writer.get_extra_info("ssl_object") is not None
        self._ends = float("inf")  # when the token of the login is over, by the server's clock
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._chunks = bytearray()
        self._breaks: Fault | None = None  # within the chunks of a message

    # The conversation

    async def serve(self) -> None:
        """Hold it until either side ends it."""
        try:
            await self.conclude("greeting", self.hub.manner.greeting)
            while await self._command(await self.line()):
                pass
        except (Hangup, OSError):
            self.note("(ended)")
        finally:
            self.hub.logins.pop(self.number, None)
            self.writer.close()

    async def _command(self, line: str) -> bool:
        """Answer one command; false after QUIT."""
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        self.note(f"AUTH {rest.partition(' ')[0]} {MASK}" if verb == "AUTH" else line)
        known: dict[str, Callable[[str], Awaitable[None]]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "BDAT": self._bdat,
            "RSET": self._rset,
        }
        if self.hub.now() >= self._ends and verb != "QUIT":
            await self.say(self.hub.manner.session_over)
            raise Hangup
        if verb == "QUIT":
            await self.conclude("quit", "221 2.0.0 Bye")
            return False
        if verb == "NOOP":
            await self.conclude("noop", "250 2.0.0 OK")
        elif verb in known:
            await known[verb](rest)
        else:
            await self.say("500 5.5.1 Command not recognized")
        return True

    async def _ehlo(self, rest: str) -> None:
        manner, self.called = self.hub.manner, rest
        words = ["smtp.example.test at your service", *manner.keywords]
        if not self._encrypted:
            words.append("STARTTLS")
        if manner.mechanisms and (self._encrypted or manner.auth_in_clear):
            words.append(f"AUTH {' '.join(manner.mechanisms)}")
        lines = [f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]
        await self.conclude("ehlo", "\n".join(lines), self._forget)

    async def _helo(self, rest: str) -> None:
        self.called = rest
        await self.conclude("ehlo", "250 smtp.example.test", self._forget)

    async def _forget(self) -> None:
        """The end of a transaction (RFC 5321 section 4.1.1.5)."""
        self._sender, self._recipients, self._chunks = None, [], bytearray()

    async def _starttls(self, rest: str) -> None:
        refused = True

        async def agree() -> None:
            nonlocal refused
            refused = False

        await self.conclude("starttls", "220 2.0.0 Ready to start TLS", agree)
        if not refused:
            self.pending = b""  # what came ahead in the clear is nobody's word (RFC 3207 section 4.2)
            await self.writer.start_tls(self._tls)
            self._encrypted = True

    async def _rset(self, rest: str) -> None:
        await self.conclude("rset", "250 2.0.0 OK", self._forget)

    # Login (RFC 4954)

    async def _auth(self, rest: str) -> None:
        manner = self.hub.manner
        mechanism, _, initial = rest.partition(" ")
        mechanism = mechanism.upper()
        if self.user or self._sender is not None:
            await self.say("503 5.5.1 Not now")
        elif mechanism not in manner.mechanisms or not (self._encrypted or manner.auth_in_clear):
            await self.say("504 5.5.4 Unrecognized authentication type")
        else:
            try:
                user, good, bearer = await self._credentials(mechanism, initial)
            except (binascii.Error, ValueError):
                await self.say("501 5.5.2 Cannot decode")
            except AuthorityFailed:
                await self.say("454 4.7.0 Temporary authentication failure")
            else:
                await self._judged(user, good=good, bearer=bearer)

    async def _credentials(self, mechanism: str, initial: str) -> tuple[str, bool, bool]:
        """Who logs in, whether that is granted, and whether by a token."""
        if mechanism == "LOGIN":
            user = _decoded(initial) if initial else await self._challenge("Username:")
            return user, await self._challenge("Password:") == PASSWORD, False
        message = _decoded(initial) if initial else await self._challenge("")
        if mechanism == "PLAIN":
            _, user, password = message.split("\0")
            return user, password == PASSWORD, False
        fields = dict(part.partition("=")[::2] for part in message.split("\x01") if "=" in part)
        user = fields.get("user", "") or message.partition("a=")[2].partition(",")[0]
        scheme, _, token = fields.get("auth", "").partition(" ")
        return user, scheme.lower() == "bearer" and await self.hub.owns(user, token), True

    async def _challenge(self, text: str) -> str:
        await self.say(f"334 {base64.b64encode(text.encode()).decode()}")
        answer = await self.line()
        self.note(MASK if answer else "")
        if answer == "*":
            raise ValueError("cancelled")
        return _decoded(answer)

    async def _judged(self, user: str, *, good: bool, bearer: bool) -> None:
        manner = self.hub.manner

        async def enter() -> None:
            self.hub.logins[self.number] = user
            if bearer and manner.session_seconds:
                self._ends = self.hub.now() + manner.session_seconds

        if good:
            await self.conclude("auth", "235 2.7.0 Accepted", enter)
            return
        if bearer and manner.challenge:
            error = {"status": "401", "schemes": "bearer", "scope": "https://mail.google.com/"}
            await self.say(f"334 {base64.b64encode(json.dumps(error).encode()).decode()}")
            await self.line()  # empty with XOAUTH2, AQ== with OAUTHBEARER (RFC 7628 section 3.2.3), a dot with some
        await self.conclude("auth", manner.refused)

    # Messages

    async def _mail(self, rest: str) -> None:
        found = _PATH.match(rest)
        if self._sender is not None:
            await self.say("503 5.5.1 A transaction is under way")
        elif self.hub.manner.auth_required and not self.user:
            await self.say("530 5.7.0 Authentication required")
        elif not found or not rest.upper().startswith("FROM"):
            await self.say("501 5.5.4 Syntax: MAIL FROM:<address>")
        elif refusal := self._refuses(found[2], {"SIZE": "SIZE", "BODY": "8BITMIME", "RET": "DSN", "ENVID": "DSN"}):
            await self.say(refusal)
        else:
            sender = found[1]

            async def begin() -> None:
                self._sender = sender

            await self.conclude("mail", "250 2.1.0 OK", begin)

    def _refuses(self, parameters: str | None, known: dict[str, str]) -> str:
        """Why these parameters are not taken; each must belong to an announced keyword (RFC 5321 section 4.1.1.11)."""
        for parameter in (parameters or "").split():
            name, _, value = parameter.partition("=")
            keyword = {**known, "SMTPUTF8": "SMTPUTF8"}.get(name.upper())
            if keyword is None or not self.announces(keyword):
                return f"555 5.5.4 Unsupported parameter {name}"
            if keyword == "SIZE" and value.isdecimal() and self._too_large(int(value)):
                return "552 5.3.4 Message size exceeds fixed limit"
        return ""

    def _too_large(self, octets: int) -> bool:
        """RFC 1870 section 6."""
        limits = [int(word.split()[1]) for word in self.hub.manner.keywords if word.startswith("SIZE ")]
        return bool(limits) and octets > limits[0]

    async def _rcpt(self, rest: str) -> None:
        found, most = _PATH.match(rest), self.hub.manner.recipients_per_message
        if self._sender is None:
            await self.say("503 5.5.1 MAIL first")
        elif not found or not rest.upper().startswith("TO") or not found[1]:
            await self.say("501 5.5.4 Syntax: RCPT TO:<address>")
        elif refusal := self._refuses(found[2], {"NOTIFY": "DSN", "ORCPT": "DSN"}):
            await self.say(refusal)
        elif most and len(self._recipients) >= most:
            await self.say(self.hub.manner.too_many_recipients)
        else:
            recipient = found[1]

            async def add() -> None:
                self._recipients.append(recipient)

            await self.conclude("rcpt", "250 2.1.5 OK", add, recipient)

    async def _data(self, rest: str) -> None:
        if not self._recipients:
            await self.say("503 5.5.1 RCPT first" if self._sender is None else "554 5.5.1 No valid recipients")
            return
        read = False

        async def go() -> None:
            nonlocal read
            read = True

        await self.conclude("data", "354 Go ahead", go)
        if read:
            raw = await self._stuffed()
            await self._over(raw.replace(b"\r\n..", b"\r\n.")[2:])

    async def _stuffed(self) -> bytes:
        """The octets up to the final dot, with a line end before them; a dot that begins a line is still doubled."""
        content = bytearray(b"\r\n" + self.pending)
        fault = self.due("content")
        while True:
            await self._halfway(fault, len(content) - 2)
            if (end := content.find(_END, max(0, len(content) - len(self.pending) - len(_END)))) >= 0:
                self.pending = bytes(content[end + len(_END) :])
                return bytes(content[:end]) + b"\r\n"
            self.pending = b""
            await self.more()
            content += self.pending

    async def _halfway(self, fault: Fault | None, octets: int) -> None:
        """The end of a connection within a message of which so many octets were read."""
        if fault and octets >= fault.after:
            await self.commit(fault, fault.reply or "451 4.3.0 Error while reading")
            raise Hangup

    async def _bdat(self, rest: str) -> None:
        """RFC 3030 section 2: the octets come in any case, and are thrown away where they cannot be used."""
        found = re.match(r"(\d+)( LAST)?$", rest.upper())
        if not found:
            await self.say("501 5.5.4 Syntax: BDAT size [LAST]")
            raise Hangup  # nobody knows where the next command begins
        size = int(found[1])
        if not self._chunks:
            self._breaks = self.due("content")
        while True:
            await self._halfway(self._breaks, len(self._chunks) + min(size, len(self.pending)))
            if len(self.pending) >= size:
                break
            await self.more()
        chunk, self.pending = self.pending[:size], self.pending[size:]
        if not self.announces("CHUNKING"):
            await self.say("500 5.5.1 Command not recognized")
        elif not self._recipients:
            await self.say("503 5.5.1 RCPT first")
        elif found[2]:
            await self._over(bytes(self._chunks + chunk))
        else:

            async def keep() -> None:
                self._chunks += chunk

            await self.conclude("bdat", f"250 2.0.0 {size} octets received", keep)

    async def _over(self, octets: bytes) -> None:
        """The end of a message: refused by its length or a limit of the account, else taken over."""
        sender, recipients = self._sender or "", self._recipients
        await self._forget()
        refusal = self.hub.refusal(self.number, self.user, len(recipients))
        if self._too_large(len(octets)) or refusal:
            await self.say(refusal or "552 5.3.4 Message size exceeds fixed limit")
            return

        async def take() -> None:
            await asyncio.sleep(self.hub.hold(self.user))
            await self.hub.take(self.number, self.user, sender, recipients, octets)

        await self.conclude("dot", "250 2.0.0 OK", take)


def _decoded(text: str) -> str:
    return base64.b64decode("" if text == "=" else text, validate=True).decode()


async def _control(hub: Hub, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One order a line. A broken one ends the connection, and its trace goes to the server's log."""
    with contextlib.closing(writer):
        while line := await reader.readline():
            given = json.loads(line)
            answer = hub.order(given.pop("do"), given)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()


async def serve(configuration: dict[str, Any]) -> None:
    """Listen until the standard input ends."""
    hub = Hub(Path(configuration["directory"]), configuration["introspection_url"], configuration["imap_port"])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(configuration["certificate"], configuration["key"])

    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Session(hub, tls, reader, writer).serve()

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _control(hub, reader, writer)

    servers = [
        await asyncio.start_server(smtp, "127.0.0.1", configuration["port"], backlog=512),
        await asyncio.start_server(smtp, "127.0.0.1", configuration["tls_port"], ssl=tls, backlog=512),
        await asyncio.start_server(control, "127.0.0.1", configuration["control_port"], limit=1 << 28),
    ]
    await asyncio.to_thread(sys.stdin.buffer.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
