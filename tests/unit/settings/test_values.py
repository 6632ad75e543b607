from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.secret import Secret
from postroom.settings import Security, values
from postroom.settings.option import NOWHERE, Surroundings

PEM = "-----BEGIN {0}-----\nAAAA\n-----END {0}-----\n"
TOKEN_URI = "https://oauth2.googleapis.com/token"
ROBOT = {
    "type": "service_account",
    "client_email": "robot@project.example",
    "private_key": "THE KEY",
    "private_key_id": "key-1",
    "token_uri": TOKEN_URI,
}


def robot(**changes: object) -> bytes:
    """A service account's key file; None takes a field out."""
    return json.dumps({name: value for name, value in {**ROBOT, **changes}.items() if value is not None}, indent=2).encode()


FILES = {
    "token": b"1//abc\n",
    "two": b"a\nb\n",
    "empty": b"\n",
    "octets": b"\xff\xfe",
    "large": b"x" * 70_000,
    "installed.json": json.dumps({"installed": {"client_id": "1.apps", "client_secret": "GOCSPX-i"}}, indent=2).encode(),
    "web.json": b'{"web":{"client_id":"1.apps","client_secret":"GOCSPX-w"}}\n',
    "other.json": b'{"installed":{"client_id":"1.apps"}}',
    "list.json": b'{"installed":["client_id","client_secret"]}',
    "torn.json": b'{"installed":\n',
    "key.pem": PEM.format("PRIVATE KEY").encode(),
    "old.pem": PEM.format("RSA PRIVATE KEY").encode(),
    "locked.pem": PEM.format("ENCRYPTED PRIVATE KEY").encode(),
    "locked-old.pem": PEM.format("RSA PRIVATE KEY").replace("AAAA", "Proc-Type: 4,ENCRYPTED\n\nAAAA").encode(),
    "cert.pem": PEM.format("CERTIFICATE").encode(),
    "both.pem": (PEM.format("PRIVATE KEY") + PEM.format("CERTIFICATE")).encode(),
    "robot.json": robot(),
    "robot-unnamed.json": robot(private_key_id=None),
    "user.json": robot(type="authorized_user"),
    "keyless.json": robot(private_key=None, client_email=5),
    "clear.json": robot(token_uri="http://oauth2.example/token"),
}


def read(path: Path) -> bytes:
    if path.name not in FILES:
        raise FileNotFoundError(2, "No such file or directory")
    return FILES[path.name]


HERE = Surroundings(
    Path("/conf"), {"TOKEN": "1//env", "EMPTY": "", "JSON": '{"web":{"client_id":"1","client_secret":"GOCSPX-e"}}'}, read
)
NO_APPLICATION = "names a JSON file without client_id and client_secret; Google's file of a Desktop client has them"

GOOD: list[tuple[Callable[[str, Surroundings], object], str, object]] = [
    (values.time_span(1), "00:01:00", 60.0),
    (values.time_span(1), "100:00:01", 360001.0),
    (values.time_span(1), "30s", 30.0),
    (values.time_span(1), "5M", 300.0),
    (values.time_span(0), "2h", 7200.0),
    (values.size, "0", 0),
    (values.size, "64k", 65536),
    (values.size, "50M", 52428800),
    (values.boolean, "TRUE", True),
    (values.integer(0), "007", 7),
    (values.one_of(Security), "SSL-TLS", Security.SSL_TLS),
    (values.several_of(("PLAIN", "LOGIN")), "login, Plain LOGIN", ("LOGIN", "PLAIN")),
    (values.folders, "inbox, Archive/2026 , INBOX", ("INBOX", "Archive/2026")),
    (values.host, "imap.gmail.com", "imap.gmail.com"),
    (values.host, "[::1]", "::1"),
    (values.host, "mail_1.bücher.example", "mail_1.bücher.example"),
    (values.endpoint, "http://127.0.0.1:8080/token", "http://127.0.0.1:8080/token"),
    (values.endpoint, "http://localhost/token", "http://localhost/token"),
    (values.endpoint, "https://sso.example.org/token", "https://sso.example.org/token"),
    (values.listen, "[::1]:0", ("::1", 0)),
    (values.path, "data", Path("/conf/data")),
    (values.path, "/srv/mail", Path("/srv/mail")),
    (values.key, "env:POSTROOM_KEY", "env:POSTROOM_KEY"),
    (values.key, "file:vault.key", Path("/conf/vault.key")),
    (values.key, "CREDENTIAL: postroom.key", "credential:postroom.key"),
    (values.key, "keyring:my post/room/me", "keyring:my post/room/me"),
    (values.secret, "pass = word # %(x)s", Secret("pass = word # %(x)s")),
    (values.secret, "env:TOKEN", Secret("1//env")),
    (values.secret, "FILE:token", Secret("1//abc")),
    (values.words, "a   b", "a b"),
    (values.client_secret, "GOCSPX-x", Secret("GOCSPX-x")),
    (values.client_secret, "env:TOKEN", Secret("1//env")),
    (values.client_secret, "env:JSON", Secret("GOCSPX-e")),
    (values.client_secret, "file:token", Secret("1//abc")),
    (values.client_secret, "file:installed.json", Secret("GOCSPX-i")),
    (values.client_secret, "FILE: web.json", Secret("GOCSPX-w")),
    (values.certificate, "cert.pem", PEM.format("CERTIFICATE")),
    (values.certificate, "both.pem", PEM.format("PRIVATE KEY") + PEM.format("CERTIFICATE")),
    (values.private_key, "key.pem", Secret(PEM.format("PRIVATE KEY"))),
    (values.private_key, "file:key.pem", Secret(PEM.format("PRIVATE KEY"))),
    (values.private_key, "old.pem", Secret(PEM.format("RSA PRIVATE KEY"))),
    (
        values.service_account,
        "robot.json",
        values.ServiceAccountKey("robot@project.example", Secret("THE KEY"), "key-1", TOKEN_URI),
    ),
    (
        values.service_account,
        "file:robot-unnamed.json",
        values.ServiceAccountKey("robot@project.example", Secret("THE KEY"), "", TOKEN_URI),
    ),
    (values.command, "get-token", ("get-token",)),
    (values.command, "/bin/get --for 'a b' \"c d\" e\\ f $HOME `x`", ("/bin/get", "--for", "a b", "c d", "e f", "$HOME", "`x`")),
    (values.date, "2026-02-28", datetime.date(2026, 2, 28)),
]

BAD: list[tuple[Callable[[str, Surroundings], object], str, str]] = [
    (values.time_span(1), "30", "is not a time span"),
    (values.time_span(1), "00:60:00", "is not a time span"),
    (values.time_span(1), "1d", "is not a time span"),
    (values.time_span(1), "²s", "is not a time span"),
    (values.time_span(1), "0s", "is less than 1 s"),
    (values.time_span(1), "-5s", "is negative"),
    (values.size, "-1", "is not a size"),
    (values.size, "1t", "is not a size"),
    (values.boolean, "yes", "is neither true nor false"),
    (values.integer(0), "-1", "is less than 0"),
    (values.integer(1, 65535), "65536", "is more than 65535"),
    (values.integer(1, 65535), "1.5", "is not a whole number"),
    (values.several_of(("PLAIN",)), "PLAIN, NTLM", "names NTLM, which this version does not have"),
    (values.folders, "INBOX,,Archive", "has an empty name between its commas"),
    (values.text, "a\x7fb", "has control characters in it"),
    (values.folder, "a\x01b", "has control characters in it"),
    (values.host, "https://mail.example.org/", "is an address of the web, not the name of a host"),
    (values.host, "mail.example.org:993", "holds a port, which has an option of its own"),
    (values.host, "mail example", "is not the name of a host"),
    (values.word, "my secret", "has white space in it"),
    (values.endpoint, "http://sso.example.org/token", "is not encrypted: http:// is for this machine only"),
    (values.endpoint, "http://localhost.example.org/", "is not encrypted: http:// is for this machine only"),
    (values.endpoint, "https://user@sso.example.org/", "is not an address of the web"),
    (values.endpoint, "https://[::1/", "is not an address of the web"),
    (values.endpoint, "ftp://sso.example.org/", "is not an address of the web"),
    (values.listen, "8025", "is not HOST:PORT"),
    (values.listen, "::1:8025", "is not HOST:PORT"),
    (values.listen, "localhost:99999", "is more than 65535"),
    (values.path, "a\0b", "is not a path"),
    (values.key, "vault.key", "is none of file:PATH, env:NAME, credential:NAME, keyring:SERVICE/USER"),
    *(
        (values.key, f"{form}:{rest}", "is none of file:PATH, env:NAME, credential:NAME, keyring:SERVICE/USER")
        for form, rest in (
            ("file", ""),
            ("env", "my key"),
            ("credential", ""),
            ("credential", ".."),
            ("credential", "a/b"),
            ("keyring", "postroom"),
            ("keyring", "postroom/"),
            ("keyring", "/me"),
            ("vault", "x"),
        )
    ),
    (values.choice("text", "json"), "xml", "is none of the valid values"),
    (values.secret, "env:NONE", "names the variable NONE, which is not set in the environment"),
    (values.secret, "env:EMPTY", "names the variable EMPTY, which is empty in the environment"),
    (values.secret, "env:pass word", "begins with env: and does not go on with the name of a variable"),
    (values.secret, "file:none", "names /conf/none, which cannot be read (No such file or directory)"),
    (values.secret, "file:two", "names /conf/two, which holds more than one line"),
    (values.secret, "file:empty", "names /conf/empty, which is empty"),
    (values.secret, "file:octets", "names /conf/octets, which is not text in UTF-8"),
    (values.secret, "file:large", "names /conf/large, which is too large for a secret"),
    (values.certificates, "token", "names /conf/token, which holds no certificate in PEM form"),
    (values.client_secret, "env:NONE", "names the variable NONE, which is not set in the environment"),
    (values.client_secret, "file:none", "names /conf/none, which cannot be read (No such file or directory)"),
    (values.client_secret, "file:two", "names /conf/two, which holds more than one line"),
    (values.client_secret, "file:large", "names /conf/large, which is too large for a secret"),
    (values.client_secret, "file:torn.json", "names a file that begins like JSON and is none"),
    (values.client_secret, "file:other.json", NO_APPLICATION),
    (values.client_secret, "file:list.json", NO_APPLICATION),
    (values.client_secret, "file:robot.json", NO_APPLICATION),
    (values.certificate, "key.pem", "names /conf/key.pem, which holds no certificate in PEM form"),
    (values.certificate, "none", "names /conf/none, which cannot be read (No such file or directory)"),
    (values.private_key, "cert.pem", "names /conf/cert.pem, which holds no private key in PEM form"),
    (values.private_key, "octets", "names /conf/octets, which holds no private key in PEM form"),
    (values.private_key, "none", "names /conf/none, which cannot be read (No such file or directory)"),
    (values.private_key, "locked.pem", "names /conf/locked.pem, whose key is protected by a passphrase"),
    (values.private_key, "locked-old.pem", "names /conf/locked-old.pem, whose key is protected by a passphrase"),
    (values.service_account, "none", "names /conf/none, which cannot be read (No such file or directory)"),
    (values.service_account, "token", "names /conf/token, which is no JSON file"),
    (values.service_account, "octets", "names /conf/octets, which is no JSON file"),
    (
        values.service_account,
        "user.json",
        "names /conf/user.json, which is not the key of a service account (its type is not service_account)",
    ),
    (
        values.service_account,
        "installed.json",
        "names /conf/installed.json, which is not the key of a service account (its type is not service_account)",
    ),
    (values.service_account, "keyless.json", "names /conf/keyless.json, which lacks client_email, private_key"),
    (values.service_account, "clear.json", "is not encrypted: http:// is for this machine only"),
    (values.command, "get 'token", "has a quotation mark without its partner"),
    (values.command, "  ", "names no program"),
    (values.date, "2026-02-30", "is not a day"),
    (values.date, "28.2.2026", "is not a day"),
    (values.date, "soon", "is not a day"),
]


@pytest.mark.parametrize(("parse", "written", "value"), GOOD)
def test_a_valid_value_is_read(parse: Callable[[str, Surroundings], object], written: str, value: object) -> None:
    assert parse(written, HERE) == value


@pytest.mark.parametrize(("parse", "written", "problem"), BAD)
def test_a_wrong_value_says_what_is_wrong(parse: Callable[[str, Surroundings], object], written: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(written, HERE)
    assert str(caught.value) == problem


@given(st.integers(0, 999_999), st.integers(0, 59), st.integers(0, 59))
def test_a_clock_is_its_seconds(hours: int, minutes: int, seconds: int) -> None:
    written = f"{hours:02}:{minutes:02}:{seconds:02}"
    assert values.time_span(0)(written, NOWHERE) == hours * 3600 + minutes * 60 + seconds


@given(st.integers(0, 999_999_999), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("H", 3600)]))
def test_an_amount_is_its_seconds(number: int, unit: tuple[str, int]) -> None:
    assert values.time_span(0)(f"{number}{unit[0]}", NOWHERE) == number * unit[1]


@given(st.integers(0, 10**15 - 1), st.sampled_from([("", 1), ("k", 1024), ("M", 1024**2), ("g", 1024**3)]))
def test_a_size_is_its_octets(number: int, unit: tuple[str, int]) -> None:
    assert values.size(f"{number}{unit[0]}", NOWHERE) == number * unit[1]


PARSERS = list({parse for parse, _, _ in (*GOOD, *BAD)})


@given(st.sampled_from(PARSERS), st.text())
def test_whatever_is_written_is_read_or_refused(parse: Callable[[str, Surroundings], object], written: str) -> None:
    with contextlib.suppress(ValueError):
        parse(written, HERE)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("LOCALHOST", True),
        ("mail.localhost.", True),
        ("localhost.example.org", False),
        ("10.0.0.1", False),
        ("mail.example.org", False),
    ],
)
def test_loopback_is_this_machine(name: str, answer: bool) -> None:
    assert values.is_loopback(name) is answer


@pytest.mark.parametrize("name", ["installed.json", "web.json"])
def test_googles_file_tells_the_application_too(name: str) -> None:
    client_id, secret = values.google_application(Secret(FILES[name].decode()))
    assert (client_id, secret.reveal()[:7]) == ("1.apps", "GOCSPX-")


SECRET_PARSERS = [values.client_secret, values.private_key, values.service_account, values.certificate]


@given(st.sampled_from(SECRET_PARSERS), st.binary(max_size=200) | st.builds(lambda text: b"{" + text, st.binary(max_size=50)))
def test_a_file_of_any_content_is_read_or_refused(parse: Callable[[str, Surroundings], object], octets: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse("file:content", Surroundings(Path("/conf"), {}, lambda _path: octets))
