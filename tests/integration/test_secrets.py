"""Nothing secret is found anywhere: not in a log, not in a file of the data directory, not in what a command prints.

Everything runs with level debug and ``enable-debug``, logins that succeed and logins that fail; then every octet that was
written is searched for every secret in every form.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from running import Gate, Here, basic, letter, oauth, rig_sections

from servers.authority import TEST, Authority
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.waiting import wait_for

WRONG_PASSWORD = "wrong+password/of&the=mailbox"
WRONG_SECRET = "wrong client secret 4711"
BLANKS = "abcd efgh ijkl mnop"


# --- searching --------------------------------------------------------------------------------------------------------


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it may be written: itself, in JSON, in a form or an address, hexadecimal, and in base64 wherever it stands."""
    octets = secret.encode()
    yield octets
    yield json.dumps(secret)[1:-1].encode()
    yield quote(secret, safe="").encode()
    yield quote_plus(secret).encode()
    yield octets.hex().encode()
    yield octets.hex().upper().encode()
    for ahead in range(3):  # octets before it in its group of three
        inner = octets[(3 - ahead) % 3 :]
        whole = inner[: len(inner) // 3 * 3]  # what does not hang on its neighbours
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(whole)


def found(secrets: Iterable[str], octets: bytes) -> set[str]:
    """Those of the secrets that are there in any form."""
    return {secret for secret in secrets if any(form in octets for form in forms(secret))}


@pytest.mark.parametrize("ahead", ["", "a", "ab", "user=somebody\1auth=Bearer "])
def test_the_search_finds_a_secret_wherever_it_stands(ahead: str) -> None:
    secret = "ya29.A-0_token/with+signs"
    for written in (
        (ahead + secret + "\1\1").encode(),
        base64.b64encode((ahead + secret + "\1\1").encode()),
        quote_plus(ahead + secret).encode(),
        (ahead + secret).encode().hex().encode(),
    ):
        assert found([secret], b"..." + written + b"...") == {secret}
    assert not found([secret], b"ya29.A-0_token of another")


# --- everything at once -----------------------------------------------------------------------------------------------


def leaky_sections(here: Here, authority: Authority, gate: Gate, user: str) -> list[str]:
    """Logins of all sorts, good and bad; their configured secrets. The secrets of Dovecot's users are all the same."""
    secrets = {
        "rotating": authority.refresh_token(f"rotating.{user}", rotate=True),
        "bearer": authority.refresh_token(f"bearer.{user}"),
        "stranger": authority.refresh_token(f"somebody.else.{user}", rotate=True),
        "refused": "1//never+was/a refresh=token",
        "badly-kept": authority.refresh_token(f"badly-kept.{user}"),
    }
    here.change(rig_sections(authority))
    here.put("secret-wrong", {"password": WRONG_SECRET})
    (here.directory / "token").write_text(secrets["bearer"])
    written = secrets | {"bearer": "file:token"}
    debug = {"enable_debug": "true"}
    for name, token in written.items():
        mechanism = "OAUTHBEARER" if name == "bearer" else "XOAUTH2"
        here.put(f"pop-client-{name}", oauth(gate.port, f"{name}.{user}", token, mechanism=mechanism, **debug))
    here.put("pop-client-badly-kept", {"secret": "wrong"})
    here.put("pop-client-plain", basic(gate.port, f"plain.{user}", **debug))
    for mechanism in ("PLAIN", "LOGIN"):
        options = basic(gate.port, f"{mechanism}.wrong.{user}", password=WRONG_PASSWORD, **debug)
        here.put(f"pop-client-by-{mechanism}", options | {"mail.imap.auth.mechanisms": mechanism})
    here.put("pop-client-blanks", basic(gate.port, f"blanks.{user}", password=BLANKS, **debug))
    # secrets in wrong places of the file
    faulty = oauth(gate.port, f"faulty.{user}", f"{MISPLACED}.token")
    here.put("pop-client-faulty", faulty | {"secret": f"{MISPLACED}.secret.of.the.application"})
    typos = {"pasword": f"{MISPLACED}.typo", "client-secret": f"{MISPLACED}.name"}
    here.put("pop-client-typo", basic(gate.port, f"typo.{user}") | typos)
    return [*secrets.values(), TEST.secret, WRONG_SECRET, WRONG_PASSWORD, BLANKS, MISPLACED]


MISPLACED = "GOCSPX-misplaced"


def printed(here: Here) -> Iterator[bytes]:
    """What every command prints, for people and for programs."""
    some = here.messages()[0]["id"]
    for arguments in (
        ("run", "--once"),
        ("run", "--once", "--json"),
        ("check",),
        ("check", "--json"),
        ("status",),
        ("status", "--json"),
        ("options",),
        ("options", "password", "--json"),
        ("messages", "list"),
        ("messages", "list", "--json"),
        ("messages", "show", some),
        ("messages", "export", some),
        ("check", "nobody"),
    ):
        done = here.command(*arguments, status=None)
        assert done.status in (0, 1, 2), done
        yield done.out.encode() + done.err.encode()


def octets_below(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file, with what it holds."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes()


def test_no_secret_is_found_anywhere(tmp_path: Path, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
    here = Here(tmp_path)
    with Gate(dovecot.imap_port) as gate:
        secrets = leaky_sections(here, authority, gate, mailbox_user)
        for name in ("rotating", "plain"):
            dovecot.deliver(f"{name}.{mailbox_user}", letter(1))
        with here.service() as service:
            for name in ("rotating", "plain"):
                service.wait("read", f"pop-client-{name}")
            for name in ("refused", "badly-kept", "stranger", "by-PLAIN", "by-LOGIN", "blanks"):
                service.wait("needs_person", f"pop-client-{name}")
            service.wait("connected", "pop-client-bearer")
            authority.revoke_access(account=f"rotating.{mailbox_user}")
            dovecot.kick(f"rotating.{mailbox_user}")
            here.put("pop-client-rotating", {"cycle-time": "2s"})
            service.wait("connected", "pop-client-rotating", count=2)
            assert service.events("protocol")
            # while it runs: the write-ahead log is there too
            assert wait_for(lambda: list(here.data.glob("*-wal")), "the write-ahead log")
            found_in = {path: found(secrets, octets) for path, octets in octets_below(here.data)}
            pages = service.get("/metrics") + service.get("/ready")
            said = pages.encode() + service.log.read_bytes() + service.out.read_bytes()
        output = b"".join(printed(here))

        rotated = {asked.refresh_token for asked in authority.requests() if asked.refresh_token} - set(secrets)
        assert rotated
        tokens = set(gate.tokens())
        assert len(tokens) >= 5
        everything = [*secrets, *rotated, *tokens]

        # The search is able to find them: they went to their servers.
        logins = b"\n".join(gate.said.splitlines())
        assert found(tokens, logins) == tokens
        assert found([WRONG_PASSWORD, BLANKS], logins) == {WRONG_PASSWORD, BLANKS}

        assert found(everything, said) == set()
        assert found(everything, output) == set()
        assert {path: leaked for path, leaked in found_in.items() if leaked} == {}
        for path, octets in octets_below(here.data):
            assert found(everything, octets) == set(), path
        # The password of Dovecot's users is too short to search for: the lines of the logins are looked at instead.
        assert found([base64.b64encode(f"\0plain.{mailbox_user}\0{PASSWORD}".encode()).decode()], said + output) == set()
        lines = [json.loads(line)["line"] for line in said.splitlines() if b'"event": "protocol"' in line]
        assert {line.split(" ", 1)[1] for line in lines if " AUTHENTICATE " in line} == {
            "AUTHENTICATE XOAUTH2 ***",
            "AUTHENTICATE OAUTHBEARER ***",
            "AUTHENTICATE PLAIN ***",
            "AUTHENTICATE LOGIN ***",
        }


def test_an_authority_that_repeats_what_it_was_sent(
    tmp_path: Path, authority: Authority, dovecot: Dovecot, mailbox_user: str
) -> None:
    """Its words are shown, without the secret in them."""
    here = Here(tmp_path)
    here.change(rig_sections(authority))
    token = authority.refresh_token(mailbox_user)
    body = {"error": "invalid_grant", "error_description": f"the token {token} of the client with {TEST.secret} is spent"}
    authority.fault("answer", status=400, body=json.dumps(body))
    here.put("pop-client-a", oauth(dovecot.imap_port, mailbox_user, token, enable_debug="true"))
    report = here.read(status=1)["pop-client-a"]
    assert "the token *** of the client with *** is spent" in report["error"]
    for path, octets in octets_below(here.data):
        assert found([token, TEST.secret], octets) == set(), path


# --- the key ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def used(tmp_path: Path, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> Here:
    """A store in which a token is sealed."""
    here = Here(tmp_path)
    here.change(rig_sections(authority))
    here.put("pop-client-a", oauth(dovecot.imap_port, mailbox_user, authority.refresh_token(mailbox_user)))
    here.read()
    return here


class TestKey:
    def test_it_is_made_for_its_owner_alone(self, used: Here) -> None:
        key = used.data / "vault.key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(used.data.stat().st_mode) == 0o700
        assert len(base64.b64decode(key.read_text())) == 32
        assert not [path for path in used.data.iterdir() if path.name.startswith(".vault.key")]

    def test_a_store_without_its_key_is_refused(self, used: Here) -> None:
        """And no other key is made in its place."""
        key = used.data / "vault.key"
        kept = key.read_text()
        key.unlink()
        for arguments in (("run",), ("run", "--once"), ("check",), ("status",), ("messages", "list")):
            done = used.command(*arguments, status=1)
            assert f"{key} is missing, and the store holds sealed values" in done.err
            assert "Put the key file back where settings.vault-key names it" in done.err.replace("`", "")
            assert not key.exists()
        key.write_text(kept)
        used.read()

    def test_another_key_is_refused(self, used: Here) -> None:
        key = used.data / "vault.key"
        key.write_text(base64.b64encode(os.urandom(32)).decode())
        done = used.command("run", "--once", status=1)
        assert "the key is not the one that this store was made with" in done.err
        assert "Put the key file back" in done.err

    @pytest.mark.parametrize("text", ["", "no base64", base64.b64encode(b"too short").decode()])
    def test_what_is_no_key_is_refused(self, used: Here, text: str) -> None:
        (used.data / "vault.key").write_text(text)
        assert "does not hold a key: base64 of 32 octets" in used.command("run", "--once", status=1).err

    def test_a_key_from_the_environment(self, tmp_path: Path, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        here = Here(tmp_path, environment={"POSTROOM_KEY": base64.b64encode(os.urandom(32)).decode()})
        here.change({**rig_sections(authority), "settings": {"vault-key": "env:POSTROOM_KEY"}})
        here.put("pop-client-a", oauth(dovecot.imap_port, mailbox_user, authority.refresh_token(mailbox_user)))
        here.read()
        here.read()
        assert authority.count(mailbox_user) == 1
        assert not (here.data / "vault.key").exists()
        here.environment.clear()
        assert "the environment has no variable POSTROOM_KEY" in here.command("run", "--once", status=1).err

    def test_a_key_elsewhere(self, used: Here) -> None:
        elsewhere = used.directory / "keys" / "postroom"
        elsewhere.parent.mkdir()
        shutil.move(used.data / "vault.key", elsewhere)
        used.put("settings", {"vault-key": "file:keys/postroom"})
        used.read()
