"""Sending from the command line: what a person paused stays so, and what cannot be sent is told of."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from running import Here, Record

A, B = "smtp-client-out", "smtp-client-bad"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    made = Here(tmp_path)
    (tmp_path / "draft.json").write_text(json.dumps({"from": "a@example.org", "to": ["b@example.net"], "text": "x"}))
    return made


def put(here: Here, listener: socket.socket) -> None:
    where = {"server": "127.0.0.1", "port": listener.getsockname()[1], "smtp-connection-security": "none"}
    here.put(A, where)


def connected(listener: socket.socket) -> bool:
    """Whether anybody came."""
    listener.settimeout(0)
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_a_paused_account_is_not_sent_by_whoever_waits_nor_by_run_once(here: Here) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        put(here, listener)
        here.command("pause", A)
        waited = here.command("send", "--wait", "draft.json", status=1)
        assert f"[{A}] is paused" in waited.err
        assert f"postroom resume {A}. The mail waits unharmed" in waited.err
        told: Record = here.command("run", "--once", "--json").object
        assert (told["client"], told["ok"], told["queued"]) == (A, True, 1)
        assert told["paused_by"]
        assert "not sent: paused by" in here.command("run", "--once").out
        assert not connected(listener)
        here.command("resume", A)
        process = here.start("run", "--once")
        listener.settimeout(20)
        listener.accept()[0].close()  # it comes now
        process.communicate(timeout=30)


def test_a_faulty_account_fails_run_once_as_a_faulty_mailbox_does(here: Here) -> None:
    here.put(B, {"server": "127.0.0.1", "port": "none"})
    told = here.command("run", "--once", "--json", status=1).object
    assert (told["client"], told["ok"]) == (B, False)
    assert "port = 'none'" in told["error"]
