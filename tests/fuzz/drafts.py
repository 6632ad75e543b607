"""Hostile drafts: each is refused with faults that can be shown, or composed into what was asked for."""

from __future__ import annotations

import base64
import json
import random
import re
from dataclasses import replace
from typing import Any

from fuzz.letters import GIVEN, check, check_octets, check_refusal
from postroom.errors import DraftRefused
from postroom.mime.compose import compose
from postroom.mime.draft import DraftLimits, parse_draft
from postroom.mime.original import original_of
from postroom.mime.raw import RawEnvelope, take_raw
from postroom.outbound import Recipient

_LIMITS = DraftLimits(recipients=1000, octets=1024 * 1024)
_INJECTED = [
    "\r\nBcc: x@evil.example",
    "\nX: y",
    "\r\n\r\n<script>",
    "\r.\r\n",
    "\n.\n",
    "\0",
    "\x0b",
    "\x1c",
    "\x85",
    "\u2028",
    "\x7f",
    "\t",
]
_ODD = [
    "é",
    "\U0001f600",
    "\u200f",
    "\u202e",
    "שלום",
    "العربية",
    "日本",
    "\ud800",
    "\udfff\ud83d",
    "\ufeff",
    "\ufffe",
    "e\u0301" * 40,
]
_TRAPS = [
    "=?utf-8?q?x?=",
    "=?",
    "?=",
    '"',
    "\\",
    "(",
    ")",
    ",",
    ";",
    ":",
    "<",
    ">",
    "@",
    "=_",
    "--",
    "From ",
    ".",
    "..",
    "%00",
    "&",
    " ",
    "  ",
]
_LONG = ["x" * 997, "x" * 5000, "ü" * 3000, "a " * 2000, "\U0001f600" * 1200, "." * 300, "=" * 2000]
_NAMES = [
    *("from", "sender", "to", "cc", "bcc", "reply_to", "subject", "text", "html", "attachments", "inline", "headers", "quote")
]
_NAMES += [
    "in_reply_to_message",
    "forward_message",
    "auto_submitted",
    "priority",
    "envid",
    "notify",
    "ret",
    "Bcc",
    "bbc",
    "__proto__",
]
_TYPES = [
    "text/plain",
    "text/html; charset=utf-16",
    "multipart/mixed; boundary=x",
    "message/rfc822",
    "message/partial",
    "a/b\r\nX: y",
]
_TYPES += [
    "application/octet-stream",
    "text/plain; charset=\u202eutf",
    'image/png; name="a\\"b"',
    "/",
    "x" * 300 + "/y",
    "text/plain;" * 50,
]


def judge(document: object) -> bool:
    """Whether the draft was composed; raises where it was neither composed well nor refused well."""
    try:
        draft = parse_draft(document, _LIMITS)
        composed = compose(draft, GIVEN)
    except DraftRefused as refused:
        check_refusal(refused)
        return False
    check(draft, composed)
    return True


def hostile(noise: random.Random) -> dict[str, Any]:
    """A draft that is sound but for a few places."""
    draft: dict[str, Any] = {"to": ["a@example.org"], "subject": "Hello", "text": "Hello\n"}
    for _ in range(noise.randint(1, 4)):
        name = noise.choice(_NAMES if noise.random() < 0.15 else _NAMES[:12])
        draft[name] = _member(noise, name)
    if noise.random() < 0.8 and "inline" in draft:
        draft.setdefault("html", '<img src="cid:logo">')
    if noise.random() < 0.02:
        draft["to"] = [f"{noise.randrange(10**9)}@example.org" for _ in range(noise.choice((999, 1001, 100_000)))]
    return draft


def _member(noise: random.Random, name: str) -> Any:
    if noise.random() < 0.04:
        return _anything(noise)
    if name in ("from", "sender"):
        return _address(noise)
    if name in ("to", "cc", "bcc", "reply_to"):
        return [_address(noise) for _ in range(noise.randint(1, 3))]
    if name in ("attachments", "inline"):
        return [_file(noise, inline=name == "inline") for _ in range(noise.randint(0, 3))]
    if name == "headers":
        fields = [(noise.choice(("X-A", "X-B", "X-" + _text(noise)[:20], "Bcc", "List-Id")), _text(noise)) for _ in range(2)]
        return dict(fields) if noise.random() < 0.5 else [list(pair) for pair in fields]
    known = {"notify": ["NEVER", "SUCCESS"], "ret": "FULL", "priority": "high", "auto_submitted": True, "envid": "abc"}
    return known[name] if name in known and noise.random() < 0.5 else _text(noise)


def _anything(noise: random.Random) -> Any:
    deep: Any = "x"
    for _ in range(noise.choice((1, 10, 500))):
        deep = [deep] if noise.random() < 0.5 else {"address": deep}
    many = {f"k{number}": None for number in range(200)}
    return noise.choice(
        [None, True, 1, -1.5, float("nan"), float("inf"), 10**5000, "", [], {}, deep, many, [None], b"x", [[]] * 50]
    )


def _text(noise: random.Random) -> str:
    sound, strange = ["Grüße", "Hello there", "0", "utf-7", "ascii"], [one for one in _ODD if one.isprintable()]
    kinds = (sound, strange, _TRAPS, _LONG) if noise.random() < 0.7 else (sound, _ODD, _TRAPS, _LONG, _INJECTED)
    pieces = [noise.choice(noise.choice(kinds)) for _ in range(noise.randint(0, 5))]
    if noise.random() < 0.05:
        pieces.append("".join(chr(noise.randrange(0x11000)) for _ in range(20)))
    return noise.choice(("", " ")).join(pieces)


def _address(noise: random.Random) -> Any:
    if noise.random() < 0.8:
        return noise.choice(
            ("b@example.org", {"name": _text(noise), "address": "c@müller.example"}, "Ü <ü@example.org>", '"a, b" <"x y"@a.b>')
        )
    local = noise.choice(("a", "a.b", "", "ü", "\U0001f600", '"a b"', '"\\"', "a..b", "x" * 64, "x" * 65, _text(noise)[:30]))
    domain = noise.choice(
        (
            "example.org",
            "müller.de",
            "[192.0.2.1]",
            "[IPv6:::1]",
            "\U0001f600.example",
            "a_b",
            "x." * 130 + "x",
            "",
            "。",
            "xn--",
            "-a.b",
        )
    )
    address = f"{local}@{domain}"
    name = _text(noise) if noise.random() < 0.7 else "Ann"
    forms = [address, f"{name} <{address}>", f'"{name}" <{address}>', {"name": name, "address": address}, {"adress": address}]
    return noise.choice(
        [*forms, f"{address}, b@example.org", f"g: {address};", f"({name}) {address}", {"address": f"{name} <{address}>"}]
    )


def _file(noise: random.Random, *, inline: bool) -> Any:
    content = base64.b64encode(noise.randbytes(noise.randint(0, 400))).decode()
    if noise.random() < 0.1:
        content = noise.choice((_text(noise), content[:-1], content + "\n", "A" * 3_000_000))
    if noise.random() < 0.7:
        return {"filename": noise.choice(("a.pdf", _text(noise).strip()[:80])), "content": content} | (
            {"content_id": str(noise.random())} if inline else {}
        )
    names = (
        "a.pdf",
        "../../etc/passwd",
        "C:\\a",
        "..",
        "grüße.txt",
        "\u202efdp.exe",
        "x" * 255,
        "ü" * 255,
        "con",
        'a"b\\',
        _text(noise),
    )
    file = {"filename": noise.choice(names), "content": content}
    if noise.random() < 0.4:
        file["content_type"] = noise.choice((*_TYPES, _text(noise)))
    if inline or noise.random() < 0.1:
        file["content_id"] = noise.choice(("logo", "<logo@x>", "a b", "", _text(noise)))
    return file


def drafts(octets: bytes) -> None:
    """The target: the octets as a document where they are one, and a draft drawn by them."""
    try:
        document = json.loads(octets)
    except (ValueError, RecursionError):
        document = None
    judge(document)
    judge(hostile(random.Random(octets)))


def raw(octets: bytes) -> None:
    """A message that is taken as it is, and a captured one that is answered."""
    answer = parse_draft({"to": "a@example.org", "in_reply_to_message": "m", "text": "x", "html": "x", "quote": True})
    check_octets(compose(answer, replace(GIVEN, original=original_of(octets))))
    try:
        taken = take_raw(octets, RawEnvelope("a@example.org", (Recipient("b@example.org"),)), GIVEN)
    except DraftRefused as refused:
        check_refusal(refused)
        return
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", taken.octets)
    assert max(map(len, taken.octets.split(b"\r\n"))) <= 998
    assert take_raw(taken.octets, RawEnvelope("", taken.envelope.recipients), GIVEN).octets == taken.octets
