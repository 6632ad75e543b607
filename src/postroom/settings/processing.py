"""The section ``email-processing``: how mail is treated, whatever the client."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from postroom.settings import values
from postroom.settings.option import Effect, Surroundings, option

_IMMEDIATELY = Effect.IMMEDIATELY
_BLANK = "A blank follows it: the file's lines end without one."
_NO_CHARSETS = ("charmap", "idna", "palmos", "punycode", "raw-unicode-escape", "undefined", "utf-7")
"""Codecs of Python that are no charset for mail (utf-7: RFC 2152 is not for new mail)."""


def _prefix(value: str, surroundings: Surroundings) -> str:
    return f"{values.text(value, surroundings)} "


def _charset(value: str, _: Surroundings) -> str:
    """A charset that text in mail may have: it is known, and its line ends are CRLF in ASCII (RFC 2046 section 4.1.1)."""
    try:
        known = codecs.lookup(value).name
        sound = "a\r\n".encode(value) == b"a\r\n" and known.replace("_", "-") not in _NO_CHARSETS
    except (LookupError, UnicodeError, ValueError):
        raise ValueError("is no charset that is known here") from None
    if not sound:
        raise ValueError("is no charset for text in mail")
    return "utf-8" if known == "utf-8" else value.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingSettings:
    """How mail is treated."""

    default_from_address: str | None = option(
        "default-from-address",
        values.mail_address,
        valid="an e-mail address",
        effect=_IMMEDIATELY,
        ours="It must be an address; the family's default is none as well.",
        sentence="Who a message is from that is submitted without From. Without it such a message is refused.",
    )
    bcc_address: str | None = option(
        "bcc-address",
        values.mail_address,
        valid="an e-mail address",
        effect=_IMMEDIATELY,
        ours="It is a recipient as all others are, with a state of its own.",
        sentence="Who gets a copy of everything that is sent, without being named in it.",
    )
    subject_reply_prefix: str = option(
        "subject-reply-prefix",
        _prefix,
        default="Re:",
        valid="a text",
        effect=_IMMEDIATELY,
        ours=_BLANK,
        sentence="What stands before the subject of an answer, where nothing like it stands there yet.",
    )
    subject_forward_prefix: str = option(
        "subject-forward-prefix",
        _prefix,
        default="Fwd:",
        valid="a text",
        effect=_IMMEDIATELY,
        ours=_BLANK,
        sentence="What stands before the subject of a message that is passed on, where nothing like it stands there yet.",
    )
    quote_prefix: str = option(
        "quote-prefix",
        _prefix,
        default=">",
        valid="a text",
        effect=_IMMEDIATELY,
        ours=_BLANK,
        sentence="What stands before each line of the message that is answered.",
    )
    outbound_msg_charset: str = option(
        "outbound-msg-charset",
        _charset,
        default="utf-8",
        valid="a charset whose line ends are those of ASCII: utf-8, iso-8859-1, windows-1252, iso-2022-jp, gb18030, …",
        effect=_IMMEDIATELY,
        ours="A text that the charset cannot carry is sent in utf-8.",
        sentence="The charset of the texts that are composed here.",
    )
