"""What credentials tell of themselves, and how they explain a refused login."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from fakes import START, Bank, HandClock, banked, refusal
from postroom.errors import NoMechanism, TokenRefused
from postroom.net.credentials import PasswordCredentials, TokenCredentials
from postroom.net.grants import Application, RefreshToken
from postroom.net.http import HttpAnswer
from postroom.net.tokens import TokenRequest
from postroom.secret import Secret
from postroom.wire.jwt import Wanted

REQUEST = TokenRequest(
    token_endpoint="https://authority.example/token",
    application=Application("client", Secret("sesame")),
    way=RefreshToken(Secret("configured")),
    scope="mail",
    ca_file=None,
    margin=300,
    client="pop-client-a",
)
WANTED = Wanted("box@example.org", ("https://outlook.office.com",), "IMAP.AccessAsUser.All", "IMAP.AccessAsApp")
GOOD: dict[str, object] = {"aud": "https://outlook.office.com", "scp": "IMAP.AccessAsUser.All", "upn": "box@example.org"}


@pytest.fixture
def bank() -> Bank:
    return banked(HandClock())


def jwt(claims: dict[str, object]) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.sig"


def gives(bank: Bank, token: str) -> None:
    bank.authority.answers.append(HttpAnswer(200, json.dumps({"access_token": token, "expires_in": 3600}).encode(), None))


def credentials(bank: Bank, request: TokenRequest = REQUEST) -> TokenCredentials:
    return TokenCredentials("box@example.org", request, bank.tokens, ("XOAUTH2", "OAUTHBEARER"), WANTED, bank.clock)


async def test_a_password_needs_nothing_beforehand_but_a_mechanism() -> None:
    credentials = PasswordCredentials("u", Secret("pw"), (), "", "pop-client-a")
    assert await credentials.prepare(["PLAIN"]) == ""
    with pytest.raises(NoMechanism, match="the server offers XOAUTH2"):
        await credentials.prepare(["XOAUTH2"])


async def test_no_token_is_prepared_where_no_mechanism_takes_it(bank: Bank) -> None:
    with pytest.raises(NoMechanism, match="the server offers PLAIN"):
        await credentials(bank).prepare(["PLAIN"])
    assert bank.asked == 0


async def test_an_opaque_token_tells_how_long_it_is_good(bank: Bank) -> None:
    assert await credentials(bank).prepare(["XOAUTH2"]) == "good for 60 min"


async def test_a_token_that_can_be_read_tells_for_whom(bank: Bank) -> None:
    gives(bank, jwt(GOOD))
    told = await credentials(bank).prepare(["XOAUTH2"])
    assert told == "good for 60 min; for https://outlook.office.com, allows IMAP.AccessAsUser.All, of box@example.org"


async def test_a_token_that_will_not_do_says_so_before_it_is_used(bank: Bank) -> None:
    gives(bank, jwt({**GOOD, "scp": "Mail.Read"}))
    assert "The token lacks the scope IMAP.AccessAsUser.All" in await credentials(bank).prepare(["XOAUTH2"])


async def test_what_was_prepared_is_what_answers(bank: Bank) -> None:
    asked = credentials(bank)
    await asked.prepare(["XOAUTH2"])
    answer = await asked.answer(["XOAUTH2"], "h", 1)
    assert (answer.version, answer.valid_until, bank.asked) == (1, START + 3600, 1)


async def test_preparing_fails_as_answering_does(bank: Bank) -> None:
    bank.authority.answers.append(refusal())
    with pytest.raises(TokenRefused):
        await credentials(bank).prepare(["XOAUTH2"])


# --- refused logins ---------------------------------------------------------------------------------------------------

NOT_CONNECTED = "BAD User is authenticated but not connected."


async def test_nothing_is_known_of_a_strange_servers_words(bank: Bank) -> None:
    asked = credentials(bank)
    await asked.prepare(["XOAUTH2"])
    explained = await asked.explain("NO what is this")
    assert (explained.remedy, explained.rule) == ("", None)


async def test_a_refusal_is_explained_by_the_token_where_it_can_be_read(bank: Bank) -> None:
    gives(bank, jwt({**GOOD, "upn": "other@example.org"}))
    asked = credentials(bank)
    await asked.answer(["XOAUTH2"], "h", 1)
    explained = await asked.explain("NO what is this")
    assert "The token is other@example.org's, the mailbox is box@example.org" in explained.remedy
    assert explained.rule is None


async def test_the_tokens_own_words_stand_before_the_tables(bank: Bank) -> None:
    gives(bank, jwt({**GOOD, "upn": "other@example.org"}))
    asked = credentials(bank, replace(REQUEST, authority="microsoft"))
    await asked.answer(["XOAUTH2"], "h", 1)
    explained = await asked.explain(NOT_CONNECTED)
    assert explained.rule is not None
    assert explained.rule.name == "login-microsoft-not-connected"
    assert explained.remedy.startswith("The token is other@example.org's")
    assert explained.remedy.endswith(explained.rule.advice("pop-client-a"))


async def test_before_a_token_was_used_only_the_table_speaks(bank: Bank) -> None:
    explained = await credentials(bank, replace(REQUEST, authority="microsoft")).explain(NOT_CONNECTED)
    assert explained.rule is not None
    assert explained.remedy == explained.rule.advice("pop-client-a")


async def test_a_passwords_refusal_is_explained_by_its_provider() -> None:
    words = "NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)"
    explained = await PasswordCredentials("u", Secret("pw"), (), "google", "pop-client-a").explain(words)
    assert explained.rule is not None
    assert explained.rule.name == "login-google-app-password-needed"
    assert "CLIENT" not in explained.remedy
    unknown = await PasswordCredentials("u", Secret("pw"), (), "", "pop-client-a").explain(words)
    assert unknown.rule is None or not unknown.rule.authority
