"""Who a message names in To and Cc: what is written well, what is written badly, and what is noise."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.mime import recipients as recipients_module
from postroom.mime.recipients import HEADER, chosen, header_line, header_of, recipients


def to(value: str) -> tuple[str, ...]:
    return recipients(f"From: x@y.z\r\nTo: {value}\r\nSubject: s\r\n".encode())


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a@x.org", ["a@x.org"]),
        ("Ann <a@x.org>", ["a@x.org"]),
        ("a@x.org, b@x.org", ["a@x.org", "b@x.org"]),
        ('"Doe, Ann" <a@x.org>, b@x.org', ["a@x.org", "b@x.org"]),
        ('"a \\" b" <a@x.org>', ["a@x.org"]),
        ("=?utf-8?q?J=C3=BCrgen=2C_x?= <j@x.org>", ["j@x.org"]),
        ("a@x.org (Ann (of x), b@x.org)", ["a@x.org"]),
        ("(one) Ann (two) <(three) a@x.org (four)>", ["a@x.org"]),
        ("Friends: a@x.org, Bob <b@x.org>;, c@x.org", ["a@x.org", "b@x.org", "c@x.org"]),  # RFC 5322 section 3.4
        ("undisclosed-recipients:;", []),
        ("A: a@x.org; B: b@x.org;", ["a@x.org", "b@x.org"]),
        ("<@r.org,@s.org:a@x.org>, b@x.org", ["a@x.org", "b@x.org"]),  # section 4.4
        ("john . doe @ x . org", ["john.doe@x.org"]),
        ('"john doe"@x.org', ['"john doe"@x.org']),
        ('"john"@x.org, john@x.org', ["john@x.org"]),
        ("a@[192.0.2.1]", ["a@[192.0.2.1]"]),
        ("ü@müller.example", ["ü@müller.example"]),  # RFC 6532
        ("a@x.org,\r\n\tb@x.org,\r\n c@x.org", ["a@x.org", "b@x.org", "c@x.org"]),
        ("A@X.org, a@x.ORG, Ann <a@x.org>", ["A@X.org"]),
        # written badly
        ("a@x.org; b@x.org", ["a@x.org", "b@x.org"]),
        ("a@x.org b@x.org", ["a@x.org", "b@x.org"]),
        ("Ann a@x.org", ["a@x.org"]),
        (",, a@x.org,,", ["a@x.org"]),
        ("'a@x.org'", ["a@x.org"]),
        ('"a@x.org"', ["a@x.org"]),
        ("mailto:a@x.org", ["a@x.org"]),
        ("a@x.org <a@x.org>", ["a@x.org"]),
        ("a@x.org <>", ["a@x.org"]),
        ("Ann <a@x.org, b@x.org", ["a@x.org", "b@x.org"]),
        ('"Ann <a@x.org>, b@x.org', ["a@x.org", "b@x.org"]),
        ("Ann (of x <a@x.org>, b@x.org", ["a@x.org", "b@x.org"]),
        ("Ann) <a@x.org>", ["a@x.org"]),
        ("=?utf-8?q?Ann_=3Ca=40x=2Eorg=3E?=", ["a@x.org"]),
        ("=?utf-8?q?a?= =?no-such-charset?q?b?= <a@x.org>", ["a@x.org"]),
        ("=?no-such-charset?q?a=40x?=", []),
        ("=?utf-8?b?A?=", []),  # no base64
        ("=?utf-8?b?A?= a@x.org", ["a@x.org"]),
        ("a@x.org.", ["a@x.org"]),
        ("nobody", []),
        ("@x.org, a@, @, a@b@x.org", []),
        ("a@x..org, a@-, a@x.org\x00", ["a@-"]),
        ("", []),
        (f"{'a' * 400}@x.org, b@x.org", ["b@x.org"]),
    ],
)
def test_a_list(value: str, found: list[str]) -> None:
    assert list(to(value)) == found


def test_to_comes_before_cc_and_fields_may_be_repeated() -> None:
    header = b"Cc: c@x.org, A@x.org\r\nTO : a@x.org\r\nBcc: hidden@x.org\r\nTo: b@x.org\r\nReply-To: no@x.org\r\ncc:d@x.org\r\n"
    assert recipients(header) == ("a@x.org", "b@x.org", "c@x.org", "d@x.org")


def test_the_text_is_no_header() -> None:
    header, whole = header_of(b"To: a@x.org\r\n\r\nTo: b@x.org\r\n")
    assert (recipients(header), whole) == (("a@x.org",), True)
    header, whole = header_of(b"To: a@x.org\n\nTo: b@x.org\n")
    assert (recipients(header), whole) == (("a@x.org",), True)
    assert header_of(b"\r\nTo: b@x.org\r\n") == (b"", True)
    assert header_of(b"To: a@x.org\r\n") == (b"To: a@x.org\r\n", False)


def test_octets_without_a_label_are_read() -> None:
    assert recipients(b"To: J\xfcrgen <j@x.org>, \xe4@x.org\r\n") == ("j@x.org", "ä@x.org")


# --- who gets a copy --------------------------------------------------------------------------------------------------


def test_the_mailbox_s_own_address_comes_first() -> None:
    found = ("a@x.org", "b@x.org", "Sales@X.org")
    assert chosen(found, "sales@x.org", 2) == (("Sales@X.org", "a@x.org"), ("b@x.org",))
    assert chosen(found, "other@x.org", 10) == (found, ())
    assert chosen((), "sales@x.org", 10) == ((), ())


@pytest.mark.parametrize(
    ("head", "line"),
    [
        (b"To: a\r\n\r\n", b"X-Genesys-To: a@x.org\r\n"),
        (b"To: a\n\n", b"X-Genesys-To: a@x.org\n"),
        (b"To: a", b"X-Genesys-To: a@x.org\r\n"),
        (b"", b"X-Genesys-To: a@x.org\r\n"),
    ],
)
def test_the_line_ends_as_the_message_s_do(head: bytes, line: bytes) -> None:
    assert header_line("X-Genesys-To", "a@x.org", head) == line


# --- whatever comes ---------------------------------------------------------------------------------------------------

_ATOM = st.text("abcdefgXYZ0189!#$%&*+-/=^_`{|}~", min_size=1, max_size=12)
_LABEL = st.text("abcxyz019", min_size=1, max_size=10)
_ADDRESS = st.builds(
    lambda local, domain: f"{'.'.join(local)}@{'.'.join(domain)}",
    st.lists(_ATOM, min_size=1, max_size=3),
    st.lists(_LABEL, min_size=1, max_size=3),
)
_NAME = st.one_of(
    st.just(""),
    st.text("abc xyz", max_size=10),
    st.text('abc,;:<>()@ \\"', max_size=10).map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
    st.text("abc,;:<>@ ü", max_size=10).map(lambda text: "=?utf-8?q?" + "".join(f"={b:02X}" for b in text.encode()) + "?="),
    st.text("abc, @.", max_size=10).map(lambda text: f"({text})"),
)
_BLANK = st.sampled_from(["", " ", "\r\n ", "\r\n\t", " (a, b@c) "])


@st.composite
def _lists(draw: st.DrawFn) -> tuple[str, list[str]]:
    entries, addresses = [], []
    for address, name, blank in draw(st.lists(st.tuples(_ADDRESS, _NAME, _BLANK), max_size=8)):
        entries.append(f"{name}{blank}<{address}>" if name or blank else address)
        addresses.append(address)
    text = ",".join(f"{draw(_BLANK)}{entry}{draw(_BLANK)}" for entry in entries)
    return (f"Group:{text};" if draw(st.booleans()) else text), addresses


@given(_lists())
def test_each_address_of_a_sound_list_is_found_once(sound: tuple[str, list[str]]) -> None:
    text, addresses = sound
    unique = {address.casefold(): address for address in reversed(addresses)}
    assert list(to(text)) == [unique.pop(address.casefold()) for address in addresses if address.casefold() in unique]


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=500)
def test_noise_never_raises_and_gives_nothing_that_could_break_a_header(noise: bytes, named: bool) -> None:
    check(recipients(b"To: " + noise if named else noise))


@given(st.text("ab@.,;:<>()[]\"\\ \r\n\t=?ü'", max_size=200))
@settings(max_examples=1000)
def test_special_characters_in_any_order(text: str) -> None:
    check(to(text))


def check(found: tuple[str, ...]) -> None:
    assert len({address.casefold() for address in found}) == len(found)
    for address in found:
        assert address.isprintable()
        assert "@" in address[1:-1]
        assert len(address.encode()) <= 320


@pytest.mark.parametrize(
    "piece",
    [
        '"',
        "\\",
        '\\"',
        '"\\',
        "(",
        ")",
        "((a)",
        "<",
        "<@a,",
        "<@a:",
        "[",
        "[a",
        "a@b,",
        "a@b ",
        ":",
        "=?",
        "=?a?q?",
        "a ",
        " . ",
        ";<",
    ],
)
def test_a_list_made_to_be_slow_is_read_in_its_time(piece: str) -> None:
    """Each would take minutes where its time grew with its square."""
    before = time.process_time()
    to(piece * (HEADER // len(piece)))
    assert time.process_time() - before < 5.0


# --- who is named


@pytest.mark.parametrize(
    ("value", "people"),
    [
        ("Ann <a@x.org>", [("Ann", "a@x.org")]),
        ('"Doe, \\"Q\\" John" <d@x.org>, b@x.org', [('Doe, "Q" John', "d@x.org"), ("", "b@x.org")]),
        ("=?utf-8?q?J=C3=BCrgen?=\r\n =?utf-8?b?IE0=?= <j@x.org>", [("Jürgen M", "j@x.org")]),
        ("Team: A <a@x.org>, b@x.org;", [("A", "a@x.org"), ("", "b@x.org")]),
        ("a@x.org (Ann)", [("", "a@x.org")]),
        ("undisclosed-recipients:;", []),
        ("<>", []),
    ],
    ids=["name", "quoted", "encoded", "group", "comment", "nobody", "empty"],
)
def test_people_have_names(value: str, people: list[tuple[str, str]]) -> None:
    header = f"X-From: no@x.org\r\nFrom: {value}\r\nTo: t@x.org\r\n".encode()
    assert [tuple(person) for person in recipients_module.people(header, "From")] == people
    assert [tuple(person) for person in recipients_module.people(header, "To")] == [("", "t@x.org")]
