"""Tokens that can be read: what they say against a login, and that nothing in them is trusted."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.secret import Secret
from postroom.wire.jwt import Wanted, account_of, claims_of, complaints, described

NOW = 1_700_000_000.0
AUDIENCES = ("https://outlook.office.com", "00000002-0000-0ff1-ce00-000000000000")
WANTED = Wanted("box@example.org", AUDIENCES, "IMAP.AccessAsUser.All", "IMAP.AccessAsApp")


def encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def token(claims: object) -> Secret:
    return Secret(f"{encoded(b'{}')}.{encoded(json.dumps(claims).encode())}.signature")


def good(**changes: Any) -> dict[str, object]:
    """Claims with nothing against them; None takes one out."""
    claims = {
        "aud": "https://outlook.office.com",
        "scp": "IMAP.AccessAsUser.All Mail.Read",
        "upn": "box@example.org",
        "exp": NOW + 3600,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def application(**changes: Any) -> dict[str, object]:
    return good(**{"scp": None, "upn": None, "appid": "1-2-3", "roles": ["IMAP.AccessAsApp"], **changes})


# --- reading ----------------------------------------------------------------------------------------------------------


def test_claims_are_read() -> None:
    assert claims_of(token({"aud": "x", "ä": [1]})) == {"aud": "x", "ä": [1]}


@pytest.mark.parametrize("length", range(8))
def test_claims_of_any_length_are_read(length: int) -> None:
    assert claims_of(token({"a": "x" * length})) == {"a": "x" * length}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "opaque",
        "ya29.a0Af_x",
        "a.b",
        "a.b.c.d.e",
        "..",
        "a.%%%.c",
        "a.b.c",
        "é.é.é",
        f"a.{encoded(b'[1]')}.c",
        f"a.{encoded(b'null')}.c",
        f"a.{encoded(b'not json')}.c",
        f"a.{encoded(bytes([255, 254]))}.c",
        f"a.{encoded(b'[' * 100_000)}.c",
        f"a.{encoded(b'9' * 10_000)}.c",
    ],
    ids=lambda text: text[:20],
)
def test_what_cannot_be_read_claims_nothing(text: str) -> None:
    assert claims_of(Secret(text)) is None


@given(st.text())
def test_any_text_is_read_or_not(text: str) -> None:
    claims_of(Secret(text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
NAMES = st.sampled_from(["aud", "scp", "roles", "appid", "exp", "email", "upn", "preferred_username", "unique_name"])


@given(st.dictionaries(NAMES, JSON))
def test_hostile_claims_are_told_in_printable_words(hostile: dict[str, object]) -> None:
    claims = claims_of(token(hostile))
    assert claims is not None
    for words in (*complaints(claims, WANTED, NOW), described(claims), account_of(claims)):
        assert words.isprintable()


def test_a_claim_without_end_is_cut() -> None:
    endless = "a@" + "b" * 100_000
    assert account_of({"upn": endless}) == endless[:200]
    (told,) = complaints(good(upn=endless), WANTED, NOW)
    assert len(told) < 1000


# --- what speaks against a login --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        good(),
        good(aud="https://outlook.office.com/"),
        good(aud=["https://other", "https://outlook.office.com"]),
        good(aud=None),
        good(upn=None),
        good(upn="BOX@EXAMPLE.org"),
        good(exp=None),
        good(exp="soon"),
        good(scp=None, upn="other@example.org"),
        application(),
        application(upn="other@example.org"),  # an application's token is nobody's
        {},
        {"sub": "opaque"},
    ],
)
def test_nothing_speaks_against_it(claims: dict[str, object]) -> None:
    assert complaints(claims, WANTED, NOW) == []


@pytest.mark.parametrize(
    ("claims", "complaint"),
    [
        (good(exp=NOW), "The token is over."),
        (good(exp=NOW - 5), "this machine's clock is wrong"),
        (good(aud="https://graph.microsoft.com"), "The token is for https://graph.microsoft.com, not for this mail server"),
        (good(aud="00000003-0000-0000-c000-000000000000"), "leave the option scope out"),
        (good(scp="Mail.Read"), "The token lacks the scope IMAP.AccessAsUser.All (it has Mail.Read)"),
        (application(roles=["POP.AccessAsApp"]), "The token lacks the role IMAP.AccessAsApp (it has POP.AccessAsApp)"),
        (application(roles=None), "The token lacks the role IMAP.AccessAsApp (it has none)"),
        (application(appid=None, roles=[]), "let an administrator consent"),
        (good(upn="other@example.org"), "The token is other@example.org's, the mailbox is box@example.org"),
        (good(upn="other@example.org"), "oauth-user = other@example.org"),
    ],
)
def test_each_complaint(claims: dict[str, object], complaint: str) -> None:
    (told,) = complaints(claims, WANTED, NOW)
    assert complaint in told
    assert told.endswith(".")


def test_all_that_speaks_against_it_is_told_at_once() -> None:
    bad = good(exp=1, aud="https://graph.microsoft.com", scp="Mail.Read", upn="other@example.org")
    assert len(complaints(bad, WANTED, NOW)) == 4


def test_what_is_not_asked_for_is_not_missed() -> None:
    bad = good(aud="https://graph.microsoft.com", scp="Mail.Read", upn="other@example.org")
    assert complaints(bad, Wanted(""), NOW) == []


# --- for people -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "account"),
    [
        ({"email": "a@b"}, "a@b"),
        ({"upn": "u@b", "email": "a@b"}, "u@b"),
        ({"preferred_username": "p@b", "unique_name": "n@b"}, "p@b"),
        ({"unique_name": "n@b"}, "n@b"),
        ({"email": "no address", "upn": "u@b"}, "u@b"),
        ({"upn": 5, "unique_name": ["n@b"]}, ""),
        ({"email": "a@\x1b[31mb"}, "a@[31mb"),
        ({}, ""),
    ],
)
def test_whose_a_token_is(claims: dict[str, object], account: str) -> None:
    assert account_of(claims) == account


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        (good(), "for https://outlook.office.com, allows IMAP.AccessAsUser.All Mail.Read, of box@example.org"),
        (application(), "for https://outlook.office.com, allows IMAP.AccessAsApp, of application 1-2-3"),
        ({}, ""),
    ],
)
def test_a_token_in_one_line(claims: dict[str, object], words: str) -> None:
    assert described(claims) == words
