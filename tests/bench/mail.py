"""The messages that are captured. The same numbers give the same octets."""

from __future__ import annotations

import base64
import datetime
import random
from collections.abc import Iterator

_BEGAN = datetime.datetime(2026, 3, 2, 8, 0, tzinfo=datetime.UTC)
_TEXT = (
    "order invoice delivery Thursday customer the a of please attached regarding number confirm address change refund "
    "warehouse parcel account manager yesterday reply contract meeting product serial warranty would could thank kind regards"
)
_WORDS = _TEXT.split()
_NAMES = ("Ada Lindqvist", "Bruno Okafor", "=?utf-8?q?C=C3=A9cile_Moreau?=", "Dmitri Sato", "Eva =?iso-8859-1?q?M=FCller?=")


def small(count: int, size: int = 4096) -> Iterator[bytes]:
    """``count`` plain messages of ``size`` octets, as they come from the internet."""
    for number in range(count):
        draw = random.Random(number)
        yield _filled(_header(number, draw, "text/plain; charset=utf-8", "8bit"), size, draw)


def large(count: int, size: int = 5_000_000) -> Iterator[bytes]:
    """``count`` messages of about ``size`` octets, nearly all of it one attachment in base64."""
    for number in range(count):
        draw = random.Random(number)
        header = _header(number, draw, "application/octet-stream; name=scan.bin", "base64")
        lines = (size - len(header)) // 78
        body = base64.encodebytes(draw.randbytes(lines * 57)).replace(b"\n", b"\r\n")
        yield header + body


def _header(number: int, draw: random.Random, kind: str, encoding: str) -> bytes:
    at = (_BEGAN + datetime.timedelta(seconds=97 * number)).strftime("%a, %d %b %Y %H:%M:%S +0000")
    subject = " ".join(draw.choices(_WORDS, k=5)).capitalize()
    hops = "".join(
        f"Received: from mx{hop}.example.net (mx{hop}.example.net [192.0.2.{hop + 7}])\r\n"
        f"\tby relay{hop}.example.com (Postfix) with ESMTPS id {draw.getrandbits(44):X}\r\n\tfor <desk@example.test>; {at}\r\n"
        for hop in range(3)
    )
    fields = (
        f"Return-Path: <sender{number}@example.net>\r\n{hops}"
        "Authentication-Results: mx.example.com; dkim=pass header.d=example.net; spf=pass\r\n"
        f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=s1;\r\n\tbh={_token(draw, 32)};\r\n"
        f"\tb={_token(draw, 54)}\r\n\t {_token(draw, 54)}\r\n\t {_token(draw, 54)}\r\n"
        f"From: {draw.choice(_NAMES)} <sender{number}@example.net>\r\nTo: Service Desk <desk@example.test>\r\n"
        f"Subject: {subject} [{number}]\r\nDate: {at}\r\nMessage-ID: <{number}.{draw.getrandbits(64):x}@example.net>\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return fields.encode()


def _token(draw: random.Random, octets: int) -> str:
    return base64.b64encode(draw.randbytes(octets)).decode()


def _filled(header: bytes, size: int, draw: random.Random) -> bytes:
    """The header and lines of text up to exactly ``size`` octets."""
    lines = [header]
    left = size - len(header)
    while left > 100:
        line = " ".join(draw.choices(_WORDS, k=9)).encode()[:74] + b"\r\n"
        lines.append(line)
        left -= len(line)
    lines.append(b"." * (left - 2) + b"\r\n")
    return b"".join(lines)
