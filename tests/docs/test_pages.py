"""The generated pages are current, and what the README shows is true."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

import pytest
import trustme

from docs.pages import PAGES, ROOT
from postroom.drivers.provider import Providers
from postroom.settings import Security, parse_configuration

README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == PAGES[name](), "run make docs"


def test_the_readme_names_the_two_commands_first() -> None:
    assert README.index("make demo") < README.index("make test") < README.index("## Connecting Gmail and Microsoft 365")


def test_the_sections_of_the_readme_are_read_without_a_fault(tmp_path: Path) -> None:
    support, orders = ("pop-client-support", "smtp-client-support"), ("pop-client-orders", "smtp-client-orders")
    assert sorted(clients_of(README, tmp_path)) == sorted([*support, *orders])


@pytest.mark.parametrize(
    ("guide", "clients"),
    [
        ("gmail", ["pop-client-support", "pop-client-orders", "pop-client-letters", "smtp-client-support"]),
        ("microsoft", ["pop-client-orders", "pop-client-boss", "smtp-client-orders"]),
        ("application", ["pop-client-desk", "smtp-client"]),
    ],
)
def test_the_sections_of_the_guides_are_read_without_a_fault(guide: str, clients: list[str], tmp_path: Path) -> None:
    assert clients_of((ROOT / "docs" / "guides" / f"{guide}.md").read_text("utf-8"), tmp_path) == clients


def test_the_sections_of_the_listeners_guide_are_read_without_a_fault(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guides" / "smtp-listener.md").read_text("utf-8").replace("/etc/postroom", str(tmp_path))
    alone, network = re.findall(r"```ini\n(.*?)```", guide, re.DOTALL)
    issued = trustme.CA().issue_cert("mail.example.org")
    (tmp_path / "mail.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    (tmp_path / "mail-key.pem").write_bytes(issued.private_key_pem.bytes())
    (tmp_path / "printer").write_text("1234")
    read = [parse_configuration(text, tmp_path / "a", {"ERP_PASSWORD": "x"}, Providers()) for text in (alone, network)]
    assert [str(fault) for configuration in read for fault in configuration.faults] == []
    assert read[0].listener.allow_without_login
    assert read[0].route("scan@example.org") == "smtp-client-office"
    assert [account.name for account in read[1].listener.accounts] == ["erp", "printer"]
    assert read[1].listener.security is Security.START_TLS


def clients_of(page: str, folder: Path) -> list[str]:
    """The clients of a page's sections, which must have no fault and no warning."""
    application = {"installed": {"client_id": "1234-abcd", "client_secret": "x-1234567890"}}
    robot = {
        "type": "service_account",
        "client_email": "r@p.example",
        "private_key": "k",
        "token_uri": "https://oauth2.example/token",
    }
    (folder / "client_secret.txt").write_text("x-1234567890")
    (folder / "desk.password").write_text("x-1234567890")
    (folder / "client_secret.json").write_text(json.dumps(application))
    (folder / "robot.json").write_text(json.dumps(robot))
    text = "\n".join(re.findall(r"```ini\n(.*?)```", page, re.DOTALL))
    configuration = parse_configuration(text, folder / "postroom.ini", {}, Providers())
    assert [str(fault) for fault in configuration.faults] == []
    return [*configuration.clients, *configuration.senders]


def test_every_link_of_the_pages_leads_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_unit_file_of_the_guide_is_well_formed() -> None:
    guide = (ROOT / "docs" / "guides" / "operating.md").read_text("utf-8")
    (unit,) = re.findall(r"```ini\n(.*?)```", guide, re.DOTALL)
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit)
    assert parser["Service"]["ExecStart"].endswith("run")
