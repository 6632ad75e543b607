"""Texts out of HTML."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.plain import text_of_html


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Hello", "Hello"),
        ("<p>Hello <b>there</b>,</p>\n<p>you</p>", "Hello there,\n\nyou"),
        ("a<br>b<br/><br>c", "a\nb\n\nc"),
        ("  a \n  b  ", "a b"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("<ul><li>a<li>b</ul>c", "- a\n- b\n\nc"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("a&nbsp;b &lt;c&gt; &amp; &#252;", "a\xa0b <c> & ü"),
        ("<head><title>no</title></head><style>no</style><script>no<b></script>yes", "yes"),
        ("a<!-- no <p> -->b<!DOCTYPE x>c", "abc"),
        ('<a href="https://x.example/">here</a>', "here (https://x.example/)"),
        ('<a href="https://x.example/">x.example: https://x.example</a>', "x.example: https://x.example"),
        ('<a href="javascript:alert(1)">here</a>', "here"),
        ('<img alt="logo" src="cid:x"> <img src=y>', "logo"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("1 < 2 and a<b", "1 < 2 and a"),
        ('<p title="a>b">c', "c"),
        ("<script>never closed", ""),
        ("<!-- never closed", ""),
        ("", ""),
    ],
    ids=range(20),
)
def test_texts(source: str, text: str) -> None:
    assert text_of_html(source) == text


@given(st.text(alphabet=st.sampled_from("<>/abp!-&;'\" =\n"), max_size=80))
def test_never_raises(source: str) -> None:
    assert "\r" not in text_of_html(source)


@pytest.mark.parametrize(
    "piece",
    ["<", "<a ", "<!--", "<script>", "<a href='", "</pre><pre>", "<a href=https://x>", "&", "<p>", "<div><b><i>", '<a "x'],
)
def test_nothing_takes_long(piece: str) -> None:
    before = time.process_time()
    text_of_html(piece * (300_000 // len(piece)))
    assert time.process_time() - before < 3
