"""Addresses that mail is sent to: what is valid, what becomes of it, and why the rest is refused."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.addresses import Address, is_address, parse_address, parse_list, parse_mailbox


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("a@example.org", "", "a@example.org"),
        ("  a@example.org ", "", "a@example.org"),
        ("Ann <a@example.org>", "Ann", "a@example.org"),
        ("Ann  Bee<a@example.org>", "Ann Bee", "a@example.org"),
        ('"Bee, Ann" <a@example.org>', "Bee, Ann", "a@example.org"),
        ('"Ann \\"B\\" \\\\" <a@example.org>', 'Ann "B" \\', "a@example.org"),
        ('"Ann  B" <a@example.org>', "Ann  B", "a@example.org"),
        ("A. Bee <a@example.org>", "A. Bee", "a@example.org"),
        ("Änne <a@example.org>", "Änne", "a@example.org"),
        ("<a@example.org>", "", "a@example.org"),
        ("a@example.org (Ann (B))", "", "a@example.org"),
        ("a+b_c=d/e@example.org", "", "a+b_c=d/e@example.org"),
        ('"a b"@example.org', "", '"a b"@example.org'),
        ('"a.b"@example.org', "", "a.b@example.org"),  # RFC 5321 section 4.1.2: quoted only where it must be
        ('"a..b"@example.org', "", '"a..b"@example.org'),
        ('"a@b"@example.org', "", '"a@b"@example.org'),
        ("a@localhost", "", "a@localhost"),
        ("a@Example.ORG", "", "a@Example.ORG"),
        ("a@müller.example", "", "a@xn--mller-kva.example"),
        ("a@MÜLLER.example", "", "a@xn--mller-kva.example"),
        ("a@faß.de", "", "a@xn--fa-hia.de"),  # not the old mapping to "fass"
        ("a@例え。テスト", "", "a@xn--r8jz45g.xn--zckzah"),
        ("用户@例え.テスト", "", "用户@xn--r8jz45g.xn--zckzah"),
        ("a@[192.0.2.1]", "", "a@[192.0.2.1]"),
        ("a@[IPv6:2001:DB8::1]", "", "a@[IPv6:2001:db8::1]"),
    ],
)
def test_mailboxes(text: str, name: str, address: str) -> None:
    assert parse_mailbox(text) == Address(name, address)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a", "no '@'"),
        ("@example.org", "before the '@'"),
        ("a@", "behind the '@'"),
        ("a@b@c", "more than one '@'"),
        ("a b@example.org", "blanks or a name"),
        ("a@b, c@d", "one address"),
        ("a@b c@d", "more than one"),
        ("Bee, Ann <a@b>", "no '@'"),
        ("x@y Ann <a@b>", "in quotes"),
        ("Ann <a@b> c", "behind the angle"),
        ("Ann <a@b> <c@d>", "without a comma"),
        ("Ann <a@b", "not closed"),
        ("Ann a@b>", "blanks"),
        ("Ann <<a@b>>", "within angle"),
        ("<@x,@y:a@b>", "within angle"),  # a source route, RFC 5321 appendix C
        ("team: a@b;", "one address"),
        ("a@b;", "no group ends"),
        ("mailto:a@b", "not closed"),
        ('"a@b', "stands alone"),
        ("a(@b", "comment is not closed"),
        ("a)@b", "stands alone"),
        ("a..b@c", "dots"),
        (".a@b", "dots"),
        ('""@b', "before the '@'"),
        ("a@b..c", "its domain"),
        ("a@b.", "its domain"),
        ("a@-b", "its domain"),
        ("a@b_c", "its domain"),
        ("a@" + "b" * 64, "its domain"),
        ("a@" + "b." * 130 + "c", "255"),
        ("a@" + "ü" * 64, "its domain"),
        ("a@\U0001f600.example", "internationalized"),
        ("a@[300.0.0.1]", "IP address"),
        ("a@[IPv6:x]", "IP address"),
        ("a" * 65 + "@b", "64 octets"),
        ("ü" * 33 + "@b", "64 octets"),
        ("a" * 64 + "@" + "b." * 100 + "c", "254 octets"),
        ("a@b\r\nBcc: c@d", "control character U+000D"),
        ("a\0@b", "control character U+0000"),
        ("a\u2028@b", "line separator"),
        ("\ud800@b", "half a character"),
        ("Ann\n <a@b>", "control character"),
        ("\u202ea@b", "direction"),
        ("a\u200bb@c", "cannot be seen"),
        ("x" * 20_000 + " <a@b>", "longer than"),
    ],
    ids=range(47),
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_mailbox(text)


def test_lists_and_groups() -> None:
    found = parse_list('Ann <a@b>, c@d,, team: e@f, "G, H" <g@h>;, (no) i@j')
    assert found == [Address("Ann", "a@b"), ("", "c@d"), ("", "e@f"), ("G, H", "g@h"), ("", "i@j")]
    assert parse_list("undisclosed-recipients:;") == []
    assert parse_list("") == []


def test_an_address_alone() -> None:
    assert parse_address("a@b") == "a@b"
    for text in ("<a@b>", "Ann <a@b>"):
        with pytest.raises(ValueError, match="without a name"):
            parse_address(text)
    assert is_address("a@b")
    assert not is_address("a@ü.example")  # it would be sent to in another form
    assert not is_address("a")


def test_one_address_in_two_spellings_of_its_domain() -> None:
    assert parse_mailbox("a@EXAMPLE.org").key == parse_mailbox("Ann <a@example.ORG>").key
    assert parse_mailbox("A@example.org").key != parse_mailbox("a@example.org").key


@pytest.mark.parametrize("text", ['"\\' * 5000, "(" * 10_000, '"a' * 5000, "a@b," * 2500, "[" * 9999, "<" * 9999], ids=range(6))
def test_nothing_takes_long(text: str) -> None:
    before = time.process_time()
    with contextlib.suppress(ValueError):
        parse_list(text)
    assert time.process_time() - before < 1


@given(st.text(alphabet=st.sampled_from('ab@.<>",;:()\\[] \tü\r\0'), max_size=40))
def test_whatever_is_accepted_is_accepted_again_as_it_was_written(text: str) -> None:
    try:
        found = parse_list(text)
    except ValueError:
        return
    for address in found:
        assert is_address(address.address)
        assert not set(address.address + address.name) & set("\r\n\0")
