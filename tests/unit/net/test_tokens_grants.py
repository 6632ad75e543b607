"""Tokens by each way: consents before the configured value, what a refusal leaves behind, tokens from outside."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace

import pytest

from fakes import START, Bank, HandClock, banked, refusal
from postroom.errors import ConnectError, ConsentMissing, Lost, PostroomError, Throttled, TimedOut, TokenRefused, TokenUnavailable
from postroom.model import AccessToken, Consent, TokenFields
from postroom.net.grants import Application, ClientCredentials, External, OwnerPassword, RefreshToken
from postroom.net.http import HttpAnswer
from postroom.net.tokens import Consented, TokenRequest
from postroom.secret import Secret

ENDPOINT = "https://authority.example/token"
CONFIGURED = Secret("configured")
CONSENTED = Consented("pop-client-a", "a@example.org", CONFIGURED, ENDPOINT, "mail")
REQUEST = TokenRequest(
    token_endpoint=ENDPOINT,
    application=Application("client", Secret("sesame")),
    way=RefreshToken(CONFIGURED),
    scope="mail",
    ca_file=None,
    margin=300,
    client="pop-client-a",
    consented=CONSENTED,
)
GIVEN = TokenFields(Secret("given access"), 3600, Secret("given"), "mail")


@pytest.fixture
def bank() -> Bank:
    return banked(HandClock())


async def text(bank: Bank, request: TokenRequest = REQUEST) -> str:
    return (await bank.tokens.get(request)).token.reveal()


async def failed(bank: Bank, request: TokenRequest = REQUEST) -> PostroomError:
    with pytest.raises(PostroomError) as caught:
        await bank.tokens.get(request)
    return caught.value


def asking(password: Secret | None, **changes: object) -> TokenRequest:
    """The request of a file with this password."""
    consented = replace(CONSENTED, configured=password)
    return replace(REQUEST, way=RefreshToken(password), consented=consented, **changes)  # type: ignore[arg-type]


# --- consents ---------------------------------------------------------------------------------------------------------


async def test_what_a_consent_gave_is_used_at_once_and_by_every_process(bank: Bank) -> None:
    await bank.tokens.keep_consent(REQUEST, "a@example.org", GIVEN)
    assert await bank.tokens.get(REQUEST) == AccessToken(Secret("given access"), 1, 3600, START + 3600)
    assert (await bank.another().get(REQUEST)).token == Secret("given access")
    assert bank.asked == 0


async def test_a_consent_comes_before_the_configured_token(bank: Bank) -> None:
    bank.authority.rotates = True
    await bank.tokens.get(REQUEST)
    await bank.tokens.keep_consent(REQUEST, "a@example.org", GIVEN)
    bank.clock.advance(3600)
    await bank.tokens.get(REQUEST)
    bank.clock.advance(3600)
    await bank.tokens.get(REQUEST)
    assert bank.chain == ["configured", "given", "refresh-2"]


async def test_a_password_that_changed_wins_over_the_consent_until_it_is_as_before(bank: Bank) -> None:
    await bank.tokens.keep_consent(REQUEST, "a@example.org", GIVEN)
    assert await text(bank, asking(Secret("new"))) == "token-1"
    assert bank.chain == ["new"]
    assert await text(bank, asking(CONFIGURED)) == "given access"


async def test_a_password_taken_out_leaves_the_consent_in_force(bank: Bank) -> None:
    await bank.tokens.keep_consent(REQUEST, "a@example.org", GIVEN)
    assert await text(bank, asking(None)) == "given access"


async def test_a_password_that_came_after_a_consent_without_one_wins(bank: Bank) -> None:
    await bank.tokens.keep_consent(asking(None), "a@example.org", GIVEN)
    assert await text(bank, asking(None)) == "given access"
    assert await text(bank, asking(CONFIGURED)) == "token-1"


@pytest.mark.parametrize(
    "request_",
    [
        replace(REQUEST, consented=replace(CONSENTED, client="pop-client-b")),
        replace(REQUEST, consented=replace(CONSENTED, login="b@example.org")),
        replace(REQUEST, consented=replace(CONSENTED, token_endpoint="https://other.example/token")),
        replace(REQUEST, application=Application("other", Secret("sesame"))),
        replace(REQUEST, consented=None),
    ],
    ids=["client", "login", "authority", "application", "grant"],
)
async def test_a_consent_to_something_else_is_passed_over(bank: Bank, request_: TokenRequest) -> None:
    await bank.tokens.keep_consent(REQUEST, "a@example.org", GIVEN)
    assert await bank.tokens.consent_in_force(request_) is None
    assert await text(bank, request_) == "token-1"
    assert bank.chain == ["configured"]


async def test_an_account_is_the_same_in_any_case(bank: Bank) -> None:
    await bank.tokens.keep_consent(REQUEST, "A@Example.org", GIVEN)
    assert await text(bank, replace(REQUEST, consented=replace(CONSENTED, login="A@EXAMPLE.ORG"))) == "given access"


async def test_another_secret_of_the_application_keeps_the_consent(bank: Bank) -> None:
    """A client_secret ends after some months; the consent goes on with the next one."""
    await bank.tokens.keep_consent(REQUEST, "a@example.org", GIVEN)
    assert await text(bank, replace(REQUEST, application=Application("client", Secret("second")))) == "token-1"
    assert bank.chain == ["given"]


async def test_nobody_has_consented_yet(bank: Bank) -> None:
    error = await failed(bank, asking(None))
    assert isinstance(error, ConsentMissing)
    assert "[pop-client-a]" in str(error)
    assert "postroom authorize pop-client-a" in error.remedy
    assert error.certain
    assert bank.asked == 0
    with pytest.raises(ConsentMissing):
        await bank.tokens.key_of(asking(None))


async def test_a_consent_is_kept_with_all_that_it_says(bank: Bank) -> None:
    bank.clock.advance(5)
    kept = await bank.tokens.keep_consent(REQUEST, "shared@example.org", GIVEN)
    assert kept == await bank.tokens.consent_in_force(REQUEST) == bank.keeper.consented["pop-client-a"]
    assert (kept.client, kept.login, kept.account) == ("pop-client-a", "a@example.org", "shared@example.org")
    assert (kept.scope, kept.made_at) == ("mail", START + 5)
    assert kept.configured == bank.keeper.keyed_hash("configured")
    assert (kept.key.authority, kept.key.client_id) == (ENDPOINT, "client")
    assert "configured" not in repr(kept).replace("configured=", "")


async def test_clients_that_one_account_opens_share_one_chain(bank: Bank) -> None:
    """Each consent may end the refresh token before; one chain follows the newest."""
    bank.authority.rotates = True
    other = replace(REQUEST, client="pop-client-b", consented=replace(CONSENTED, client="pop-client-b", login="b@example.org"))
    await bank.tokens.keep_consent(REQUEST, "shared@example.org", GIVEN)
    await bank.tokens.keep_consent(other, "Shared@Example.org", replace(GIVEN, refresh_token=Secret("given second")))
    assert await bank.tokens.key_of(REQUEST) == await bank.tokens.key_of(other)
    bank.clock.advance(3600)
    tokens = await asyncio.gather(bank.tokens.get(REQUEST), bank.tokens.get(other))
    assert {token.token.reveal() for token in tokens} == {"token-1"}
    assert bank.chain == ["given second"]


async def test_accounts_of_two_mailboxes_are_two_chains(bank: Bank) -> None:
    other = replace(REQUEST, consented=replace(CONSENTED, client="pop-client-b", login="b@example.org"))
    for request in (REQUEST, other):
        assert request.consented is not None
        await bank.tokens.keep_consent(request, "", GIVEN)  # the authority did not tell who signed in
    assert await bank.tokens.key_of(REQUEST) != await bank.tokens.key_of(other)


async def test_a_consent_at_microsoft_stands_in_for_the_password_grant(bank: Bank) -> None:
    """The two differ in the directory that is asked and in the scope."""
    owner = replace(
        REQUEST, token_endpoint="https://authority.example/organizations/token", way=OwnerPassword("a@example.org", CONFIGURED)
    )
    owner = replace(owner, scope="everything")
    await bank.tokens.get(owner)
    assert not await bank.tokens.refreshes(owner)
    await bank.tokens.keep_consent(owner, "a@example.org", replace(GIVEN, lifetime=0))
    await bank.tokens.get(owner)
    assert await bank.tokens.refreshes(owner)
    assert bank.authority.urls == [owner.token_endpoint, ENDPOINT]
    assert [form["grant_type"] for form in bank.authority.forms] == ["password", "refresh_token"]
    assert [form["scope"] for form in bank.authority.forms] == ["everything", "mail"]


async def test_a_new_consent_ends_a_refusal(bank: Bank) -> None:
    await bank.tokens.keep_consent(REQUEST, "a@example.org", replace(GIVEN, lifetime=0))
    bank.authority.answers.append(refusal())
    await failed(bank)
    await failed(bank)
    assert bank.asked == 1
    await bank.tokens.keep_consent(REQUEST, "a@example.org", GIVEN)
    assert await text(bank) == "given access"


async def test_a_consent_in_force_is_none_where_there_is_none(bank: Bank) -> None:
    found: Consent | None = await bank.tokens.consent_in_force(REQUEST)
    assert found is None
    assert await bank.tokens.refreshes(REQUEST)


# --- the refresh token before -----------------------------------------------------------------------------------------


async def rotated_twice(bank: Bank) -> None:
    """The present refresh token is refresh-2, and refresh-1 was before it."""
    bank.authority.rotates = True
    for _ in range(2):
        await bank.tokens.get(REQUEST)
        bank.clock.advance(3600)
    assert bank.chain == ["configured", "refresh-1"]


async def test_the_former_refresh_token_is_tried_once_and_the_chain_goes_on_from_it(bank: Bank) -> None:
    await rotated_twice(bank)
    bank.authority.answers.append(refusal())
    assert await text(bank) == "token-4"
    bank.clock.advance(3600)
    assert await text(bank) == "token-5"
    assert bank.chain[2:] == ["refresh-2", "refresh-1", "refresh-4"]


async def test_a_former_refresh_token_that_is_not_rotated_becomes_the_present_one(bank: Bank) -> None:
    await rotated_twice(bank)
    bank.authority.rotates = False
    bank.authority.answers.append(refusal())
    await bank.tokens.get(REQUEST)
    bank.clock.advance(3600)
    await bank.tokens.get(REQUEST)
    assert bank.chain[2:] == ["refresh-2", "refresh-1", "refresh-1"]


async def test_where_both_are_refused_the_first_refusal_is_told_and_remembered(bank: Bank) -> None:
    await rotated_twice(bank)
    bank.authority.answers += [refusal("invalid_grant", "the first"), refusal("invalid_grant", "the second")]
    error = await failed(bank)
    assert "the first" in str(error)
    assert "the first" in str(await failed(bank))
    assert bank.chain[2:] == ["refresh-2", "refresh-1"]


async def test_a_refusal_of_the_application_is_not_answered_with_the_former_token(bank: Bank) -> None:
    await rotated_twice(bank)
    bank.authority.answers.append(refusal("invalid_client"))
    await failed(bank)
    assert bank.chain[2:] == ["refresh-2"]


async def test_once_the_new_token_has_worked_there_is_no_former_one(bank: Bank) -> None:
    await rotated_twice(bank)
    bank.authority.rotates = False
    await bank.tokens.get(REQUEST)
    bank.clock.advance(3600)
    bank.authority.answers.append(refusal())
    await failed(bank)
    assert bank.chain[2:] == ["refresh-2", "refresh-2"]


async def test_trouble_with_the_former_token_says_nothing_about_the_present_one(bank: Bank) -> None:
    await rotated_twice(bank)
    bank.authority.answers += [refusal(), ConnectError("no route")]
    assert isinstance(await failed(bank), ConnectError)
    assert await text(bank) == "token-5"
    assert bank.chain[2:] == ["refresh-2", "refresh-1", "refresh-2"]


# --- what is believed -------------------------------------------------------------------------------------------------

MICROSOFT = replace(REQUEST, authority="microsoft")


async def test_an_uncertain_refusal_is_not_remembered(bank: Bank) -> None:
    bank.authority.answers.append(refusal())
    error = await failed(bank, MICROSOFT)
    assert isinstance(error, TokenRefused)
    assert (error.certain, error.reason) == (False, "microsoft-invalid-grant")
    assert await text(bank, MICROSOFT) == "token-2"


async def test_a_certain_refusal_is_remembered_with_its_words(bank: Bank) -> None:
    bank.authority.answers.append(refusal("invalid_grant", "AADSTS700082: The refresh token has expired due to inactivity."))
    first = await failed(bank, MICROSOFT)
    again = await failed(bank, MICROSOFT)
    assert isinstance(first, TokenRefused)
    assert isinstance(again, TokenRefused)
    assert first.certain
    assert (str(again), again.remedy, again.error) == (str(first), first.remedy, first.error)
    assert "postroom authorize pop-client-a" in again.remedy
    assert bank.asked == 1


async def test_who_asks_whether_it_works_now_asks_the_authority(bank: Bank) -> None:
    bank.authority.answers.append(refusal())
    await failed(bank)
    bank.tokens.remembers_refusals = False
    assert await text(bank) == "token-2"


@pytest.mark.parametrize("trouble", [Lost("cut"), TimedOut("silent")])
async def test_a_refusal_after_a_refresh_without_answer_is_explained_by_it(bank: Bank, trouble: PostroomError) -> None:
    bank.authority.answers += [trouble, refusal()]
    await failed(bank)
    error = await failed(bank)
    assert error.remedy.startswith("The last refresh was interrupted before its answer came here")
    assert "postroom authorize pop-client-a" in error.remedy
    assert (await failed(bank)).remedy == error.remedy
    assert bank.asked == 2


@pytest.mark.parametrize("trouble", [ConnectError("no route"), HttpAnswer(503, b"", None), HttpAnswer(429, b"", None)])
async def test_a_refusal_after_trouble_that_spent_nothing_is_not(bank: Bank, trouble: HttpAnswer | PostroomError) -> None:
    bank.authority.answers += [trouble, refusal()]
    await failed(bank)
    assert "interrupted" not in (await failed(bank)).remedy


async def test_a_refusal_of_the_application_is_not_explained_by_an_interruption(bank: Bank) -> None:
    bank.authority.answers += [Lost("cut"), refusal("invalid_client")]
    await failed(bank)
    assert "interrupted" not in (await failed(bank)).remedy


async def test_an_answer_ends_an_interruption(bank: Bank) -> None:
    bank.authority.answers.append(Lost("cut"))
    await failed(bank)
    await bank.tokens.get(REQUEST)
    bank.clock.advance(3600)
    bank.authority.answers.append(refusal())
    assert "interrupted" not in (await failed(bank)).remedy


@pytest.mark.parametrize("trouble", [ConnectError("no route"), HttpAnswer(503, b"", None), refusal()])
async def test_an_error_names_the_authority(bank: Bank, trouble: HttpAnswer | PostroomError) -> None:
    bank.authority.answers.append(trouble)
    assert (await failed(bank)).detail.startswith(f"{ENDPOINT}: ")


# --- grants without a person ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "grant"), [(ClientCredentials(), "client_credentials"), (OwnerPassword("a@example.org", CONFIGURED), "password")]
)
async def test_a_hundred_mailboxes_share_one_request(bank: Bank, way: ClientCredentials | OwnerPassword, grant: str) -> None:
    requests = [replace(REQUEST, way=way, client=f"pop-client-{n}", consented=None) for n in range(100)]
    tokens = await asyncio.gather(*(bank.tokens.get(request) for request in requests))
    assert {token.token.reveal() for token in tokens} == {"token-1"}
    assert [form["grant_type"] for form in bank.authority.forms] == [grant]
    assert not await bank.tokens.refreshes(requests[0])


async def test_a_grant_without_a_refresh_token_is_asked_for_anew(bank: Bank) -> None:
    request = replace(REQUEST, way=ClientCredentials(), consented=None)
    await bank.tokens.get(request)
    bank.clock.advance(3600)
    assert await text(bank, request) == "token-2"
    assert bank.authority.forms[0] == bank.authority.forms[1]


async def test_the_password_grant_asks_again_with_another_password(bank: Bank) -> None:
    for password in ("old", "new"):
        await bank.tokens.get(replace(REQUEST, way=OwnerPassword("a", Secret(password)), consented=None))
    assert [form["password"] for form in bank.authority.forms] == ["old", "new"]


# --- tokens from outside ----------------------------------------------------------------------------------------------

URL = "http://127.0.0.1:1/token"
OUTSIDE = replace(REQUEST, token_endpoint=URL, application=Application(""), way=External(None, URL), scope=None, consented=None)


def answered(octets: bytes) -> HttpAnswer:
    return HttpAnswer(200, octets, None)


def jwt(claims: dict[str, object]) -> bytes:
    return b"e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=") + b".sig"


@pytest.mark.parametrize(
    ("octets", "lifetime"),
    [
        (b'{"access_token": "abc", "expires_in": 60}', 60),
        (b'{"access_token": "abc", "token_type": "Bearer"}', 300),
        (b"abc", 300),
        (jwt({"exp": START + 1234}), 1234),
        (jwt({"exp": START - 1}), 0),
        (jwt({"exp": "soon"}), 300),
        (jwt({}), 300),
        (b'{"access_token": "' + jwt({"exp": START + 1234}) + b'"}', 1234),
        (b'{"access_token": "' + jwt({"exp": START + 1234}) + b'", "expires_in": 60}', 60),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_how_long_a_token_from_outside_is_good(bank: Bank, octets: bytes, lifetime: float) -> None:
    bank.authority.answers.append(answered(octets))
    token = await bank.tokens.get(OUTSIDE)
    assert (token.lifetime, token.expires_at) == (lifetime, START + lifetime)
    assert (bank.authority.urls, bank.authority.forms) == ([URL], [])


async def test_a_token_from_outside_is_asked_for_once_and_again_when_it_was_refused(bank: Bank) -> None:
    bank.authority.answers += [answered(b"first"), answered(b"second")]
    tokens = await asyncio.gather(*(bank.tokens.get(OUTSIDE) for _ in range(100)))
    assert {token.token.reveal() for token in tokens} == {"first"}
    assert (await bank.tokens.get(OUTSIDE, refused=1)).token == Secret("second")
    assert bank.asked == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (HttpAnswer(500, b"", None), TokenUnavailable),
        (HttpAnswer(429, b"", 30.0), Throttled),
        (answered(b""), TokenUnavailable),
        (answered(b"{}"), TokenUnavailable),
        (Lost("cut"), Lost),
    ],
)
async def test_an_address_that_gives_no_token_leaves_nothing_behind(
    bank: Bank, answer: HttpAnswer | PostroomError, kind: type[PostroomError]
) -> None:
    bank.authority.answers += [answer, answered(b"abc")]
    assert type(await failed(bank, OUTSIDE)) is kind
    assert await text(bank, OUTSIDE) == "abc"


async def test_a_program_that_cannot_be_started_is_passing_trouble(bank: Bank) -> None:
    error = await failed(bank, replace(OUTSIDE, way=External(("/nowhere/at-all",), None)))
    assert isinstance(error, TokenUnavailable)
    assert "token-command /nowhere/at-all" in str(error)
