"""Fields of a header, as they are written: what the standard library breaks is right here."""

from __future__ import annotations

import email
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.letters import filename_of, people_in, text_of
from postroom.mime import fields
from postroom.mime.addresses import Address
from postroom.mime.characters import unsafe

SAFE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=300)
CHARSETS = st.sampled_from(["utf-8", "iso-8859-1", "iso-2022-jp", "windows-1252", "gb18030", "shift_jis", "us-ascii"])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("Hello", b"Subject: Hello\r\n"),
        ("", b"Subject:\r\n"),
        ("Grüße an alle", b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_an_alle?=\r\n"),
        ("Привет", b"Subject: =?utf-8?b?0J/RgNC40LLQtdGC?=\r\n"),
        ("=?utf-8?q?x?=", b"Subject: =?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3F=3D?=\r\n"),  # text that looks like an encoded word
        (" x", b"Subject: =?utf-8?q?_x?=\r\n"),
        ("a  b", b"Subject: a  b\r\n"),
        ("a " * 40 + "b", b"Subject: " + b"a " * 33 + b"a\r\n a a a a a a b\r\n"),
        ("x" * 200, b"Subject: " + b"x" * 200 + b"\r\n"),
    ],
    ids=range(9),
)
def test_free_text(value: str, written: bytes) -> None:
    assert fields.unstructured("Subject", value) == written


def test_a_word_that_is_too_long_for_a_line_is_encoded() -> None:
    written = fields.unstructured("Subject", "x" * 2000)
    assert max(map(len, written.split(b"\r\n"))) <= 76
    assert text_of(written.decode().partition(": ")[2].strip()) == "x" * 2000


@pytest.mark.parametrize(
    ("charset", "written"),
    [
        ("iso-8859-1", b"=?iso-8859-1?q?Gr=FC=DFe_an_alle?="),
        ("latin-1", b"=?iso-8859-1?q?Gr=FC=DFe_an_alle?="),  # by its registered name
        ("us-ascii", b"=?utf-8?q?Gr=C3=BC=C3=9Fe_an_alle?="),  # it does not fit
        ("koi8-r", b"=?utf-8?q?Gr=C3=BC=C3=9Fe_an_alle?="),
        ("utf-16", b"=?utf-8?q?Gr=C3=BC=C3=9Fe_an_alle?="),  # no charset of mail
    ],
)
def test_the_charset_where_the_text_fits(charset: str, written: bytes) -> None:
    assert fields.unstructured("Subject", "Grüße an alle", charset) == b"Subject: " + written + b"\r\n"


def test_encoded_words_end_between_characters() -> None:
    written = fields.unstructured("Subject", "日本語" * 50, "iso-2022-jp").decode()
    for charset, octets in re.findall(r"=\?([^?]+)\?b\?([^?]+)\?=", written):
        assert charset == "iso-2022-jp"
        assert set(text_of(f"=?{charset}?b?{octets}?=")) <= set("日本語")


@given(SAFE, CHARSETS)
def test_free_text_comes_back(value: str, charset: str) -> None:
    written = fields.unstructured("X-Name", value, charset)
    assert written.isascii()
    assert max(map(len, written.split(b"\r\n"))) <= (76 if b"=?" in written else 998)
    assert text_of(email.message_from_bytes(written + b"\r\n")["X-Name"]) == value


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("", b"To: a@b\r\n"),
        ("Ann Bee", b"To: Ann Bee <a@b>\r\n"),
        ("Bee, Ann", b'To: "Bee, Ann" <a@b>\r\n'),
        ("A.", b'To: "A." <a@b>\r\n'),
        ('A "B" \\', b'To: "A \\"B\\" \\\\" <a@b>\r\n'),
        ("a  b", b'To: "a  b" <a@b>\r\n'),
        ("Änne, of x@y", b"To: =?utf-8?q?=C3=84nne=2C_of_x=40y?= <a@b>\r\n"),  # RFC 2047 section 5 (3)
        ("=?x?q?y?=", b"To: =?utf-8?b?PT94P3E/eT89?= <a@b>\r\n"),
    ],
    ids=range(8),
)
def test_display_names(name: str, written: bytes) -> None:
    assert fields.addresses("To", [Address(name, "a@b")]) == written


@given(st.lists(SAFE.map(str.strip), min_size=1, max_size=5), CHARSETS)
def test_addresses_come_back(names: list[str], charset: str) -> None:
    people = [Address(name, f"someone.with.a.long.name{at}@subdomain.example.org") for at, name in enumerate(names)]
    written = fields.addresses("To", people, charset)
    assert max(map(len, written.split(b"\r\n"))) <= 200
    assert people_in(email.message_from_bytes(written + b"\r\n"), "To") == [tuple(one) for one in people]


@given(SAFE.filter(bool))
def test_file_names_come_back(name: str) -> None:
    written = fields.parameters("Content-Disposition", "attachment", [("filename", name[:255])])
    assert written.isascii()
    assert max(map(len, written.split(b"\r\n"))) <= 150
    assert filename_of(email.message_from_bytes(written + b"\r\n")) == name[:255]


def test_a_file_name_in_pieces() -> None:
    written = fields.parameters("Content-Disposition", "attachment", [("filename", "ü" * 20)])
    piece = "%C3%BC" * 8
    assert written.decode().split("\r\n") == [
        "Content-Disposition: attachment;",
        f" filename*0*=utf-8''{piece};",
        f" filename*1*={piece};",
        " filename*2*=" + "%C3%BC" * 4,
        "",
    ]


@given(st.text(max_size=50))
def test_nothing_that_could_begin_another_field_is_ever_written(value: str) -> None:
    """Whoever let it through: each function refuses it once more."""
    for write in (
        lambda: fields.tokens("X", [value]),
        lambda: fields.tokens(value, ["x"]),
        lambda: fields.unstructured("X", value),
        lambda: fields.addresses("X", [Address(value, "a@b")]),
        lambda: fields.addresses("X", [Address("", value)]),
        lambda: fields.parameters("X", "a", [("filename", value)]),
    ):
        try:
            written = write()
        except ValueError:
            continue
        assert len(re.findall(rb"(?m)^[^ \r\n]", written)) == 1
        assert not unsafe(written.decode().replace("\r\n", ""))
