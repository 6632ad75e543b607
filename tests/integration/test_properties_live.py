"""The properties of JavaMail under a running service: when they act, and that those without effect are named once."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import Here, Service, basic, letter

from servers.dovecot import Dovecot

A, B = "pop-client-a", "pop-client-b"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def lines(service: Service, since: int = 0) -> list[str]:
    return [f"{record['side']}: {record['line']}" for record in service.events("protocol", A, since=since)]


def test_a_property_acts_at_the_next_cycle(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """One that stands in for an option (mail.debug), and one that is a manner of POP3 (disablecapa)."""
    here.put(A, basic(dovecot.pop3_port, mailbox_user, type="POP3"))
    with here.service() as service:
        service.looked(A)
        assert not lines(service)
        here.put(A, {"mail.debug": "true"})
        service.wait("config_changed")
        service.wait("protocol", A)
        service.cycles(A, 2)
        assert "C: CAPA" in lines(service)
        here.put(A, {"mail.pop3.disablecapa": "true"})
        service.wait("config_changed", count=2)
        service.cycles(A, 2)  # the one that ran may have begun with the former settings
        since = service.mark()
        dovecot.deliver(mailbox_user, letter(1))
        service.wait("read", A, since=since)
        service.cycles(A)
        assert any(line.startswith("C: USER") for line in lines(service, since))
        assert "C: CAPA" not in lines(service, since)


def test_security_by_a_property(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(A, basic(dovecot.imaps_port, mailbox_user, tls_ca_file=dovecot.ca_file) | {"mail.imap.ssl.enable": "true"})
    here.put(A, {"pop-connection-security": None})
    here.put(B, basic(dovecot.imap_port, f"b{mailbox_user}", tls_ca_file=dovecot.ca_file) | {"mail.imap.starttls.enable": "true"})
    here.put(B, {"pop-connection-security": None})
    findings = here.check()
    assert [findings[name]["ok"] for name in (A, B)] == [True, True]
    for finding in findings.values():
        assert "TLSv1" in next(step["words"] for step in finding["steps"] if step["step"] == "tls")


def named(service: Service, name: str) -> list[str]:
    return [record["warning"] for record in service.events("config_warning") if f" {name} = " in record["warning"]]


def test_what_has_no_effect_is_named_once(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """Once in a process and for a section: not each cycle, not where its line moves, not when it comes back."""
    here.put(A, basic(dovecot.imap_port, mailbox_user) | {"mail.imap.fetchsize": "16384", "mail.imap.ssl.trust": "*"})
    with here.service() as service:
        service.cycles(A, 3)
        assert len(named(service, "mail.imap.fetchsize")) == 1
        assert "Certificates are always checked" in named(service, "mail.imap.ssl.trust")[0]
        text = here.file.read_text()
        here.write(f"# a line above\n\n{text}")
        service.reload()
        here.put(A, {"mail.imap.fetchsize": None, "cycle-time": "2s"})
        service.wait("config_changed")
        here.put(A, {"mail.imap.fetchsize": "4096", "cycle-time": "1s"})
        service.wait("config_changed", count=2)
        service.cycles(A, 2)
        assert len(named(service, "mail.imap.fetchsize")) == len(named(service, "mail.imap.ssl.trust")) == 1
        here.put(B, basic(dovecot.imap_port, f"b{mailbox_user}") | {"mail.imap.fetchsize": "16384"})
        service.wait("connected", B)
        assert ["[pop-client-a]" in words for words in named(service, "mail.imap.fetchsize")] == [True, False]
