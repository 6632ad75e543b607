"""What the properties of JavaMail do: a value for an option that is not written, a fault, or a word that they do nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from postroom.drivers.provider import Providers
from postroom.settings import Configuration, PopClient, ProxySettings, ProxyType, Security, Severity, parse_configuration
from postroom.settings.option import options_of
from postroom.settings.pop_properties import POP_PROPERTIES, MailProperties
from postroom.settings.properties import Values, acts_elsewhere, apply, names_of
from postroom.settings.reference import find_entries

BASE = {"type": "IMAP", "server": "imap.example.com", "mailbox": "a", "password": "pw"}


def read(*lines: str, shared: str = "", without: str = "") -> Configuration:
    options = "\n".join(f"{name} = {value}" for name, value in BASE.items() if name not in without.split())
    section = "\n".join(["[pop-client-a]", options, *lines])
    head = f"[defaults-pop-client]\n{shared}\n" if shared else ""
    return parse_configuration(f"{head}{section}\n", Path("postroom.ini"), {"PW": "of the proxy"}, Providers())


def client(*lines: str, shared: str = "", without: str = "") -> PopClient:
    """The client of a section in which nothing is wrong."""
    configuration = read(*lines, shared=shared, without=without)
    assert not configuration.faults
    return configuration.clients["pop-client-a"]


# --- in the place of an option ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "field", "value"), [
    ("mail.imap.host = mail.example.com", "server", "mail.example.com"),
    ("mail.imap.port = 1143", "port", 1143),
    ("mail.imap.user = b", "mailbox", "b"),
    ("mail.imap.connectiontimeout = 2500", "connect_timeout", 2.5),
    ("mail.imaps.connectionTimeout = 2500", "connect_timeout", 2.5),
    ("mail.imap.timeout = 90000", "protocol_timeout", 90),
    ("mail.imap.sasl.mechanisms = plain", "mechanisms", ("PLAIN",)),
    ("mail.imaps.auth.mechanisms = LOGIN", "mechanisms", ("LOGIN",)),
    ("mail.imap.auth.plain.disable = true", "mechanisms", ("LOGIN",)),
    ("mail.imap.auth.login.disable = true", "mechanisms", ("PLAIN",)),
    ("mail.imap.auth.login.disable = false", "mechanisms", ()),
    ("mail.imap.auth.xoauth2.disable = true", "mechanisms", ()),
    ("mail.debug = true", "enable_debug", True),
    ("MAIL.IMAP.SSL.ENABLE = TRUE", "security", Security.SSL_TLS),
    ("mail.imap.starttls.enable = true", "security", Security.START_TLS),
    ("mail.imap.starttls.required = true", "security", Security.START_TLS),
    ("mail.imap.starttls.enable = false", "security", Security.SSL_TLS),
    ("mail.imap.ssl.enable = true\nmail.imap.starttls.enable = true", "security", Security.SSL_TLS),
    ("mail.imap.ssl.enable = false\nmail.imap.starttls.enable = true", "security", Security.START_TLS),
    ("mail.imap.auth.xoauth2.two.line.authentication.format = true", "two_line_xoauth2", True),
    ("mail.imap.auth.xoauth2.two.line.authentication.format = false", "two_line_xoauth2", False),
    ("mail.imap.compress.enable = true", "compress", True),
    ("mail.imaps.compress.enable = true", "compress", True),
])  # fmt: skip
def test_where_the_option_is_not_written_the_property_acts(line: str, field: str, value: object) -> None:
    option = {"server": "server", "mailbox": "mailbox"}.get(field, "")
    assert getattr(client(*line.split("\n"), without=option), field) == value


def test_without_properties_nothing_is_decided() -> None:
    plain = client()
    assert (plain.compress, plain.disable_top, plain.disable_capa, plain.two_line_xoauth2, plain.proxy) == (
        False,
        False,
        False,
        None,
        None,
    )


@pytest.mark.parametrize(("option", "line", "field", "value"), [
    ("port = 993", "mail.imap.port = 1143", "port", 993),
    ("connect-timeout = 3s", "mail.imap.connectiontimeout = 2500", "connect_timeout", 3),
    ("protocol-timeout = 3s", "mail.imap.timeout = 2500", "protocol_timeout", 3),
    ("enable-debug = false", "mail.debug = true", "enable_debug", False),
    ("pop-connection-security = start-tls", "mail.imap.ssl.enable = true", "security", Security.START_TLS),
    ("mail.imap.auth.mechanisms = PLAIN", "mail.imap.sasl.mechanisms = LOGIN", "mechanisms", ("PLAIN",)),
])  # fmt: skip
def test_a_written_option_wins_and_that_is_said(option: str, line: str, field: str, value: object) -> None:
    configuration = read(line, option)
    (fault,) = configuration.faults
    assert fault.severity is Severity.WARNING
    assert fault.problem == f"without effect beside {option.split(' =')[0]}"
    assert fault.option == line.split(" =")[0]
    assert getattr(configuration.clients["pop-client-a"], field) == value


def test_what_says_the_same_as_the_option_needs_no_word() -> None:
    assert client("connect-timeout = 5s", "mail.imap.connectiontimeout = 5000").connect_timeout == 5
    assert client("pop-connection-security = start-tls", "mail.imap.starttls.enable = true").security is Security.START_TLS


def test_a_sections_own_value_wins_over_the_shared_one() -> None:
    assert client("protocol-timeout = 5s", shared="mail.imap.timeout = 7000").protocol_timeout == 5
    assert client("mail.imap.timeout = 7000", shared="protocol-timeout = 5s").protocol_timeout == 7
    assert client("mail.imaps.timeout = 7000", shared="mail.imap.timeout = 5000").protocol_timeout == 7
    assert client("mail.imap.ssl.enable = true", shared="pop-connection-security = start-tls").security is Security.SSL_TLS
    assert client(shared="mail.imap.timeout = 5000").protocol_timeout == 5


def test_oauth_is_switched_on_by_the_mechanisms_of_sasl_too() -> None:
    lines = ("mail.imap.sasl.mechanisms = XOAUTH2", "client-id = x", "tenant-authority = nobody-knows-it")
    assert "tenant-authority" in "".join(map(str, read(*lines).faults))


# --- a proxy of this mailbox alone ------------------------------------------------------------------------------------


def test_an_http_proxy_of_its_own() -> None:
    lines = ("mail.imap.proxy.host = p.example", "mail.imap.proxy.user = u", "mail.imap.proxy.password = env:PW")
    proxy = client(*lines).proxy
    assert proxy is not None
    assert (proxy.use_proxy, proxy.type, proxy.address, proxy.user) == (True, ProxyType.HTTP, ("p.example", 80), "u")
    assert proxy.password is not None
    assert proxy.password.reveal() == "of the proxy"


def test_a_socks_proxy_of_its_own_stands_before_the_sections() -> None:
    configuration = parse_configuration(
        "[proxy]\nuseProxy = true\nhost = shared.example\n"
        + "".join(
            f"[pop-client-{name}]\ntype = IMAP\nserver = imap.example.com\nmailbox = {name}\npassword = pw\n{more}\n"
            for name, more in (("a", "mail.imap.socks.host = own.example\nmail.imap.socks.port = 1081"), ("b", ""))
        ),
        Path("postroom.ini"),
        {},
        Providers(),
    )
    assert not configuration.faults
    own, shared = (configuration.proxy_of(configuration.clients[f"pop-client-{name}"]) for name in "ab")
    assert own == ProxySettings(use_proxy=True, type=ProxyType.SOCKS, host="own.example", port=1081)
    assert shared is not None
    assert shared.host == "shared.example"


# --- faults and warnings ----------------------------------------------------------------------------------------------


SSL, START, REQUIRED = "mail.imap.ssl.enable", "mail.imap.starttls.enable", "mail.imap.starttls.required"
PLAIN, LOGIN, CHOSEN = "mail.imap.auth.plain.disable", "mail.imap.auth.login.disable", "mail.imap.auth.mechanisms"
HTTP, SOCKS = "mail.imap.proxy.host", "mail.imap.socks.host"


@pytest.mark.parametrize(("lines", "words"), [
    (["mail.imap.timeout = 5s"], "not a whole number"),
    (["mail.imap.timeout = 0"], "less than 1"),
    (["mail.imap.timeout = -1"], "less than 1"),
    (["mail.imap.port = 70000"], "more than 65535"),
    ([f"{SSL} = yes"], "neither true nor false"),
    (["mail.imap.sasl.mechanisms = CRAM-MD5"], "CRAM-MD5"),
    (["mail.imap.timeout = 5", "mail.imaps.timeout = 6"], "mail.imap.timeout (line 6) is the same property"),
    ([f"{SSL} = true", f"{REQUIRED} = true"], f"{REQUIRED} = 'true': {SSL} = true (line 6) says the opposite"),
    ([f"{START} = false", f"{REQUIRED} = true"], f"{REQUIRED} = 'true': {START} = false (line 6) says the opposite"),
    ([f"{SSL} = false"], "Write pop-connection-security = start-tls, or none"),
    ([f"{CHOSEN} = PLAIN", f"{PLAIN} = true"], f"{PLAIN} = 'true': {CHOSEN} (line 6) names PLAIN"),
    ([f"{PLAIN} = true", f"{LOGIN} = true"], f"{PLAIN} and {LOGIN} leave no way"),
    ([f"{HTTP} = a.example", f"{SOCKS} = b.example"], f"{SOCKS} = 'b.example': {HTTP} (line 6) names another proxy"),
    ([f"{HTTP} = a.example", "mail.imap.proxy.user = u"], "password is not"),
    ([f"{HTTP} = http://a"], "address of the web"),
])  # fmt: skip
def test_what_cannot_be_used_is_a_fault_with_both_names(lines: list[str], words: str) -> None:
    for configuration in (read(*lines), read(shared="\n".join(lines))):
        assert not configuration.clients
        faults = [str(fault) for fault in configuration.faults if fault.severity is Severity.FAULT]
        assert any(words.replace("(line 6)", "") in re.sub(r"\(line \d+\)", "", fault) for fault in faults), faults
        assert configuration.faults_of("pop-client-a")


@pytest.mark.parametrize(("line", "remedy"), [
    ("mail.imap.ssl.trust = *", "Certificates are always checked"),
    ("mail.imaps.peek = true", "Reading never marks"),
    ("mail.imap.fetchsize = 16000", "written to the disk"),
    ("mail.pop3.rsetbeforequit = true", "never sent before QUIT"),
    ("mail.imap.auth.ntlm.disable = false", "NTLM is never used"),
    ("mail.debug.auth = true", "Secrets are masked"),
    ("mail.pop3.disabletop = true", ""),
    ("mail.imap.minidletime = 5", ""),
    ("mail.smtp.host = h", ""),
])  # fmt: skip
def test_any_other_is_accepted_and_named_as_without_effect(line: str, remedy: str) -> None:
    configuration = read(line)
    (fault,) = configuration.faults
    assert (fault.severity, fault.problem) == (Severity.WARNING, "accepted, without effect")
    assert remedy in fault.remedy
    assert configuration.clients


@pytest.mark.parametrize(("line", "problem"), [
    ("mail.imap.proxy.port = 80", "without effect: mail.<type>.proxy.host is not written"),
    ("mail.imap.socks.port = 80", "without effect: mail.<type>.socks.host is not written"),
    ("mail.imap.auth.xoauth2.disable = false", "allows XOAUTH2, and nothing chooses it"),
])  # fmt: skip
def test_half_a_wish_is_a_warning(line: str, problem: str) -> None:
    (fault,) = read(line).faults
    assert (fault.severity, fault.problem) == (Severity.WARNING, problem)


def test_what_acts_for_another_type_is_no_stray_among_the_shared_values() -> None:
    assert client(shared="mail.pop3.disabletop = true\nmail.pop3s.timeout = 5000").protocol_timeout == 60


# --- the other type ---------------------------------------------------------------------------------------------------

OPTIONS = options_of(MailProperties)


def test_pop3_has_its_own_names() -> None:
    assert names_of(OPTIONS["disable_top"], "POP3") == ("mail.pop3.disabletop", "mail.pop3s.disabletop")
    assert names_of(OPTIONS["disable_top"], "IMAP") == ()
    assert names_of(OPTIONS["compress"], "POP3") == ()
    assert names_of(OPTIONS["mail_timeout"], "pop3") == ("mail.pop3.timeout", "mail.pop3s.timeout")
    assert names_of(OPTIONS["mail_debug"], "pop3") == ("mail.debug",)
    assert acts_elsewhere("mail.pop3.disablecapa", OPTIONS.values(), POP_PROPERTIES.types)
    assert not acts_elsewhere("mail.pop3.rsetbeforequit", OPTIONS.values(), POP_PROPERTIES.types)


def test_without_a_property_nothing_is_touched() -> None:
    found = Values(sound={"port": 1})
    assert list(apply(POP_PROPERTIES, found, "pop-client-a")) == []
    assert found.sound == {"port": 1}


@pytest.mark.parametrize(
    "name", ["mail.imap.timeout", "mail.imaps.timeout", "mail.<type>.timeout", "mail.pop3.disabletop", "mail.debug"]
)
def test_the_reference_tells_of_them(name: str) -> None:
    (entry,) = (entry for entry in find_entries(name) if entry.section != "smtp-client" or name != "mail.debug")
    assert (entry.section, entry.effect) == ("pop-client", "At the next POP cycle")


@pytest.mark.parametrize(("line", "field", "value"), [
    ("mail.pop3.disabletop = true", "disable_top", True),
    ("mail.pop3s.disablecapa = true", "disable_capa", True),
    ("mail.pop3.auth.xoauth2.two.line.authentication.format = true", "two_line_xoauth2", True),
    ("mail.pop3.timeout = 1500", "protocol_timeout", 1.5),
    ("mail.pop3s.starttls.required = true", "security", Security.START_TLS),
])  # fmt: skip
def test_the_properties_of_pop3(line: str, field: str, value: object) -> None:
    assert getattr(client("type = POP3", line, without="type"), field) == value
    assert getattr(client("type = POP3", shared=line, without="type"), field) == value
    (fault,) = read(line).faults
    assert fault.problem == "accepted, without effect"


def test_what_is_imaps_alone_does_nothing_over_pop3() -> None:
    (fault,) = read("type = POP3", "mail.imap.compress.enable = true", without="type").faults
    assert (fault.severity, fault.problem) == (Severity.WARNING, "accepted, without effect")
