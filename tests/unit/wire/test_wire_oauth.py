"""Token requests and answers, and what comes back with a browser."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import Fate, PostroomError, RemoteProtocolError
from postroom.secret import Secret
from postroom.wire import oauth
from postroom.wire.oauth import DEFAULT_LIFETIME, DeviceAuthorization, Redirect, TokenAnswer, read_answer, read_redirect


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


# --- requests ---------------------------------------------------------------------------------------------------------

REFRESH = Secret("refresh")
FORMS: list[tuple[oauth.Form, oauth.Form]] = [
    (oauth.refresh_form(REFRESH, "a b"), {"grant_type": "refresh_token", "refresh_token": "refresh", "scope": "a b"}),
    (oauth.refresh_form(REFRESH, None), {"grant_type": "refresh_token", "refresh_token": "refresh"}),
    (oauth.refresh_form(REFRESH, ""), {"grant_type": "refresh_token", "refresh_token": "refresh"}),
    (oauth.client_credentials_form("s"), {"grant_type": "client_credentials", "scope": "s"}),
    (oauth.client_credentials_form(None), {"grant_type": "client_credentials"}),
    (
        oauth.password_form("a@b", Secret("p w"), "s"),
        {"grant_type": "password", "username": "a@b", "password": "p w", "scope": "s"},
    ),
    (
        oauth.assertion_form(Secret("a.b.c")),
        {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"},
    ),
    (
        oauth.code_form(Secret("c"), "http://127.0.0.1:1/", Secret("v")),
        {"grant_type": "authorization_code", "code": "c", "redirect_uri": "http://127.0.0.1:1/", "code_verifier": "v"},
    ),
    (
        oauth.code_form(Secret("c"), "http://127.0.0.1:1/", None),
        {"grant_type": "authorization_code", "code": "c", "redirect_uri": "http://127.0.0.1:1/"},
    ),
    (
        oauth.device_form(Secret("d")),
        {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "d"},
    ),
    (oauth.client_form("client", Secret("sesame"), None), {"client_id": "client", "client_secret": "sesame"}),
    (oauth.client_form("client", None, None), {"client_id": "client"}),
    (oauth.client_form("", None, None), {}),
    (
        oauth.client_form("client", None, Secret("a.b.c")),
        {
            "client_id": "client",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": "a.b.c",
        },
    ),
]


@pytest.mark.parametrize(("form", "fields"), FORMS, ids=lambda value: ",".join(value))
def test_a_form_holds_what_its_rfc_names_and_nothing_that_is_not_configured(form: oauth.Form, fields: oauth.Form) -> None:
    assert form == fields


def test_an_assertion_stands_in_the_place_of_a_secret() -> None:
    assert "client_secret" not in oauth.client_form("client", Secret("sesame"), Secret("a.b.c"))


# --- answers ----------------------------------------------------------------------------------------------------------


def token(
    expires_in: float = 3600,
    refresh: str | None = None,
    scope: str = "",
    refresh_expires_in: float | None = None,
    identity: str | None = None,
) -> TokenAnswer:
    rotated = None if refresh is None else Secret(refresh)
    return TokenAnswer(
        Secret("abc"), expires_in, rotated, scope, refresh_expires_in, None if identity is None else Secret(identity)
    )


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        (body(access_token="abc", token_type="Bearer", expires_in=3599), token(3599)),
        (body(access_token="abc", token_type="bearer", expires_in=1, scope="a b"), token(1, scope="a b")),
        (body(access_token="abc", token_type="Bearer", expires_in=60, refresh_token="new"), token(60, "new")),
        (body(access_token="abc", token_type="Bearer", expires_in="3599"), token(3599)),  # Azure AD v1, as text
        (body(access_token="abc", token_type="Bearer", expires_in=3599.5), token(3599.5)),
        (body(access_token="abc", token_type="Bearer"), token(DEFAULT_LIFETIME)),
        (body(access_token="abc"), token(DEFAULT_LIFETIME)),
        (body(access_token="abc", expires_in=None), token(DEFAULT_LIFETIME)),
        (body(access_token="abc", expires_in="soon"), token(DEFAULT_LIFETIME)),
        (body(access_token="abc", expires_in=[1]), token(DEFAULT_LIFETIME)),
        (body(access_token="abc", expires_in=-5), token(0)),
        (body(access_token="abc", expires_in=10**400), token(DEFAULT_LIFETIME)),
        (b'{"access_token": "abc", "expires_in": NaN}', token(DEFAULT_LIFETIME)),
        (b'{"access_token": "abc", "expires_in": Infinity}', token(DEFAULT_LIFETIME)),
        (b'{"access_token": "abc", "expires_in": 1e999}', token(DEFAULT_LIFETIME)),
        (body(access_token="abc", refresh_token=""), token()),
        (body(access_token="abc", refresh_token=None), token()),
        (body(access_token="abc", id_token="x", ext_expires_in=1), token(identity="x")),
        (body(access_token="abc", id_token=["x"]), token()),
        (body(access_token="abc", refresh_token_expires_in=604799), token(refresh_expires_in=604799)),
        (body(access_token="abc", refresh_token_expires_in="86400"), token(refresh_expires_in=86400)),
        (body(access_token="abc", refresh_token_expires_in=None), token()),
        (b"\xef\xbb\xbf" + body(access_token="abc"), token()),
    ],
)
def test_a_token(octets: bytes, answer: TokenAnswer) -> None:
    assert read_answer(200, octets) == answer


NO_TOKEN = [
    (500, body(error="server_error")),
    (400, body(error="invalid_grant")),
    (502, b"<html>Bad Gateway</html>"),
    (200, b"<html>Sign in to the network</html>"),
    (200, b""),
    (200, body(token_type="Bearer")),
    (200, body(access_token=5)),
    (200, b"[]"),
    (200, b'"access_token"'),
    (200, b"\xff\xfe"),
    (302, b""),
    (201, body(access_token="abc")),
    (200, b"[" * 100_000),
    (200, b"9" * 10_000),
]


@pytest.mark.parametrize(("status", "octets"), NO_TOKEN)
def test_what_gives_no_token(status: int, octets: bytes) -> None:
    assert read_answer(status, octets) is None


@pytest.mark.parametrize("kind", ["mac", "DPoP", None, 5])
def test_a_token_of_a_type_that_cannot_be_used_is_no_answer(kind: object) -> None:
    with pytest.raises(RemoteProtocolError, match="Bearer is needed") as caught:
        read_answer(200, body(access_token="abc", token_type=kind))
    assert caught.value.fate is Fate.RETRY
    assert caught.value.remedy
    assert "abc" not in str(caught.value)


@given(st.integers(100, 599), st.binary())
def test_reading_raises_our_own_errors_only(status: int, octets: bytes) -> None:
    with contextlib.suppress(PostroomError):
        read_answer(status, octets)
    assert isinstance(oauth.error_of(octets), str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
NAMES = st.sampled_from(
    [
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "refresh_token_expires_in",
        "scope",
        "id_token",
        "device_code",
        "user_code",
        "verification_uri",
        "verification_uri_complete",
        "interval",
        "error",
    ]
)


@given(st.dictionaries(NAMES, JSON))
def test_fields_of_any_kind_are_read_or_refused(fields: dict[str, object]) -> None:
    octets = json.dumps(fields).encode()
    with contextlib.suppress(PostroomError):
        answer = read_answer(200, octets)
        if answer is not None:
            assert answer.access_token.reveal() == fields["access_token"]
            assert 0 <= answer.expires_in < float("inf")
            assert answer.refresh_expires_in is None or 0 <= answer.refresh_expires_in < float("inf")
    device = oauth.read_device_authorization(200, octets)
    assert device is None or 0 <= device.expires_in < float("inf")


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        (body(error="slow_down"), "slow_down"),
        (body(error_description="x"), ""),
        (b"<html>", ""),
        (b"[]", ""),
        (b"[" * 100_000, ""),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_the_error_of_an_answer(octets: bytes, error: str) -> None:
    assert oauth.error_of(octets) == error


# --- device authorization ---------------------------------------------------------------------------------------------


def device(uri: str = "https://a/d", complete: str = "", expires_in: float = 1800, interval: float = 5) -> DeviceAuthorization:
    return DeviceAuthorization(Secret("D"), "U-1", uri, complete, expires_in, interval)


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"verification_uri": "https://a/d", "expires_in": 1800}, device()),
        ({"verification_url": "https://a/d", "expires_in": 1800}, device()),  # Google's older name
        ({"verification_uri": "https://a/d", "expires_in": "1800", "interval": "7"}, device(interval=7)),
        (
            {"verification_uri": "https://a/d", "verification_uri_complete": "https://a/d?c=U-1", "expires_in": 1800},
            device(complete="https://a/d?c=U-1"),
        ),
        ({"verification_uri": "https://a/d", "verification_uri_complete": 5}, device(expires_in=900)),
        ({"verification_uri": "https://a/d", "interval": None}, device(expires_in=900)),
        ({}, None),
        ({"verification_uri": 5}, None),
        ({"verification_uri": "https://a/d", "user_code": None}, None),
        ({"verification_uri": "https://a/d", "device_code": 7}, None),
    ],
)
def test_a_device_authorization(fields: dict[str, object], answer: DeviceAuthorization | None) -> None:
    octets = body(**{"device_code": "D", "user_code": "U-1", **fields})
    assert oauth.read_device_authorization(200, octets) == answer
    assert oauth.read_device_authorization(400, octets) is None


@pytest.mark.parametrize("octets", [b"", b"<html>", b"[]", b"[" * 100_000], ids=lambda value: repr(value)[:30])
def test_what_is_no_device_authorization(octets: bytes) -> None:
    assert oauth.read_device_authorization(200, octets) is None


# --- the address of a consent -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("https://a/auth", "https://a/auth?client_id=c&scope=x%20y%3Az"),
        ("https://a/auth?", "https://a/auth?client_id=c&scope=x%20y%3Az"),
        ("https://a/auth?p=1&q=%20", "https://a/auth?p=1&q=%20&client_id=c&scope=x%20y%3Az"),
        ("https://a:1/auth?p=1#top", "https://a:1/auth?p=1&client_id=c&scope=x%20y%3Az"),
    ],
)
def test_an_address_keeps_what_its_endpoint_asks_already(endpoint: str, address: str) -> None:
    assert oauth.authorization_address(endpoint, {"client_id": "c", "scope": "x y:z"}) == address


@given(st.dictionaries(st.sampled_from(["state", "scope", "redirect_uri", "x"]), st.text(st.characters(codec="utf-8"), min_size=1)))
def test_an_address_says_what_it_was_given(parameters: dict[str, str]) -> None:
    query = urlsplit(oauth.authorization_address("https://a/auth?tenant=t", parameters)).query
    assert dict(parse_qsl(query)) == {"tenant": "t", **parameters}


def test_a_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    verifier = Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert oauth.code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


# --- what comes back --------------------------------------------------------------------------------------------------

CODE = "4/0AX4XfWh-abc_D"
QUERY = f"state=S-1&iss=https%3A%2F%2Faccounts.example&code={quote(CODE, safe='')}&scope=a%20b"
WHOLE = f"http://127.0.0.1:8026/?{QUERY}"
COME = Redirect(Secret(CODE), "S-1", "https://accounts.example")


@pytest.mark.parametrize(
    ("text", "redirect"),
    [
        (WHOLE, COME),
        (f"  {WHOLE}\n", COME),
        (f"{WHOLE}#", COME),
        (f"{WHOLE[:30]}\n   {WHOLE[30:61]}\r\n{WHOLE[61:]}", COME),  # as a terminal wraps it
        (QUERY, COME),
        (f"?{QUERY}", COME),
        (f"code={quote(CODE, safe='')}&state=S-1", Redirect(Secret(CODE), "S-1")),
        ("?error=access_denied&state=S-1", Redirect(None, "S-1", error="access_denied")),
        (
            "http://localhost/?error=access_denied&error_description=The+person%20said%20no&state=S-1",
            Redirect(None, "S-1", error="access_denied", description="The person said no"),
        ),
        (CODE, Redirect(Secret(CODE), bare=True)),
        (quote(CODE, safe=""), Redirect(Secret(CODE), bare=True)),  # copied out of the address
        (f"{CODE[:6]}\n{CODE[6:]}", Redirect(Secret(CODE), bare=True)),
        ("0.AX-b_c~d", Redirect(Secret("0.AX-b_c~d"), bare=True)),
    ],
)
def test_what_a_browser_ended_on_is_read(text: str, redirect: Redirect) -> None:
    assert read_redirect(text) == redirect


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "nothing was pasted"),
        (" \n\t", "nothing was pasted"),
        ("https://accounts.example/o/oauth2/v2/auth?client_id=c&state=S-1", "neither a code nor an error"),
        ("http://127.0.0.1:8026/", "neither a code nor an error"),
        ("?state=S-1", "neither a code nor an error"),
        ("http://127.0.0.1:8026/?code=&state=S-1", "neither a code nor an error"),
    ],
)
def test_what_is_neither_says_so(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_redirect(text)


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1)


@given(TEXT, TEXT, st.sampled_from(["http://127.0.0.1:1/?", "?", ""]))
def test_what_an_authority_sends_comes_through(code: str, state: str, before: str) -> None:
    query = urlencode({"code": code, "state": state}, quote_via=quote)
    assert read_redirect(before + query) == Redirect(Secret(code), state)


ANY: list[Callable[[str], str]] = [lambda text: text, lambda text: f"http://{text}", lambda text: f"?code={text}"]


@given(st.text(), st.sampled_from(ANY))
def test_any_text_is_read_or_refused(text: str, around: Callable[[str], str]) -> None:
    with contextlib.suppress(ValueError):
        read_redirect(around(text))
