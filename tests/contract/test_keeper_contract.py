"""What every keeper of grants must do: the store, and the fake that the tests of tokens use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fakes import START, HandClock, MemoryKeeper
from postroom.model import AccessToken, Consent, Grant, GrantKey, Refusal, TokenFields
from postroom.net.tokens import Keeper
from postroom.secret import Secret
from postroom.store import Store

KEY = GrantKey("https://authority.example/token", "client", "hash of the configured token")
CONFIGURED = Secret("configured")


@dataclass
class Keepers:
    """Processes over one place."""

    clock: HandClock
    make: Callable[[], Keeper]
    made: list[Keeper] = field(default_factory=list)

    def another(self) -> Keeper:
        self.made.append(self.make())
        return self.made[-1]


@pytest.fixture(params=["store", "memory"])
async def keepers(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Keepers]:
    clock = HandClock()
    if request.param == "memory":
        first = MemoryKeeper(clock)
        names = iter("abcdefgh")

        def memory() -> MemoryKeeper:
            keeper = MemoryKeeper(clock, next(names), first.chains)
            keeper.consented = first.consented
            return keeper

        yield Keepers(clock, memory)
        return
    keepers = Keepers(clock, lambda: Store(tmp_path, clock, f"file:{tmp_path / 'vault.key'}", {}))
    yield keepers
    for keeper in keepers.made:
        assert isinstance(keeper, Store)
        keeper.close()


@pytest.fixture
def keeper(keepers: Keepers) -> Keeper:
    return keepers.another()


async def opened(keeper: Keeper, asked_with: str = "x", key: GrantKey = KEY, configured: Secret = CONFIGURED) -> Grant:
    return await keeper.open_grant(key, configured, asked_with)


async def save(
    keeper: Keeper, text: str, *, asked_with: str = "x", rotated: str | None = None, lifetime: float = 3600
) -> AccessToken:
    grant = await opened(keeper, asked_with)
    secret = None if rotated is None else Secret(rotated)
    return await keeper.save_answer(KEY, grant, asked_with, TokenFields(Secret(text), lifetime, secret))


def refusal(asked_with: str = "x") -> Refusal:
    return Refusal("invalid_grant", "the words", "the remedy", asked_with, START)


async def test_a_chain_begins_with_the_configured_token(keeper: Keeper) -> None:
    grant = await opened(keeper)
    assert (grant.refresh_token, grant.version, grant.made_at) == (CONFIGURED, 1, START)
    assert (grant.access, grant.refusal) == (None, None)
    assert await opened(keeper) == grant


async def test_a_chain_seen_before_goes_on_where_it_was(keeper: Keeper) -> None:
    await save(keeper, "access", rotated="second")
    grant = await opened(keeper, configured=CONFIGURED)
    assert (grant.refresh_token, grant.version) == (Secret("second"), 2)


@pytest.mark.parametrize("field_", ["authority", "client_id", "configured"])
async def test_each_part_of_the_key_makes_another_chain(keeper: Keeper, field_: str) -> None:
    names = {"authority": KEY.authority, "client_id": KEY.client_id, "configured": KEY.configured, field_: "other"}
    await save(keeper, "access", rotated="second")
    other = await opened(keeper, key=GrantKey(**names), configured=Secret("new"))
    assert other.refresh_token == Secret("new")
    assert other.access is None
    assert other.id != (await opened(keeper)).id


async def test_an_answer_is_kept(keepers: Keepers, keeper: Keeper) -> None:
    kept = await save(keeper, "access", lifetime=600)
    assert kept == AccessToken(Secret("access"), 1, 600, START + 600)
    assert (await opened(keeper)).access == kept
    assert (await opened(keepers.another())).access == kept


async def test_versions_grow(keeper: Keeper) -> None:
    assert [(await save(keeper, f"access {n}")).version for n in range(3)] == [1, 2, 3]


async def test_a_token_is_for_what_it_was_asked_with(keeper: Keeper) -> None:
    await save(keeper, "for x", asked_with="x")
    await save(keeper, "for y", asked_with="y")
    for asked_with, text in (("x", "for x"), ("y", "for y")):
        access = (await opened(keeper, asked_with)).access
        assert access is not None
        assert access.token == Secret(text)
    assert (await opened(keeper, "z")).access is None


async def test_a_token_is_found_also_after_a_refusal_of_another_request(keeper: Keeper) -> None:
    kept = await save(keeper, "for x", asked_with="x")
    await keeper.save_refusal((await opened(keeper)).id, refusal("y"))
    assert (await opened(keeper, "x")).access == kept
    assert (await opened(keeper, "y")).access is None


async def test_an_answer_without_rotation_keeps_the_refresh_token(keeper: Keeper) -> None:
    for rotated in (None, "configured"):
        await save(keeper, "access", rotated=rotated)
        grant = await opened(keeper)
        assert (grant.refresh_token, grant.version) == (CONFIGURED, 1)


async def test_a_refusal_is_kept_until_an_answer(keepers: Keepers, keeper: Keeper) -> None:
    grant = await opened(keeper)
    await keeper.save_refusal(grant.id, refusal())
    assert (await opened(keepers.another())).refusal == refusal()
    await save(keeper, "access")
    assert (await opened(keeper)).refusal is None


async def test_one_process_refreshes_at_a_time(keepers: Keepers, keeper: Keeper) -> None:
    other = keepers.another()
    grant = await opened(keeper)
    assert await keeper.claim_grant(grant.id, 60)
    assert await keeper.claim_grant(grant.id, 60)  # its own claim is prolonged
    assert not await other.claim_grant(grant.id, 60)
    await other.release_grant(grant.id)  # not its own: nothing happens
    assert not await other.claim_grant(grant.id, 60)
    await keeper.release_grant(grant.id)
    assert await other.claim_grant(grant.id, 60)


async def test_a_claim_ends_with_its_time(keepers: Keepers, keeper: Keeper) -> None:
    other = keepers.another()
    grant = await opened(keeper)
    await keeper.claim_grant(grant.id, 60)
    keepers.clock.advance(59)
    assert not await other.claim_grant(grant.id, 60)
    keepers.clock.advance(2)
    assert await other.claim_grant(grant.id, 60)


@pytest.mark.parametrize("ends", ["answer", "refusal"])
async def test_an_answer_of_either_kind_ends_the_claim(keepers: Keepers, keeper: Keeper, ends: str) -> None:
    grant = await opened(keeper)
    await keeper.claim_grant(grant.id, 60)
    if ends == "answer":
        await save(keeper, "access")
    else:
        await keeper.save_refusal(grant.id, refusal())
    assert await keepers.another().claim_grant(grant.id, 60)


async def test_the_former_refresh_token_is_kept_until_the_new_one_has_worked(keepers: Keepers, keeper: Keeper) -> None:
    await save(keeper, "access", rotated="second")
    assert (await opened(keepers.another())).former == CONFIGURED
    await save(keeper, "access")  # asked for with the second one, which is not rotated
    assert (await opened(keeper)).former is None
    await save(keeper, "access", rotated="third")
    assert (await opened(keeper)).former == Secret("second")


async def test_a_request_without_an_answer_is_remembered_until_one_comes(keepers: Keepers, keeper: Keeper) -> None:
    grant = await opened(keeper)
    await keeper.claim_grant(grant.id, 60)
    await keeper.release_grant(grant.id)
    assert (await opened(keeper)).interrupted_at is None
    keepers.clock.advance(5)
    await keeper.claim_grant(grant.id, 60)
    await keeper.release_grant(grant.id, unanswered=True)
    assert (await opened(keepers.another())).interrupted_at == START + 5
    await save(keeper, "access")
    assert (await opened(keeper)).interrupted_at is None


async def test_a_claim_that_was_never_given_back_is_a_request_without_an_answer(keepers: Keepers, keeper: Keeper) -> None:
    grant = await opened(keeper)
    await keeper.claim_grant(grant.id, 60)
    keepers.clock.advance(61)
    assert await keepers.another().claim_grant(grant.id, 60)
    assert (await opened(keeper)).interrupted_at == START + 61


CONSENTED = Consent("pop-client-a", "a@example.org", "a@example.org", KEY, "hash", "mail", START)


async def test_a_consent_is_kept_with_its_tokens(keepers: Keepers, keeper: Keeper) -> None:
    assert await keeper.consent("pop-client-a") is None
    await save(keeper, "old", rotated="spent")
    await keeper.save_refusal((await opened(keeper)).id, refusal())
    await keeper.save_consent(CONSENTED, "x", TokenFields(Secret("access"), 600, Secret("given"), "mail"))
    other = keepers.another()
    assert await other.consent("pop-client-a") == CONSENTED
    assert await other.consent("pop-client-b") is None
    grant = await opened(other)
    assert (grant.refresh_token, grant.former, grant.refusal, grant.interrupted_at) == (Secret("given"), None, None, None)
    assert grant.access == AccessToken(Secret("access"), 2, 600, START + 600)
    assert (grant.version, grant.made_at) == (3, START)


async def test_a_new_consent_stands_in_the_place_of_the_one_before(keeper: Keeper) -> None:
    for token in ("first", "second"):
        await keeper.save_consent(CONSENTED, "x", TokenFields(Secret("access"), 600, Secret(token), "mail"))
    assert (await opened(keeper)).refresh_token == Secret("second")


async def test_a_consent_begins_a_chain_where_there_is_none(keepers: Keepers, keeper: Keeper) -> None:
    keepers.clock.advance(5)
    consent = replace(CONSENTED, made_at=START + 5)
    await keeper.save_consent(consent, "x", TokenFields(Secret("access"), 600, Secret("given"), "mail", 86400))
    grant = await opened(keepers.another())
    assert (grant.refresh_token, grant.version, grant.made_at) == (Secret("given"), 2, START + 5)
    assert grant.access == AccessToken(Secret("access"), 1, 600, START + 605)


async def test_a_consent_of_two_clients_is_one_chain(keeper: Keeper) -> None:
    other = replace(CONSENTED, client="pop-client-b", login="b@example.org")
    for consent, token in ((CONSENTED, "first"), (other, "second")):
        await keeper.save_consent(consent, "x", TokenFields(Secret(token), 600, Secret(f"given {token}"), "mail"))
    assert (await keeper.consent("pop-client-a"), await keeper.consent("pop-client-b")) == (CONSENTED, other)
    grant = await opened(keeper)
    assert grant.refresh_token == Secret("given second")
    assert grant.access is not None
    assert (grant.access.token, grant.access.version) == (Secret("second"), 2)


async def test_a_consent_leaves_other_chains_alone(keeper: Keeper) -> None:
    kept = await save(keeper, "access", rotated="second")
    key = replace(KEY, configured="account:a@example.org")
    await keeper.save_consent(replace(CONSENTED, key=key), "x", TokenFields(Secret("other"), 600, Secret("given")))
    grant = await opened(keeper)
    assert (grant.refresh_token, grant.access) == (Secret("second"), kept)


async def test_a_consent_ends_a_claim(keepers: Keepers, keeper: Keeper) -> None:
    grant = await opened(keeper)
    assert await keeper.claim_grant(grant.id, 60)
    await keepers.another().save_consent(CONSENTED, "x", TokenFields(Secret("access"), 600, Secret("given")))
    assert await keepers.another().claim_grant(grant.id, 60)


async def test_a_refusal_without_an_answer_before_keeps_what_was_interrupted(keeper: Keeper) -> None:
    grant = await opened(keeper)
    await keeper.claim_grant(grant.id, 60)
    await keeper.release_grant(grant.id, unanswered=True)
    await keeper.save_refusal(grant.id, refusal())
    assert (await opened(keeper)).interrupted_at == START


async def test_keyed_hashes_tell_texts_apart(keepers: Keepers, keeper: Keeper) -> None:
    texts = [("a", "b"), ("ab", ""), ("", "ab"), ("ab",), ("a",), ("b", "a")]
    assert len({keeper.keyed_hash(*each) for each in texts}) == len(texts)
    assert keeper.keyed_hash("a", "b") == keeper.keyed_hash("a", "b") == keepers.another().keyed_hash("a", "b")
    assert "secret" not in keeper.keyed_hash("secret")
