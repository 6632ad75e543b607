"""What another system has captured, as it keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.app.operations.elsewhere import Elsewhere
from postroom.errors import ConfigError
from postroom.mime.fingerprint import fingerprint

ONE = b"Message-ID: <1@x>\nSubject: one\n\nText\n\nFrom here on\n>From there\n"
TWO = b"Message-ID: <2@x>\r\n\r\n" + b"x" * 600_000 + b"\r\n"


def digests(*octets: bytes) -> list[bytes]:
    return sorted(fingerprint([each]).digest for each in octets)


def test_a_maildir_without_what_is_not_delivered(tmp_path: Path) -> None:
    for folder in ("new", "cur", "tmp"):
        (tmp_path / folder).mkdir()
    (tmp_path / "new" / "1.a").write_bytes(ONE)
    (tmp_path / "cur" / "2.a:2,S").write_bytes(TWO)
    (tmp_path / "tmp" / "3.a").write_bytes(b"half")
    found = list(Elsewhere(maildir=tmp_path).messages())
    assert sorted(digest or b"" for _, digest, _ in found) == digests(ONE, TWO)
    assert sorted((name, known) for name, _, known in found) == [("cur/2.a:2,S", "2@x"), ("new/1.a", "1@x")]
    with pytest.raises(ConfigError):
        list(Elsewhere(maildir=tmp_path / "tmp").messages())


def test_an_mbox(tmp_path: Path) -> None:
    file = tmp_path / "mbox"
    quoted = ONE.replace(b"\n>From there", b"\n>>From there").replace(b"\nFrom here", b"\n>From here")
    file.write_bytes(b"From a@x Mon\n" + quoted + b"\nFrom b@x Tue\n" + TWO + b"\n")
    found = list(Elsewhere(mbox=file).messages())
    assert [digest for _, digest, _ in found] == [fingerprint([ONE]).digest, fingerprint([TWO]).digest]
    assert [(name, known) for name, _, known in found] == [("message 1", "1@x"), ("message 2", "2@x")]
    file.write_bytes(b"")
    assert list(Elsewhere(mbox=file).messages()) == []
    file.write_bytes(b"Subject: no mbox\n")
    with pytest.raises(ConfigError):
        list(Elsewhere(mbox=file).messages())


def test_message_ids(tmp_path: Path) -> None:
    file = tmp_path / "ids"
    file.write_bytes(b"<1@x>\r\n\n2@x\n<1@x>")
    assert list(Elsewhere(message_ids=file).messages()) == [
        ("line 1", None, "1@x"),
        ("line 3", None, "2@x"),
        ("line 4", None, "1@x"),
    ]
    with pytest.raises(ConfigError):
        list(Elsewhere(message_ids=tmp_path / "none").messages())
