"""What is sent: handed in, listed, taken back, sent again, its doubts resolved. The same for every entrance.

A draft is composed, or a raw message taken as it is; the account that sends it is the one for its From address. When
``submit_draft`` or ``submit_raw`` returns, the submission is durable.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from postroom.app.core import Core
from postroom.app.operations.shown import moment
from postroom.errors import DraftFault, DraftRefused
from postroom.mime import dkim
from postroom.mime.compose import Given, compose
from postroom.mime.draft import Draft, DraftLimits, parse_draft
from postroom.mime.examine import HEAD, examine
from postroom.mime.original import Original, original_of
from postroom.mime.raw import RawEnvelope, take_raw
from postroom.outbound import STATE_WORDS, Composed, Handed, Passage, RecipientState, SubmissionRow
from postroom.settings import SmtpClient

T = TypeVar("T")

LIMITS = DraftLimits()
_DOMAIN = re.compile(r"@([A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?)(?![^>\s])")
_SMALL = 32 * 1024  # octets that are composed within a millisecond: no longer than a hand-over takes where cores are busy
_VALUE = 64  # octets that a value of a draft counts for beside its text
_NAMED = 10  # accounts that a fault names, and addresses of each
_ORIGINAL = 25 * 1024 * 1024  # octets of a message that is answered or forwarded


@dataclass(frozen=True, slots=True)
class Hand:
    """Who hands something in, and how it is known again."""

    owner: str = ""  # the id of an API key, or a listener's account; empty for the command line
    key: str | None = None  # Idempotency-Key
    send_at: float = 0.0  # seconds since 1970; not before
    client: str | None = None  # section that is to send it; None: by its From address
    among: tuple[str, ...] = ()  # clients that may send it; empty: all


async def submit_draft(core: Core, document: object, hand: Hand) -> tuple[SubmissionRow, bool]:
    """Compose a draft (``mime.draft``) and hand it in; the submission, and whether it is a new one.

    Raises ``DraftRefused`` with all that is wrong, ``KeyReused``, ``NotFound``, ``StoreError``.
    """
    large = not _is_small(document)
    asked = await _asked(hand, lambda: _text(document).encode(), large=large)
    if (known := await _known(core, hand, asked)) is not None:
        return known, False
    draft = await _carried_out(lambda: parse_draft(document, LIMITS), aside=large)
    original, answers, served = await _original(core, draft)
    default = _default_from(core, draft, served)
    author = default if draft.author is None else draft.author.address
    given = replace(_given(core, author), original=original, default_from=default)
    composed = await _carried_out(lambda: compose(draft, given), aside=large or original is not None)
    return await _hand_in(core, composed, hand, asked, answers)


async def submit_raw(core: Core, octets: bytes, envelope: RawEnvelope, hand: Hand) -> tuple[SubmissionRow, bool]:
    """Hand in a message as it is (``mime.raw``). Raises what ``submit_draft`` does."""
    large = len(octets) > _SMALL
    about = [envelope.mail_from, envelope.recipients, envelope.envid, envelope.ret]
    asked = await _asked(hand, lambda: _text(about).encode() + octets, large=large)
    if (known := await _known(core, hand, asked)) is not None:
        return known, False
    given = _given(core, envelope.mail_from or examine(octets[:HEAD]).sender)
    composed = await _carried_out(lambda: take_raw(octets, envelope, given), aside=large)
    return await _hand_in(core, composed, hand, asked, "")


def _text(document: object) -> str:
    return json.dumps(document, sort_keys=True, default=str)


async def _asked(hand: Hand, request: Callable[[], bytes], *, large: bool) -> bytes:
    """By what the same request is known again; nothing where it has no key."""
    if hand.key is None:
        return b""
    options = _text([hand.send_at, hand.client]).encode()
    return await _carried_out(lambda: hashlib.sha256(options + request()).digest(), aside=large)


async def _known(core: Core, hand: Hand, asked: bytes) -> SubmissionRow | None:
    return None if hand.key is None else await core.store.outbox.known(hand.owner, hand.key, asked)


async def _carried_out(job: Callable[[], T], *, aside: bool) -> T:
    """Carry out what computes: ``aside`` on a thread, else at once."""
    return await asyncio.to_thread(job) if aside else job()


def _is_small(document: object) -> bool:
    """Whether composing a draft takes no longer than a hand-over. What is large is not looked at to its end."""
    left, waiting = _SMALL, [document]
    while waiting and left > 0:
        value = waiting.pop()
        if isinstance(value, str):
            left -= len(value)
        elif isinstance(value, dict | list):
            left -= _VALUE * len(value)
            if left > 0:
                waiting += [*value, *value.values()] if isinstance(value, dict) else value
    return left > 0


async def _hand_in(core: Core, composed: Composed, hand: Hand, asked: bytes, answers: str) -> tuple[SubmissionRow, bool]:
    client = _sender(core, composed, hand)
    now = core.clock.now()
    composed = await _carried_out(lambda: _finished(composed, client, now), aside=client.dkim_key is not None)
    handed = Handed(client.section, composed, hand.owner, hand.key, asked, hand.send_at, answers)
    row, new = await core.store.outbox.hand_in(handed)
    if new:
        core.handed_in(client.section)
    return row, new


def _given(core: Core, author: str) -> Given:
    """What composing needs beside the draft: identity, time, and the options of ``email-processing``."""
    processing, now = core.live.configuration.processing, core.clock.now()
    offset = time.localtime(now).tm_gmtoff // 60
    return Given(
        message_id=f"<{uuid.uuid4().hex}@{_domain(author)}>",
        timestamp=now,
        seed=os.urandom(16),
        utc_offset=offset,
        charset=processing.outbound_msg_charset,
        default_from=processing.default_from_address or "",
        bcc_address=processing.bcc_address or "",
        reply_prefix=processing.subject_reply_prefix,
        forward_prefix=processing.subject_forward_prefix,
        quote_prefix=processing.quote_prefix,
    )


def _domain(author: str) -> str:
    """The right side of a Message-ID (RFC 5322 section 3.6.4): the author's domain, else this machine."""
    for text in (author, f"@{platform.node()}"):
        if found := _DOMAIN.search(text):
            return found[1].lower()
    return "localhost"


async def _original(core: Core, draft: Draft) -> tuple[Original | None, str, str]:
    """The message that is answered or forwarded, its id where it is answered, and the address that it came to."""
    wanted = draft.in_reply_to_message or draft.forward_message
    if not wanted:
        return None, "", ""
    found = await core.store.message(wanted)
    pointer = "/in_reply_to_message" if draft.in_reply_to_message else "/forward_message"
    if found is None:
        raise DraftRefused([DraftFault(pointer, wanted, "no message has this id", "the id of a captured message")])
    row, reference = found
    if reference.length > _ORIGINAL:
        raise DraftRefused([DraftFault(pointer, wanted, f"the message has {reference.length} octets", f"at most {_ORIGINAL}")])
    original = await asyncio.to_thread(lambda: original_of(core.store.blobs.read(reference)))
    return original, row.id if draft.in_reply_to_message else "", row.address


def _default_from(core: Core, draft: Draft, served: str) -> str:
    """Who writes where the draft says nothing: the address that the answered message came to, else the option's."""
    if draft.in_reply_to_message and served and core.live.route(served) is not None:
        return served
    return core.live.configuration.processing.default_from_address or ""


def _sender(core: Core, composed: Composed, hand: Hand) -> SmtpClient:
    """The account that sends it. Raises ``DraftRefused``."""
    address = composed.envelope.mail_from
    section = hand.client or core.live.route(address)
    client = core.live.sender(section) if section is not None else None
    among = [one for one in core.live.configuration.senders if not hand.among or one in hand.among]
    pointer, value = ("/client", hand.client) if hand.client else ("/from", address)
    if client is not None and hand.among and client.section not in hand.among:
        problem = (
            "the key does not name it"
            if hand.client
            else f"[{client.section}] sends for this address, and the key does not name it"
        )
    elif client is not None:
        return client
    elif section is None:
        problem = "no account sends for this address"
    elif section in core.live.configuration.faulty:
        problem = f"[{section}] has a fault and cannot send; postroom check names it"
    else:
        problem = f"[{section}] is no account that runs"
    raise DraftRefused([DraftFault(pointer, value, problem, _known_senders(core, among, addresses=not hand.client))])


def _known_senders(core: Core, sections: list[str], *, addresses: bool) -> str:
    """The accounts that can send, for people: each with the ``addresses`` that it sends for, so many as can be read."""
    words = []
    for section in sections[:_NAMED]:
        client = core.live.sender(section)
        served = (", ".join(client.addresses[:_NAMED]) or "any address") if client is not None else ""
        words.append(f"{served} ({section})" if addresses else section)
    more = f", and {len(sections) - _NAMED} more accounts" if len(sections) > _NAMED else ""
    return (", ".join(words) or "none: no smtp-client can send") + more


def _finished(composed: Composed, client: SmtpClient, now: float) -> Composed:
    """What the account adds: the envelope's sender, what reports are asked for, and its signature."""
    envelope = composed.envelope
    if client.dsn_notify:
        people = [known if known.notify else known._replace(notify=client.dsn_notify) for known in envelope.recipients]
        envelope = replace(envelope, recipients=tuple(people))
    if client.dsn_ret and not envelope.ret:
        envelope = replace(envelope, ret=client.dsn_ret)
    if client.envelope_from and envelope.mail_from:
        envelope = replace(envelope, mail_from=client.envelope_from)
    octets = composed.octets
    if client.dkim_domain and client.dkim_selector and client.dkim_key is not None:
        octets = dkim.sign(octets, client.dkim_domain, client.dkim_selector, client.dkim_key.reveal().encode(), int(now))
    return replace(composed, envelope=envelope, octets=octets)


# --- for programs -------------------------------------------------------------------------------------------------------


def as_dict(row: SubmissionRow) -> dict[str, object]:
    """A submission for programs."""
    return {
        "id": row.id,
        "client": row.client,
        "state": state_of(row),
        "from": row.mail_from,
        "subject": row.subject,
        "message_id": row.message_id,
        "size": row.size,
        "created_at": moment(row.created_at),
        "send_at": moment(row.send_at),
        "in_reply_to_message": row.answers or None,
        "attempts": row.attempts,
        "next_attempt_at": moment(row.not_before) if row.state.value == "ready" and row.not_before else None,
        "fault": row.fault or None,
        "recipients": [
            {
                "address": known.address,
                "state": known.state.value,
                "code": known.code or None,
                "enhanced": known.enhanced or None,
                "words": known.words or None,
                "at": moment(known.at) if known.at else None,
            }
            for known in row.recipients
        ],
    }


RESOLUTIONS = {"sent": RecipientState.SENT, "resend": RecipientState.PENDING, "failed": RecipientState.FAILED}
"""What a person may make of a doubt."""


def state_of(row: SubmissionRow) -> str:
    """Where a submission stands, in a word."""
    return STATE_WORDS[row.state]


def history_as_dicts(passages: list[Passage]) -> list[dict[str, object]]:
    """What happened to a submission, for programs."""
    return [
        {"at": moment(passage.at), "event": passage.event, "address": passage.address or None, "words": passage.words or None}
        for passage in passages
    ]
