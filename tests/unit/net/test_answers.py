"""What the answers of token endpoints, commands and addresses come to."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import Fate, PostroomError, RemoteProtocolError, Throttled, TokenRefused, TokenUnavailable
from postroom.net import answers
from postroom.net.http import HttpAnswer
from postroom.secret import Secret

FORM = {"grant_type": "refresh_token", "refresh_token": "REFRESH", "client_id": "client", "client_secret": "SESAME"}


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def failed(
    status: int, octets: bytes, retry_after: float | None = None, authority: str = "", form: dict[str, str] = FORM
) -> PostroomError:
    with pytest.raises(PostroomError) as caught:
        answers.token_of(HttpAnswer(status, octets, retry_after), form, authority)
    return caught.value


def test_a_token_is_a_token() -> None:
    token = answers.token_of(HttpAnswer(200, body(access_token="abc", expires_in=60), None), FORM, "")
    assert (token.access_token, token.expires_in) == (Secret("abc"), 60)


# --- what a person must mend ------------------------------------------------------------------------------------------

INVALID = {
    "invalid_grant": "postroom authorize CLIENT",
    "invalid_client": "client-id",
    "unauthorized_client": "client-id",
    "invalid_scope": "scope",
    "invalid_request": "",
    "unsupported_grant_type": "",
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
    assert (refused.certain, refused.reason) == (True, error.replace("_", "-"))


@pytest.mark.parametrize(
    ("whose", "fields", "reason", "certain"),
    [
        ("microsoft", {"error": "invalid_grant"}, "microsoft-invalid-grant", False),  # it says so in passing
        (
            "microsoft",
            {"error": "invalid_grant", "error_description": "AADSTS700082: inactive"},
            "microsoft-refresh-token-unused-90-days",
            True,
        ),
        ("microsoft", {"error": "invalid_client", "error_codes": [7000222]}, "microsoft-secret-expired", True),
        (
            "google",
            {"error": "invalid_grant", "error_description": "Token has been expired or revoked."},
            "google-token-expired-or-revoked",
            True,
        ),
        ("google", {"error": "org_internal"}, "google-other-organization", True),
        ("", {"error": "something_new"}, "", False),  # no rule knows it
    ],
)
def test_a_refusal_names_its_reason_and_whether_it_is_certain(
    whose: str, fields: dict[str, object], reason: str, certain: bool
) -> None:
    refused = failed(400, body(**fields), authority=whose)
    assert isinstance(refused, TokenRefused)
    assert (refused.reason, refused.certain) == (reason, certain)
    assert refused.remedy


def test_a_suberror_is_told() -> None:
    refused = failed(400, body(error="invalid_grant", suberror="bad_token", error_description="x"))
    assert refused.detail == "invalid_grant (bad_token): x"


# --- what passes by itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "octets"),
    [
        (500, body(error="server_error")),
        (503, body(error="invalid_grant")),  # Microsoft says so in passing
        (505, body(error="invalid_grant")),
        (400, body(error="temporarily_unavailable")),
        (400, body(error="server_error", error_description="try again")),
        (502, b"<html>Bad Gateway</html>"),
        (500, b""),
        (404, b"<html>not here</html>"),
        (200, b"<html>Sign in to the network</html>"),
        (200, b""),
        (200, body(token_type="Bearer")),
        (200, body(access_token=5)),
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
    ids=lambda value: repr(value)[:40],
)
def test_what_passes_by_itself(status: int, octets: bytes) -> None:
    error = failed(status, octets)
    assert type(error) is TokenUnavailable
    assert error.fate is Fate.RETRY
    assert error.remedy
    assert error.detail
    assert "abc" not in str(error)


def test_microsofts_numbers_tell_passing_trouble() -> None:
    error = failed(400, body(error="invalid_grant", error_codes=[90033]), authority="microsoft")
    assert type(error) is TokenUnavailable


@pytest.mark.parametrize("octets", [b"", b"<html>", body(error="invalid_grant")])
@pytest.mark.parametrize("retry_after", [None, 30.0])
def test_an_authority_that_asks_for_less(octets: bytes, retry_after: float | None) -> None:
    error = failed(429, octets, retry_after)
    assert isinstance(error, Throttled)
    assert error.retry_after == retry_after


@pytest.mark.parametrize(
    ("status", "fields"), [(503, {}), (500, {"error": "invalid_grant"}), (400, {"error": "temporarily_unavailable"})]
)
def test_an_authority_in_trouble_that_names_a_time_is_given_it(status: int, fields: dict[str, object]) -> None:
    error = failed(status, body(**fields), 17.0)
    assert isinstance(error, Throttled)
    assert error.retry_after == 17


def test_a_loop_that_microsoft_sees_is_a_throttle() -> None:
    assert isinstance(failed(400, body(error="invalid_grant", error_codes=[50196]), authority="microsoft"), Throttled)


def test_a_token_that_cannot_be_used_is_a_broken_protocol() -> None:
    assert type(failed(200, body(access_token="abc", token_type="mac"))) is RemoteProtocolError


# --- what is said of it -----------------------------------------------------------------------------------------------


def test_the_authoritys_words_are_printable_and_not_without_end() -> None:
    refused = failed(400, body(error="invalid_grant", error_description="\x1b[31m" + "x" * 50_000))
    assert isinstance(refused, TokenRefused)
    assert refused.description.isprintable()
    assert len(refused.description) == 2000


SENT = (
    "refresh_token",
    "client_secret",
    "password",
    "code",
    "code_verifier",
    "client_assertion",
    "assertion",
    "device_code",
)
SECRETS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", min_size=12, max_size=40)


@given(
    st.dictionaries(st.sampled_from(SENT), SECRETS, min_size=1),
    st.sampled_from([200, 400, 401, 429, 500]),
    st.sampled_from(["error", "error_description", "suberror", "error_subtype", "other", ""]),
)
def test_nothing_sent_in_secret_is_repeated(sent: dict[str, str], status: int, where: str) -> None:
    """An authority may quote the request in its words, or send it back whole."""
    quoted = " and ".join(f"{name}={value}" for name, value in sent.items())
    octets = body(**{"error": "invalid_grant", where: quoted}) if where else quoted.encode()
    error = failed(status, octets, form={"grant_type": "x", **sent})
    told = " ".join([str(error), repr(error), error.remedy, repr(vars(error))])
    for value in sent.values():
        assert value not in told


@given(st.integers(100, 599), st.binary(), st.sampled_from(["", "google", "microsoft"]))
def test_whatever_is_answered_is_a_token_or_an_error_of_ours(status: int, octets: bytes, whose: str) -> None:
    with contextlib.suppress(PostroomError):
        answers.token_of(HttpAnswer(status, octets, None), FORM, whose)


# --- external tokens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "token", "lifetime"),
    [
        (b"abc\n", "abc", None),
        (b"  abc.def.ghi \r\n", "abc.def.ghi", None),
        (body(access_token="abc", expires_in=60), "abc", 60.0),
        (b" \n" + body(access_token="abc", expires_in="60") + b"\n", "abc", 60.0),
        (body(access_token="abc"), "abc", None),
    ],
)
def test_a_token_from_outside(octets: bytes, token: str, lifetime: float | None) -> None:
    assert answers.outside_token(octets, "place") == (Secret(token), lifetime)


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "gave no token"),
        (b" \n", "gave no token"),
        (b"two words", "a bare token is one word"),
        (b"two\nlines", "a bare token is one word"),
        (b"{", "JSON without an access_token"),
        (b"{}", "JSON without an access_token"),
        (body(error="nothing"), "JSON without an access_token"),
        (body(access_token=5), "JSON without an access_token"),
    ],
)
def test_what_is_no_token_from_outside(octets: bytes, problem: str) -> None:
    with pytest.raises(TokenUnavailable, match=problem) as caught:
        answers.outside_token(octets, "place")
    assert caught.value.detail.startswith("place ")
    assert caught.value.remedy


def test_a_token_from_outside_must_be_a_bearers() -> None:
    with pytest.raises(RemoteProtocolError):
        answers.outside_token(body(access_token="abc", token_type="mac"), "place")


@given(st.binary())
def test_whatever_comes_from_outside_is_a_token_or_an_error_of_ours(octets: bytes) -> None:
    with contextlib.suppress(PostroomError):
        token, lifetime = answers.outside_token(octets, "place")
        assert token
        assert lifetime is None or lifetime >= 0


@pytest.mark.parametrize(
    ("status", "retry_after", "kind"),
    [
        (429, None, Throttled),
        (429, 30.0, Throttled),
        (503, 30.0, Throttled),
        (503, None, TokenUnavailable),
        (404, 30.0, TokenUnavailable),
        (401, None, TokenUnavailable),
        (302, None, TokenUnavailable),
        (204, None, TokenUnavailable),
    ],
)
def test_an_address_that_gives_none(status: int, retry_after: float | None, kind: type[PostroomError]) -> None:
    with pytest.raises(PostroomError, match=f"https://t answered {status}") as caught:
        answers.outside_body(HttpAnswer(status, b"TOKEN", retry_after), "https://t")
    assert type(caught.value) is kind
    assert not isinstance(caught.value, Throttled) or caught.value.retry_after == retry_after
    assert "TOKEN" not in str(caught.value)


def test_an_address_that_gives_one() -> None:
    assert answers.outside_body(HttpAnswer(200, b"abc", None), "https://t") == b"abc"
