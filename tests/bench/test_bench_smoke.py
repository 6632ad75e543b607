"""The bench runs through and reports what it should. How fast anything was is no matter here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
RUN = ("capture", "pop3", "unchanged", "unchanged-pop3", "distance-pop3", "send", "post", "queue")


@pytest.fixture(scope="module")
def printed_and_json(real_servers: None) -> tuple[str, dict[str, Any]]:
    """What a quick run of some benches says, to people and to programs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)  # getmail is somebody else when we are root
        file = folder / "bench.json"
        command = [sys.executable, "-m", "bench", *RUN, "--quick", "--mailbox", "300", "--json", str(file), "--directory", name]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert [path.name for path in folder.iterdir()] == ["bench.json"]  # it cleared its own away
        return done.stdout, json.loads(file.read_text())


def _rows(report: dict[str, Any], bench: str) -> list[dict[str, Any]]:
    (found,) = (one for one in report["benches"] if one["bench"] == bench)
    rows: list[dict[str, Any]] = found["rows"]
    return rows


def test_capture_measures_every_contender_on_its_count(printed_and_json: tuple[str, dict[str, Any]]) -> None:
    _, report = printed_and_json
    counts = {row["contender"]: row["messages"] for row in _rows(report, "capture")}
    assert counts == {"bare": 200, "postroom": 200, "mbsync": 200, "imaplib": 200, "getmail6": 20}


def test_pop3_measures_every_contender_on_its_count(printed_and_json: tuple[str, dict[str, Any]]) -> None:
    _, report = printed_and_json
    counts = {row["contender"]: row["messages"] for row in _rows(report, "pop3")}
    assert counts == {"bare": 200, "postroom": 200, "mpop": 200, "poplib": 200}


@pytest.mark.parametrize(("bench", "peer", "bare_commands"), [("unchanged", "mbsync", 3), ("unchanged-pop3", "mpop", 4)])
def test_unchanged_counts_octets_and_commands_for_all_sizes(
    printed_and_json: tuple[str, dict[str, Any]], bench: str, peer: str, bare_commands: int
) -> None:
    _, report = printed_and_json
    rows = _rows(report, bench)
    assert [(row["contender"], row["mailbox"]) for row in rows] == [
        (name, size) for size in (20, 100, 300) for name in ("postroom", peer, "bare", "postroom, one new")
    ]
    assert all(row["octets_in"] > 0 and row["octets_out"] > 0 for row in rows)
    assert {row["commands"] for row in rows if row["contender"] == "bare"} == {bare_commands}  # login, a look, logout
    assert len({row["commands"] for row in rows if row["contender"] == "postroom"}) == 1  # whatever the size


def test_distance_counts_round_trips_and_not_messages(printed_and_json: tuple[str, dict[str, Any]]) -> None:
    _, report = printed_and_json
    trips = {row["contender"]: row["round_trips"] for row in _rows(report, "distance-pop3")}
    assert trips.keys() == {"postroom", "mpop", "bare"}
    assert 0 < trips["postroom"] < 50  # messages


def test_the_bar_and_the_machine_are_printed(printed_and_json: tuple[str, dict[str, Any]]) -> None:
    printed, report = printed_and_json
    assert printed.count("\nat least: ") == printed.count("\naim: ") == len(RUN)
    assert "not measured" not in printed
    assert printed.rstrip().endswith(report["machine"])
    assert "Dovecot 2" in report["machine"]


def test_sending_measures_every_contender_on_its_count(printed_and_json: tuple[str, dict[str, Any]]) -> None:
    _, report = printed_and_json
    counts = {row["contender"]: row["messages"] for row in _rows(report, "send")}
    assert counts == {"postroom": 200, "smtp-source": 200, "smtplib": 200}
    assert [row["messages"] for row in _rows(report, "post")] == [20]
    assert [(row["contender"], row["messages"]) for row in _rows(report, "queue")] == [
        (name, count) for count in (50, 500) for name in ("claim", "restart")
    ]
