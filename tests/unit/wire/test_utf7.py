"""Folder names in modified UTF-7."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.wire.imap.utf7 import decode, encode

NAMES = [
    ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 3501 section 5.1.3
    ("☺!", b"&Jjo-!"),
    ("台北", b"&U,BTFw-"),
    ("&", b"&-"),
    ("&&", b"&-&-"),
    ("a&b", b"a&-b"),
    ("Entwürfe", b"Entw&APw-rfe"),
    ("Gelöschte Objekte", b"Gel&APY-schte Objekte"),
    ("😀", b"&2D3eAA-"),
    ("ü&ü", b"&APw-&-&APw-"),
    ("", b""),
    ("a+b-c,d/e", b"a+b-c,d/e"),
    ("\t\r\n\x7f", b"&AAkADQAKAH8-"),
]


@pytest.mark.parametrize(("name", "octets"), NAMES)
def test_both_directions(name: str, octets: bytes) -> None:
    assert encode(name) == octets
    assert decode(octets) == name


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_name_comes_back(name: str) -> None:
    octets = encode(name)
    assert decode(octets) == name
    assert all(0x20 <= octet <= 0x7E for octet in octets)


@given(st.text())
def test_writing_never_raises(name: str) -> None:
    encode(name)


@given(st.binary())
def test_reading_never_raises(octets: bytes) -> None:
    decode(octets)


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        ("Entwürfe".encode(), "Entwürfe"),  # RFC 6855
        (b"a&b", "a&b"),
        (b"a &b- c", "a &b- c"),
        (b"&!-", "&!-"),
        (b"&AP-", "&AP-"),
        (b"\xff", "\ufffd"),
    ],
)
def test_what_is_no_modified_utf7_is_taken_as_it_stands(octets: bytes, name: str) -> None:
    assert decode(octets) == name
