"""A person's consent: the address, what must come back, the exchange, and codes that are entered on another device."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from fakes import START, Authority, HastyClock, refusal
from postroom.errors import ConsentFailed, Fate, Lost, PostroomError, Throttled, TimedOut, TokenRefused, TokenUnavailable
from postroom.net.consent import Asked, Place, await_device, begin, begin_device, code_in, exchange
from postroom.net.grants import Application
from postroom.net.http import HttpAnswer
from postroom.secret import Secret
from postroom.settings import ProxySettings
from postroom.wire.oauth import DeviceAuthorization, code_challenge

URI = "http://127.0.0.1:8026/"
PLACE = Place(
    authorization_endpoint="https://authority.example/auth?tenant=t",
    token_endpoint="https://authority.example/token",
    application=Application("client", Secret("sesame")),
    issuer="https://authority.example",
    parameters={"access_type": "offline", "prompt": "consent"},
)


def asked(place: Place = PLACE, *, pkce: bool = True) -> Asked:
    return begin(place, URI, "mail openid", "a@example.org", pkce=pkce)


def said(asked: Asked) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(asked.address).query))


# --- the address ------------------------------------------------------------------------------------------------------


def test_the_address_asks_for_all_that_is_wanted() -> None:
    consent = asked()
    assert consent.address.startswith("https://authority.example/auth?tenant=t&")
    assert consent.verifier is not None
    assert said(consent) == {
        "tenant": "t",
        "client_id": "client",
        "redirect_uri": URI,
        "response_type": "code",
        "scope": "mail openid",
        "state": consent.state,
        "login_hint": "a@example.org",
        "access_type": "offline",
        "prompt": "consent",
        "code_challenge": code_challenge(consent.verifier),
        "code_challenge_method": "S256",
    }
    assert 43 <= len(consent.verifier.reveal()) <= 128  # RFC 7636 section 4.1
    assert consent.verifier.reveal() not in consent.address + repr(consent)
    assert "sesame" not in consent.address


def test_no_two_consents_are_alike() -> None:
    both = asked(), asked()
    assert len({consent.state for consent in both}) == len({consent.verifier for consent in both}) == 2
    assert all(len(consent.state) >= 22 for consent in both)  # 128 bits (RFC 6749 section 10.10)


def test_what_is_not_wanted_is_not_said() -> None:
    consent = begin(replace(PLACE, parameters=None), URI, None, "", pkce=False)
    assert said(consent).keys() == {"tenant", "client_id", "redirect_uri", "response_type", "state"}
    assert consent.verifier is None


# --- what comes back --------------------------------------------------------------------------------------------------


def back(consent: Asked, **changes: str | None) -> str:
    fields = {"code": "4/c", "state": consent.state, "iss": PLACE.issuer, **changes}
    return URI + "?" + urlencode({name: value for name, value in fields.items() if value is not None})


@pytest.mark.parametrize("changes", [{}, {"iss": None}, {"scope": "mail"}])
def test_an_answer_holds_the_code(changes: dict[str, str | None]) -> None:
    consent = asked()
    assert code_in(consent, back(consent, **changes)) == Secret("4/c")


def test_a_code_alone_is_taken_as_it_is() -> None:
    assert code_in(asked(), " 4%2Fc\n") == Secret("4/c")


def test_an_issuer_that_is_not_known_is_not_compared() -> None:
    consent = asked(replace(PLACE, issuer=None))
    assert code_in(consent, back(consent)) == Secret("4/c")


def refused(consent: Asked, text: str) -> ConsentFailed:
    with pytest.raises(ConsentFailed) as caught:
        code_in(consent, text)
    assert caught.value.fate is Fate.REAUTHORIZE
    assert caught.value.remedy
    assert "4/c" not in str(caught.value) + repr(caught.value)
    return caught.value


@pytest.mark.parametrize("state", ["", None, "other", "\N{SNOWMAN}"])
def test_an_answer_to_another_request_is_refused(state: str | None) -> None:
    consent = asked()
    assert "its state differs" in str(refused(consent, back(consent, state=state)))


@pytest.mark.parametrize("issuer", ["https://evil.example", "https://authority.example/", "x" * 10_000])
def test_an_answer_of_another_authority_is_refused(issuer: str) -> None:
    consent = asked()
    error = refused(consent, back(consent, iss=issuer))
    assert f"from {issuer[:200]}, not from https://authority.example" in str(error)
    assert len(str(error)) < 400


@pytest.mark.parametrize("text", ["", "  ", URI, "https://authority.example/auth?client_id=client"])
def test_what_is_no_answer_is_told(text: str) -> None:
    assert "Copy the whole address" in refused(asked(), text).remedy


@pytest.mark.parametrize(
    ("whose", "error", "words", "remedy"),
    [
        ("", "access_denied", "", ""),
        ("google", "access_denied", "", ""),
        ("microsoft", "access_denied", "AADSTS65004: User declined to consent.", "postroom authorize"),
        ("microsoft", "invalid_client", "AADSTS650053: the scope does not exist", ""),
        ("", "something_new", "", "postroom authorize"),
    ],
)
def test_a_refusal_in_the_browser_is_explained(whose: str, error: str, words: str, remedy: str) -> None:
    consent = asked(replace(PLACE, authority=whose))
    failed = refused(consent, back(consent, code=None, error=error, error_description=words))
    assert failed.error == error
    assert failed.detail == (f"{error}: {words}" if words else error)
    assert remedy in failed.remedy


def test_endless_words_of_a_refusal_are_cut() -> None:
    consent = asked()
    assert len(str(refused(consent, back(consent, code=None, error="x" * 9000, error_description="y" * 9000)))) < 700


# --- the exchange -----------------------------------------------------------------------------------------------------


async def test_a_code_is_exchanged_with_what_proves_that_it_is_ours() -> None:
    authority, consent = Authority(), asked()
    authority.rotates = True
    answer = await exchange(authority, PLACE, consent, Secret("4/c"), START)
    assert (answer.access_token, answer.refresh_token) == (Secret("token-1"), Secret("refresh-1"))
    assert consent.verifier is not None
    assert authority.urls == [PLACE.token_endpoint]
    assert authority.forms == [
        {
            "grant_type": "authorization_code",
            "code": "4/c",
            "redirect_uri": URI,
            "code_verifier": consent.verifier.reveal(),
            "client_id": "client",
            "client_secret": "sesame",
        }
    ]


async def test_without_a_proof_of_the_code_none_is_sent() -> None:
    authority = Authority()
    await exchange(authority, replace(PLACE, application=Application("client")), asked(pkce=False), Secret("c"), START)
    assert authority.forms[0].keys() == {"grant_type", "code", "redirect_uri", "client_id"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal("invalid_grant", "Malformed auth code 4/c of sesame."), ConsentFailed),
        (HttpAnswer(503, b"", None), TokenUnavailable),
        (HttpAnswer(429, b"", 5.0), Throttled),
    ],
)
async def test_a_code_that_is_not_exchanged(answer: HttpAnswer, kind: type[PostroomError]) -> None:
    authority = Authority()
    authority.answers.append(answer)
    with pytest.raises(PostroomError) as caught:
        await exchange(authority, PLACE, asked(), Secret("4/c"), START)
    assert type(caught.value) is kind
    assert "4/c" not in str(caught.value)
    assert "sesame" not in str(caught.value)


# --- another device ---------------------------------------------------------------------------------------------------

DEVICE = DeviceAuthorization(Secret("DEVICE-CODE"), "U-1", "https://authority.example/device", "", 60.0, 5.0)
PENDING = refusal("authorization_pending")


async def test_a_device_code_is_asked_for() -> None:
    authority = Authority()
    octets = b'{"device_code": "DEVICE-CODE", "user_code": "U-1", "verification_uri": "https://authority.example/device", '
    authority.answers.append(HttpAnswer(200, octets + b'"expires_in": 60}', None))
    assert await begin_device(authority, "https://authority.example/devicecode", PLACE, "mail") == DEVICE
    assert authority.urls == ["https://authority.example/devicecode"]
    assert authority.forms == [{"client_id": "client", "scope": "mail"}]


async def test_a_device_code_without_scope() -> None:
    authority = Authority()
    authority.answers.append(refusal("invalid_client"))
    with pytest.raises(TokenRefused, match="invalid_client"):
        await begin_device(authority, "https://a/d", PLACE, None)
    assert authority.forms == [{"client_id": "client"}]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal("invalid_scope"), TokenRefused),
        (HttpAnswer(200, b"{}", None), TokenUnavailable),
        (HttpAnswer(404, b"<html>", None), TokenUnavailable),
        (HttpAnswer(503, b"", None), TokenUnavailable),
    ],
)
async def test_a_device_code_that_is_not_given(answer: HttpAnswer, kind: type[PostroomError]) -> None:
    authority = Authority()
    authority.answers.append(answer)
    with pytest.raises(PostroomError) as caught:
        await begin_device(authority, "https://a/d", PLACE, "mail")
    assert type(caught.value) is kind


async def test_it_is_asked_until_the_person_has_consented() -> None:
    authority, clock = Authority(), HastyClock()
    authority.answers += [PENDING, PENDING]
    answer = await await_device(authority, PLACE, DEVICE, clock)
    assert answer.access_token == Secret("token-3")
    assert clock.slept == [5, 5, 5]
    assert authority.forms[0] == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": "DEVICE-CODE",
        "client_id": "client",
        "client_secret": "sesame",
    }
    assert authority.forms == authority.forms[:1] * 3


async def test_an_authority_that_wants_to_be_asked_less_often_is_for_good() -> None:
    authority, clock = Authority(), HastyClock()
    authority.answers += [PENDING, refusal("slow_down"), PENDING, refusal("slow_down")]
    await await_device(authority, PLACE, DEVICE, clock)
    assert clock.slept == [5, 5, 10, 10, 15]  # RFC 8628 section 3.5


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "authorization_declined", "invalid_grant"])
@pytest.mark.parametrize("whose", ["", "google", "microsoft"])
async def test_a_consent_that_is_refused_on_the_device(whose: str, error: str) -> None:
    authority, clock = Authority(), HastyClock()
    authority.answers += [PENDING, refusal(error, "the words")]
    with pytest.raises(ConsentFailed, match="the words") as caught:
        await await_device(authority, replace(PLACE, authority=whose), DEVICE, clock)
    assert caught.value.error == error
    assert caught.value.remedy
    assert len(authority.forms) == 2
    assert "DEVICE-CODE" not in str(caught.value)


async def test_a_code_that_nobody_enters_is_over_in_its_time() -> None:
    authority, clock = Authority(), HastyClock()
    authority.answers += [PENDING] * 100
    with pytest.raises(ConsentFailed, match="not entered in time"):
        await await_device(authority, PLACE, DEVICE, clock)
    assert clock.now() - START == 60
    assert len(authority.forms) == 12


async def test_trouble_that_passes_ends_no_consent_and_is_asked_less_often() -> None:
    authority, clock = Authority(), HastyClock()
    authority.answers += [PENDING, HttpAnswer(503, b"", None), Lost("gone"), TimedOut("late"), HttpAnswer(429, b"", 20.0)]
    answer = await await_device(authority, PLACE, replace(DEVICE, expires_in=600.0), clock)
    assert answer.access_token == Secret("token-6")
    assert clock.slept == [5, 5, 10, 15, 20, 25]  # RFC 8628 section 3.5


async def test_trouble_until_the_end_is_told() -> None:
    authority = Authority()
    authority.answers += [HttpAnswer(503, b"", None)] * 100
    with pytest.raises(ConsentFailed, match="at last because of this: No token can be had now") as caught:
        await await_device(authority, PLACE, DEVICE, HastyClock())
    assert caught.value.remedy


async def test_a_device_code_that_was_over_from_the_start_is_not_asked_with() -> None:
    authority = Authority()
    with pytest.raises(ConsentFailed, match="not entered in time"):
        await await_device(authority, PLACE, replace(DEVICE, expires_in=0.0), HastyClock())
    assert authority.forms == []


# --- through a proxy --------------------------------------------------------------------------------------------------


async def test_every_request_of_a_consent_goes_through_the_proxy() -> None:
    authority, via = Authority(), ProxySettings(use_proxy=True, host="proxy.example")
    place = replace(PLACE, via=via)
    authority.answers = [HttpAnswer(200, b'{"device_code":"d","user_code":"u","verification_uri":"https://a.example/"}', None)]
    device = await begin_device(authority, "https://authority.example/device", place, None)
    await await_device(authority, place, device, HastyClock())
    await exchange(authority, place, asked(), Secret("code"), START)
    assert authority.vias == [via] * 3
