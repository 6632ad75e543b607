"""The sections email-processing and smtp-listener."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.drivers.provider import Providers
from postroom.secret import Secret
from postroom.settings import Configuration, ListenerAccount, ListenerSettings, ProcessingSettings, Security, parse_configuration

FILES = {
    "cert.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "key.pem": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
}
ACCOUNT = "[smtp-listener-account-Shop]\npassword = env:SHOP\n"
TLS = "tls-certificate = cert.pem\ntls-key = key.pem\n"


def read(path: Path) -> bytes:
    if path.name not in FILES:
        raise FileNotFoundError(2, "No such file or directory")
    return FILES[path.name]


def parse(text: str) -> Configuration:
    return parse_configuration(text, Path("/srv/p.ini"), {"SHOP": "pw"}, Providers(), read)


# --- email-processing -------------------------------------------------------------------------------------------------


def test_without_the_section_its_defaults_hold() -> None:
    processing = parse("").processing
    assert processing == ProcessingSettings()
    assert (processing.subject_reply_prefix, processing.subject_forward_prefix, processing.quote_prefix) == ("Re: ", "Fwd: ", "> ")
    assert (processing.default_from_address, processing.bcc_address, processing.outbound_msg_charset) == (None, None, "utf-8")


def test_what_is_written_holds() -> None:
    configuration = parse(
        "[email-processing]\ndefault-from-address = info@example.org\nbcc-address = archive@example.org\n"
        "subject-reply-prefix = AW:\nsubject-forward-prefix = WG:\nquote-prefix = |\noutbound-msg-charset = ISO-8859-15\n"
    )
    assert configuration.faults == ()
    assert configuration.processing == ProcessingSettings(
        default_from_address="info@example.org",
        bcc_address="archive@example.org",
        subject_reply_prefix="AW: ",
        subject_forward_prefix="WG: ",
        quote_prefix="| ",
        outbound_msg_charset="iso-8859-15",
    )


@pytest.mark.parametrize(
    "name", ["utf8", "UTF-8", "us-ascii", "windows-1252", "iso-2022-jp", "euc-kr", "gb18030", "koi8-r", "big5", "shift_jis"]
)
def test_a_charset_that_mail_may_have(name: str) -> None:
    configuration = parse(f"[email-processing]\noutbound-msg-charset = {name}\n")
    assert configuration.faults == ()
    assert "é€字ж".encode(configuration.processing.outbound_msg_charset, "ignore") is not None


@pytest.mark.parametrize("name", ["utf-16", "utf-32", "utf-7", "utf-8-sig", "base64", "rot13", "idna", "punycode", "cp037",
                                  "unicode_escape", "raw_unicode_escape", "undefined", "none such", "a\0b", "charmap"])  # fmt: skip
def test_a_charset_that_mail_may_not_have(name: str) -> None:
    (fault,) = parse(f"[email-processing]\noutbound-msg-charset = {name}\n").faults
    assert (fault.option, fault.section) == ("outbound-msg-charset", "email-processing")


def test_the_rest_of_the_section_is_known() -> None:
    (fault,) = parse("[email-processing]\nautowar-detect-period = 00:10:00\n").faults
    assert fault.problem == "the option is known, but without effect in this version"


# --- smtp-listener ----------------------------------------------------------------------------------------------------


def test_it_is_off_by_default() -> None:
    for text in ("", "[smtp-listener]\n", "[smtp-listener]\nsecurity = none\n", ACCOUNT):
        configuration = parse(text)
        assert configuration.listener.listen is None
        assert configuration.faults == ()


def test_it_listens_with_accounts() -> None:
    configuration = parse(f"[smtp-listener]\nlisten = 127.0.0.1:2525\n{ACCOUNT}[smtp-listener-account-b]\npassword = x\n")
    assert configuration.faults == ()
    listener = configuration.listener
    assert (listener.host, listener.port, listener.security) == ("127.0.0.1", 2525, Security.NONE)
    assert (listener.maximum_msg_size, listener.allow_without_login) == (50 << 20, False)
    assert listener.accounts == (
        ListenerAccount(name="Shop", password=Secret("pw")),
        ListenerAccount(name="b", password=Secret("x")),
    )


def test_it_listens_on_this_machine_without_a_login() -> None:
    configuration = parse("[smtp-listener]\nlisten = [::1]:0\nallow-without-login = true\n")
    assert configuration.faults == ()
    assert configuration.listener == ListenerSettings(listen=("::1", 0), allow_without_login=True)


def test_it_listens_to_the_network_with_tls() -> None:
    configuration = parse(f"[smtp-listener]\nlisten = 0.0.0.0:465\nsecurity = ssl-tls\n{TLS}{ACCOUNT}")
    assert configuration.faults == ()
    assert configuration.listener.tls_certificate == Path("/srv/cert.pem")
    assert configuration.listener.tls_key == Path("/srv/key.pem")


@pytest.mark.parametrize(("options", "faults"), [
    ("listen = 0.0.0.0:25\n", ["security"]),
    ("listen = mail.example.org:25\nsecurity = start-tls\n", ["tls-certificate", "tls-key"]),
    (f"listen = 0.0.0.0:465\nsecurity = ssl-tls\nallow-without-login = true\n{TLS}", ["allow-without-login"]),
    ("listen = 2525\n", ["listen"]),
    ("listen = 127.0.0.1:2525\nsecurity = ssl-tls\ntls-key = key.pem\ntls-certificate = none.pem\n", ["tls-certificate"]),
    ("listen = 127.0.0.1:2525\nsecurity = ssl-tls\ntls-certificate = cert.pem\ntls-key = cert.pem\n", ["tls-key"]),
    ("listen = 127.0.0.1:2525\nmaximum-msg-size = 0\n", ["maximum-msg-size"]),
], ids=["clear", "certificate", "open", "address", "nothing", "key", "size"])  # fmt: skip
def test_what_would_be_unsafe_is_a_fault(options: str, faults: list[str]) -> None:
    configuration = parse(f"[smtp-listener]\n{options}{ACCOUNT}")
    assert sorted(fault.option for fault in configuration.faults) == faults
    assert "smtp-listener" in configuration.faulty
    assert configuration.listener == ListenerSettings()  # nothing listens


def test_somebody_must_be_able_to_log_in() -> None:
    (fault,) = parse("[smtp-listener]\nlisten = 127.0.0.1:2525\n").faults
    assert (fault.option, fault.problem) == ("listen", "nobody could hand mail in: there is no account")


def test_a_password_must_be_had() -> None:
    other = "[smtp-listener-account-b]\npassword = x\n"
    configuration = parse(f"[smtp-listener]\nlisten = 127.0.0.1:2525\n{ACCOUNT.replace('SHOP', 'NONE')}{other}")
    (fault,) = configuration.faults
    assert [account.name for account in configuration.listener.accounts] == ["b"]
    assert (fault.section, fault.value) == ("smtp-listener-account-Shop", "***")
