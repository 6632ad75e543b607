"""Sections of applications: what is read, what is wrong, and what goes on when it is."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from postroom.app.config import Live, load
from postroom.drivers.provider import Providers
from postroom.settings import Begin, Configuration, Severity, parse_configuration

CLIENT = "[pop-client-Sales]\ntype = IMAP\nserver = mail.example.org\nmailbox = a@example.org\npassword = x\n"


def parsed(text: str) -> Configuration:
    return parse_configuration(text, Path("/x/postroom.ini"), {}, Providers())


def problems(configuration: Configuration) -> list[tuple[Severity, str, str]]:
    return [(fault.severity, fault.section, fault.problem) for fault in configuration.faults]


def test_defaults() -> None:
    application = parsed("[pull-Tickets]\n").applications["pull-tickets"]
    assert (application.section, application.name) == ("pull-tickets", "Tickets")
    assert (application.clients, application.folders, application.addresses) == ((), None, ())
    assert (application.lease_time, application.maximum_attempts, application.begin) == (300, 10, Begin.NOW)


def test_all_options() -> None:
    text = CLIENT + (
        "[pull-a]\nclients = Sales,pop-client-sales\nfolders = inbox, Support\naddresses = Desk@X.org, @y.org\n"
        "lease-time = 1h\nmaximum-attempts = 3\nbegin = 2026-11-01\n"
    )
    configuration = parsed(text)
    application = configuration.applications["pull-a"]
    assert problems(configuration) == []
    assert application.clients == ("sales", "pop-client-sales")
    assert application.folders == ("INBOX", "Support")
    assert application.addresses == ("desk@x.org", "y.org")
    assert (application.lease_time, application.maximum_attempts) == (3600, 3)
    assert application.begin == datetime.date(2026, 11, 1)
    assert application.since() == datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(("begin", "since"), [("now", None), ("ALL", 0.0)], ids=["now", "all"])
def test_beginnings(begin: str, since: float | None) -> None:
    assert parsed(f"[pull-a]\nbegin = {begin}\n").applications["pull-a"].since() == since


def test_a_client_that_is_not_there_is_warned_of() -> None:
    configuration = parsed(CLIENT + "[pull-a]\nclients = sales, slaes\n")
    assert problems(configuration) == [(Severity.WARNING, "pull-a", "no pop-client is named slaes")]
    assert [fault.valid for fault in configuration.faults] == ["sales"]
    assert "pull-a" in configuration.applications


@pytest.mark.parametrize(
    "line",
    ["lease-time = 0s", "lease-time = soon", "maximum-attempts = 0", "begin = soon", "addresses = a b", "folders = a,,b"],
    ids=["no-lease", "no-time", "no-attempts", "no-beginning", "no-address", "no-folder"],
)
def test_a_wrong_value_keeps_the_section_down(line: str) -> None:
    configuration = parsed(f"{CLIENT}[pull-a]\n{line}\n[pull-b]\n")
    assert list(configuration.applications) == ["pull-b"]
    assert configuration.faulty == {"pull-a"}
    assert "pop-client-Sales" in configuration.clients


def test_a_faulty_edit_leaves_it_as_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "postroom.ini"
    file.write_text("[pull-A]\nlease-time = 1h\n[pull-b]\n")
    live = Live(load(file, {}), {})
    file.write_text("[pull-A]\nlease-time = soon\n")
    changes = live.reload()
    assert {name: each.lease_time for name, each in live.configuration.applications.items()} == {"pull-a": 3600}
    assert changes.applications == ("pull-b",)
    file.write_text("[pull-A]\nlease-time = 2h\n")
    assert live.reload().applications == ("pull-a",)
    assert live.configuration.applications["pull-a"].lease_time == 7200
    assert live.reload().applications == ()
