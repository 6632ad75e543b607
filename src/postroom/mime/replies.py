"""What an answer or a forward takes from the message before it: thread (RFC 5322 section 3.6.4), subject, quotation."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from postroom.mime.original import Original

_MOST_REFERENCES = 30
_LONGEST_REFERENCES = 3000  # octets: readers cut long headers
_REPLY = re.compile(
    r"(?:re|r|aw|sv|vs|antw|antwort|ref|rif|rép|res|rv|odp|od|vá|ynt|ats|atb|bls|回复|回覆|答复|返信|отв|אב)"
    r"\s{0,3}(?:\[\d{1,3}\]|\(\d{1,3}\)|\^\d{1,3})?\s{0,3}[:\uff1a]\s*",
    re.IGNORECASE,
)
_FORWARD = re.compile(r"(?:fwd?|wg|tr|vb|vl|doorst|enc|i|rv|pd|转发|轉寄|転送|пересл)\s{0,3}[:\uff1a]\s*", re.IGNORECASE)


def references(original: Original) -> tuple[str, ...]:
    """The ids of the thread up to the original. Where they are too many, the first and the last are kept."""
    ids = [*original.references, *([original.message_id] if original.message_id else [])]
    ids = [one for at, one in enumerate(ids) if one not in ids[at + 1 : at + 2]]  # some programs repeat the last
    if len(ids) > _MOST_REFERENCES:
        ids = [ids[0], *ids[1 - _MOST_REFERENCES :]]
    while len(ids) > 2 and sum(map(len, ids)) + len(ids) > _LONGEST_REFERENCES:
        del ids[1]
    return tuple(ids)


def reply_subject(subject: str, prefix: str) -> str:
    """The subject with the prefix once, whatever prefixes of answers it had (in the languages that programs use)."""
    return prefix + _without(subject, prefix, _REPLY)


def forward_subject(subject: str, prefix: str) -> str:
    """The subject with the prefix once."""
    return prefix + _without(subject, prefix, _FORWARD)


def _without(subject: str, prefix: str, prefixes: re.Pattern[str]) -> str:
    subject = subject.strip()
    own = prefix.strip()
    while True:
        if own and subject[: len(own)].casefold() == own.casefold():
            subject = subject[len(own) :].strip()
        elif found := prefixes.match(subject):
            subject = subject[found.end() :].strip()
        else:
            return subject


def quoted_text(original: Original, prefix: str) -> str:
    """The original's text below a line that says whose it is."""
    lines = original.text.rstrip().split("\n")
    return "\n".join([_attribution(original), *((prefix + line).rstrip() for line in lines)])


def quoted_html(original: Original) -> str:
    """The same as HTML; made of the text, so nothing that is active in the original is in it."""
    text = html.escape(original.text.rstrip()).replace("\n", "<br>\n")
    return f'<p>{html.escape(_attribution(original))}</p>\n<blockquote type="cite">{text}</blockquote>\n'


def forwarded_text(original: Original) -> str:
    """The original's text below its most important fields."""
    return "\n".join(["---------- Forwarded message ----------", *_facts(original), "", original.text.rstrip()])


def forwarded_html(original: Original) -> str:
    """The same as HTML."""
    head = "<br>\n".join(html.escape(line) for line in ("---------- Forwarded message ----------", *_facts(original)))
    text = html.escape(original.text.rstrip()).replace("\n", "<br>\n")
    return f"<p>{head}</p>\n<div>{text}</div>\n"


def _attribution(original: Original) -> str:
    who = original.sender or "somebody"
    return f"On {original.date}, {who} wrote:" if original.date else f"{who} wrote:"


def _facts(original: Original) -> Sequence[str]:
    facts = (
        ("From", original.sender),
        ("Date", original.date),
        ("Subject", original.subject),
        ("To", original.to),
        ("Cc", original.cc),
    )
    return [f"{name}: {value}" for name, value in facts if value]
