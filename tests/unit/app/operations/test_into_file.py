from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.app.operations.draft import Answers, OAuthAnswers, drafted
from postroom.app.operations.into_file import free_name, merged, write_secret
from postroom.drivers.provider import Providers
from postroom.errors import ConfigError
from postroom.net.discovery import Found, FoundServer
from postroom.secret import Secret
from postroom.settings import Configuration, Security, parse_configuration

SERVER = FoundServer("imap", "mail.example.org", 993, Security.SSL_TLS, "%EMAILADDRESS%", False, "")
GENERIC = Found("info@example.org", servers=(SERVER,), how="example.org names its servers.")


def parsed(text: str) -> Configuration:
    return parse_configuration(text, Path("/etc/postroom.ini"), {}, Providers(), lambda _path: b"x-1234567890\n")


EXISTING = "# ours\n[pop-client-info]\ntype = IMAP\nserver = mail.example.org\nmailbox = Info@example.org\npassword = p\n"
NEW = drafted(replace(GENERIC, address="sales@example.org"), Answers(name="sales", password="file:x"))


@pytest.mark.parametrize("existing", ["", "\ufeff", EXISTING, EXISTING.rstrip("\n"), EXISTING.replace("\n", "\r\n"), "# nothing\n"])
def test_sections_are_put_behind_what_is_there(existing: str) -> None:
    text = merged(existing, NEW)
    assert text.startswith(existing)
    assert text.endswith(NEW.replace("\n", "\r\n") if "\r\n" in existing else NEW)
    configuration = parsed(text)
    assert configuration.faults == ()
    assert list(configuration.clients)[-1] == "pop-client-sales"
    assert ("\r\n" in existing) == ("\r\n" in text)


def test_a_first_section_begins_the_file() -> None:
    assert merged("", NEW) == NEW


def test_a_section_of_that_name_is_there() -> None:
    same = drafted(replace(GENERIC, address="b@example.org"), Answers(name="Info", password="file:x"))
    with pytest.raises(
        ConfigError, match=r"\[pop-client-info\] is there already, in line 2; \[pop-client-info-2\] is free"
    ) as caught:
        merged(EXISTING, same)
    assert (caught.value.place, caught.value.valid) == ("line 2", "pop-client-info-2")


def test_a_secret_of_that_name_is_there() -> None:
    existing = "[secret-google]\npassword = x\n[secret-google-2]\npassword = y\n"
    found = replace(GENERIC, address="support@example.com", provider="google", title="Google")
    oauth = OAuthAnswers(client_id="1", secret_name="google", secret="file:client_secret.txt")
    new = drafted(found, Answers(name="support", password="env:SECRET", oauth=oauth))
    with pytest.raises(ConfigError, match=r"\[secret-google\] is there already, in line 1; \[secret-google-3\] is free"):
        merged(existing, new)


@pytest.mark.parametrize(
    ("existing", "line"),
    [
        (EXISTING, 2),
        (EXISTING.replace("server = mail.example.org\n", ""), 2),
        ("[defaults-pop-client]\ntype = imap\nserver = MAIL.example.org\n[pop-client]\nmailbox = info@EXAMPLE.org\n", 4),
    ],
)
def test_another_section_reads_the_mailbox(existing: str, line: int) -> None:
    new = drafted(GENERIC, Answers(name="other", password="file:x"))
    with pytest.raises(ConfigError, match=rf"in line {line} reads the mailbox info@example.org already") as caught:
        merged(existing, new)
    assert caught.value.place == f"line {line}"


@pytest.mark.parametrize(
    "existing",
    [
        EXISTING.replace("mail.example.org", "mail.example.net"),
        EXISTING.replace("Info@", "sales@"),
        EXISTING.replace("IMAP", "POP3"),
        EXISTING + "enable-client = False\n",
    ],
)
def test_another_mailbox_is_no_hindrance(existing: str) -> None:
    merged(existing, drafted(GENERIC, Answers(name="other", password="file:x")))


@given(st.text(st.sampled_from("[]=#;ab-\r\n \ufeff"), max_size=40))
def test_what_is_there_never_changes(existing: str) -> None:
    assert merged(existing, NEW).startswith(existing)


def test_a_free_name() -> None:
    assert free_name(EXISTING, "sales", "pop-client-") == "sales"
    assert free_name(EXISTING, "INFO", "pop-client-") == "INFO-2"
    assert free_name(EXISTING + "[POP-client-info-2]\n", "info", "pop-client-") == "info-3"


def test_a_name_that_is_free_for_both_sections() -> None:
    existing = EXISTING + "[smtp-client-info-2]\n"
    assert free_name(existing, "info", "pop-client-") == "info-2"
    assert free_name(existing, "info", "pop-client-", "smtp-client-") == "info-3"


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token.txt"
    umask = os.umask(0)
    try:
        write_secret(path, Secret("1//token"))
    finally:
        os.umask(umask)
    assert path.read_bytes() == b"1//token\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_secret_once_more_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "token.txt"
    path.write_bytes(b"1//token")
    path.chmod(0o644)
    write_secret(path, Secret("1//token"))
    assert path.read_bytes() == b"1//token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_another_secret_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "token.txt"
    write_secret(path, Secret("former"))
    with pytest.raises(ConfigError, match=r"token\.txt is there already and holds something else") as caught:
        write_secret(path, Secret("newer"))
    assert path.read_bytes() == b"former\n"
    assert "newer" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize("text", ["", "two\nlines", "two\rlines"])
def test_what_is_no_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="is empty or has more than one line"):
        write_secret(tmp_path / "token.txt", Secret(text))
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        write_secret(tmp_path / "missing" / "token.txt", Secret("x"))
    with pytest.raises(ConfigError, match="cannot be written: Is a directory"):
        write_secret(tmp_path, Secret("x"))
