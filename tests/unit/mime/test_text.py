"""The text of a message: which part, which characters, how far; and that nothing makes it stumble."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.text import BODY, LONGEST, Text, text_of


def said(octets: bytes) -> str:
    return text_of(octets[:BODY], len(octets)).text


def typed(kind: str, body: bytes, encoding: str = "8bit") -> bytes:
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body


def several(*parts: bytes, kind: str = "alternative", end: bytes = b"\r\n--b1--\r\n") -> bytes:
    head = f'MIME-Version: 1.0\r\nContent-Type: multipart/{kind}; boundary="b1"\r\n\r\npreamble\r\n'.encode()
    return head + b"".join(b"\r\n--b1\r\n" + part for part in parts) + end


def test_a_message_without_mime_is_text() -> None:
    assert said(b"Subject: x\r\n\r\nHello\r\nyou\r\n") == "Hello\nyou"
    assert said(b"Subject: x\n\nHello\nyou\n") == "Hello\nyou"
    assert said(b"\r\nno header") == "no header"


def test_the_plain_part_is_preferred_wherever_it_stands() -> None:
    assert said(several(typed("text/html", b"<p>rich"), typed("text/plain", b"plain"))) == "plain"


def test_an_attachment_is_not_the_text() -> None:
    attached = b"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=x.txt\r\n\r\nattached"
    assert said(several(attached, typed("text/html", b"<b>Hello</b>"), kind="mixed")) == "Hello"
    assert said(several(attached, kind="mixed")) == ""


def test_parts_within_parts() -> None:
    inner = several(typed("text/plain", b"deep"), typed("text/html", b"x")).replace(b"b1", b"b1b")
    assert said(several(inner, typed("image/png", b"\x89"), kind="mixed")) == "deep"


@pytest.mark.parametrize(
    ("charset", "octets", "text"),
    [
        ("utf-8", "Grüße €".encode(), "Grüße €"),
        ("iso-8859-1", "“Grüße” €".encode("cp1252"), "“Grüße” €"),
        ("us-ascii", "Grüße".encode(), "Grüße"),
        ("us-ascii", "Grüße".encode("cp1252"), "Grüße"),
        ("utf-8", "Grüße".encode("cp1252"), "Grüße"),
        ("utf-8", "Grü€e".encode().replace(b"\xac", b""), "Grü\ufffde"),
        ("iso-2022-jp", "日本語".encode("iso-2022-jp"), "日本語"),
        ("gb2312", "中文".encode("gb2312"), "中文"),
        ("x-unheard-of", "Grüße".encode(), "Grüße"),
        ("zlib", b"plain", "plain"),
        ("idna", b"plain", "plain"),
    ],
    ids=[
        "utf-8",
        "latin-1",
        "ascii-that-is-utf-8",
        "ascii-that-is-latin",
        "utf-8-that-is-not",
        "utf-8-with-a-hole",
        "jis",
        "gb",
        "unknown",
        "zlib",
        "idna",
    ],
)
def test_charsets(charset: str, octets: bytes, text: str) -> None:
    assert said(typed(f"text/plain; charset={charset}", octets)) == text


def test_without_a_charset() -> None:
    assert said(typed("text/plain", "Grüße".encode())) == "Grüße"
    assert said(typed("text/plain", "Grüße".encode("cp1252"))) == "Grüße"


def test_encodings() -> None:
    octets = "Grüße\r\n".encode() * 20
    assert said(typed("text/plain; charset=utf-8", base64.encodebytes(octets), "BASE64")) == "\n".join(["Grüße"] * 20)
    assert said(typed("text/plain; charset=utf-8", b"Gr=C3=BC=\r\n=C3=9Fe=20", "Quoted-Printable")) == "Grüße"
    assert said(typed("text/plain", base64.b64encode(b"Hello") + b"\r\n-- \r\ndisclaimer", "base64")).startswith("Hello")


def test_html_is_read_as_it_is_seen() -> None:
    html = (
        b"<html><head><title>no</title><style>p { x: y }</style></head><body><p>Dear&nbsp;Ann,</p>\r\n<div>1 &lt; 2 <!-- no -->\r\n"
        b"and<br>so on</div><script>if (a < b) no()</script></BODY></html>"
    )
    assert said(typed("text/html", html)) == "Dear Ann,\n\n1 < 2 and\nso on"
    assert said(typed("text/html", b"a < b <b class='x'>c</b> <d")) == "a < b c"


def test_a_message_that_was_read_in_part_says_so() -> None:
    long = typed("text/plain; charset=utf-8", "ü".encode() * BODY)
    assert text_of(long[:BODY], len(long)) == Text("ü" * LONGEST, cut=True)
    parts = several(typed("text/plain", b"short"), typed("image/png", b"x" * BODY), kind="mixed")
    assert text_of(parts[:BODY], len(parts)) == Text("short", cut=False)
    late = several(typed("image/png", b"x" * BODY), typed("text/plain", b"late"), kind="mixed")
    assert text_of(late[:BODY], len(late)) == Text("", cut=True)
    cut = typed("text/plain; charset=utf-8", b"abc\xc3")
    assert text_of(cut, len(cut) + 10) == Text("abc", cut=True)


def test_a_boundary_that_never_comes_and_one_that_ends_nothing() -> None:
    assert said(several(typed("text/plain", b"open"), end=b"")) == "open"
    assert said(b"Content-Type: multipart/mixed; boundary=x\r\n\r\nnothing") == ""
    assert said(b"Content-Type: multipart/mixed\r\n\r\nno boundary") == ""


@pytest.mark.parametrize(
    "piece",
    [b"<", b"<a ", b"<!--", b"<script>", b"&#", b"\r\n--b1", b"\n--b1x", b"=?", b"; a=", b"</p", b"<p>", b"\t\n \n", b"\xff"],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["text/html", "text/plain", "multipart/mixed; boundary=b1"])
def test_repetition_is_bounded(kind: str, piece: bytes) -> None:
    """What is quadratic here does not come to an end."""
    octets = typed(kind, piece * (BODY // len(piece)))
    assert len(text_of(octets[:BODY], 10 * BODY).text) <= LONGEST


def test_nesting_is_bounded() -> None:
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (at, at) for at in range(4000))
    assert said(nested + b"\r\ndeep") == ""


PIECES = st.sampled_from(
    [
        *(
            b"Content-Type: ",
            b"multipart/mixed; boundary=",
            b"text/html",
            b"text/plain",
            b"; charset=",
            b"utf-16",
            b"hz",
            b"\r\n",
            b"\n",
        ),
        *(
            b"--",
            b"b1",
            b"Content-Transfer-Encoding: base64",
            b"quoted-printable",
            b"=",
            b"=C",
            b"<",
            b">",
            b"&",
            b'"',
            b"\0",
            b"\xe2\x82",
        ),
    ]
)


@given(st.lists(PIECES | st.binary(max_size=8), max_size=60).map(b"".join), st.integers(0, 2))
def test_it_never_stumbles(octets: bytes, more: int) -> None:
    text, _ = text_of(octets, len(octets) + more)
    assert "\r" not in text
    assert "\0" not in text
