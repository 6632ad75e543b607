"""The API of a running service: keys from the command line, clients that are told what to do, edits that act."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from running import PATIENCE, Gate, Here, Service, basic, letter

from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.waiting import wait_for

A, B = "pop-client-a", "pop-client-b"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def new_key(here: Here, role: str = "admin", name: str = "k") -> str:
    return str(here.command("keys", "create", name, "--role", role, "--json").object["key"])


def ask(service: Service, key: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Status and body of a request; a body of JSON is read."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(service.wait("started")["web"] + path, data, method=method)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            octets, kind, status = answer.read(), answer.headers.get("Content-Type", ""), answer.status
    except urllib.error.HTTPError as error:
        octets, kind, status = error.read(), error.headers.get("Content-Type", ""), error.code
    return status, json.loads(octets) if "json" in kind else octets


def state(service: Service, key: str, client: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(service, key, "GET", f"/v1/clients/{client}")[1]["state"]
    return found


# --- keys


def test_keys_are_made_listed_and_revoked(here: Here) -> None:
    done = here.command("keys", "create", "help-desk", "--role", "reader")
    key = done.out.strip()
    assert re.fullmatch("pr_[0-9A-Za-z]{49}", key)
    assert "not shown again" in done.err
    (listed,) = here.command("keys", "list", "--json").objects
    assert (listed["name"], listed["role"], listed["revoked"]) == ("help-desk", "reader", None)
    assert "help-desk  reader" in here.command("keys", "list").out
    assert "already" in here.command("keys", "create", "help-desk", "--role", "admin", status=2).err
    assert "no client is named" in here.command("keys", "create", "x", "--role", "reader", "--client", "x", status=2).err
    with here.service() as service:
        assert ask(service, "", "GET", "/v1/messages")[0] == 401
        assert ask(service, key, "GET", "/v1/messages") == (200, {"items": [], "next": None})
        here.command("keys", "revoke", "help-desk")
        assert ask(service, key, "GET", "/v1/messages")[0] == 401
        assert key not in service.log.read_text()
    assert "revoked" in here.command("keys", "list").out
    assert "is revoked already" in here.command("keys", "revoke", "help-desk", status=2).err
    assert "admin" in here.command("keys", "roles").out


def test_a_key_is_kept_as_its_hash_alone(here: Here) -> None:
    key = new_key(here)
    octets = b"".join(file.read_bytes() for file in here.data.rglob("*") if file.is_file())
    assert hashlib.sha256(key.encode()).digest() in octets
    assert key.encode() not in octets
    assert key[3:20].encode() not in octets


def test_names_of_keys_are_completed(here: Here) -> None:
    new_key(here, name="desk-one")
    new_key(here, name="other")
    here.command("keys", "revoke", "other")
    line = [sys.executable, "-m", "postroom"]
    words = f"postroom --config {here.file} keys revoke "
    environment = {**here._env, "_POSTROOM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "5"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.splitlines() == ["plain,desk-one"]


# --- told to the service


def test_a_client_is_paused_over_a_restart_and_resumed(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    key = new_key(here, "operator")
    with here.service() as service:
        service.looked(A)
        assert "is paused" in here.command("pause", "a").err
        service.wait("client_paused", A)
        dovecot.deliver(mailbox_user, letter(1))
        found = state(service, key, A)
        assert (found["health"], found["remedy"]) == ("paused", f"postroom resume {A}")
        assert found["fault"].startswith("paused by ")
        assert json.loads(service.get("/ready")) == {"status": "ok", "clients": 0, "sick": []}
    assert "was paused already" in here.command("pause", A).err
    assert here.status(A)["health"] == "paused"
    assert here.read()[A]["paused_by"]
    assert not here.messages()
    with here.service() as service:
        assert state(service, key, A)["health"] == "paused"
        assert not service.events("connected", A)
        before = service.mark()
        assert ask(service, key, "POST", f"/v1/clients/{A}/resume")[0] == 204
        service.wait("read", A, since=before)
        assert here.status(A)["health"] == "working"
    assert "was not paused" in here.command("resume", A).err


def test_the_running_cycle_goes_to_its_end_before_a_pause(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    dovecot.seed(mailbox_user, [letter(number, 30_000) for number in range(5)])
    with Gate(dovecot.imap_port) as proxy:
        here.put(A, basic(proxy.port, mailbox_user))
        proxy.shut()
        with here.service() as service:
            assert proxy.held.wait(PATIENCE)
            here.command("pause", A)
            proxy.open()
            assert service.wait("read", A)["captured"] == 5
            service.wait("client_paused", A)


def test_a_client_is_begun_anew(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(A, basic(dovecot.imap_port, mailbox_user, cycle_time="1h"))
    with here.service() as service:
        service.looked(A)
        assert "begun anew" in here.command("restart", "a").err
        service.wait("begun_anew", A)
        service.wait("connected", A, count=2)
        wait_for(lambda: dovecot.sessions(mailbox_user) == 1, "the end of the first conversation")
        assert not service.complaints()


def test_a_restart_that_was_asked_for_before_the_start_is_over_with_it(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    here.command("restart", A)
    with here.service() as service:
        service.looked(A)
        service.cycles(A, 2)
        before = service.mark()
        service.cycles(A, 2)
        assert not service.events("connected", A, since=before)


# --- edits


def test_a_client_that_is_made_over_the_api_is_read_at_once(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    dovecot.deliver(mailbox_user, letter(1))
    key = new_key(here)
    options = {name: str(value) for name, value in basic(dovecot.imap_port, mailbox_user).items()}
    with here.service() as service:
        status, told = ask(service, key, "POST", "/v1/clients", {"id": B, "options": options})
        assert (status, told["id"]) == (201, B)
        service.wait("read", B)
        assert ask(service, key, "PATCH", f"/v1/clients/{B}", {"options": {"cycle-time": "2s"}})[0] == 200
        service.wait("connected", B, count=2)
        ((message),) = ask(service, key, "GET", "/v1/messages")[1]["items"]
        octets = ask(service, key, "GET", f"/v1/messages/{message['id']}/raw")[1]
        assert hashlib.sha256(octets).hexdigest() == message["digest"]
        assert ask(service, key, "DELETE", f"/v1/clients/{B}")[0] == 204
        wait_for(lambda: dovecot.sessions(mailbox_user) == 0, "the end of its conversation")
        assert PASSWORD not in json.dumps(service.records)
    assert f"[{B}]" not in here.file.read_text()


# --- what is loaded, and where it listens


def test_only_the_service_loads_the_framework(here: Here) -> None:
    for arguments in (["--version"], ["run", "--once"], ["check"], ["status"], ["keys", "list"]):
        line = [sys.executable, "-X", "importtime", "-m", "postroom", "--config", str(here.file), *arguments]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=here._env, check=False)
        loaded = {entry.rpartition("|")[2].strip() for entry in done.stderr.splitlines()}
        assert "postroom" in loaded
        assert not loaded & {"fastapi", "uvicorn", "starlette", "pydantic"}, arguments


def test_a_web_section_with_a_fault_is_not_served_in_another_way(here: Here) -> None:
    """A key that cannot be read must not mean that all is served in clear."""
    here.put("web", {"listen": "0.0.0.0:0", "tls-certificate": "missing.pem", "tls-key": "missing.pem"})
    with here.service() as service:
        assert service.wait("started")["web"] == ""
        assert service.wait("config_fault")["fault"]
