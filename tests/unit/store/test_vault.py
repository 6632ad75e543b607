"""Secrets at rest: what is sealed, with which key, and what the store's row says of it."""

from __future__ import annotations

import os
from collections.abc import Callable

import apsw
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import Fate, VaultLocked
from postroom.secret import Secret
from postroom.store.database import migrate
from postroom.store.keys import Key, Place, Ring, place_of
from postroom.store.vault import Vault, change_key, open_vault, seal, unseal

ONE, TWO = Key(bytes(range(32))), Key(bytes(range(32, 64)))


def of_version_1(key: Key, text: str, belongs_to: str) -> bytes:
    """As values were sealed when keys had no ids."""
    nonce = os.urandom(12)
    return b"\x01" + nonce + AESGCM(key.octets).encrypt(nonce, text.encode(), belongs_to.encode())


# --- values -----------------------------------------------------------------------------------------------------------


@given(st.text(), st.text())
def test_what_is_sealed_opens_in_its_own_place(text: str, place: str) -> None:
    sealed = seal(ONE, Secret(text), place)
    assert unseal(Ring((ONE,)), sealed, place) == Secret(text)
    assert unseal(Ring((TWO, Key(ONE.octets))), sealed, place).reveal() == text


def test_nothing_of_the_text_or_the_key_shows() -> None:
    sealed = [seal(ONE, Secret("refresh-token"), "x") for _ in range(2)]
    assert sealed[0] != sealed[1]
    for each in sealed:
        assert b"refresh" not in each
        assert b"token" not in each
        assert ONE.octets[:4] not in each
    assert "\\x" not in repr(ONE)
    assert ONE.octets.hex()[:8] not in repr(Ring((ONE,))) + ONE.id


def test_a_value_names_its_key() -> None:
    sealed = seal(ONE, Secret("text"), "x")
    assert (sealed[0], sealed[1:9].hex()) == (2, ONE.id)
    assert ONE.id != TWO.id
    assert len(ONE.id) == 16


@pytest.mark.parametrize("sealer", [lambda: seal(ONE, Secret("text"), "x"), lambda: of_version_1(ONE, "text", "x")])
def test_another_key_opens_nothing(sealer: Callable[[], bytes]) -> None:
    for ring in (Ring((TWO,)), Ring((TWO, Key(os.urandom(32)))), Ring(())):
        with pytest.raises(VaultLocked, match="the key does not open") as locked:
            unseal(ring, sealer(), "x")
        assert locked.value.fate is Fate.REAUTHORIZE


@pytest.mark.parametrize("sealer", [lambda: seal(ONE, Secret("text"), "refresh:1"), lambda: of_version_1(ONE, "text", "refresh:1")])
def test_the_value_of_another_row_does_not_open(sealer: Callable[[], bytes]) -> None:
    with pytest.raises(VaultLocked, match="the key does not open"):
        unseal(Ring((ONE,)), sealer(), "refresh:2")


def test_a_value_without_an_id_opens_with_any_key_of_the_ring() -> None:
    for ring in (Ring((ONE,)), Ring((TWO, ONE)), Ring((ONE, TWO))):
        assert unseal(ring, of_version_1(ONE, "text", "x"), "x") == Secret("text")


@pytest.mark.parametrize("place", range(-1, 25))
def test_a_changed_octet_does_not_open(place: int) -> None:
    sealed = bytearray(seal(ONE, Secret("text"), "x"))
    sealed[place] ^= 1
    with pytest.raises(VaultLocked):
        unseal(Ring((ONE, TWO)), bytes(sealed), "x")


def test_a_value_that_claims_another_key_of_the_ring_does_not_open() -> None:
    sealed = seal(ONE, Secret("text"), "x")
    with pytest.raises(VaultLocked):
        unseal(Ring((ONE, TWO)), sealed[:1] + bytes.fromhex(TWO.id) + sealed[9:], "x")
    with pytest.raises(VaultLocked):  # nor one that claims to be of the version that has no id
        unseal(Ring((ONE, TWO)), b"\x01" + sealed[9:], "x")


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x00" * 50, b"\x03" + b"x" * 40, b"\x01", b"\x01short", b"\x01" + b"n" * 12, b"\x02", b"\x02short", b"\x02" + b"x" * 40]
    + [b"\x02" + bytes.fromhex(ONE.id) + b"n" * more for more in (0, 5, 12, 27)],
)
def test_what_was_never_sealed_does_not_open(octets: bytes) -> None:
    with pytest.raises(VaultLocked):
        unseal(Ring((ONE,)), octets, "x")


# --- the store's row --------------------------------------------------------------------------------------------------


@pytest.fixture
def db() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    migrate(connection)
    return connection


def place(*keys: Key, environment: dict[str, str] | None = None) -> Place:
    """A place with these keys; the environment it is in may be changed afterwards."""
    environment = {} if environment is None else environment
    environment["KEYS"] = Ring(keys).text().reveal()
    return place_of("env:KEYS", environment)


def test_a_new_vault_takes_its_key_and_opens_again(db: apsw.Connection) -> None:
    vault = open_vault(db, place(ONE, TWO))
    sealed = vault.seal(Secret("text"), "x")
    assert sealed[1:9].hex() == ONE.id
    again = open_vault(db, place(TWO, ONE))  # the order says nothing
    assert again.open(sealed, "x") == Secret("text")
    assert again.seal(Secret("text"), "x")[1:9].hex() == ONE.id


def test_a_vault_without_its_key_is_locked(db: apsw.Connection) -> None:
    open_vault(db, place(ONE))
    with pytest.raises(VaultLocked, match="not the one that this store was made with") as locked:
        open_vault(db, place(TWO))
    assert ONE.id in locked.value.detail
    assert TWO.id in locked.value.detail
    assert "in the variable KEYS" in locked.value.remedy


def test_a_key_with_the_right_id_and_another_proof_is_another_key(db: apsw.Connection) -> None:
    open_vault(db, place(ONE))
    db.execute("UPDATE vault SET proof = zeroblob(32)")
    with pytest.raises(VaultLocked, match="not the one that this store was made with"):
        open_vault(db, place(ONE))


def test_a_keyed_hash_is_the_stores_own_and_survives_the_key(db: apsw.Connection) -> None:
    vault = open_vault(db, place(ONE))
    before = vault.keyed_hash("a")
    assert before == open_vault(db, place(ONE)).keyed_hash("a") != vault.keyed_hash("b")
    assert vault.keyed_hash("a", "b") != vault.keyed_hash("ab")
    other = apsw.Connection(":memory:")
    migrate(other)
    assert open_vault(other, place(ONE)).keyed_hash("a") != before  # random, not made from the key


def test_following_a_key_that_was_changed(db: apsw.Connection) -> None:
    environment: dict[str, str] = {}
    vault = open_vault(db, place(ONE, environment=environment))
    old = vault.seal(Secret("text"), "x")
    vault.follow(db)
    change_key(db, TWO)
    with pytest.raises(VaultLocked, match="not the one that this store was made with"):
        vault.follow(db)
    place(ONE, TWO, environment=environment)
    vault.follow(db)
    assert vault.seal(Secret("text"), "x")[1:9].hex() == TWO.id
    assert vault.open(old, "x") == Secret("text")
    change_key(db, ONE)  # as a rotation does that is rolled back
    vault.follow(db)
    assert vault.seal(Secret("text"), "x")[1:9].hex() == ONE.id


def test_following_reads_the_place_only_when_the_key_changed(db: apsw.Connection) -> None:
    environment: dict[str, str] = {}
    vault = open_vault(db, place(ONE, environment=environment))
    environment.clear()
    vault.follow(db)
    assert isinstance(vault, Vault)
    assert vault.keyed_hash("a")
