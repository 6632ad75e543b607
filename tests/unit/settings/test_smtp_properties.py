"""The properties mail.smtp.*: those with a counterpart act, all others are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.drivers.provider import Providers
from postroom.secret import Secret
from postroom.settings import Configuration, ProxySettings, ProxyType, Security, Severity, SmtpClient, parse_configuration

BASE = {"server": "h.example", "user": "a", "password": "p", "enable-authentication": "true"}


def read(*lines: str, without: str = "", shared: str = "") -> Configuration:
    written = [f"{name} = {value}" for name, value in BASE.items() if name != without]
    text = "\n".join([f"[defaults-smtp-client]\n{shared}", "[smtp-client-a]", *written, *lines])
    return parse_configuration(text, Path("/srv/p.ini"), {}, Providers(), Path.read_bytes)


def client(*lines: str, without: str = "", shared: str = "") -> SmtpClient:
    configuration = read(*lines, without=without, shared=shared)
    assert configuration.faults == ()
    return configuration.senders["smtp-client-a"]


ACTS = [
    ("mail.smtp.host = other.example", "server", "server", "other.example"),
    ("mail.smtp.port = 2525", "port", "port", 2525),
    ("mail.smtps.port = 2525", "port", "port", 2525),
    ("mail.smtp.user = b", "user", "user", "b"),
    ("mail.smtp.auth = true", "enable-authentication", "enable_authentication", True),
    ("mail.smtp.connectiontimeout = 1500", "", "connect_timeout", 1.5),
    ("mail.smtp.timeout = 1500", "", "protocol_timeout", 1.5),
    ("mail.smtp.ssl.enable = true", "", "security", Security.SSL_TLS),
    ("mail.smtp.ssl.enable = false", "", "security", Security.START_TLS),
    ("mail.smtp.starttls.enable = true", "", "security", Security.START_TLS),
    ("mail.smtp.starttls.required = true", "", "security", Security.START_TLS),
    ("mail.smtp.sasl.mechanisms = LOGIN", "", "mechanisms", ("LOGIN",)),
    ("mail.smtp.auth.mechanisms = LOGIN PLAIN", "", "mechanisms", ("LOGIN", "PLAIN")),
    ("mail.smtp.auth.plain.disable = true", "", "mechanisms", ("LOGIN",)),
    ("mail.smtp.auth.login.disable = true", "", "mechanisms", ("PLAIN",)),
    ("mail.smtp.localhost = us.example", "", "ehlo_name", "us.example"),
    ("mail.smtp.from = bounces@h.example", "", "envelope_from", "bounces@h.example"),
    ("mail.smtp.dsn.notify = FAILURE,DELAY", "", "dsn_notify", ("FAILURE", "DELAY")),
    ("mail.smtp.dsn.notify = never", "", "dsn_notify", ("NEVER",)),
    ("mail.smtp.dsn.ret = FULL", "", "dsn_ret", "FULL"),
    ("mail.debug = true", "", "enable_debug", True),
]


@pytest.mark.parametrize(("line", "without", "field", "value"), ACTS, ids=[line for line, *_ in ACTS])
def test_a_property_acts(line: str, without: str, field: str, value: object) -> None:
    assert getattr(client(line, without=without), field) == value
    assert getattr(client(without=without, shared=line), field) == value


@pytest.mark.parametrize(("line", "option", "severity"), [
    ("mail.smtp.port = 0", "mail.smtp.port", Severity.FAULT),
    ("mail.smtp.starttls.enable = false", "mail.smtp.starttls.enable", Severity.FAULT),
    ("mail.smtp.ssl.enable = true\nmail.smtp.starttls.required = true", "mail.smtp.starttls.required", Severity.FAULT),
    ("mail.smtp.dsn.notify = NEVER,DELAY", "mail.smtp.dsn.notify", Severity.FAULT),
    ("mail.smtp.dsn.ret = SOME", "mail.smtp.dsn.ret", Severity.FAULT),
    ("mail.smtp.from = nobody", "mail.smtp.from", Severity.FAULT),
    ("mail.smtp.host = other.example", "mail.smtp.host", Severity.WARNING),
    ("mail.smtp.auth = false", "mail.smtp.auth", Severity.WARNING),
    ("mail.smtp.auth.xoauth2.disable = false", "mail.smtp.auth.xoauth2.disable", Severity.WARNING),
    ("mail.smtp.proxy.port = 1", "mail.smtp.proxy.port", Severity.WARNING),
])  # fmt: skip
def test_what_is_wrong_with_one_is_told(line: str, option: str, severity: Severity) -> None:
    (fault,) = read(line).faults
    assert (fault.option, fault.severity) == (option, severity)


@pytest.mark.parametrize(("line", "remedy"), [
    ("mail.smtp.sendpartial = true", "A recipient that is refused holds up none of the others."),
    ("mail.smtps.ssl.trust = *", "Certificates are always checked. Name a company's own authority in tls-ca-file."),
    ("mail.smtp.writetimeout = 1", "protocol-timeout holds for writing too."),
    ("mail.smtp.submitter = x", ""),
    ("mail.imap.timeout = 5", ""),
])  # fmt: skip
def test_any_other_is_accepted_and_named(line: str, remedy: str) -> None:
    (fault,) = read(line).faults
    assert (fault.severity, fault.problem, fault.remedy) == (Severity.WARNING, "accepted, without effect", remedy)


def test_a_mechanism_under_another_type_is_pointed_at() -> None:
    (fault,) = read("mail.imap.auth.mechanisms = XOAUTH2").faults
    assert fault.remedy == "In this section the option is mail.smtp.auth.mechanisms."


def test_the_properties_of_an_account_do_nothing_for_a_mailbox() -> None:
    text = "[pop-client-a]\ntype = IMAP\nserver = h\nmailbox = a\npassword = p\nmail.smtp.port = 25\n"
    (fault,) = parse_configuration(text, Path("/srv/p.ini"), {}, Providers(), Path.read_bytes).faults
    assert (fault.option, fault.problem) == ("mail.smtp.port", "accepted, without effect")


def test_a_proxy_of_its_own() -> None:
    lines = ("mail.smtp.proxy.host = p", "mail.smtp.proxy.user = u", "mail.smtp.proxy.password = s")
    assert client(*lines).proxy == ProxySettings(
        use_proxy=True, type=ProxyType.HTTP, host="p", port=80, user="u", password=Secret("s")
    )
    assert client("mail.smtp.socks.host = p").proxy == ProxySettings(use_proxy=True, type=ProxyType.SOCKS, host="p", port=1080)
