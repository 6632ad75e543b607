"""An smtp-client under the commands that connect, check, show and restart: at Postfix, with the tests' authority."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from consenting import asking, consent_elsewhere
from running import Here, rig_sections
from sending import SENDER, account, draft, oauth_account

from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.postfix import Postfix
from servers.waiting import wait_for

A = "smtp-client-out"


@pytest.fixture
def here(tmp_path: Path, authority: Authority) -> Here:
    here = Here(tmp_path)
    here.change(rig_sections(authority))
    here.put("authority-google", {"token_endpoint": authority.token_url, "authorization_endpoint": authority.authorize_url})
    return here


def test_a_person_consents_and_the_account_sends_with_what_is_in_the_vault(
    here: Here, authority: Authority, certificates: Certificates, postfix: Postfix, dovecot: Dovecot, mailbox_user: str
) -> None:
    options = oauth_account(postfix, certificates, "", tenant_authority="google")
    here.put(A, {name: value for name, value in options.items() if name != "password"})
    [before] = here.command("check", "--json", status=1).objects
    assert f"Run postroom authorize {A}" in before["remedy"]
    with asking(here, "authorize", "out", "--manual") as person:
        address = person.address()
        person.answer(consent_elsewhere(address))
        done = person.done()
    assert done.status == 0, done
    assert f"{A}: consent given" in done.out
    assert f"logged in at localhost:{postfix.submission_port} as {SENDER} with a token" in done.out
    [after] = here.command("check", "out", "--json").objects
    assert (after["client"], after["ok"]) == (A, True)
    assert [step["step"] for step in after["steps"]] == ["dns", "tcp", "tls", "capabilities", "token", "login", "limits"]
    (here.directory / "draft.json").write_text(json.dumps(draft(mailbox_user)))
    sent = here.command("send", "--json", "--wait", str(here.directory / "draft.json")).object
    assert sent["state"] == "sent"
    wait_for(lambda: dovecot.raw(mailbox_user), "the message")
    here.command("authorize", "out", "--forget")
    [gone] = here.command("check", "--json", status=1).objects
    assert f"Run postroom authorize {A}" in gone["remedy"]


def test_what_ends_is_foretold_for_an_account_too(
    here: Here, authority: Authority, certificates: Certificates, postfix: Postfix
) -> None:
    here.put(A, oauth_account(postfix, certificates, authority.refresh_token(SENDER)))
    here.put("secret-rig", {"expires": "2099-01-02"})
    [ending] = here.command("forecast", "--json").objects
    assert (ending["client"], ending["what"], ending["at"]) == (A, "client-secret", "2099-01-02")


def test_a_restart_that_waits_is_shown_and_asked_for(here: Here, certificates: Certificates, postfix: Postfix) -> None:
    here.put("settings", {"restart-changed-clients": "false"})
    here.put(A, account(postfix, certificates))

    def shown() -> dict[str, object]:
        [client] = here.command("status", "--json", status=None).objects
        return client

    with here.service() as service:
        wait_for(lambda: shown()["health"] == "working", "the login")
        here.put(A, {"cnx-pool-size": 1, "in-doubt": "resend"})
        told = service.wait("restart_pending")
        assert (told["client"], told["options"]) == (A, "cnx-pool-size, in-doubt")
        wait_for(lambda: shown()["restart_pending"] == ["cnx-pool-size", "in-doubt"], "what waits")
        here.command("restart", "out")
        assert service.wait("client_changed")["options"] == "cnx-pool-size, in-doubt"
        wait_for(lambda: shown()["restart_pending"] == [], "the restart")


def test_an_account_with_a_wrong_password_is_told_of(here: Here, certificates: Certificates, postfix: Postfix) -> None:
    here.put(A, {**account(postfix, certificates), "password": "wrong"})
    [found] = here.command("check", "--json", status=1).objects
    assert (found["client"], found["ok"], found["steps"][-1]["step"]) == (A, False, "login")
    here.put(A, {"enable-authentication": "false"})
    [found] = here.command("check", "--json").objects
    assert found["words"].startswith(f"connected to localhost:{postfix.submission_port} without a login")
