"""Every option of an smtp-client acts when it says: at start/restart, ``enable-authentication`` at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postroom.app.config import Live, load
from postroom.settings import ServerType, SmtpClient
from postroom.settings.option import Effect, Option, options_of
from postroom.settings.smtp_properties import SmtpProperties

A = "smtp-client-a"
ONE = {  # as the client starts, by field
    "server": "server = h.example",
    "port": "port = 25",
    "security": "smtp-connection-security = ssl-tls",
    "tls_ca_file": "tls-ca-file = one.pem",
    "enable_authentication": "enable-authentication = true",
    "user": "user = a@example.org",
    "password": "password = one",
    "mechanisms": "mail.smtp.auth.mechanisms = XOAUTH2",
    "client_id": "client-id = one",
    "tenant_authority": "tenant-authority = one",
    "directory_id": "directory-id = one",
    "scope": "scope = one",
    "secret": "secret = one",
    "grant_type": "grant-type = refresh_token",
    "token_command": "token-command = one",
    "token_url": "token-url = https://one.example/",
    "token_expiry_margin_time": "token-expiry-margin-time = 1s",
    "connect_timeout": "connect-timeout = 1s",
    "protocol_timeout": "protocol-timeout = 1s",
    "enable_debug": "enable-debug = false",
    "pool_size": "cnx-pool-size = 1",
    "check_idle_time": "cnx-check-idle-time = 1s",
    "max_idle_time": "cnx-max-idle-time = 1s",
    "addresses": "addresses = one.example",
    "messages_per_minute": "messages-per-minute = 1",
    "in_doubt": "in-doubt = hold",
    "retry_span": "retry-span = 1h",
    "copy_in_sent": "copy-in-sent = One",
    "dkim_domain": "dkim-domain = one.example",
    "dkim_selector": "dkim-selector = one",
    "dkim_key": "dkim-key = one.pem",
    "ehlo_name": "mail.smtp.localhost = one.example",
    "envelope_from": "mail.smtp.from = one@example.org",
    "dsn_notify": "mail.smtp.dsn.notify = FAILURE",
    "dsn_ret": "mail.smtp.dsn.ret = HDRS",
}
TWO = {  # and what is written then
    **{field: line.replace("one", "two").replace("One", "Two").replace("= 1", "= 2") for field, line in ONE.items()},
    "server": "server = two.example",
    "port": "port = 26",
    "security": "smtp-connection-security = start-tls",
    "enable_authentication": "enable-authentication = false",
    "user": "user = b@example.org",
    "mechanisms": "mail.smtp.auth.mechanisms = OAUTHBEARER",
    "grant_type": "grant-type = client_credentials",
    "enable_debug": "enable-debug = true",
    "in_doubt": "in-doubt = resend",
    "dsn_notify": "mail.smtp.dsn.notify = NEVER",
    "dsn_ret": "mail.smtp.dsn.ret = FULL",
}
OTHERS = {
    name: f"[secret-{name}]\npassword = {name}\n[authority-{name}]\ntoken_endpoint = https://{name}.example/"
    for name in ("one", "two")
}
_PROXY = "mail.smtp.proxy.host = h\nmail.smtp.proxy."
BY_PROPERTY: dict[str, tuple[str, str, str]] = {  # the option that they stand for, and both values
    "mail_host": ("server", "h.example", "two.example"),
    "mail_port": ("port", "25", "26"),
    "mail_user": ("user", "a", "b"),
    "mail_auth": ("enable_authentication", "true", "false"),
    "mail_connectiontimeout": ("connect_timeout", "1000", "2000"),
    "mail_timeout": ("protocol_timeout", "1000", "2000"),
    "mail_ssl_enable": ("security", "true", "false"),
    "mail_starttls_enable": ("security", "true", "true\nmail.smtp.ssl.enable = true"),
    "mail_starttls_required": ("security", "true", "false\nmail.smtp.ssl.enable = true"),
    "mail_sasl_mechanisms": ("mechanisms", "XOAUTH2", "OAUTHBEARER"),
    "mail_plain_disable": ("mechanisms", "false\nmail.smtp.auth.login.disable = false", "true"),
    "mail_login_disable": ("mechanisms", "false", "true"),
    "mail_proxy_host": ("", "one.example", "two.example"),
    "mail_proxy_port": ("", "1\nmail.smtp.proxy.host = h", "2\nmail.smtp.proxy.host = h"),
    "mail_proxy_user": ("", f"a\n{_PROXY}password = p", f"b\n{_PROXY}password = p"),
    "mail_proxy_password": ("", f"a\n{_PROXY}user = p", f"b\n{_PROXY}user = p"),
    "mail_socks_host": ("", "one.example", "two.example"),
    "mail_socks_port": ("", "1\nmail.smtp.socks.host = h", "2\nmail.smtp.socks.host = h"),
    "mail_debug": ("enable_debug", "false", "true"),
}  # fmt: skip
OPTIONS: dict[str, Option] = {**options_of(SmtpProperties), **options_of(SmtpClient)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that values name."""
    folder = tmp_path_factory.mktemp("settings")
    for name in ("one", "two"):
        key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.pem").write_bytes(key + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return folder


class Server:
    """What runs from a file."""

    def __init__(self, folder: Path, lines: dict[str, str], rest: str = "") -> None:
        self.path = folder / "postroom.ini"
        self.write(lines, rest)
        self.live = Live(load(self.path, {}), {})
        assert self.live.configuration.faulty == frozenset(), self.live.configuration.faults

    def write(self, lines: dict[str, str], rest: str = "") -> None:
        others = rest or "\n".join(OTHERS.values())
        self.path.write_text("\n".join([f"[{A}]", *lines.values(), others]), encoding="utf-8")

    def edit(self, lines: dict[str, str], rest: str = "") -> tuple[str, ...]:
        """Write and read again: who has a restart pending."""
        self.write(lines, rest)
        changes = self.live.reload()
        assert self.live.configuration.faulty == frozenset(), self.live.configuration.faults
        return changes.restart_pending

    @property
    def running(self) -> SmtpClient:
        sender = self.live.sender(A)
        assert sender is not None
        return sender

    @property
    def written(self) -> SmtpClient:
        return self.live.configuration.senders[A]


def test_no_option_is_left_out() -> None:
    fields = {field.name for field in dataclasses.fields(SmtpClient)} - {"section", "name", "oauth_user"}
    assert set(ONE) == set(TWO) == fields - {"server_type", "proxy"}  # SMTP is the only type; proxy is below
    assert len(ServerType) == 1
    assert set(BY_PROPERTY) == {name for name in options_of(SmtpProperties) if name.startswith("mail_")} - {"mail_xoauth2_disable"}


def _acts_as_printed(server: Server, field: str, former: SmtpClient, pending: tuple[str, ...], name: str) -> None:
    assert getattr(former, field) != getattr(server.written, field)
    if OPTIONS[name].effect is Effect.IMMEDIATELY:
        assert pending == ()
        assert server.running == server.written
        return
    assert OPTIONS[name].effect is Effect.RESTART
    assert (server.running, pending) == (former, (A,))
    assert len(server.live.pending(A)) == 1
    assert server.live.restart(A)
    assert (server.running, server.live.pending(A)) == (server.written, [])


@pytest.mark.parametrize("field", ONE)
def test_an_option_acts_when_it_says(folder: Path, field: str) -> None:
    server = Server(folder, ONE)
    former = server.running
    pending = server.edit({**ONE, field: TWO[field]})
    if pending:
        assert server.live.pending(A) == [OPTIONS[field].written("smtp")]
    _acts_as_printed(server, field, former, pending, field)


@pytest.mark.parametrize("name", BY_PROPERTY)
def test_a_property_acts_when_it_says(folder: Path, name: str) -> None:
    field, one, two = BY_PROPERTY[name]
    word = OPTIONS[name].written("smtp")
    lines = {known: line for known, line in ONE.items() if known != field}
    server = Server(folder, {**lines, "": f"{word} = {one}"})
    former = server.running
    pending = server.edit({**lines, "": f"{word} = {two}"})
    _acts_as_printed(server, field or "proxy", former, pending, name)


def test_enable_authentication_alone_acts_at_once() -> None:
    assert [name for name, option in options_of(SmtpClient).items() if option.effect is Effect.IMMEDIATELY] == [
        "enable_authentication"
    ]
    assert [name for name, option in options_of(SmtpProperties).items() if option.effect is Effect.IMMEDIATELY] == ["mail_auth"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.tuples(st.sets(st.sampled_from(sorted(ONE)), max_size=4), st.booleans()), max_size=5))
def test_what_runs_is_what_was_written_at_the_last_restart(folder: Path, edits: list[tuple[set[str], bool]]) -> None:
    server = Server(folder, ONE)
    lines, started = dict(ONE), server.running
    for fields, restarts in edits:
        lines |= {field: (TWO if lines[field] == ONE[field] else ONE)[field] for field in fields}
        pending = server.edit(lines)
        login: Any = server.written.enable_authentication
        assert server.running == dataclasses.replace(started, enable_authentication=login)
        assert pending == ((A,) if server.running != server.written else ())
        if restarts:
            server.live.restart(A)
            started = server.running
            assert started == server.written


# --- what it uses of other sections -----------------------------------------------------------------------------------

SHARED = """\
[pop-client-m]
type = IMAP
server = h
mailbox = m
mail.imap.auth.mechanisms = XOAUTH2
tenant-authority = one
client-id = 1
secret = one
"""


@pytest.mark.parametrize(("before", "after", "name"), [
    ("password = one", "password = other", "secret-one"),
    ("https://one.example/", "https://other.example/", "authority-one"),
    ("useProxy = false", "useProxy = true", "proxy"),
], ids=["secret", "authority", "proxy"])  # fmt: skip
def test_a_shared_section_acts_at_the_next_cycle_there_and_at_a_restart_here(
    folder: Path, before: str, after: str, name: str
) -> None:
    rest = f"{OTHERS['one']}\n[proxy]\nuseProxy = false\nhost = p.example\n{SHARED}"
    server = Server(folder, ONE, rest)
    former = server.live.running(A)
    server.write(ONE, rest.replace(before, after))
    changes = server.live.reload()
    assert (changes.changed, changes.restart_pending) == (("pop-client-m",), (A,))
    assert server.live.running(A) == former
    assert server.live.pending(A) == [name]
    server.live.restart(A)
    assert server.live.running(A) != former
    assert server.live.pending(A) == []


def test_what_is_written_back_waits_no_longer(folder: Path) -> None:
    server = Server(folder, ONE)
    assert server.edit({**ONE, "port": TWO["port"]}) == (A,)
    assert server.edit(ONE) == ()


def test_a_fault_leaves_an_account_as_it_ran(folder: Path) -> None:
    server = Server(folder, ONE)
    former = server.live.running(A)
    server.write({**ONE, "port": "port = none", "server": TWO["server"]})
    changes = server.live.reload()
    assert (changes.kept, changes.restart_pending, changes.removed) == ((A,), (), ())
    assert not server.live.restart(A)
    assert server.live.running(A) == former
    server.write({**ONE, "server": TWO["server"]})
    assert server.live.reload().restart_pending == (A,)


def test_a_lost_secret_leaves_an_account_as_it_ran(folder: Path) -> None:
    server = Server(folder, ONE)
    former = server.live.running(A)
    server.write(ONE, "[authority-one]\ntoken_endpoint = https://one.example/")
    assert server.live.reload().kept == (A,)
    assert server.live.running(A) == former


def test_accounts_come_and_go_at_once(folder: Path) -> None:
    server = Server(folder, ONE)
    added = "\n".join(OTHERS.values()) + "\n[smtp-client-b]\nserver = h\n"
    server.write(ONE, added)
    changes = server.live.reload()
    assert (changes.added, changes.restart_pending) == (("smtp-client-b",), ())
    assert server.live.sender("smtp-client-b") is not None
    server.write(ONE)
    assert server.live.reload().removed == ("smtp-client-b",)
    assert server.live.sender("smtp-client-b") is None
    assert not server.live.restart("smtp-client-b")


def test_a_new_address_is_sent_for_after_the_restart(folder: Path) -> None:
    rest = "\n".join(OTHERS.values()) + "\n[smtp-client-b]\nserver = h\n"
    server = Server(folder, ONE, rest)
    assert server.live.route("x@one.example") == A
    server.edit({**ONE, "addresses": TWO["addresses"]}, rest)
    assert (server.live.route("x@one.example"), server.live.route("x@two.example")) == (A, "smtp-client-b")
    server.live.restart(A)
    assert (server.live.route("x@one.example"), server.live.route("x@two.example")) == ("smtp-client-b", A)


def test_processing_acts_at_once_and_the_listener_at_a_start(folder: Path) -> None:
    rest = "\n".join(OTHERS.values()) + "\n"
    server = Server(folder, ONE, rest)
    listener = "[smtp-listener]\nlisten = 127.0.0.1:0\nallow-without-login = true\n"
    server.write(ONE, f"{rest}[email-processing]\nquote-prefix = |\n{listener}")
    changes = server.live.reload()
    assert changes.waiting == ("smtp-listener",)
    assert server.live.configuration.processing.quote_prefix == "| "
    assert server.live.configuration.listener.listen is None
    server.write(ONE, f"{rest}[email-processing]\nquote-prefix = >>\noutbound-msg-charset = utf-16\n")
    server.live.reload()
    assert server.live.configuration.processing.quote_prefix == "| "
