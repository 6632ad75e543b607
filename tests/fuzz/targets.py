"""What is fuzzed. A target takes octets and raises only what it documents; anything else is a defect."""

from __future__ import annotations

import base64
import contextlib
import datetime
import random
import zlib
from collections.abc import Callable
from pathlib import Path

from fuzz import pop3, smtp
from fuzz.drafts import drafts, raw
from postroom.drivers.imap_first import utc_day
from postroom.drivers.provider import Providers
from postroom.engine.first import arrived_before, ids_of
from postroom.errors import LocalProtocolError, PostroomError, RemoteProtocolError
from postroom.mime.examine import examine
from postroom.mime.fingerprint import fingerprint
from postroom.mime.recipients import chosen, header_line, header_of, recipients
from postroom.mime.withheld import withheld, withheld_octets
from postroom.net.answers import outside_token, token_of
from postroom.net.deflate import Inflating
from postroom.net.http import HttpAnswer
from postroom.net.refusals import Where, explain, heard_from_words
from postroom.secret import Secret
from postroom.settings import parse_configuration
from postroom.wire import autoconfig, jwt, oauth, sasl
from postroom.wire.imap import commands, utf7
from postroom.wire.imap.fragments import Fragments
from postroom.wire.imap.grammar import parse
from postroom.wire.imap.numbers import Numbers

_PROVIDERS = Providers()


def imap(octets: bytes) -> None:
    """Any stream, cut anywhere, gives the same responses or the same refusal, in bounded memory."""
    whole = _responses(octets, [len(octets)])
    noise = random.Random(octets)
    cuts = sorted(noise.randrange(len(octets) + 1) for _ in range(5))
    assert _responses(octets, [*cuts, len(octets)]) == whole


def _responses(octets: bytes, cuts: list[int]) -> list[object]:
    fragments = Fragments(inline=2048, line=4096)
    found: list[object] = []
    streamed = b""
    start = 0
    try:
        for end in cuts:
            piece, start = octets[start:end], end
            while piece:
                room = fragments.get_buffer()
                count = min(len(room), len(piece))
                room[:count] = piece[:count]
                fragments.received(count)
                piece = piece[count:]
                while (fragment := fragments.next()) is not None:
                    if isinstance(fragment, list):
                        found += [streamed, repr(parse(fragment))]
                        streamed = b""
                    elif hasattr(fragment, "octets"):
                        streamed += fragment.octets  # long literals may come in other pieces
                assert len(fragments.get_buffer()) <= 64 * 1024
    except RemoteProtocolError as error:
        found.append(type(error))
    return found


def deflated(octets: bytes) -> None:
    """A deflated stream, sound or not, is the same whatever the cuts; what a server may send inside is a stream like any other."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    sound = packer.compress(octets) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert _inflated(sound, len(sound)) == (octets, False)
    assert _inflated(sound, 7) == (octets, False)
    whole, broken = _inflated(octets, len(octets) + 1)
    pieces, broken_too = _inflated(octets, 5)
    assert broken == broken_too
    assert pieces.startswith(whole)  # of a piece with a fault in it zlib gives nothing


def _inflated(octets: bytes, cut: int) -> tuple[bytes, bool]:
    codec = _Sink()
    inflating = Inflating(codec)
    for start in range(0, len(octets), cut):
        inflating.feed(octets[start : start + cut])
        while inflating.full and inflating.broken is None:
            codec.take()
            inflating.inflate()
    codec.take()
    return codec.taken, inflating.broken is not None


class _Sink:
    """A codec with room for 512 octets."""

    def __init__(self) -> None:
        self.taken = b""
        self._room = bytearray(512)
        self._held = 0

    @property
    def full(self) -> bool:
        return self._held == len(self._room)

    def get_buffer(self) -> memoryview:
        return memoryview(self._room)[self._held :]

    def received(self, count: int) -> None:
        self._held += count

    def take(self) -> None:
        self.taken += bytes(self._room[: self._held])
        self._held = 0


def commands_(octets: bytes) -> None:
    """What we write for a server's octets comes back from pieces as it was, or is refused as ours."""
    for unasked in (-1, 4096, commands.UNLIMITED):
        with contextlib.suppress(LocalProtocolError):
            line = b"P1 SELECT " + commands.mailbox(octets)
            assert octets.isascii() or b"".join(commands.pieces(line, unasked)).endswith(octets)
    with contextlib.suppress(ValueError):
        numbers = Numbers.read(octets)
        assert all(low <= high for low, high in numbers.ranges())


def ini(octets: bytes) -> None:
    """Any text is read; what is wrong with it comes back as faults that can be printed."""
    text = octets.decode("utf-8", "replace")
    configuration = parse_configuration(text, Path("fuzz.ini"), {}, _PROVIDERS, lambda _path: b"x")
    assert all(str(fault) for fault in configuration.faults)


def head(octets: bytes) -> None:
    """A message's header never raises, and its facts can be shown on a line."""
    facts = examine(octets)
    for text in (facts.subject, facts.sender, facts.date, facts.message_id, *recipients(header_of(octets)[0])):
        assert text.isprintable()
    assert fingerprint([octets]) == fingerprint([octets[:7], octets[7:]])


def first_read(octets: bytes) -> None:
    """What a repair, a first read, a withheld message and a copy take from a header or a date; each can be shown on a line."""
    header = header_of(octets)[0]
    assert ids_of({"1": header})["1"].isprintable()
    dates = [arrived_before(header, day) for day in (datetime.date.min, datetime.date(2026, 2, 1), datetime.date.max)]
    assert dates == sorted(dates)  # what came before a day came before every later one
    for line in octets[:2000].splitlines():
        assert isinstance(utc_day(line.decode("utf-8", "replace")), datetime.date | None)
    short = withheld(octets, len(octets))
    assert withheld_octets(short) == len(octets)
    assert short == withheld(octets.partition(b"\r\n\r\n")[0], len(octets))  # of the header alone
    found = recipients(header)
    copied, left_out = chosen(found, "b@example.org", 2)
    assert sorted(copied + left_out) == sorted(found)
    assert len(copied) <= 2
    for recipient in copied:
        lines = (header_line("X-Recipient", recipient, octets) + octets).splitlines(keepends=True)
        assert lines[0].decode().strip() == f"X-Recipient: {recipient}".strip()


def answers(octets: bytes) -> None:
    """Answers of authorities, error challenges of servers, documents that name servers."""
    assert str(sasl.oauth_error(octets))
    utf7.decode(octets)
    with contextlib.suppress(ValueError):
        autoconfig.read_autoconfig(octets)
    oauth.read_device_authorization(200, octets)
    for status in (200, 400, 401, 429, 503):
        for authority in ("", "google", "microsoft"):
            with contextlib.suppress(PostroomError):
                token_of(HttpAnswer(status, octets, None), {"client_secret": "sesame"}, authority)
    with contextlib.suppress(PostroomError):
        outside_token(octets, "fuzz")


def consents(octets: bytes) -> None:
    """What is pasted, what a browser or a server says, and tokens that can be read."""
    text = octets.decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        oauth.read_redirect(text)
    for where in (Where.PAGE, Where.LOGIN):
        explain(heard_from_words(where, "microsoft", text))
    claims = jwt.claims_of(Secret(text)) or jwt.claims_of(Secret(f"e30.{base64.urlsafe_b64encode(octets).decode()}.x"))
    if claims is not None:
        wanted = jwt.Wanted("a@example.org", ("https://outlook.office.com",), "IMAP.AccessAsUser.All", "IMAP.AccessAsApp")
        for words in (*jwt.complaints(claims, wanted, 0.0), jwt.described(claims)):
            assert words.isprintable()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "imap": imap,
    "deflated": deflated,
    "commands": commands_,
    "ini": ini,
    "head": head,
    "first-read": first_read,
    "pop3": pop3.codec,
    "pop3-reading": pop3.reading,
    "smtp": smtp.codec,
    "smtp-sending": smtp.sending,
    "answers": answers,
    "consents": consents,
    "drafts": drafts,
    "raw": raw,
}
