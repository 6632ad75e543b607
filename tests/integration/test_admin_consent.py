"""One administrator's consent for a company's mailboxes at Microsoft, against an authority that deviates as Microsoft does."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from consenting import asking
from running import Here, oauth

from servers.deviant import TENANT, Deviant
from servers.dovecot import Dovecot

APPLICATION = "00000000-1111-2222-3333-444444444444"


@pytest.fixture
def company(tmp_path: Path, deviant: Deviant, mailbox_user: str) -> Here:
    """Three mailboxes of one application whose tokens the deviating authority gives."""
    here = Here(tmp_path)
    here.put(
        "authority-microsoft",
        {
            "token_endpoint": deviant.microsoft_token_url("{tenant}"),
            "admin_consent_endpoint": deviant.admin_consent_url("{tenant}"),
        },
    )
    here.put("secret-company", {"password": "the-application's-secret"})
    return here


def mailboxes(here: Here, server: Dovecot, user: str, count: int = 3) -> list[str]:
    users = [f"{number}.{user}" for number in range(count)]
    for number, each in enumerate(users):
        options = oauth(server.imap_port, each, "", client_id=APPLICATION, secret="company", grant_type="client_credentials")
        options |= {"tenant-authority": "https://login.microsoftonline.com", "directory-id": TENANT, "password": None}
        here.put(f"pop-client-{number}", options)
    return users


@pytest.fixture(scope="module")
def exchange(deviant: Deviant) -> object:
    """A mail server that asks the deviating authority about tokens."""
    with Dovecot(deviant.tokens) as running:
        yield running


def test_what_the_administrator_is_told(company: Here, exchange: Dovecot, mailbox_user: str) -> None:
    users = mailboxes(company, exchange, mailbox_user)
    done = company.command("authorize", "--all", "--no-browser", "--timeout", "0", status=0)
    assert all(f"pop-client-{number}: works already" in done.err for number in range(3))
    done = company.command("authorize", "0", "1", "2", "--no-browser", "--timeout", "0")
    address = next(line.strip() for line in done.err.splitlines() if "/v2.0/adminconsent?" in line)
    query = parse_qs(urlsplit(address).query)
    assert f"/{TENANT}/v2.0/adminconsent" in address
    assert (query["client_id"], query["scope"]) == ([APPLICATION], ["https://outlook.office365.com/.default"])
    assert f"New-ServicePrincipal -AppId '{APPLICATION}' -ObjectId $id" in done.err
    for user in users:
        assert f"Add-MailboxPermission -Identity '{user}' -User $id -AccessRights FullAccess" in done.err
    assert "Enterprise application, not of the App registration" in done.err


def test_it_waits_and_tells_while_the_grant_spreads(company: Here, deviant: Deviant, exchange: Dovecot, mailbox_user: str) -> None:
    mailboxes(company, exchange, mailbox_user, 1)
    deviant.spread_late(2)  # the first tokens open nothing yet
    with asking(company, "authorize", "0", "--no-browser", "--timeout", "60") as person:
        person.until("The server does not accept the login")
        done = person.done()
    assert done.status == 0, done
    assert "ok   pop-client-0" in done.out
    assert done.err.index("does not accept the login") < done.err.index("logged in at localhost")


def test_it_does_not_wait_for_ever(company: Here, deviant: Deviant, exchange: Dovecot, mailbox_user: str) -> None:
    mailboxes(company, exchange, mailbox_user, 1)
    deviant.refuse("AADSTS7000215", times=20)
    done = company.command("authorize", "0", "--no-browser", "--timeout", "0", status=1)
    assert "AADSTS7000215" in done.out
    assert "→" in done.out
