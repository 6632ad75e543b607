"""A POP3 server (RFC 1939, 2449, 5034) with the ways of Gmail: ``python -m servers.gmail_pop3_server CONFIGURATION``.

The configuration is JSON: ``port``, ``tls_port``, ``control_port``, ``certificate``, ``key``, ``introspection_url``. It
serves until its standard input ends. Orders come in over the control port, one JSON object a line, each answered by one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import ssl
import sys
from collections.abc import Callable
from typing import Any

from servers.gmail_pop3_box import Box, Mail
from servers.gmail_pop3_mailboxes import Mailboxes, Refusal

LINE = 16384  # octets of a command; tokens are long
REFUSED = "[AUTH] Username and password not accepted."
MASK = "***"


class Hangup(Exception):
    """The connection ends here."""


class Session:
    """One client's conversation."""

    def __init__(self, mailboxes: Mailboxes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._all = mailboxes
        self._reader, self._writer = reader, writer
        self._number = mailboxes.next_session()
        self._pending = b""
        self._sent = 0
        self._user = ""
        self._box: Box | None = None
        self._recent = False
        self._mails: list[Mail] = []
        self._retrieved: set[Mail] = set()
        self._deleted: set[Mail] = set()

    def _note(self, line: str) -> None:
        self._all.log.append({"session": self._number, "user": self._user, "line": line})

    # Octets

    async def _line(self) -> str:
        while b"\n" not in self._pending:
            chunk = await self._reader.read(65536)
            if not chunk or len(self._pending) > LINE:
                raise Hangup
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        if self._pending and not self._all.manner.pipelining:
            self._note("(pipelined: thrown away)")
            self._pending = b""
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")

    async def _send(self, octets: bytes) -> None:
        limit = self._all.faults.cut_after
        whole = limit < 0 or self._sent + len(octets) < limit
        self._writer.write(octets if whole else octets[: max(0, limit - self._sent)])
        self._sent += len(octets)
        await self._writer.drain()
        if not whole:
            self._note("(cut)")
            raise Hangup

    async def _say(self, text: str) -> None:
        await self._send(f"{text}\r\n".encode())

    async def _lines(self, first: str, body: bytes) -> None:
        """An answer of many lines (RFC 1939 section 3): a dot before a dot that begins a line, and a last dot."""
        stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in body.split(b"\r\n"))
        ended = b"" if not body or body.endswith(b"\r\n") else b"\r\n"
        await self._send(f"{first}\r\n".encode() + stuffed + ended + b".\r\n")

    # The conversation

    async def serve(self) -> None:
        """Hold it until either side ends it."""
        try:
            await self._say("+OK Gpop ready for requests")
            while await self._command(await self._line()):
                pass
        except (Hangup, OSError):
            self._note("(dropped)")
        finally:
            self._writer.close()

    async def _command(self, line: str) -> bool:
        """Answer one command; false after QUIT."""
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        self._note(_masked(verb, rest))
        try:
            if verb == "QUIT":
                await self._quit()
                return False
            known = self._after_login() if self._box else self._before_login()
            if verb not in known:
                raise Refusal("bad command")
            await known[verb](rest)
        except Refusal as refusal:
            await self._say(f"-ERR {refusal}")
        return True

    def _before_login(self) -> dict[str, Callable[[str], Any]]:
        known: dict[str, Callable[[str], Any]] = {"CAPA": self._capa, "AUTH": self._auth}
        return {**known, "USER": self._name, "PASS": self._password} if self._all.manner.user else known

    def _after_login(self) -> dict[str, Callable[[str], Any]]:
        manner = self._all.manner
        known: dict[str, Callable[[str], Any]] = {
            "CAPA": self._capa,
            "STAT": self._stat,
            "LIST": self._list,
            "RETR": self._retr,
            "DELE": self._dele,
            "NOOP": self._noop,
            "RSET": self._rset,
        }
        return known | ({"UIDL": self._uidl} if manner.uidl else {}) | ({"TOP": self._top} if manner.top else {})

    async def _capa(self, rest: str) -> None:
        manner = self._all.manner
        said = {
            "USER": manner.user and not self._box,
            "RESP-CODES": manner.resp_codes,
            "EXPIRE 0": True,
            f"LOGIN-DELAY {manner.login_delay}": True,
            "TOP": manner.top,
            "UIDL": manner.uidl,
            "PIPELINING": manner.pipelining,
            f"SASL {' '.join(manner.mechanisms)}": bool(manner.mechanisms) and not self._box,
        }
        await self._lines("+OK Capability list follows", "".join(f"{name}\r\n" for name, is_so in said.items() if is_so).encode())

    # Login

    async def _name(self, rest: str) -> None:
        self._user = rest
        await self._say("+OK send PASS")

    async def _password(self, rest: str) -> None:
        await self._welcome(self._user, lambda box: _true(box.password == rest))

    async def _auth(self, rest: str) -> None:
        """AUTH mechanism [initial-response] (RFC 5034 section 4)."""
        mechanism, _, initial = rest.partition(" ")
        mechanism = mechanism.upper()
        if mechanism not in self._all.manner.mechanisms:
            raise Refusal("unrecognized authentication mechanism")
        if initial and not self._all.manner.initial_response:
            raise Refusal("Protocol error.")
        message = _decoded(initial) if initial else await self._challenge("")
        if mechanism == "PLAIN":
            _, user, password = [*message.split("\0"), "", ""][:3]
            await self._welcome(user, lambda box: _true(box.password == password))
        else:
            fields = dict(part.partition("=")[::2] for part in message.split("\1") if part)
            await self._bearer(fields.get("user", ""), fields.get("auth", ""))

    async def _bearer(self, user: str, auth: str) -> None:
        """XOAUTH2 (Google): a refused token is answered by a JSON challenge first, then by -ERR."""
        scheme, _, token = auth.partition(" ")

        async def judge(box: Box) -> bool:
            if scheme.lower() == "bearer" and await self._all.owns(box.user, token):
                return True
            error = {"status": "401", "schemes": "bearer", "scope": "https://mail.google.com/"}
            await self._challenge(base64.b64encode(json.dumps(error).encode()).decode())
            return False

        await self._welcome(user, judge)

    async def _challenge(self, text: str) -> str:
        await self._say(f"+ {text}")
        answer = await self._line()
        self._note(MASK if answer else "")
        if answer == "*":  # RFC 5034 section 4
            raise Refusal("[AUTH] canceled")
        return _decoded(answer)

    async def _welcome(self, name: str, judge: Callable[[Box], Any]) -> None:
        self._user = name
        recent = name.lower().startswith("recent:")
        box = self._all.boxes.get(name.lower().removeprefix("recent:"))
        if code := self._all.faults.login:
            raise Refusal(f"[{code}] Try again later.")
        if box is None or not await judge(box):
            raise Refusal(REFUSED)
        self._box, self._recent = box, recent
        self._mails = box.listed(recent=recent, now=self._all.now())
        await self._say("+OK Welcome.")

    # Messages

    def _mail(self, number: str) -> Mail:
        if not number.isdecimal() or not 1 <= int(number) <= len(self._mails):
            raise Refusal("no such message")
        mail = self._mails[int(number) - 1]
        if mail in self._deleted:
            raise Refusal("message is marked as deleted")
        return mail

    def _numbered(self) -> list[tuple[int, Mail]]:
        return [(number, mail) for number, mail in enumerate(self._mails, 1) if mail not in self._deleted]

    async def _stat(self, rest: str) -> None:
        mails = [mail for _, mail in self._numbered()]
        await self._say(f"+OK {len(mails)} {sum(len(mail.octets) for mail in mails)}")

    async def _list(self, rest: str) -> None:
        if rest:
            await self._say(f"+OK {rest} {len(self._mail(rest).octets)}")
            return
        lines = [f"{number} {len(mail.octets)}\r\n" for number, mail in self._numbered()]
        await self._lines(f"+OK {len(lines)} messages", "".join(lines).encode())

    async def _uidl(self, rest: str) -> None:
        fault = self._all.faults.uidl
        if fault == "refused":
            raise Refusal("UIDL failed")

        def named(mail: Mail) -> str:
            return {"duplicates": self._mails[0].uidl, "empty": ""}.get(fault, mail.uidl)

        if rest:
            await self._say(f"+OK {rest} {named(self._mail(rest))}")
            return
        await self._lines("+OK", "".join(f"{number} {named(mail)}\r\n" for number, mail in self._numbered()).encode())

    async def _retr(self, rest: str) -> None:
        mail = self._mail(rest)
        if mail.uidl in self._all.faults.retr_refused:
            raise Refusal("[SYS/TEMP] message cannot be opened")
        await self._lines("+OK message follows", mail.octets)
        self._retrieved.add(mail)

    async def _top(self, rest: str) -> None:
        number, _, count = rest.partition(" ")
        mail = self._mail(number)
        if self._all.faults.top == "refused" or not count.isdecimal():
            raise Refusal("TOP failed")
        header, _, body = mail.octets.partition(b"\r\n\r\n")
        lines = body.split(b"\r\n")[: int(count)]
        await self._lines("+OK", b"\r\n".join([header, b"", *lines, b""]))

    async def _dele(self, rest: str) -> None:
        self._deleted.add(self._mail(rest))
        await self._say("+OK marked for deletion")

    async def _noop(self, rest: str) -> None:
        await self._say("+OK")

    async def _rset(self, rest: str) -> None:
        self._deleted.clear()
        await self._say("+OK")

    async def _quit(self) -> None:
        """The only place where anything changes (RFC 1939 section 6)."""
        if self._box and self._all.faults.quit_refused:
            await self._say("-ERR [SYS/TEMP] some messages were not removed")
            return
        if self._box:
            self._box.ended(self._retrieved, self._deleted, recent=self._recent)
        await self._say("+OK Farewell.")


def _masked(verb: str, rest: str) -> str:
    """A command as it may stand in the log."""
    if verb == "PASS":
        return f"PASS {MASK}"
    mechanism, _, initial = rest.partition(" ")
    if verb == "AUTH" and initial:
        return f"AUTH {mechanism} {MASK}"
    return f"{verb} {rest}" if rest else verb


def _decoded(text: str) -> str:
    try:
        return base64.b64decode("" if text == "=" else text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refusal("invalid base64") from error


async def _true(is_so: bool) -> bool:
    return is_so


async def _control(mailboxes: Mailboxes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One order a line. A broken one ends the connection, and its trace goes to the server's log."""
    with contextlib.closing(writer):
        while line := await reader.readline():
            given = json.loads(line)
            answer = mailboxes.order(given.pop("do"), given)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()


async def serve(configuration: dict[str, Any]) -> None:
    """Listen until the standard input ends."""
    mailboxes = Mailboxes(configuration["introspection_url"])
    tls = None
    if configuration["certificate"]:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(configuration["certificate"], configuration["key"])

    async def pop3(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Session(mailboxes, reader, writer).serve()

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _control(mailboxes, reader, writer)

    servers = [await asyncio.start_server(pop3, "127.0.0.1", configuration["port"], backlog=512)]
    if tls:
        servers.append(await asyncio.start_server(pop3, "127.0.0.1", configuration["tls_port"], ssl=tls, backlog=512))
    servers.append(await asyncio.start_server(control, "127.0.0.1", configuration["control_port"], limit=1 << 28))
    await asyncio.to_thread(sys.stdin.buffer.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
