"""What stands for a message that is too large: a whole message of its own, the same whenever it is made."""

from __future__ import annotations

import email
import email.policy

import pytest

from postroom.mime.withheld import withheld, withheld_octets

HEAD = b"From: a@x.org\r\nSubject: big\r\nMessage-ID: <1@x.org>\r\nMIME-Version: 1.0\r\nContent-Type: image/png;\r\n name=x\r\n\r\n"


def test_p23_the_header_and_a_note() -> None:
    octets = withheld(HEAD, 60_000_000)
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert octets.startswith(b"X-Postroom-Withheld: 60000000 octets\r\n")
    assert (message["Subject"], message["Message-ID"]) == ("big", "<1@x.org>")
    assert message.get_content_type() == "text/plain"
    assert message["X-Withheld-Content-Type"] == "image/png; name=x"
    assert message.get_all("MIME-Version") == ["1.0"]
    assert "60000000 octets" in message.get_content()
    assert not message.defects
    assert withheld_octets(octets) == 60_000_000


@pytest.mark.parametrize("head", [b"", b"\r\n", b"\r\n\r\n", b"Subject: no end", b"Subject: one line\r\n", b"not a header\r\n\r\n"])
def test_p22_any_header_makes_a_message(head: bytes) -> None:
    octets = withheld(head, 7)
    assert withheld_octets(octets) == 7
    assert email.message_from_bytes(octets).get_content_type() == "text/plain" or head.startswith(b"not")
    assert octets.endswith(b"Only its header was taken.\r\n")


def test_it_is_the_same_whatever_the_limit_was() -> None:
    assert withheld(HEAD, 100) == withheld(HEAD, 100)
    assert withheld(HEAD, 100) != withheld(HEAD, 101)


def test_a_message_that_was_taken_whole_is_none() -> None:
    assert withheld_octets(HEAD) is None
    assert withheld_octets(b"Subject: a\r\nX-Postroom-Withheld: 5 octets\r\n\r\n") is None
