"""What we write: nothing that a server could read as more than one command."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import LocalProtocolError
from postroom.wire.imap import commands
from postroom.wire.imap.fragments import Fragments
from postroom.wire.imap.grammar import parse
from postroom.wire.imap.types import MailboxStatus
from postroom.wire.imap.utf7 import decode


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (commands.select("INBOX", condstore=False), b"SELECT INBOX"),
        (commands.select("inbox", condstore=True), b"SELECT INBOX (CONDSTORE)"),
        (commands.select("INBOX/Sub", condstore=False), b'SELECT "INBOX/Sub"'),
        (commands.select('a "b" \\c', condstore=False), b'SELECT "a \\"b\\" \\\\c"'),
        (commands.select("Entwürfe & mehr", condstore=False), b'SELECT "Entw&APw-rfe &- mehr"'),
        (commands.select("", condstore=False), b'SELECT ""'),
        (commands.status("a", [b"UIDNEXT", b"UIDVALIDITY"]), b'STATUS "a" (UIDNEXT UIDVALIDITY)'),
        (commands.authenticate("PLAIN", None), b"AUTHENTICATE PLAIN"),
        (commands.authenticate("PLAIN", b"\0test\0test"), b"AUTHENTICATE PLAIN AHRlc3QAdGVzdA=="),  # RFC 9051 section 6.2.2
        (commands.authenticate("EXTERNAL", b""), b"AUTHENTICATE EXTERNAL ="),  # RFC 4959 section 3
        (commands.response(b""), b""),
        (commands.response(b"\1"), b"AQ=="),
        (commands.uid_fetch(b"1:5", b"UID FLAGS"), b"UID FETCH 1:5 (UID FLAGS)"),
        (commands.uid_store(b"1", b"\\Seen"), b"UID STORE 1 +FLAGS.SILENT (\\Seen)"),
        (commands.uid_move(b"1", "Done"), b'UID MOVE 1 "Done"'),
        (commands.uid_copy(b"1", "Done"), b'UID COPY 1 "Done"'),
        (commands.uid_expunge(b"1:2"), b"UID EXPUNGE 1:2"),
        (commands.select(b"INBOX.Done", condstore=False), b'SELECT "INBOX.Done"'),
        (commands.select("Entwürfe".encode(), condstore=True), b"SELECT {9}\r\nEntw\xc3\xbcrfe (CONDSTORE)"),
        (commands.uid_move(b"1", b"a\nb"), b"UID MOVE 1 {3}\r\na\nb"),
        (commands.uid_search(b"DELETED", extended=False), b"UID SEARCH DELETED"),
        (commands.uid_search(b"1:5 ALL", extended=True), b"UID SEARCH RETURN (ALL) 1:5 ALL"),  # RFC 4731 section 3.1
        (commands.header(b"Message-ID", b'<"a"@b>'), b'HEADER Message-ID "<\\"a\\"@b>"'),
        (commands.header(b"Message-ID", "<ü@b>".encode()), b"HEADER Message-ID {6}\r\n<\xc3\xbc@b>"),
        (commands.gmail_search("rfc822msgid:a@b"), b'X-GM-RAW "rfc822msgid:a@b"'),
        (commands.append("Sent", b"\\Seen", 1_700_000_000.9), b'APPEND "Sent" (\\Seen) "14-Nov-2023 22:13:20 +0000"'),
        (commands.append(b"Sent", b"\\Seen", 86_400.0), b'APPEND "Sent" (\\Seen) " 2-Jan-1970 00:00:00 +0000"'),
        (commands.listing("*", special_use=True), b'LIST (SPECIAL-USE) "" "*"'),  # RFC 6154 section 5.1
        (commands.listing(""), b'LIST "" ""'),
        (commands.enable(["IMAP4rev2", "UTF8=ACCEPT"]), b"ENABLE IMAP4rev2 UTF8=ACCEPT"),
        (commands.identification({"name": "a\\b"}), b'ID ("name" "a\\\\b")'),  # RFC 2971 section 3.1
    ],
    ids=lambda value: value.decode("latin-1"),
)
def test_lines(written: bytes, line: bytes) -> None:
    assert written == line


@pytest.mark.parametrize("octets", [b"a\rb", b"a\nb", b"a\0b", b"a\r\nP2 DELETE INBOX", b"\xff"])
def test_what_a_quoted_string_cannot_hold_is_refused(octets: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        commands.quoted(octets)


@given(st.text(max_size=30))
def test_a_folder_of_any_name_is_one_line(name: str) -> None:
    """Control characters are not printable US-ASCII, and travel as modified base64 (RFC 3501 section 5.1.3)."""
    line = commands.select(name, condstore=False)
    assert line.isascii()
    assert not any(octet in line for octet in b"\r\n\0")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_server_reads_the_name_that_we_meant(name: str) -> None:
    fragments = Fragments()
    fragments.feed(b"* STATUS " + commands.mailbox(name) + b" (UIDNEXT 1)\r\n")
    parts = fragments.next()
    assert isinstance(parts, list)
    status = parse(parts)
    assert isinstance(status, MailboxStatus)
    assert decode(status.mailbox) == ("INBOX" if name.upper() == "INBOX" else name)


# --- literals ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=20).map(lambda octets: octets.replace(b"\0", b"")), max_size=4), st.integers(-1, 20))
def test_a_server_that_reads_literals_hears_what_we_meant(strings: list[bytes], unasked: int) -> None:
    """Played through as RFC 9051 section 4.3 and RFC 7888 have it: leave is asked for where it must be, and for nothing else."""
    line = b"P1 X" + b"".join(b" " + commands.string(octets) for octets in strings)
    heard: list[bytes] = []
    pieces = commands.pieces(line, unasked)
    stream = b"\r\n".join(pieces)
    for piece in pieces[:-1]:
        announced = re.search(rb"\{(\d+)\}\Z", piece)
        assert announced is not None
        assert int(announced[1]) > unasked
    at = len(b"P1 X")
    while at < len(stream):
        literal = re.compile(rb" \{(\d+)(\+?)\}\r\n").match(stream, at)
        quoted = re.compile(rb' "((?:[^"\\]|\\.)*)"').match(stream, at)
        if literal is not None:
            size = int(literal[1])
            assert bool(literal[2]) == (size <= unasked)
            heard.append(stream[literal.end() : literal.end() + size])
            at = literal.end() + size
        else:
            assert quoted is not None
            heard.append(re.sub(rb"\\(.)", rb"\1", quoted[1]))
            at = quoted.end()
    assert heard == strings


@pytest.mark.parametrize("line", [b"P1 X\r\nP2 DELETE INBOX", b"P1 X {2}\nab\r\n", b'P1 X "{1}"\r\n'])
def test_a_line_end_that_belongs_to_no_literal_is_refused(line: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        commands.pieces(line, commands.UNLIMITED)


def test_nul_is_in_no_string() -> None:
    with pytest.raises(LocalProtocolError):
        commands.string(b"\xff\0")


# --- sequence sets ----------------------------------------------------------------------------------------------------


def members(sets: list[bytes]) -> list[int]:
    """Every UID that is named, as often as it is."""
    found: list[int] = []
    for each in sets:
        for item in each.split(b","):
            low, _, high = item.partition(b":")
            found += range(int(low), int(high or low) + 1)
    return found


@given(st.lists(st.integers(1, 300) | st.integers(2**32 - 20, 2**32 - 1)), st.integers(21, 60))
def test_sequence_sets_name_each_once_and_no_other(uids: list[int], longest: int) -> None:
    sets = commands.sequence_sets(uids, longest=longest)
    assert members(sets) == sorted(set(uids))
    assert all(0 < len(each) <= longest for each in sets)


@pytest.mark.parametrize(
    ("uids", "sets"),
    [
        ([], []),
        ([5], [b"5"]),
        ([1, 2], [b"1:2"]),
        ([3, 1, 2, 2, 9, 7, 8], [b"1:3,7:9"]),
        ([2, 4, 6, 843], [b"2,4,6,843"]),
        (range(1, 100_001), [b"1:100000"]),
    ],
)
def test_sequence_sets_are_short(uids: list[int], sets: list[bytes]) -> None:
    assert commands.sequence_sets(uids) == sets


def test_many_uids_take_several_lines() -> None:
    sets = commands.sequence_sets(range(1, 20_000, 2))
    assert len(sets) > 1
    assert members(sets) == list(range(1, 20_000, 2))
    assert all(len(commands.uid_fetch(each, b"UID RFC822.SIZE INTERNALDATE")) < commands.LINE for each in sets)
