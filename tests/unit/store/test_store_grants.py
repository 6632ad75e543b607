"""Grants and consents in the store: their dates, what is forgotten, what was announced, and vaults made before there were any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from former import first_schema, former_sealed

from fakes import START, HandClock
from postroom.model import AccessToken, Consent, Grant, GrantKey, GrantLife, Refusal, TokenFields
from postroom.secret import Secret
from postroom.store import Store
from postroom.store.keys import new_key

KEY = GrantKey("https://authority.example/token", "client", "account:a@example.org")
CONSENT = Consent("pop-client-a", "a@example.org", "a@example.org", KEY, "hash", "mail", START)
FIELDS = TokenFields(Secret("access"), 600, Secret("given"), "mail")
DAY = 86400.0


def store_in(directory: Path, clock: HandClock) -> Store:
    return Store(directory, clock, f"file:{directory / 'vault.key'}", {})


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(tmp_path: Path, clock: HandClock) -> Iterator[Store]:
    store = store_in(tmp_path, clock)
    yield store
    store.close()


async def opened(store: Store, key: GrantKey = KEY) -> Grant:
    return await store.open_grant(key, Secret("configured"), "x")


def of(client: str, key: GrantKey = KEY) -> Consent:
    return Consent(client, "a@example.org", "", key, "", "mail", START)


# --- consents ---------------------------------------------------------------------------------------------------------


async def test_all_consents_are_listed(store: Store) -> None:
    assert await store.consents() == []
    other = of("pop-client-b", GrantKey(KEY.authority, KEY.client_id, "account:b@example.org"))
    for consent in (CONSENT, other):
        await store.save_consent(consent, "x", FIELDS)
    assert sorted(await store.consents(), key=lambda consent: consent.client) == [CONSENT, other]


async def test_a_consent_is_forgotten_with_its_tokens(store: Store, tmp_path: Path) -> None:
    await store.save_consent(CONSENT, "x", FIELDS)
    assert await store.forget_consent("pop-client-a")
    assert await store.consent("pop-client-a") is None
    assert await store.grant_lives() == []
    grant = await opened(store)
    assert (grant.refresh_token, grant.access) == (Secret("configured"), None)
    connection = apsw.Connection(str(tmp_path / "postroom.db"), flags=apsw.SQLITE_OPEN_READONLY)
    assert connection.execute("SELECT count(*) FROM access_tokens").get == 0
    connection.close()


async def test_what_is_not_there_is_not_forgotten(store: Store) -> None:
    await store.save_consent(CONSENT, "x", FIELDS)
    assert not await store.forget_consent("pop-client-b")
    assert await store.forget_consent("pop-client-a")
    assert not await store.forget_consent("pop-client-a")


async def test_tokens_that_another_client_uses_are_kept_until_the_last_is_forgotten(store: Store) -> None:
    for client in ("pop-client-a", "pop-client-b"):
        await store.save_consent(of(client), "x", FIELDS)
    assert await store.forget_consent("pop-client-a")
    assert (await opened(store)).refresh_token == Secret("given")
    assert await store.forget_consent("pop-client-b")
    assert (await opened(store)).refresh_token == Secret("configured")


async def test_a_consent_of_one_client_leaves_other_grants_alone(store: Store) -> None:
    other = GrantKey(KEY.authority, KEY.client_id, "hash of another")
    grant = await opened(store, other)
    kept = await store.save_answer(other, grant, "x", TokenFields(Secret("other"), 600))
    await store.save_consent(CONSENT, "x", FIELDS)
    await store.forget_consent("pop-client-a")
    assert (await opened(store, other)).access == kept


async def test_a_consent_takes_the_right_to_refresh_from_whoever_had_it(store: Store, tmp_path: Path, clock: HandClock) -> None:
    """What it asks with is spent; its answer must not stand in the new one's place for long."""
    other = store_in(tmp_path, clock)
    grant = await opened(store)
    assert await store.claim_grant(grant.id, 60)
    await other.save_consent(CONSENT, "x", FIELDS)
    assert await other.claim_grant(grant.id, 60)
    other.close()


# --- dates ------------------------------------------------------------------------------------------------------------


async def test_a_grant_has_dates(store: Store, clock: HandClock) -> None:
    await opened(store)
    assert await store.grant_lives() == [GrantLife(KEY, START, START, None, None, "")]
    clock.advance(10)
    await store.save_answer(KEY, await opened(store), "x", TokenFields(Secret("access"), 60))
    assert await store.grant_lives() == [GrantLife(KEY, START, START, START + 10, None, "")]
    clock.advance(10)
    await store.save_answer(KEY, await opened(store), "x", TokenFields(Secret("access"), 60, Secret("rotated"), "", 7 * DAY))
    end = START + 20 + 7 * DAY
    assert await store.grant_lives() == [GrantLife(KEY, START, START + 20, START + 20, end, "")]
    clock.advance(10)
    await store.save_answer(KEY, await opened(store), "x", TokenFields(Secret("access"), 60))  # says nothing of an end
    assert await store.grant_lives() == [GrantLife(KEY, START, START + 20, START + 30, end, "")]


async def test_a_consent_begins_a_grants_life_anew(store: Store, clock: HandClock) -> None:
    await store.save_answer(KEY, await opened(store), "x", TokenFields(Secret("access"), 60, Secret("r"), "", DAY))
    clock.advance(100)
    await store.save_consent(Consent("pop-client-a", "a", "a", KEY, "", "", clock.now()), "x", FIELDS)
    at = START + 100
    assert await store.grant_lives() == [GrantLife(KEY, at, at, at, None, "")]


async def test_a_refusal_is_told_while_it_lasts(store: Store) -> None:
    grant = await opened(store)
    await store.save_refusal(grant.id, Refusal("invalid_grant", "the words", "the remedy", "x", START))
    assert [life.refused for life in await store.grant_lives()] == ["the words"]
    await store.save_answer(KEY, grant, "x", TokenFields(Secret("access"), 60))
    assert [life.refused for life in await store.grant_lives()] == [""]


async def test_what_a_token_was_granted_is_kept(store: Store, tmp_path: Path) -> None:
    await store.save_answer(KEY, await opened(store), "x", TokenFields(Secret("access"), 60, None, "mail openid"))
    connection = apsw.Connection(str(tmp_path / "postroom.db"), flags=apsw.SQLITE_OPEN_READONLY)
    assert connection.execute("SELECT scope FROM access_tokens").get == "mail openid"
    connection.close()


# --- announcements ----------------------------------------------------------------------------------------------------


async def test_an_ending_is_told_once_at_each_distance(store: Store, tmp_path: Path, clock: HandClock) -> None:
    assert [await store.tell("a/testing/1", days) for days in (30, 30, 14, 30, 14, 3, 3)] == [
        True,
        False,
        True,
        False,
        False,
        True,
        False,
    ]
    assert await store.tell("a/testing/2", 30)  # another ending
    other = store_in(tmp_path, clock)
    assert not await other.tell("a/testing/2", 30)  # over a restart
    other.close()


# --- vaults made before -----------------------------------------------------------------------------------------------


def of_version_one(directory: Path) -> int:
    """A store as a program left it that had the first schema alone; the number of its grant."""
    key = new_key()
    refresh = f"refresh:{KEY.authority}:{KEY.client_id}:{KEY.configured}"
    with first_schema(directory, key) as connection:
        connection.execute(
            "INSERT INTO grants (id, authority, client_id, configured, current, former, version, made_at) VALUES (5,?,?,?,?,?,2,?)",
            (
                *(KEY.authority, KEY.client_id, KEY.configured),
                *(former_sealed(key, text, refresh) for text in ("second", "first")),
                START - 50,
            ),
        )
        token = former_sealed(key, "access", "access:5:x")
        connection.execute("INSERT INTO access_tokens VALUES (5, 'x', 7, ?, 3600, ?)", (token, START + 3600))
    return 5


async def test_a_vault_made_before_there_were_consents_goes_on(tmp_path: Path, clock: HandClock) -> None:
    number = of_version_one(tmp_path)
    clock.advance(1000)
    store = store_in(tmp_path, clock)
    grant = await opened(store)
    assert (grant.id, grant.refresh_token, grant.version, grant.made_at) == (number, Secret("second"), 2, START - 50)
    assert (grant.former, grant.interrupted_at, grant.refusal) == (Secret("first"), None, None)
    assert grant.access == AccessToken(Secret("access"), 7, 3600, START + 3600)
    assert await store.grant_lives() == [GrantLife(KEY, START - 50, START - 50, None, None, "")]
    assert await store.consents() == []
    await store.save_consent(CONSENT, "x", FIELDS)
    assert (await opened(store)).id == number
    store.close()
