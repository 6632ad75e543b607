"""One conversation with a program that hands mail in (RFC 6409)."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from postroom.errors import LimitExceeded, Lost, TimedOut, TlsError
from postroom.mime.addresses import parse_address
from postroom.net.accepted import Accepted
from postroom.outbound import Recipient
from postroom.settings import Security
from postroom.wire.submission import (
    LINE,
    Gathering,
    Reply,
    Sender,
    command_of,
    credentials_of,
    looped,
    recipient_of,
    response_of,
    sender_of,
)

SILENCE = 300.0  # seconds that a client may be silent (RFC 5321 section 4.5.3.2.7)
HANDSHAKE = 60.0  # seconds for TLS
RECIPIENTS = 1000  # of a message; RFC 5321 section 4.5.3.1.8 asks for 100
LOGINS = 3  # refused ones, then the conversation ends
JUNK = 10  # commands that are none, then the conversation ends

_FIRST = frozenset({"EHLO", "HELO", "NOOP", "RSET", "QUIT", "STARTTLS"})
_IN_CLEAR = _FIRST | {"HELP"}  # what may be said where TLS is asked for and not on
_BYE = Reply(221, "2.0.0", "Bye")
_ENDING = Reply(421, "4.3.2", "Postroom ends; hand it in again")
_SILENT = Reply(421, "4.4.2", "Nothing came for too long")
_ORDER = Reply(503, "5.5.1", "That comes at another time")


@dataclass(frozen=True, slots=True)
class Offered:
    """A message with its envelope, as a program handed it in."""

    owner: str  # section of the account that is logged in; that of the listener where nobody is
    sender: Sender
    recipients: tuple[Recipient, ...]
    octets: bytes
    protocol: str  # with what (RFC 3848, RFC 6531 section 4.3)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a conversation asks of the listener."""

    security: Security
    limit: int  # octets of a message
    without_login: bool  # who is on this machine may hand mail in without one
    has_accounts: bool
    sends: Callable[[], bool]  # whether there is any account that mail could leave by
    login: Callable[[str, str, str], str | Reply]  # name, password and peer; the account's section
    take: Callable[[Offered], Awaitable[Reply]]  # 250 once the message is durable
    refused: Callable[[str, Reply], None]  # is told what a peer was refused
    room: Callable[[int], bool]  # whether so many more octets may be held in memory
    start_tls: Callable[[Accepted], Awaitable[None]]


class Conversation:
    """Greets, and answers until either side ends it. ``ending``: it ends by itself after what is under way."""

    def __init__(self, line: Accepted, desk: Desk) -> None:
        self.ending = False
        self._line = line
        self._desk = desk
        self._peer = line.peer
        self._tls = desk.security is Security.SSL_TLS
        self._account = ""
        self._name = ""  # under which the client greeted
        self._extended = False
        self._sender: Sender | None = None
        self._recipients: list[Recipient] = []
        self._junk = 0
        self._failed = 0
        self._over = False
        self._unsent = bytearray()  # replies to a group of commands leave together (RFC 2920 section 3.2)
        self._verbs: Mapping[str, Callable[[str], Awaitable[Reply | None]]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "QUIT": self._quit,
            "HELP": self._help,
            "VRFY": self._vrfy,
        }

    async def run(self) -> None:
        """Talk to the end; nothing is raised but cancellation, after the farewell that it calls for."""
        try:
            self._say(Reply(220, "", "postroom ESMTP"))
            while not self._over:
                if self.ending:
                    self._say(_ENDING)
                    break
                await self._answer_next()
            await self._flush()
        except TimedOut:
            await self._farewell(_SILENT)
        except (Lost, TlsError):
            pass  # nobody is left to tell
        except asyncio.CancelledError:
            await self._farewell(_ENDING)
            raise

    async def _answer_next(self) -> None:
        try:
            line = await self._read()
        except LimitExceeded:
            self._end(Reply(500, "5.5.2", "That line is too long"))
            return
        command = command_of(line)
        if isinstance(command, Reply):  # whoever speaks so speaks no SMTP, and what follows may mean something else to it
            self._end(command)
            return
        reply = await self._answer(*command)
        if reply is not None:
            self._say(reply)

    async def _answer(self, verb: str, argument: str) -> Reply | None:
        handle = self._verbs.get(verb)
        if handle is None:
            self._junk += 1
            # A browser that was sent here by a foreign page says POST, and the page's text would follow as commands.
            if not self._name or self._junk >= JUNK:
                self._over = True
                return Reply(421, "4.7.0", "That is no command of SMTP")
            return Reply(502 if verb == "EXPN" else 500, "5.5.1" if verb == "EXPN" else "5.5.2", "That is no command here")
        if self._desk.security is Security.START_TLS and not self._tls and verb not in _IN_CLEAR:
            return Reply(530, "5.7.0", "STARTTLS comes first")  # RFC 3207 section 4
        if not self._name and verb not in _FIRST:
            return Reply(503, "5.5.1", "EHLO comes first")
        return await handle(argument)

    # --- who is there

    async def _ehlo(self, name: str) -> Reply | None:
        if not name:
            return Reply(501, "5.5.4", "EHLO and a name")
        self._greeted(name, extended=True)
        offers = ["PIPELINING", f"SIZE {self._desk.limit}", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"]
        if self._desk.security is Security.START_TLS and not self._tls:
            offers = [*offers, "STARTTLS"]
        elif self._desk.has_accounts:
            offers = [*offers, "AUTH PLAIN LOGIN"]
        lines = ["postroom", *offers]
        last = len(lines) - 1
        self._unsent += "".join(f"250{' ' if at == last else '-'}{line}\r\n" for at, line in enumerate(lines)).encode()
        return None

    async def _helo(self, name: str) -> Reply:
        if not name:
            return Reply(501, "5.5.4", "HELO and a name")
        self._greeted(name, extended=False)
        return Reply(250, "", "postroom")

    def _greeted(self, name: str, *, extended: bool) -> None:
        self._name, self._extended = name, extended
        self._reset()

    async def _starttls(self, argument: str) -> Reply | None:
        if self._desk.security is not Security.START_TLS or self._tls:
            return Reply(503, "5.5.1", "TLS is on" if self._tls else "There is no TLS here")
        if argument:
            return Reply(501, "5.5.4", "STARTTLS stands alone")
        if not self._line.empty:
            self._over = True
            return Reply(554, "5.5.1", "Nothing may follow STARTTLS")  # RFC 3207 section 4: it would not be protected
        self._say(Reply(220, "2.0.0", "TLS now"))
        await self._flush()
        await self._desk.start_tls(self._line)
        # RFC 3207 section 4.2: what was learned before counts for nothing.
        self._tls, self._name, self._account, self._junk = True, "", "", 0
        self._reset()
        return None

    async def _auth(self, argument: str) -> Reply:
        if not self._desk.has_accounts or not self._extended:
            return Reply(502, "5.5.1", "There is no login here")
        if self._account or self._sender:
            return _ORDER  # RFC 4954 section 4
        mechanism, _, initial = argument.partition(" ")
        mechanism = mechanism.upper()
        if mechanism not in ("PLAIN", "LOGIN"):
            return Reply(504, "5.5.4", "The mechanisms are PLAIN and LOGIN")
        given = await (self._plain(initial) if mechanism == "PLAIN" else self._login(initial))
        account = given if isinstance(given, Reply) else self._desk.login(*given, self._peer)
        if isinstance(account, str):
            self._account = account
            return Reply(235, "2.7.0", "Logged in")
        self._failed += 1
        self._over = self._over or self._failed >= LOGINS
        return Reply(421, "4.7.0", "Too many logins were refused") if self._failed >= LOGINS else account

    async def _plain(self, initial: str) -> tuple[str, str] | Reply:
        message = await self._response("", initial)
        if isinstance(message, Reply):
            return message
        return credentials_of(message) or Reply(501, "5.5.2", "PLAIN is a name and a password, with NUL before each")

    async def _login(self, initial: str) -> tuple[str, str] | Reply:
        given: list[str] = []
        for challenge in ("VXNlcm5hbWU6", "UGFzc3dvcmQ6"):  # "Username:", "Password:"
            response = await self._response(challenge, initial)
            if isinstance(response, Reply):
                return response
            given.append(response.decode("utf-8", "replace"))
            initial = ""
        return given[0], given[1]

    async def _response(self, challenge: str, initial: str) -> bytes | Reply:
        if not initial:
            self._unsent += f"334 {challenge}\r\n".encode()
            try:
                line = await self._read()
            except LimitExceeded:
                self._over = True
                return Reply(500, "5.5.6", "That line is too long")
            initial = line.rstrip(b"\r").decode("ascii", "replace")
            if initial == "*":
                return Reply(501, "5.7.0", "Cancelled")
        response = response_of(initial) if initial else b""
        return Reply(501, "5.5.2", "That is no base64") if response is None else response

    # --- a message

    async def _mail(self, argument: str) -> Reply:
        if self._sender is not None:
            return _ORDER
        if not self._account and not (self._desk.without_login and _is_loopback(self._peer)):
            return self._refuse(Reply(530, "5.7.0", "A login comes first"))
        read = sender_of(argument, self._desk.limit, extended=self._extended)
        if isinstance(read, Reply):
            return self._refuse(read)
        if not self._desk.sends():
            return self._refuse(Reply(553, "5.7.1", "No account sends here: the configuration needs a section smtp-client"))
        if read.address and (wrong := _malformed(read.address)):
            return self._refuse(Reply(553, "5.1.7", wrong))
        self._sender = read
        return Reply(250, "2.1.0", "And to whom?")

    async def _rcpt(self, argument: str) -> Reply:
        if self._sender is None:
            return _ORDER
        if len(self._recipients) >= RECIPIENTS:
            return Reply(452, "4.5.3", f"A message has at most {RECIPIENTS} recipients here; hand it in again for the others")
        read = recipient_of(argument, smtputf8=self._sender.smtputf8, extended=self._extended)
        if isinstance(read, Reply):
            return self._refuse(read)
        if wrong := _malformed(read.address):
            return self._refuse(Reply(553, "5.1.3", wrong))
        self._recipients.append(read)
        return Reply(250, "2.1.5", "Known")

    async def _data(self, argument: str) -> Reply:
        if self._sender is None or not self._recipients:
            return Reply(503 if self._sender is None else 554, "5.5.1", "There is nobody to send it to")  # RFC 5321 section 3.3
        if argument:
            return Reply(501, "5.5.4", "DATA stands alone")
        self._say(Reply(354, "", "End with CR LF, a dot, CR LF"))
        reply = await self._gather(self._sender, tuple(self._recipients))
        self._reset()
        return reply if reply.code == 250 else self._refuse(reply)

    async def _gather(self, sender: Sender, recipients: tuple[Recipient, ...]) -> Reply:
        gathering, held = Gathering(self._desk.limit), 0
        rest: bytes | None = None
        await self._flush()
        try:
            while rest is None:
                rest = gathering.feed(await self._line.some(SILENCE))
                before, held = held, gathering.held
                if not self._desk.room(held - before):
                    gathering.drop(Reply(452, "4.3.1", "Too much is handed in at once; hand it in again"))
                    before, held = held, gathering.held
                    self._desk.room(held - before)  # the others need not suffer
            self._line.give_back(rest)
            octets = gathering.message()
            if isinstance(octets, Reply):
                return octets
            if looped(octets):
                return Reply(554, "5.4.6", "This message has gone round")
            owner = self._account or "smtp-listener"
            return await self._desk.take(Offered(owner, sender, recipients, octets, self._protocol(sender)))
        finally:
            self._desk.room(-held)

    def _protocol(self, sender: Sender) -> str:
        if not self._extended:
            return "SMTP"
        return ("UTF8SMTP" if sender.smtputf8 else "ESMTP") + ("S" if self._tls else "") + ("A" if self._account else "")

    # --- the rest

    async def _rset(self, _argument: str) -> Reply:
        self._reset()
        return Reply(250, "2.0.0", "Forgotten")

    async def _noop(self, _argument: str) -> Reply:
        return Reply(250, "2.0.0", "Here")

    async def _help(self, _argument: str) -> Reply:
        return Reply(214, "2.0.0", "Submission of mail: RFC 6409")

    async def _vrfy(self, _argument: str) -> Reply:
        return Reply(252, "2.0.0", "Hand it in and see")  # RFC 5321 section 3.5.3: nobody learns who is here

    async def _quit(self, _argument: str) -> Reply:
        self._over = True
        return _BYE

    def _reset(self) -> None:
        self._sender = None
        self._recipients = []

    def _refuse(self, reply: Reply) -> Reply:
        self._desk.refused(self._peer, reply)
        return reply

    def _end(self, reply: Reply) -> None:
        self._say(reply)
        self._over = True

    def _say(self, reply: Reply) -> None:
        self._unsent += reply.octets()

    async def _read(self) -> bytes:
        if not self._line.has_line:
            await self._flush()
        return await self._line.line(LINE, SILENCE)

    async def _flush(self) -> None:
        if self._unsent:
            octets = bytes(self._unsent)
            self._unsent.clear()
            await self._line.write(octets, SILENCE)

    async def _farewell(self, reply: Reply) -> None:
        self._say(reply)
        try:
            await self._flush()
        except (Lost, TimedOut):
            return


def _malformed(address: str) -> str:
    """What is wrong with an address; empty where nothing is."""
    try:
        parse_address(address)
    except ValueError as error:
        return f"That address cannot be used: {error}"
    return ""


def _is_loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False
