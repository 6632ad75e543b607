"""The section smtp-client: what is sound, what is missing, and whom it sends for."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from postroom.drivers.provider import Providers
from postroom.secret import Secret
from postroom.settings import Configuration, Fault, InDoubt, Security, ServerType, Severity, SmtpClient, parse_configuration

SEED = """\
[smtp-client]
client-id = 1.apps.googleusercontent.com
password = 1//refresh
secret = gmail
tenant-authority = Google
[secret-gmail]
password = client secret
"""
BASIC = "server = mail.example.org\nuser = a@example.org\npassword = pw\nenable-authentication = true\n"
GOOGLE = "mail.smtp.auth.mechanisms = XOAUTH2\ntenant-authority = google\nclient-id = 1\nuser = a@gmail.com\npassword = 1//r\n"


def parse(text: str, **files: bytes) -> Configuration:
    def read(path: Path) -> bytes:
        if path.name not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[path.name]

    return parse_configuration(text, Path("/srv/p.ini"), {}, Providers(), read)


def sender(options: str, rest: str = "") -> SmtpClient:
    """The only account of a text, without a fault that keeps it down."""
    configuration = parse(f"[smtp-client-a]\n{options}\n{rest}")
    assert not [fault for fault in configuration.faults if fault.severity is Severity.FAULT], configuration.faults
    return configuration.senders["smtp-client-a"]


def told(text: str, **files: bytes) -> list[tuple[str, str]]:
    """What is told of: options, with the severity."""
    return [(fault.option, fault.severity.value) for fault in parse(text, **files).faults]


def only(text: str, severity: Severity = Severity.FAULT) -> Fault:
    configuration = parse(text)
    (fault,) = configuration.faults
    assert fault.severity is severity
    assert (fault.section in configuration.faulty) == (severity is Severity.FAULT)
    return fault


# --- what is sound ----------------------------------------------------------------------------------------------------


def test_the_defaults() -> None:
    client = sender("server = mail.example.org")
    assert (client.server_type, client.server, client.port) == (ServerType.SMTP, "mail.example.org", None)
    assert (client.security, client.authenticates, client.uses_oauth) == (Security.START_TLS, False, False)
    assert (client.pool_size, client.check_idle_time, client.max_idle_time) == (4, 30, 300)
    assert (client.in_doubt, client.retry_span, client.messages_per_minute) == (InDoubt.HOLD, 120 * 3600, None)
    assert (client.secret, client.addresses, client.copy_in_sent, client.dkim_key) == ("smtp", (), None, None)
    assert (client.ehlo_name, client.envelope_from, client.dsn_notify, client.dsn_ret) == (None, None, (), "")


def test_sections_keep_their_order_and_their_names() -> None:
    text = "[smtp-client-b]\nserver = h\n[smtp-client-broken]\nport = 0\n[smtp-client]\nserver = h\naddresses = x.example\n"
    configuration = parse(text)
    assert list(configuration.senders) == ["smtp-client-b", "smtp-client"]
    assert configuration.sender_sections == ("smtp-client-b", "smtp-client-broken", "smtp-client")
    assert [client.name for client in configuration.senders.values()] == ["b", "smtp-client"]
    assert configuration.sections == ()


def test_shared_values_stand_behind_a_sections_own() -> None:
    shared = "[defaults-smtp-client]\nserver = h.example\nport = 2525\nin-doubt = resend\nmail.smtp.localhost = us.example\n"
    configuration = parse(shared + "[smtp-client-a]\nport = 26\n[defaults-pop-client]\nserver = other.example\n")
    client = configuration.senders["smtp-client-a"]
    assert configuration.faults == ()
    assert (client.server, client.port, client.in_doubt, client.ehlo_name) == ("h.example", 26, InDoubt.RESEND, "us.example")


def test_a_fault_among_the_shared_values_keeps_down_who_takes_it() -> None:
    shared = "[defaults-smtp-client]\nserver = h\ncnx-pool-size = 0\n"
    text = f"{shared}[smtp-client-a]\n[smtp-client-b]\ncnx-pool-size = 9\naddresses = b.example\n"
    configuration = parse(text)
    assert list(configuration.senders) == ["smtp-client-b"]
    assert "smtp-client-a" in configuration.hangs_on
    assert [fault.option for fault in configuration.faults_of("smtp-client-a")] == ["cnx-pool-size"]


@pytest.mark.parametrize(("line", "valid"), [
    ("messages-per-minute = 0", "1 or more"),
    ("cnx-pool-size = 0", "1..1000"),
    ("cnx-pool-size = 1001", "1..1000"),
    ("port = 65536", "1..65535"),
    ("server-type = GRAPH", "SMTP, in any case"),
    ("in-doubt = maybe", "hold, resend"),
    ("enable-authentication = yes", "true, false"),
    ("addresses = not an address", "e-mail addresses and domains, with commas between them"),
])  # fmt: skip
def test_a_value_out_of_bounds_keeps_the_section_down(line: str, valid: str) -> None:
    fault = only(f"[smtp-client-a]\nserver = h\n{line}\n")
    assert (fault.line, fault.valid) == (3, valid)


def test_options_of_other_server_types_are_known() -> None:
    text = "[smtp-client-a]\nserver = h\nallow-delegate = true\nexchange-version = Exchange2010\n"
    problems = {fault.problem for fault in parse(text).faults}
    assert told(text) == [("allow-delegate", "warning"), ("exchange-version", "warning")]
    assert problems == {"the option is known, but without effect in this version"}


# --- the seed ---------------------------------------------------------------------------------------------------------


def test_the_seeds_own_list_names_all_that_is_missing_and_works_with_it() -> None:
    faults = parse(SEED).faults
    assert [fault.option for fault in faults] == ["mail.smtp.auth.mechanisms", "user"]
    assert faults[0].problem == "a Google authority, a client-id and a secret are written, but no mechanism: nobody would log in"
    assert faults[0].remedy == (
        "Add the line: mail.smtp.auth.mechanisms = XOAUTH2; enable-authentication may be left out then, or be true"
    )
    mended = SEED.replace("[smtp-client]\n", "[smtp-client]\nmail.smtp.auth.mechanisms = XOAUTH2\nuser = a@gmail.com\n")
    configuration = parse(mended)
    client = configuration.senders["smtp-client"]
    assert (client.authenticates, client.uses_oauth, client.enable_authentication) == (True, True, None)
    assert (client.password, client.secret) == (Secret("1//refresh"), "gmail")
    (said,) = configuration.faults
    assert (said.severity, said.option) == (Severity.WARNING, "mail.smtp.auth.mechanisms")
    assert said.problem == "since OAuth is on, enable-authentication counts as true; it is not written"


def test_an_enable_authentication_without_a_mechanism_uses_the_password_as_it_stands() -> None:
    text = SEED.replace(
        "[smtp-client]\n", "[smtp-client]\nserver = smtp.gmail.com\nuser = a@gmail.com\nenable-authentication = true\n"
    )
    fault = only(text, Severity.WARNING)
    assert (fault.option, fault.remedy) == ("mail.smtp.auth.mechanisms", "Add the line: mail.smtp.auth.mechanisms = XOAUTH2")
    assert fault.problem.endswith("password is used as it stands")


def test_a_secret_that_is_not_written_is_secret_smtp() -> None:
    assert sender(GOOGLE, "[secret-smtp]\npassword = s\n").secret == "smtp"
    fault = next(fault for fault in parse(f"[smtp-client-a]\n{GOOGLE}").faults if fault.severity is Severity.FAULT)
    assert (fault.option, fault.line) == ("secret", 1)
    assert fault.problem.endswith("there is no section secret-smtp, which it means then")
    assert fault.valid.startswith("a section secret-smtp with the application's client_secret; or ")


def test_a_secret_that_nobody_needs_may_be_missing() -> None:
    options = "mail.smtp.auth.mechanisms = XOAUTH2\nserver = h\nclient-id = 1\ngrant-type = refresh_token\nuser = a\n"
    assert sender(options).secret == "smtp"


def test_a_faulty_secret_keeps_its_account_down() -> None:
    text = f"[smtp-client-a]\n{GOOGLE}[secret-smtp]\npassword = env:NOT_THERE\n"
    assert parse(text).hangs_on == {"smtp-client-a": frozenset({"secret-smtp"})}
    unused = text.replace("user =", "enable-authentication = false\nserver = h\nuser =")
    assert list(parse(unused).senders) == ["smtp-client-a"]


# --- the login --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("without", "option"), [("user", "user"), ("password", "password")])
def test_a_login_needs_both(without: str, option: str) -> None:
    lines = [line for line in BASIC.splitlines() if not line.startswith(without)]
    assert only("\n".join(["[smtp-client-a]", *lines])).option == option


def test_nobody_logs_in_unless_it_is_said() -> None:
    text = "[smtp-client-a]\n" + BASIC.replace("enable-authentication = true\n", "")
    fault = only(text, Severity.WARNING)
    assert (fault.option, fault.remedy, fault.value) == ("password", "Add the line: enable-authentication = true", "***")
    assert not parse(text).senders["smtp-client-a"].authenticates
    assert told(text + "enable-authentication = false\n") == []


def test_oauth_that_is_switched_off_is_obeyed_and_warned_of() -> None:
    text = f"[smtp-client-a]\n{GOOGLE}server = h\nenable-authentication = false\n"
    fault = only(text, Severity.WARNING)
    assert (fault.option, fault.value) == ("enable-authentication", "false")
    assert not parse(text).senders["smtp-client-a"].authenticates


@pytest.mark.parametrize(("options", "option"), [
    ("grant-type = client_credentials\ndirectory-id = x.example\n", "secret"),
    ("grant-type = client_credentials\npassword = s\n", "directory-id"),
    ("grant-type = external\n", "grant-type"),
    ("grant-type = refresh_token\nsecret = none\n", "secret"),
    ("grant-type = refresh_token\ntenant-authority = elsewhere\n", "tenant-authority"),
    ("grant-type = refresh_token\nscope = https://outlook.office.com/SMTP.Send https://graph.microsoft.com/Mail.Send\n", "scope"),
    ("grant-type = password\n", "password"),
])  # fmt: skip
def test_the_rules_of_oauth_hold_here_too(options: str, option: str) -> None:
    text = f"[smtp-client-a]\nserver = h\nuser = a\nclient-id = 1\nmail.smtp.auth.mechanisms = XOAUTH2\n{options}"
    assert [name for name, severity in told(text) if severity == "fault"] == [option]


def test_a_server_must_be_known() -> None:
    fault = only("[smtp-client-a]\nuser = a@company.example\npassword = b\nenable-authentication = true\n")
    assert (fault.option, fault.valid) == ("server", "the name or address of the account's host")


@pytest.mark.parametrize(("server", "login", "warned"), [
    ("mail.example.org", "true", True),
    ("mail.example.org", "false", False),
    ("127.0.0.1", "true", False),
])  # fmt: skip
def test_a_password_in_clear_is_warned_of(server: str, login: str, warned: bool) -> None:
    options = f"server = {server}\nuser = a\npassword = b\nenable-authentication = {login}\nsmtp-connection-security = none\n"
    text = f"[smtp-client-a]\n{options}"
    assert told(text) == ([("smtp-connection-security", "warning")] if warned else [])


# --- whom it sends for ------------------------------------------------------------------------------------------------

ROUTES = """\
[smtp-client-main]
server = h
[smtp-client-shop]
server = h
addresses = shop.example, Boss@Example.org
[smtp-client-news]
server = h
addresses = news.shop.example
[smtp-client-broken]
port = none
addresses = broken.example
"""


@pytest.mark.parametrize(("address", "section"), [
    ("boss@example.org", "smtp-client-shop"),
    ("BOSS@EXAMPLE.ORG", "smtp-client-shop"),
    ("a@example.org", "smtp-client-main"),
    ("a@shop.example", "smtp-client-shop"),
    ("a@eu.shop.example", "smtp-client-shop"),
    ("a@eu.news.shop.example", "smtp-client-news"),
    ("a@workshop.example", "smtp-client-main"),
    ("a@broken.example", "smtp-client-broken"),
    ("", "smtp-client-main"),
])  # fmt: skip
def test_a_from_address_has_its_account(address: str, section: str) -> None:
    assert parse(ROUTES).route(address) == section


def test_without_a_default_account_an_unknown_address_has_none() -> None:
    assert parse("[smtp-client-a]\nserver = h\naddresses = a.example\n").route("x@b.example") is None
    assert parse("").route("x@b.example") is None


def test_there_is_one_default_account() -> None:
    fault = only("[smtp-client-a]\nserver = h\n[smtp-client-b]\nserver = h\n")
    assert (fault.section, fault.option) == ("smtp-client-b", "addresses")
    assert fault.problem.startswith("[smtp-client-a] (line 1) is the default account already")


def test_an_address_has_one_account() -> None:
    fault = only(
        "[smtp-client-a]\nserver = h\naddresses = a.example, x@b.example\n[smtp-client-b]\nserver = h\naddresses = X@b.example\n"
    )
    assert (fault.section, fault.value) == ("smtp-client-b", "X@b.example")
    assert fault.problem == "[smtp-client-a] (line 1) sends for x@b.example already"


# --- what signs -------------------------------------------------------------------------------------------------------


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_what_signs_is_read() -> None:
    text = "[smtp-client-a]\nserver = h\ndkim-domain = example.org\ndkim-selector = s1\ndkim-key = key.pem\n"
    pem = _pem(ed25519.Ed25519PrivateKey.generate())
    client = parse(text, **{"key.pem": pem}).senders["smtp-client-a"]
    assert (client.dkim_domain, client.dkim_selector, client.dkim_key) == ("example.org", "s1", Secret(pem.decode()))
    assert told(text, **{"key.pem": _pem(rsa.generate_private_key(65537, 2048))}) == []


@pytest.mark.parametrize(("pem", "problem"), [
    (_pem(ec.generate_private_key(ec.SECP256R1())), "names a file whose key is neither RSA nor Ed25519"),
    (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "names a file whose private key cannot be read"),
    (b"", "names /srv/key.pem, which holds no private key in PEM form"),
], ids=["curve", "broken", "empty"])  # fmt: skip
def test_a_key_that_cannot_sign_is_a_fault(pem: bytes, problem: str) -> None:
    text = "[smtp-client-a]\nserver = h\ndkim-domain = example.org\ndkim-selector = s1\ndkim-key = key.pem\n"
    (fault,) = parse(text, **{"key.pem": pem}).faults
    assert (fault.option, fault.value, fault.problem) == ("dkim-key", "***", problem)


def test_the_options_of_dkim_go_together() -> None:
    fault = only("[smtp-client-a]\nserver = h\ndkim-domain = example.org\n")
    assert (fault.option, fault.line) == ("dkim-selector", 1)
