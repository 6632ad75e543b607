"""Noise for SMTP: the codec under any cuts, what a refusal means, and a whole submission against any server."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from typing import Any, cast

from fakes import HastyClock, kit, place
from postroom.drivers.smtp import open_smtp
from postroom.drivers.smtp_replies import At, fault_of, judge
from postroom.errors import LocalProtocolError, Lost, PostroomError, RemoteProtocolError
from postroom.net.credentials import PasswordCredentials
from postroom.net.stream import Dialer, Stream
from postroom.outbound import Body, Envelope, Octets, Recipient, RecipientState
from postroom.secret import Secret
from postroom.wire.smtp import commands
from postroom.wire.smtp.capabilities import capabilities
from postroom.wire.smtp.content import Stuffing, has_bare_line_end, whole
from postroom.wire.smtp.replies import Replies, Reply

_TURNS = 5000  # commands, or steps of a submission; no input has so many replies


def codec(octets: bytes) -> None:
    """Any stream, cut anywhere, gives the same replies or the same refusal; all that is in them can be shown."""
    noise = random.Random(octets)
    cuts = sorted(noise.randrange(len(octets) + 1) for _ in range(5))
    replies, refused = _replies(octets, [len(octets)])
    assert (replies, refused) == _replies(octets, [*cuts, len(octets)])
    for reply in replies:
        assert reply.words.isprintable()
        offered = capabilities(reply)
        assert all(name.isprintable() for name in (*offered.keywords, *offered.mechanisms))
        assert all(limit > 0 for limit in offered.limits.values())
        for provider in ("", "google", "microsoft"):
            for at in At:
                assert str(fault_of(judge(reply, at, provider, anonymous=not provider), reply, "mail.example.org")).isprintable()
    _content(octets, cuts)
    _commands(octets.decode("utf-8", "replace"))


def _replies(octets: bytes, cuts: list[int]) -> tuple[list[Reply], type[Exception] | None]:
    replies = Replies()
    found: list[Reply] = []
    start = 0
    try:
        for end in cuts:
            replies.feed(octets[start:end])
            start = end
            while (reply := replies.reply()) is not None:
                found.append(reply)
    except RemoteProtocolError as error:
        return found, type(error)
    return found, None


def _content(octets: bytes, cuts: list[int]) -> None:
    stuffing = Stuffing()
    sent = b""
    bare = has_bare_line_end(octets)
    try:
        for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
            sent += stuffing.piece(octets[start:end])
            assert b"\r\n.\r\n" not in b"\r\n" + sent, "the message is over before its end"
        sent += stuffing.end()
    except LocalProtocolError:
        assert bare
    else:
        assert not bare
        assert sent == whole(octets)


def _commands(text: str) -> None:
    for line in (text, *text.splitlines()[:5]):
        recipient = Recipient(line, ("SUCCESS",), f"rfc822;{line}")
        with contextlib.suppress(LocalProtocolError):
            assert commands.mail(line, smtputf8=True).count(b"\r\n") == 1
        with contextlib.suppress(LocalProtocolError):
            assert commands.rcpt(recipient, smtputf8=True, dsn=True).count(b"\r\n") == 1


# --- a submission -----------------------------------------------------------------------------------------------------


class _Server:
    """Says its octets whatever it hears, cut anywhere; then it is gone."""

    own_address = "192.0.2.1"

    def __init__(self, octets: bytes) -> None:
        noise = random.Random(octets)
        ends = sorted({*(noise.randrange(len(octets) + 1) for _ in range(9)), len(octets)})
        self._pieces = iter([octets[start:end] for start, end in zip([0, *ends], ends, strict=False)])
        self._replies: Any = None
        self.heard = b""
        self.open = True
        self.commands = 0

    async def connect(self, _host: str, _port: int, receiver: Any, **_how: object) -> Stream:
        self._replies = receiver
        return cast(Stream, self)

    async def more(self, _timeout: float) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise Lost("the server is gone")
        self._replies.feed(piece)

    async def write(self, octets: bytes, _timeout: float) -> None:
        assert self.open, "something is said after the end"
        self.heard += octets
        self.commands += 1
        assert self.commands < _TURNS, "it asks without end"

    def abort(self) -> None:
        self.open = False

    close = abort


class _Marks:
    """Who may be accepted; nothing that ends a message may have been sent before."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.marked: list[str] = []

    async def __call__(self, addresses: Sequence[str]) -> None:
        assert addresses, "a mark for nobody"
        assert not set(addresses) & set(self.marked), "one recipient marked twice"
        heard = self._server.heard
        assert heard.count(b"hello") == heard.count(b"\r\n.\r\n") + heard.count(b" LAST\r\n"), "content before its mark"
        self.marked += addresses


def sending(octets: bytes) -> None:
    """Whatever a server says, a submission ends with what the seam promises or with a documented error."""
    for recipients in (1, 3):
        server = _Server(octets)
        made = kit(HastyClock())
        hands = type(made)(made.clock, cast(Dialer, server), made.http, made.tokens, made.providers, made.trace)
        with contextlib.suppress(PostroomError):
            _run(_send(server, hands, recipients))


async def _send(server: _Server, hands: Any, recipients: int) -> None:
    credentials = PasswordCredentials("a@example.org", Secret("pw"), (), "", "smtp-client-a") if recipients == 1 else None
    envelope = Envelope("a@b.c", tuple(Recipient(f"{n}@y.z") for n in range(recipients)), Body.SEVEN_BIT)
    async with open_smtp(place(587), credentials, hands, None) as submitter:
        for _ in range(3):
            marks = _Marks(server)
            statuses = await submitter.submit(envelope, Octets(b"hello\r\n"), marks)
            assert [status.address for status in statuses] == [each.address for each in envelope.recipients]
            for status in statuses:
                assert status.words.isprintable()
                if status.state in (RecipientState.SENT, RecipientState.DOUBT):
                    assert status.address in marks.marked, "accepted, and nobody was told that it might be"
                assert status.state is not RecipientState.SENT or 200 <= status.code < 300
            if not submitter.stands():
                return


def _run(sending_: Any) -> None:
    """Without a loop: nothing here waits."""
    for _ in range(_TURNS):
        try:
            sending_.send(None)
        except StopIteration:
            return
    raise AssertionError("it comes to no end")
