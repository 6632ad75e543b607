"""Secrets at rest."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import Fate, VaultLocked
from postroom.secret import Secret
from postroom.store.vault import Vault, load_key

KEY = bytes(range(32))


@given(st.text(), st.text())
def test_what_is_sealed_opens_in_its_own_place(text: str, place: str) -> None:
    vault = Vault(KEY)
    sealed = vault.seal(Secret(text), place)
    assert vault.open(sealed, place) == Secret(text)
    assert Vault(KEY).open(sealed, place).reveal() == text


def test_nothing_of_the_text_shows() -> None:
    vault = Vault(KEY)
    sealed = [vault.seal(Secret("refresh-token"), "x") for _ in range(2)]
    assert sealed[0] != sealed[1]
    assert all(b"refresh" not in each and b"token" not in each for each in sealed)


def test_another_key_opens_nothing() -> None:
    sealed = Vault(KEY).seal(Secret("text"), "x")
    with pytest.raises(VaultLocked, match="the key does not open"):
        Vault(os.urandom(32)).open(sealed, "x")


def test_the_value_of_another_row_does_not_open() -> None:
    vault = Vault(KEY)
    sealed = vault.seal(Secret("text"), "refresh:one")
    with pytest.raises(VaultLocked, match="the key does not open"):
        vault.open(sealed, "refresh:two")


@pytest.mark.parametrize("place", [0, 1, 13, -1])
def test_a_changed_octet_does_not_open(place: int) -> None:
    sealed = bytearray(Vault(KEY).seal(Secret("text"), "x"))
    sealed[place] ^= 1
    with pytest.raises(VaultLocked):
        Vault(KEY).open(bytes(sealed), "x")


@pytest.mark.parametrize("octets", [b"", b"\x01", b"\x01short", b"\x01" + b"n" * 12, b"\x02" + b"x" * 40])
def test_what_was_never_sealed_does_not_open(octets: bytes) -> None:
    with pytest.raises(VaultLocked):
        Vault(KEY).open(octets, "x")


def test_a_keyed_hash_needs_the_key() -> None:
    assert Vault(KEY).keyed_hash("a") == Vault(KEY).keyed_hash("a")
    assert Vault(KEY).keyed_hash("a") != Vault(os.urandom(32)).keyed_hash("a")
    assert Vault(KEY).keyed_hash("a", "b") != Vault(KEY).keyed_hash("ab")


# --- where the key is -------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    place = f"file:{tmp_path / 'key'}"
    key = load_key(place, {}, create=True)
    assert len(key) == 32
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert load_key(place, {}, create=True) == load_key(place, {}, create=False) == key
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_missing_key_is_not_made_where_something_is_sealed(tmp_path: Path) -> None:
    with pytest.raises(VaultLocked, match="is missing, and the store holds sealed values") as locked:
        load_key(f"file:{tmp_path / 'key'}", {}, create=False)
    assert locked.value.fate is Fate.REAUTHORIZE
    assert list(tmp_path.iterdir()) == []


def test_a_key_whose_folder_is_missing_is_locked(tmp_path: Path) -> None:
    with pytest.raises(VaultLocked, match="none/key"):
        load_key(f"file:{tmp_path / 'none' / 'key'}", {}, create=True)


def test_a_key_may_stand_in_the_environment() -> None:
    assert load_key("env:KEY", {"KEY": base64.b64encode(KEY).decode() + "\n"}, create=False) == KEY
    with pytest.raises(VaultLocked, match="no variable KEY"):
        load_key("env:KEY", {}, create=True)


@pytest.mark.parametrize("text", ["", "hello", base64.b64encode(b"short").decode(), "€" * 44, base64.b64encode(b"x" * 33).decode()])
def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(VaultLocked) as locked:
        load_key(f"file:{tmp_path / 'key'}", {}, create=True)
    with pytest.raises(VaultLocked) as also:
        load_key("env:KEY", {"KEY": text}, create=True)
    for error in (locked, also):
        assert not text or text not in str(error.value)
    assert (tmp_path / "key").read_text(encoding="utf-8") == text
