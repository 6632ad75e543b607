"""Access tokens: one request where a hundred ask, nothing lost, and no hammering."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fakes import START, Bank, HandClock, HastyClock, banked, refusal
from postroom.errors import ConnectError, Lost, NoMechanism, PostroomError, Throttled, TimedOut, TokenRefused, TokenUnavailable
from postroom.model import AccessToken, GrantKey
from postroom.net.credentials import PasswordCredentials, TokenCredentials
from postroom.net.grants import Application, RefreshToken
from postroom.net.http import HttpAnswer
from postroom.net.tokens import TokenRequest, Tokens
from postroom.secret import Secret
from postroom.wire.jwt import Wanted

REQUEST = TokenRequest(
    token_endpoint="https://authority.example/token",
    application=Application("client", Secret("sesame")),
    way=RefreshToken(Secret("configured")),
    scope="mail",
    ca_file=None,
    margin=300,
)


WANTED = Wanted("user")


@pytest.fixture
def bank() -> Bank:
    return banked(HandClock())


async def text(tokens: Tokens, request: TokenRequest = REQUEST, refused: int | None = None) -> str:
    return (await tokens.get(request, refused)).token.reveal()


async def failed(bank: Bank, request: TokenRequest = REQUEST) -> PostroomError:
    with pytest.raises(PostroomError) as caught:
        await bank.tokens.get(request)
    return caught.value


async def turns(count: int = 50) -> None:
    """Let the other tasks do what they can."""
    for _ in range(count):
        await asyncio.sleep(0)


# --- one request ------------------------------------------------------------------------------------------------------


async def test_what_is_asked_and_what_comes(bank: Bank) -> None:
    token = await bank.tokens.get(REQUEST)
    assert token == AccessToken(Secret("token-1"), 1, 3600, START + 3600)
    assert bank.authority.forms == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "configured",
            "client_id": "client",
            "client_secret": "sesame",
            "scope": "mail",
        }
    ]
    assert bank.tokens.requests == 1


async def test_a_hundred_logins_make_one_request(bank: Bank) -> None:
    bank.authority.gate = asyncio.Event()
    asking = [asyncio.create_task(bank.tokens.get(REQUEST)) for _ in range(100)]
    await turns()
    bank.authority.gate.set()
    assert {token.version for token in await asyncio.gather(*asking)} == {1}
    assert bank.asked == 1


async def test_a_hundred_refused_logins_make_one_request(bank: Bank) -> None:
    await bank.tokens.get(REQUEST)
    tokens = await asyncio.gather(*(bank.tokens.get(REQUEST, refused=1) for _ in range(100)))
    assert {token.version for token in tokens} == {2}
    assert bank.asked == 2


async def test_a_late_refusal_of_an_old_token_makes_none(bank: Bank) -> None:
    await bank.tokens.get(REQUEST)
    await bank.tokens.get(REQUEST, refused=1)
    assert (await bank.tokens.get(REQUEST, refused=1)).version == 2
    assert bank.asked == 2


async def test_each_grant_is_asked_for_by_itself(bank: Bank) -> None:
    bank.authority.gate = asyncio.Event()
    others = [
        replace(REQUEST, application=Application("b", Secret("sesame"))),
        replace(REQUEST, token_endpoint="https://b"),
        replace(REQUEST, way=RefreshToken(Secret("b"))),
    ]
    asking = [asyncio.create_task(bank.tokens.get(request)) for request in (REQUEST, *others)]
    await turns()
    assert bank.asked == 4  # none waits for another
    bank.authority.gate.set()
    await asyncio.gather(*asking)


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "other"},
        {"scope": None},
        {"application": Application("client", Secret("new"))},
        {"application": Application("client")},
    ],
)
async def test_with_another_scope_or_secret_another_token_is_asked_for(bank: Bank, change: dict[str, object]) -> None:
    await bank.tokens.get(REQUEST)
    other = replace(REQUEST, **change)  # type: ignore[arg-type]
    assert await text(bank.tokens, other) == "token-2"
    assert await text(bank.tokens) == "token-1"
    assert await text(bank.tokens, other) == "token-2"
    assert bank.asked == 2


# --- how long a token is good -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lifetime", "margin", "good_for"),
    [
        (3600, 300, 3300),
        (3600, 0, 3600),
        (3600, 900, 2700),
        (3600, 3000, 2700),  # never before three quarters of its life
        (3600, 100_000, 2700),
        (60, 300, 45),
        (0, 300, 0),
    ],
)
async def test_a_token_is_renewed_by_its_margin(bank: Bank, lifetime: float, margin: float, good_for: float) -> None:
    bank.authority.lifetime = lifetime
    request = replace(REQUEST, margin=margin)
    await bank.tokens.get(request)
    if good_for:
        bank.clock.advance(good_for - 1)
        assert await text(bank.tokens, request) == "token-1"
        bank.clock.advance(1)
    assert await text(bank.tokens, request) == "token-2"


async def test_a_token_outlives_its_process(bank: Bank) -> None:
    await bank.tokens.get(REQUEST)
    assert await text(bank.another()) == "token-1"


# --- rotation ---------------------------------------------------------------------------------------------------------


async def test_a_new_refresh_token_is_used_from_then_on(bank: Bank) -> None:
    bank.authority.rotates = True
    for _ in range(3):
        await bank.tokens.get(REQUEST)
        bank.clock.advance(3600)
    assert bank.chain == ["configured", "refresh-1", "refresh-2"]
    await bank.another().get(REQUEST)
    assert bank.chain[-1] == "refresh-3"


async def test_it_is_durable_before_the_access_token_is_used(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.authority.rotates = True
    saving = asyncio.Event()
    real = bank.keeper.save_answer

    async def slow(*answer: object) -> AccessToken:
        await saving.wait()
        return await real(*answer)  # type: ignore[arg-type]

    monkeypatch.setattr(bank.keeper, "save_answer", slow)
    asking = asyncio.create_task(bank.tokens.get(REQUEST))
    await turns()
    assert bank.asked == 1
    assert not asking.done()
    saving.set()
    assert (await asking).token == Secret("token-1")


async def test_a_new_value_in_the_configuration_begins_a_new_chain_and_an_old_one_resumes_its_own(bank: Bank) -> None:
    bank.authority.rotates = True
    await bank.tokens.get(REQUEST)
    bank.clock.advance(3600)
    await bank.tokens.get(replace(REQUEST, way=RefreshToken(Secret("consented anew"))))
    bank.clock.advance(3600)
    await bank.tokens.get(REQUEST)  # a restored old file does not replay a token long spent
    assert bank.chain == ["configured", "consented anew", "refresh-1"]


# --- refusals ---------------------------------------------------------------------------------------------------------


async def test_a_refusal_is_told_in_the_authoritys_words(bank: Bank) -> None:
    bank.authority.answers.append(refusal("invalid_grant", "AADSTS70008: The refresh token has expired."))
    request = replace(REQUEST, issuer="https://issuer.example", client="pop-client-a")
    error = await failed(bank, request)
    assert isinstance(error, TokenRefused)
    assert error.error == "invalid_grant"
    assert "https://issuer.example: invalid_grant: AADSTS70008: The refresh token has expired." in str(error)
    assert "postroom authorize pop-client-a" in error.remedy


async def test_a_refusal_answers_from_memory(bank: Bank) -> None:
    bank.authority.answers.append(refusal())
    first = await failed(bank)
    for tokens in (bank.tokens, bank.another()):
        with pytest.raises(TokenRefused) as again:
            await tokens.get(REQUEST)
        assert (str(again.value), again.value.remedy) == (str(first), first.remedy)
    assert bank.asked == 1


async def test_a_refused_grant_is_tried_again_after_an_hour(bank: Bank) -> None:
    bank.authority.answers.append(refusal())
    await failed(bank)
    bank.clock.advance(3599)
    await failed(bank)
    assert bank.asked == 1
    bank.clock.advance(1)
    assert await text(bank.tokens) == "token-2"


@pytest.mark.parametrize(
    "change",
    [
        {"application": Application("client", Secret("corrected"))},
        {"scope": "corrected"},
        {"way": RefreshToken(Secret("new"))},
        {"application": Application("new", Secret("sesame"))},
    ],
)
async def test_a_refused_grant_is_tried_again_when_something_changed(bank: Bank, change: dict[str, object]) -> None:
    bank.authority.answers.append(refusal("invalid_client"))
    await failed(bank)
    assert await text(bank.tokens, replace(REQUEST, **change)) == "token-2"  # type: ignore[arg-type]


async def test_a_token_still_good_is_given_after_a_refusal(bank: Bank) -> None:
    """The refresh failed for good; the access token at hand lives on, for logins that did not refuse it."""
    await bank.tokens.get(REQUEST)
    bank.authority.answers.append(refusal())
    with pytest.raises(TokenRefused):
        await bank.tokens.get(REQUEST, refused=1)
    assert await text(bank.tokens) == "token-1"


async def test_an_authority_that_repeats_our_secret_is_not_quoted_with_it(bank: Bank) -> None:
    bank.authority.answers.append(refusal("invalid_grant", "the token 'configured' of secret sesame is unknown"))
    error = await failed(bank)
    words = str(error) + repr(error) + error.remedy
    assert "configured" not in words.replace("configured password", "")
    assert "sesame" not in words
    assert "the token '***' of secret *** is unknown" in words


# --- passing trouble --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ConnectError("no route"), ConnectError),
        (Lost("cut"), Lost),
        (TimedOut("silent"), TimedOut),
        (HttpAnswer(503, b"<html>", None), TokenUnavailable),
        (HttpAnswer(429, b"", 30.0), Throttled),
        (refusal("temporarily_unavailable"), TokenUnavailable),
        (refusal("invalid_grant", status=500), TokenUnavailable),
        (HttpAnswer(200, b"{}", None), TokenUnavailable),
        (HttpAnswer(404, b"<html>", None), TokenUnavailable),
        (HttpAnswer(503, b"", 30.0), Throttled),
    ],
)
async def test_a_failure_leaves_the_grant_as_it_was(
    bank: Bank, answer: HttpAnswer | PostroomError, kind: type[PostroomError]
) -> None:
    bank.authority.answers.append(answer)
    error = await failed(bank)
    assert type(error) is kind
    assert await text(bank.another()) == "token-2"  # at once: no claim and no refusal is left behind
    assert bank.chain == ["configured", "configured"]


async def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_token(bank: Bank) -> None:
    """The authority may have rotated: the former token is what we have, and Microsoft's stays good."""
    bank.authority.rotates = True
    await bank.tokens.get(REQUEST)
    bank.clock.advance(3600)
    bank.authority.answers.append(TimedOut("no answer"))
    await failed(bank)
    assert await text(bank.tokens) == "token-3"
    assert bank.chain == ["configured", "refresh-1", "refresh-1"]


async def test_a_login_that_is_cancelled_lets_the_others_go_on(bank: Bank) -> None:
    bank.authority.gate = asyncio.Event()
    first, second = (asyncio.create_task(bank.tokens.get(REQUEST)) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    bank.authority.gate.set()
    assert (await second).version == 1
    assert await text(bank.another()) == "token-2"


# --- several processes ------------------------------------------------------------------------------------------------


async def test_the_refresh_of_another_process_is_awaited() -> None:
    bank = banked(HandClock())
    bank.authority.gate = asyncio.Event()
    winner = asyncio.create_task(bank.tokens.get(REQUEST))
    await turns()
    loser = asyncio.create_task(bank.another().get(REQUEST))
    for _ in range(5):
        assert await bank.clock.skip() == pytest.approx(0.1)
        await turns()
    assert bank.asked == 1
    bank.authority.gate.set()
    await winner
    await bank.clock.skip()
    assert (await loser).token == Secret("token-1")
    assert bank.asked == 1


async def test_the_refresh_of_a_process_that_died_is_taken_over() -> None:
    bank = banked(HastyClock())
    grant = await bank.keeper.open_grant(
        GrantKey(REQUEST.token_endpoint, "client", bank.keeper.keyed_hash("configured")), Secret("configured"), "x"
    )
    await bank.keeper.claim_grant(grant.id, 60)
    assert await text(bank.another()) == "token-1"
    assert 60 <= bank.clock.now() - START <= 61


async def test_a_process_that_refreshes_for_ever_is_not_waited_for_for_ever() -> None:
    bank = banked(HastyClock())
    grant = await bank.keeper.open_grant(
        GrantKey(REQUEST.token_endpoint, "client", bank.keeper.keyed_hash("configured")), Secret("configured"), "x"
    )
    await bank.keeper.claim_grant(grant.id, 10_000)
    with pytest.raises(TimedOut, match="another process"):
        await bank.another().get(REQUEST)
    assert bank.asked == 0


async def test_a_token_that_came_between_the_look_and_the_claim_is_taken(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    other = bank.another()
    real = bank.keeper.claim_grant

    async def claim(grant: int, seconds: float) -> bool:
        monkeypatch.setattr(bank.keeper, "claim_grant", real)
        await other.get(REQUEST)
        return await real(grant, seconds)

    monkeypatch.setattr(bank.keeper, "claim_grant", claim)
    assert await text(bank.tokens) == "token-1"
    assert bank.asked == 1
    assert await bank.keeper.claim_grant(1, 1)


async def test_a_refusal_that_came_between_the_look_and_the_claim_is_believed(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loser of a race does not ask what was refused a moment ago."""
    other = bank.another()
    real = bank.keeper.claim_grant

    async def claim(grant: int, seconds: float) -> bool:
        monkeypatch.setattr(bank.keeper, "claim_grant", real)
        bank.authority.answers.append(refusal())
        with pytest.raises(TokenRefused):
            await other.get(REQUEST)
        return await real(grant, seconds)

    monkeypatch.setattr(bank.keeper, "claim_grant", claim)
    with pytest.raises(TokenRefused):
        await bank.tokens.get(REQUEST)
    assert bank.asked == 1


# --- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "offered", "chosen"),
    [
        ((), ["LOGIN", "PLAIN"], "PLAIN"),
        ((), ["LOGIN"], "LOGIN"),
        (("LOGIN",), ["LOGIN", "PLAIN"], "LOGIN"),
        (("LOGIN", "PLAIN"), ["LOGIN", "PLAIN"], "PLAIN"),
        (("PLAIN", "XOAUTH2"), ["PLAIN", "XOAUTH2"], "PLAIN"),
        (("PLAIN",), ["LOGIN"], None),
        ((), ["CRAM-MD5", "XOAUTH2"], None),
        ((), [], None),
    ],
)
async def test_a_password_answers(allowed: tuple[str, ...], offered: list[str], chosen: str | None) -> None:
    credentials = PasswordCredentials("user", Secret("pw"), allowed, "", "pop-client-a")
    if chosen is None:
        with pytest.raises(NoMechanism):
            await credentials.answer(offered, "h", 1)
        return
    answer = await credentials.answer(offered, "h", 1)
    assert (answer.mechanism, answer.version, answer.valid_until) == (chosen, 0, None)
    assert not await credentials.refused(0)


async def test_a_token_answers_and_says_how_long(bank: Bank) -> None:
    credentials = TokenCredentials("user", REQUEST, bank.tokens, ("XOAUTH2",), WANTED, bank.clock)
    answer = await credentials.answer(["PLAIN", "XOAUTH2"], "h", 1)
    assert (answer.mechanism, answer.version, answer.valid_until) == ("XOAUTH2", 1, START + 3600)
    assert next(answer.exchange) == b"user=user\1auth=Bearer token-1\1\1"


async def test_no_token_is_asked_for_where_no_mechanism_takes_it(bank: Bank) -> None:
    credentials = TokenCredentials("user", REQUEST, bank.tokens, ("XOAUTH2", "OAUTHBEARER"), WANTED, bank.clock)
    with pytest.raises(NoMechanism, match="the server offers PLAIN"):
        await credentials.answer(["PLAIN"], "h", 1)
    assert bank.asked == 0


async def test_a_refused_token_is_not_offered_again(bank: Bank) -> None:
    credentials = TokenCredentials("user", REQUEST, bank.tokens, ("XOAUTH2",), WANTED, bank.clock)
    first = await credentials.answer(["XOAUTH2"], "h", 1)
    assert await credentials.refused(first.version)
    second = await credentials.answer(["XOAUTH2"], "h", 1)
    assert (second.version, bank.asked) == (2, 2)


async def test_a_refused_token_that_cannot_be_replaced_tells_why(bank: Bank) -> None:
    credentials = TokenCredentials("user", REQUEST, bank.tokens, ("XOAUTH2",), WANTED, bank.clock)
    first = await credentials.answer(["XOAUTH2"], "h", 1)
    bank.authority.answers.append(refusal("invalid_grant", "revoked"))
    with pytest.raises(TokenRefused, match="revoked"):
        await credentials.refused(first.version)
