"""Token requests and answers."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import AuthError, Fate, PostroomError, RemoteProtocolError, Throttled, TokenRefused
from postroom.secret import Secret
from postroom.wire.oauth import DEFAULT_LIFETIME, TokenAnswer, read_answer, refresh_request


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def failed(status: int, octets: bytes, retry_after: float | None = None) -> PostroomError:
    with pytest.raises(PostroomError) as caught:
        read_answer(status, octets, retry_after)
    return caught.value


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_request_says_what_rfc_6749_section_6_asks_for() -> None:
    assert refresh_request(Secret("refresh"), "client", Secret("sesame"), "a b") == {
        "grant_type": "refresh_token",
        "refresh_token": "refresh",
        "client_id": "client",
        "client_secret": "sesame",
        "scope": "a b",
    }


@pytest.mark.parametrize("scope", [None, ""])
def test_what_is_not_configured_is_not_said(scope: str | None) -> None:
    assert refresh_request(Secret("refresh"), "client", None, scope) == {
        "grant_type": "refresh_token",
        "refresh_token": "refresh",
        "client_id": "client",
    }


# --- answers ----------------------------------------------------------------------------------------------------------


def token(expires_in: float = 3600, refresh: str | None = None, scope: str = "") -> TokenAnswer:
    return TokenAnswer(Secret("abc"), expires_in, None if refresh is None else Secret(refresh), scope)


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
        (b'{"access_token": "abc", "expires_in": NaN}', token(DEFAULT_LIFETIME)),
        (b'{"access_token": "abc", "expires_in": Infinity}', token(DEFAULT_LIFETIME)),
        (b'{"access_token": "abc", "expires_in": 1e999}', token(DEFAULT_LIFETIME)),
        (body(access_token="abc", refresh_token=""), token()),
        (body(access_token="abc", refresh_token=None), token()),
        (body(access_token="abc", id_token="x", ext_expires_in=1), token()),
        (b"\xef\xbb\xbf" + body(access_token="abc"), token()),
    ],
)
def test_a_token(octets: bytes, answer: TokenAnswer) -> None:
    assert read_answer(200, octets) == answer


INVALID = {
    "invalid_grant": "refresh token is expired",
    "invalid_client": "client-id",
    "unauthorized_client": "client-id",
    "invalid_scope": "scope",
    "invalid_request": "client-id",
    "unsupported_grant_type": "tenant-authority",
    "interaction_required": "",
    "access_denied": "",
}


@pytest.mark.parametrize("status", [400, 401, 403, 200])
@pytest.mark.parametrize("error", INVALID)
def test_what_a_person_must_mend(status: int, error: str) -> None:
    refused = failed(status, body(error=error, error_description="AADSTS70008: expired\r\nTrace ID: 1"))
    assert isinstance(refused, TokenRefused)
    assert refused.fate is Fate.REAUTHORIZE
    assert (refused.error, refused.description) == (error, "AADSTS70008: expired  Trace ID: 1")
    assert refused.detail == f"{error}: AADSTS70008: expired  Trace ID: 1"
    assert INVALID[error] in refused.remedy
    assert refused.remedy


@pytest.mark.parametrize(
    ("status", "octets"),
    [
        (500, body(error="server_error")),
        (503, body(error="invalid_grant")),  # Microsoft says so in passing
        (400, body(error="temporarily_unavailable")),
        (400, body(error="server_error", error_description="try again")),
        (400, body(error="slow_down")),
        (502, b"<html>Bad Gateway</html>"),
        (500, b""),
        (404, b"<html>not here</html>"),
        (200, b"<html>Sign in to the network</html>"),
        (200, b""),
        (200, body(token_type="Bearer")),
        (200, body(access_token=5)),
        (200, body(access_token="abc", token_type="mac")),
        (200, b"[]"),
        (200, b'"access_token"'),
        (200, b"\xff\xfe"),
        (302, b""),
        (201, body(access_token="abc")),
        (400, b"{}"),
        (400, body(error=5)),
        (200, b"[" * 100_000),
        (200, b"9" * 10_000),
    ],
)
def test_what_passes_by_itself(status: int, octets: bytes) -> None:
    error = failed(status, octets)
    assert isinstance(error, RemoteProtocolError)
    assert not isinstance(error, AuthError)
    assert error.fate is Fate.RETRY
    assert error.remedy
    assert "abc" not in str(error)


@pytest.mark.parametrize("octets", [b"", b"<html>", body(error="invalid_grant")])
@pytest.mark.parametrize("retry_after", [None, 30.0])
def test_an_authority_that_asks_for_less(octets: bytes, retry_after: float | None) -> None:
    error = failed(429, octets, retry_after)
    assert isinstance(error, Throttled)
    assert error.retry_after == retry_after


def test_the_authoritys_words_are_printable_and_not_without_end() -> None:
    refused = failed(400, body(error="invalid_grant", error_description="\x1b[31m" + "x" * 5000))
    assert isinstance(refused, TokenRefused)
    assert refused.description.isprintable()
    assert len(refused.description) == 600


@given(st.integers(100, 599), st.binary())
def test_reading_raises_our_own_errors_only(status: int, octets: bytes) -> None:
    with contextlib.suppress(PostroomError):
        read_answer(status, octets)
