"""Where keys are: made once, for their owner, beside an empty store only; read, and written, whole."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backends.fail
import keyring.backends.null
import pytest
from keyring.backend import KeyringBackend
from keyrings.alt.file import PlaintextKeyring

from postroom.errors import Fate, VaultLocked
from postroom.store.keys import Key, Place, Ring, new_key, place_of, ring_of

ONE, TWO = Key(bytes(range(32))), Key(bytes(range(32, 64)))


def written(*keys: Key) -> str:
    return " ".join(base64.b64encode(key.octets).decode() for key in keys)


@pytest.mark.parametrize("text", [written(ONE, TWO), f"\n{written(ONE)}\n\n{written(TWO)}\r\n", written(ONE, TWO, ONE)])
def test_a_ring_is_keys_with_white_space_between_them(text: str) -> None:
    assert ring_of(text, "here") == Ring((ONE, TWO))
    assert ring_of(Ring((ONE, TWO)).text().reveal(), "here") == Ring((ONE, TWO))


def test_keys_are_found_added_and_taken_out_by_id() -> None:
    ring = Ring((ONE, TWO))
    assert ring.ids == (ONE.id, TWO.id)
    assert ring.get(TWO.id) == TWO
    assert ring.get("none") is ring.get(None) is None
    assert ring.without({ONE.id, "none"}) == Ring((TWO,))
    assert Ring((ONE,)).joined(TWO) == ring
    assert new_key() != new_key()


@pytest.mark.parametrize(
    "text",
    ["", "hello", base64.b64encode(b"short").decode(), "€" * 44, base64.b64encode(b"x" * 33).decode(), written(ONE) + " hello"],
)
def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text, encoding="utf-8")
    environment = {"KEY": text, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    for name in (f"file:{tmp_path / 'key'}", "env:KEY", "credential:key"):
        with pytest.raises(VaultLocked) as locked:
            place_of(name, environment).load(create=True)
        assert not any(word in str(locked.value) for word in text.split())
    assert (tmp_path / "key").read_text(encoding="utf-8") == text


# --- a file -----------------------------------------------------------------------------------------------------------


def file_in(directory: Path) -> Place:
    return place_of(f"file:{directory / 'key'}", {})


def test_a_key_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    place = file_in(tmp_path)
    ring = place.load(create=True)
    assert [len(key.octets) for key in ring.keys] == [32]
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert place.load(create=True) == place.load(create=False) == ring
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_missing_key_is_not_made_where_something_is_sealed(tmp_path: Path) -> None:
    with pytest.raises(VaultLocked, match="is missing, and the store holds sealed values") as locked:
        file_in(tmp_path).load(create=False)
    assert locked.value.fate is Fate.REAUTHORIZE
    assert "Put the key file back" in locked.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_key_whose_folder_is_missing_is_locked(tmp_path: Path) -> None:
    with pytest.raises(VaultLocked, match="none/key"):
        file_in(tmp_path / "none").load(create=True)
    with pytest.raises(VaultLocked, match="cannot be written"):
        file_in(tmp_path / "none").write(Ring((ONE,)))


def test_a_ring_is_written_in_the_place_of_the_former(tmp_path: Path) -> None:
    place = file_in(tmp_path)
    place.load(create=True)
    (tmp_path / ".key.new").write_text("left behind by a rotation that was killed")
    place.write(Ring((ONE, TWO)))
    assert place.load(create=False) == Ring((ONE, TWO))
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize(("before", "after"), [(0o600, 0o600), (0o640, 0o640), (0o666, 0o640), (0o400, 0o400)])
def test_the_rights_of_a_key_file_never_widen(tmp_path: Path, before: int, after: int) -> None:
    """And the group that a service reads it by keeps reading it."""
    place = file_in(tmp_path)
    place.load(create=True)
    (tmp_path / "key").chmod(before)
    place.write(Ring((ONE,)))
    assert (tmp_path / "key").stat().st_mode & 0o777 == after


def test_the_owner_of_a_key_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator rotates the key of the service's user."""
    place = file_in(tmp_path)
    place.load(create=True)
    owner = (tmp_path / "key").stat()
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: owner.st_uid + 1)
    monkeypatch.setattr(os, "fchown", lambda _file, user, group: given.append((user, group)))
    place.write(Ring((ONE,)))
    assert given == [(owner.st_uid, owner.st_gid)]

    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", forbidden)
    with pytest.raises(VaultLocked, match="cannot be written") as locked:
        place.write(Ring((TWO,)))
    assert "as the user that" in locked.value.remedy
    assert place.load(create=False) == Ring((ONE,))


def test_a_link_to_a_key_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "real").write_text(written(ONE))
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere" / "real")
    file_in(tmp_path).write(Ring((TWO,)))
    assert (tmp_path / "key").is_symlink()
    assert ring_of((tmp_path / "elsewhere" / "real").read_text(), "x") == Ring((TWO,))


# --- the environment and systemd --------------------------------------------------------------------------------------


def test_keys_may_stand_in_the_environment() -> None:
    place = place_of("env:KEY", {"KEY": written(ONE, TWO) + "\n"})
    assert place.load(create=False) == place.load(create=True) == Ring((ONE, TWO))
    assert not place.writable
    with pytest.raises(VaultLocked, match="cannot be written"):
        place.write(Ring((ONE,)))
    with pytest.raises(VaultLocked, match="no variable KEY"):
        place_of("env:KEY", {}).load(create=True)


def test_keys_may_be_a_credential_of_systemd(tmp_path: Path) -> None:
    (tmp_path / "postroom.key").write_text(f"{written(ONE)}\n{written(TWO)}\n")
    place = place_of("credential:postroom.key", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert place.load(create=True) == Ring((ONE, TWO))
    assert not place.writable


def test_a_credential_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VaultLocked, match="CREDENTIALS_DIRECTORY is not set") as locked:
        place_of("credential:key", {}).load(create=True)
    assert "LoadCredential=" in locked.value.remedy
    with pytest.raises(VaultLocked, match=r"the credential key: .*No such file"):
        place_of("credential:key", {"CREDENTIALS_DIRECTORY": str(tmp_path)}).load(create=True)
    assert list(tmp_path.iterdir()) == []


# --- the key store ----------------------------------------------------------------------------------------------------


def use(backend: KeyringBackend) -> None:
    keyring.set_keyring(backend)


@pytest.fixture
def keys_kept(tmp_path: Path) -> Iterator[Path]:
    """A key store in a file."""
    former = keyring.get_keyring()
    backend = PlaintextKeyring()
    backend.file_path = str(tmp_path / "keys")
    use(backend)
    yield tmp_path / "keys"
    use(former)


STORED = "keyring:post/room/me"  # the service may have strokes in it, the user has none


@pytest.mark.usefixtures("keys_kept")
def test_a_key_is_stored_beside_an_empty_store_only() -> None:
    place = place_of(STORED, {})
    with pytest.raises(VaultLocked, match="entry post/room/me is missing, and the store holds sealed values"):
        place.load(create=False)
    assert keyring.get_password("post/room", "me") is None
    ring = place.load(create=True)
    assert ring_of(keyring.get_password("post/room", "me") or "", "x") == ring
    assert place.load(create=True) == place.load(create=False) == ring


@pytest.mark.usefixtures("keys_kept")
def test_the_key_store_holds_rings() -> None:
    place = place_of(STORED, {})
    assert place.writable
    place.write(Ring((ONE, TWO)))
    assert place.load(create=False) == Ring((ONE, TWO))
    keyring.set_password("post/room", "me", "secret that is no key")
    with pytest.raises(VaultLocked, match="does not hold a key") as locked:
        place.load(create=True)
    assert "secret that" not in str(locked.value)


@pytest.mark.usefixtures("keys_kept")
def test_a_key_store_that_keeps_nothing_is_found_out() -> None:
    use(keyring.backends.null.Keyring())
    with pytest.raises(VaultLocked, match="does not keep what is written to it"):
        place_of(STORED, {}).load(create=True)


@pytest.mark.usefixtures("keys_kept")
def test_a_machine_without_a_key_store() -> None:
    use(keyring.backends.fail.Keyring())
    for create in (True, False):
        with pytest.raises(VaultLocked, match=r"entry post/room/me: .*No recommended backend"):
            place_of(STORED, {}).load(create=create)


def test_the_package_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(VaultLocked, match="the package keyring is missing") as locked:
        place_of(STORED, {}).load(create=True)
    assert locked.value.remedy == "pip install 'postroom[keyring]'"
