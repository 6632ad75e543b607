"""Mechanisms against the octets that their documents show."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.secret import Secret
from postroom.wire import sasl
from postroom.wire.sasl import Exchange, OAuthError


def said(exchange: Exchange, *challenges: bytes) -> tuple[list[bytes | None], Any]:
    """All that the client says, and what it concludes."""
    words = [next(exchange)]
    try:
        for challenge in challenges:
            words.append(exchange.send(challenge))  # noqa: PERF401 - extend() would swallow the end
    except StopIteration as stop:
        return words, stop.value
    return words, "not over"


@pytest.mark.parametrize(
    ("user", "password", "message"),
    [
        ("tim", "tanstaaftanstaaf", b"\0tim\0tanstaaftanstaaf"),  # RFC 4616 section 4
        ("test", "test", b"\0test\0test"),
        ("jürgen", "pä ss", "\0jürgen\0pä ss".encode()),
        ("a", "", b"\0a\0"),
    ],
)
def test_plain(user: str, password: str, message: bytes) -> None:
    assert said(sasl.plain(user, Secret(password)), b"") == ([message], None)


def test_login() -> None:
    exchange = sasl.login("user", Secret("pass"))
    assert said(exchange, b"User Name\0", b"Password\0", b"") == ([None, b"user", b"pass"], None)


def test_xoauth2_as_google_documents_it() -> None:
    token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
    blob = "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    (first,), _ = said(sasl.xoauth2("someuser@example.com", Secret(token)))
    assert first is not None
    assert base64.b64encode(first).decode() == blob


def test_oauthbearer_as_its_rfc_shows_it() -> None:
    """RFC 7628 section 4.1."""
    token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
    (first,), _ = said(sasl.oauthbearer("user@example.com", Secret(token), "server.example.com", 143))
    assert first == (
        b"n,a=user@example.com,\1host=server.example.com\1port=143\1auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1"
    )


def test_an_authorization_identity_is_escaped() -> None:
    """RFC 5801 section 4: "=" and "," are the message's own."""
    (first,), _ = said(sasl.oauthbearer("a=b,c", Secret("t"), "h", 993))
    assert first is not None
    assert first.startswith(b"n,a=a=3Db=2Cc,\1")


ERROR = b'{"status":"invalid_token","scope":"example_scope","openid-configuration":"https://example.com/.well-known/x"}'


@pytest.mark.parametrize(("exchange", "answer"), [("xoauth2", b""), ("oauthbearer", b"\1")])
def test_a_refusal_is_read_and_answered(exchange: str, answer: bytes) -> None:
    """RFC 7628 section 3.2.3 and 4.3; Google's and Microsoft's documents."""
    made = sasl.xoauth2("u", Secret("t")) if exchange == "xoauth2" else sasl.oauthbearer("u", Secret("t"), "h", 1)
    words, error = said(made, ERROR, b"")
    assert words[1:] == [answer]
    assert error == OAuthError("invalid_token", "example_scope")
    assert str(error) == "status invalid_token, wanted scope example_scope"


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        (
            b'{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}',
            "status 401, wanted scope https://mail.google.com/",
        ),
        (b'{"status":400}', "status 400"),
        (b"{}", "no reason given"),
        (b"", "no reason given"),
        (b"null", "null"),
        (b"[1]", "[1]"),
        (b"not json", "not json"),
        (b"\xff\0\r\n", "\ufffd???"),
        (b'{"status": "a\\u0000b\\ud800"}', "status a?b?"),
        (b"x" * 5000, "x" * 200),
    ],
)
def test_every_challenge_is_sayable(challenge: bytes, words: str) -> None:
    assert str(sasl.oauth_error(challenge)) == words


@given(
    st.binary()
    | st.recursive(st.none() | st.text() | st.floats(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
    .map(json.dumps)
    .map(str.encode)
)
def test_reading_a_challenge_never_raises(challenge: bytes) -> None:
    text = str(sasl.oauth_error(challenge))
    assert text.isprintable()
    assert len(text) < 1000


@pytest.mark.parametrize("bomb", [b"[" * 200_000, b'{"a":' * 200_000, b"9" * 200_000])
def test_a_bomb_is_a_challenge_like_any_other(bomb: bytes) -> None:
    assert str(sasl.oauth_error(bomb))


def test_the_stronger_choice_comes_first() -> None:
    assert list(sasl.PASSWORD_MECHANISMS) == ["PLAIN", "LOGIN"]
    assert sasl.TOKEN_MECHANISMS == ("OAUTHBEARER", "XOAUTH2")
