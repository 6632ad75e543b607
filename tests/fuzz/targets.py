"""What is fuzzed. A target takes octets and raises only what it documents; anything else is a defect."""

from __future__ import annotations

import base64
import contextlib
import random
from collections.abc import Callable
from pathlib import Path

from postroom.drivers.provider import Providers
from postroom.errors import PostroomError, RemoteProtocolError
from postroom.mime.examine import examine
from postroom.mime.fingerprint import fingerprint
from postroom.mime.recipients import header_of, recipients
from postroom.net.answers import outside_token, token_of
from postroom.net.http import HttpAnswer
from postroom.net.refusals import Where, explain, heard_from_words
from postroom.secret import Secret
from postroom.settings import parse_configuration
from postroom.wire import autoconfig, jwt, oauth, sasl
from postroom.wire.imap import utf7
from postroom.wire.imap.fragments import Fragments
from postroom.wire.imap.grammar import parse

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


TARGETS: dict[str, Callable[[bytes], None]] = {"imap": imap, "ini": ini, "head": head, "answers": answers, "consents": consents}
