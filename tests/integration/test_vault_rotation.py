"""``postroom vault``: the real command changes the key beside a running service, wherever the key is kept."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import apsw
import pytest
from running import Gate, Here, letter, oauth, rig_sections

from postroom.store.keys import Ring, new_key, ring_of
from servers.authority import TEST, Authority
from servers.dovecot import Dovecot

A = "pop-client-a"


def key_text() -> str:
    return Ring((new_key(),)).text().reveal().strip()


def sealed_with(here: Here) -> list[str]:
    """The key of every sealed value."""
    connection = apsw.Connection(str(here.data / "postroom.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        query = "SELECT current FROM grants UNION ALL SELECT former FROM grants WHERE former IS NOT NULL"
        rows: list[Any] = connection.execute(query + " UNION ALL SELECT token FROM access_tokens").fetchall()
        assert all(value[0] == 2 for (value,) in rows)
        return [value[1:9].hex() for (value,) in rows]
    finally:
        connection.close()


def sections(here: Here, authority: Authority, port: int, user: str) -> str:
    """A mailbox with OAuth whose refresh tokens rotate; the configured one."""
    token = authority.refresh_token(user, rotate=True)
    here.change(rig_sections(authority))
    here.put(A, oauth(port, user, token))
    return token


def test_the_key_changes_while_a_mailbox_is_read(tmp_path: Path, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
    here = Here(tmp_path)
    with Gate(dovecot.imap_port) as gate:
        configured = sections(here, authority, gate.port, mailbox_user)
        dovecot.deliver(mailbox_user, letter(1))
        with here.service() as service:
            service.wait("read", A)
            former = here.command("vault", "status", "--json").object["key"]
            assert set(sealed_with(here)) == {former}

            done = here.command("vault", "rotate", "--json").object
            current = done["to"]
            assert (done["from"], done["sealed"], done["keys_to_remove"]) == (former, 4, [])  # two of the chain, access, hash key
            assert current != former
            assert sealed_with(here) == [current] * 3
            assert ring_of((here.data / "vault.key").read_text(), "x").ids == (current,)

            authority.revoke_access(account=mailbox_user)
            dovecot.deliver(mailbox_user, letter(2))
            dovecot.kick(mailbox_user)
            service.wait("connected", A, count=2)
            service.wait("read", A, count=2)
            assert authority.count(mailbox_user) == 2
            assert sealed_with(here) == [current] * 3
            assert not [record for record in service.complaints() if "key" in str(record)]

        status = here.command("vault", "status", "--json").object
        assert status["keys"] == [{"id": current, "state": "current"}]
        assert status["sealed"] == {"grants": 2, "access_tokens": 1, "vault": 1}
        assert not any(status["unopened"].values())
        assert here.read()[A]["captured"] == 0
        assert authority.count(mailbox_user) == 2  # the chain went on, and the kept token serves
        secrets = {configured, TEST.secret, *gate.tokens()}
        secrets |= {asked.refresh_token for asked in authority.requests(mailbox_user) if asked.refresh_token}
        assert len(secrets) >= 4
        for path in here.data.rglob("*"):
            if path.is_file():
                assert not any(secret.encode() in path.read_bytes() for secret in secrets), path


def test_a_key_in_the_environment(tmp_path: Path, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
    """The service has both keys, and goes on; a command that has the former key alone says what is to be done."""
    one, two = key_text(), key_text()
    here = Here(tmp_path, environment={"POSTROOM_KEY": one})
    here.put("settings", {"vault-key": "env:POSTROOM_KEY"})
    sections(here, authority, dovecot.imap_port, mailbox_user)
    here.read()
    refused = here.command("vault", "rotate", status=1)
    assert "the variable POSTROOM_KEY holds no key besides" in refused.err
    assert "Add a second one behind it" in refused.err
    here.environment["POSTROOM_KEY"] = f"{one} {two}"
    with here.service() as service:
        service.wait("connected", A)
        done = here.command("vault", "rotate")
        assert f"Take {ring_of(one, 'x').ids[0]} out of env:POSTROOM_KEY" in done.out
        authority.revoke_access(account=mailbox_user)
        dovecot.kick(mailbox_user)
        service.wait("connected", A, count=2)
        assert set(sealed_with(here)) == set(ring_of(two, "x").ids)
    here.environment["POSTROOM_KEY"] = one
    refused = here.command("run", "--once", status=1)
    assert "the key is not the one that this store was made with" in refused.err
    assert "Give every process that uses the store its key in the variable POSTROOM_KEY" in refused.err
    here.environment["POSTROOM_KEY"] = two
    here.read()
    for words in (refused.err, done.out, here.command("vault", "status").out):
        assert one not in words
        assert two not in words


def test_a_service_without_the_new_key_asks_for_it(
    tmp_path: Path, authority: Authority, dovecot: Dovecot, mailbox_user: str
) -> None:
    one, two = key_text(), key_text()
    here = Here(tmp_path, environment={"POSTROOM_KEY": one})
    here.put("settings", {"vault-key": "env:POSTROOM_KEY"})
    sections(here, authority, dovecot.imap_port, mailbox_user)
    with here.service() as service:
        service.wait("connected", A)
        here.environment["POSTROOM_KEY"] = f"{one} {two}"
        here.command("vault", "rotate")
        asked = authority.count(mailbox_user)
        dovecot.kick(mailbox_user)
        complaint = service.wait("store_trouble", A)
        assert "Give every process that uses the store its key in the variable POSTROOM_KEY" in str(complaint)
        assert set(sealed_with(here)) == set(ring_of(two, "x").ids)
        assert authority.count(mailbox_user) == asked


def test_a_credential_of_systemd(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    here = Here(tmp_path, environment={"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})
    here.put("settings", {"vault-key": "credential:postroom.key"})
    assert "the credential postroom.key: " in here.command("vault", "status", status=1).err
    assert list((tmp_path / "credentials").iterdir()) == []
    (tmp_path / "credentials" / "postroom.key").write_text(key_text())
    status = here.command("vault", "status", "--json").object
    assert status["place"] == "credential:postroom.key"
    (tmp_path / "credentials" / "postroom.key").write_text(f"{key_text()}\n{(tmp_path / 'credentials/postroom.key').read_text()}\n")
    done = here.command("vault", "rotate", "--json").object
    assert done["keys_to_remove"] == [done["from"]] == [status["key"]]
    here.environment.clear()
    refused = here.command("vault", "status", status=1).err
    assert "CREDENTIALS_DIRECTORY is not set" in refused
    assert "LoadCredential=" in refused


def test_a_key_in_the_key_store(tmp_path: Path) -> None:
    """Through the package ``keyring``, told by its own variables to use a file."""
    backend = {"PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring", "XDG_DATA_HOME": str(tmp_path / "share")}
    here = Here(tmp_path, environment=backend)
    here.put("settings", {"vault-key": "keyring:postroom/vault"})
    first = here.command("vault", "status", "--json").object["key"]
    done = here.command("vault", "rotate", "--json").object
    assert (done["from"], done["keys_to_remove"]) == (first, [])
    assert here.command("vault", "status", "--json").object["keys"] == [{"id": done["to"], "state": "current"}]
    assert not (here.data / "vault.key").exists()
    here.environment["XDG_DATA_HOME"] = str(tmp_path / "another")
    refused = here.command("vault", "status", status=1).err
    assert "the key store's entry postroom/vault is missing, and the store holds sealed values" in refused
    assert "Put the key back into the key store" in refused


_A_KEY = base64.b64encode(os.urandom(32)).decode()


@pytest.mark.parametrize("text", ["credential:../key", "keyring:postroom", pytest.param(_A_KEY, id="a key itself")])
def test_a_place_that_is_none(tmp_path: Path, text: str) -> None:
    here = Here(tmp_path)
    here.put("settings", {"vault-key": text})
    refused = here.command("vault", "status", status=2).err
    assert "file:PATH, env:NAME, credential:NAME, keyring:SERVICE/USER" in refused
    assert text not in refused  # it may be a key


def test_what_a_person_reads(tmp_path: Path) -> None:
    here = Here(tmp_path)
    status = here.command("vault", "status").out
    assert status.splitlines()[1] == "1 sealed value (grants 0, access_tokens 0, vault 1)"
    former = here.command("vault", "status", "--json").object["key"]
    said = here.command("vault", "rotate").out
    assert said.startswith(f"Rotated from key {former} to ")
    assert f"The former key was taken out of file:{here.data / 'vault.key'}." in said
    connection = apsw.Connection(str(here.data / "postroom.db"))
    connection.execute("INSERT INTO grants (authority, client_id, configured, current, made_at) VALUES ('a', 'b', 'c', x'02', 0)")
    connection.close()
    assert "NOT opened by any key that is here: 1 sealed value (grants 1," in here.command("vault", "status", status=1).out
    assert "cannot be opened (1 in grants)" in here.command("vault", "rotate", status=1).err
