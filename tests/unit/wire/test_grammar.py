"""One response's meaning: the standard's own examples, what servers do otherwise, and noise."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postroom.wire.imap.commands import quoted, sequence_sets
from postroom.wire.imap.fragments import STREAMED, Fragments
from postroom.wire.imap.grammar import parse
from postroom.wire.imap.numbers import Numbers
from postroom.wire.imap.types import (
    Capability,
    Continuation,
    Enabled,
    ESearch,
    Exists,
    Expunged,
    Fetch,
    ListEntry,
    MailboxStatus,
    Malformed,
    Namespace,
    Other,
    Response,
    Search,
    ServerId,
    Status,
    StatusResponse,
    Vanished,
)


def read(octets: bytes) -> Response:
    """The first response of a stream."""
    fragments = Fragments()
    fragments.feed(octets + b"\r\n")
    parts = fragments.next()
    assert isinstance(parts, list)
    return parse(parts)


def status(kind: Status, text: str, code: str = "", arguments: str = "", tag: str = "") -> StatusResponse:
    return StatusResponse(tag, kind, code, arguments, text)


def capability(*names: str) -> Capability:
    return Capability(frozenset(names))


OK, NO, BAD, BYE, PREAUTH = Status.OK, Status.NO, Status.BAD, Status.BYE, Status.PREAUTH

# Octets as they stand in the standards (server's lines), and what they mean.
EXAMPLES: list[tuple[str, bytes, Response]] = [
    # RFC 9051 section 7.1: status responses
    ("9051 7.1.1", b"* OK IMAP4rev2 server ready", status(OK, "IMAP4rev2 server ready")),
    ("9051 7.1.1", b"* OK [ALERT] System shutdown in 10 minutes", status(OK, "System shutdown in 10 minutes", "ALERT")),
    (
        "9051 7.1.2",
        b"* NO Disk is 98% full, please delete unnecessary data",
        status(NO, "Disk is 98% full, please delete unnecessary data"),
    ),
    ("9051 7.1.2", b"A222 NO COPY failed: disk is full", status(NO, "COPY failed: disk is full", tag="A222")),
    ("9051 7.1.3", b"* BAD Command line too long", status(BAD, "Command line too long")),
    ("9051 7.1.4", b"* PREAUTH IMAP4rev2 server logged in as Smith", status(PREAUTH, "IMAP4rev2 server logged in as Smith")),
    ("9051 7.1.5", b"* BYE Autologout; idle for too long", status(BYE, "Autologout; idle for too long")),
    ("9051 6.3.2", b"* OK [UIDVALIDITY 3857529045] UIDs valid", status(OK, "UIDs valid", "UIDVALIDITY", "3857529045")),
    ("9051 6.3.2", b"* OK [UIDNEXT 4392] Predicted next UID", status(OK, "Predicted next UID", "UIDNEXT", "4392")),
    (
        "9051 6.3.2",
        b"* OK [PERMANENTFLAGS (\\Deleted \\Seen \\*)] Limited",
        status(OK, "Limited", "PERMANENTFLAGS", "(\\Deleted \\Seen \\*)"),
    ),
    ("9051 6.3.2", b"A142 OK [READ-WRITE] SELECT completed", status(OK, "SELECT completed", "READ-WRITE", tag="A142")),
    (
        "9051 6.2.1",
        b"a001 OK [CAPABILITY IMAP4rev2 STARTTLS AUTH=GSSAPI] ok",
        status(OK, "ok", "CAPABILITY", "IMAP4rev2 STARTTLS AUTH=GSSAPI", tag="a001"),
    ),
    (
        "4315 3",
        b"A003 OK [APPENDUID 38505 3955] APPEND completed",
        status(OK, "APPEND completed", "APPENDUID", "38505 3955", "A003"),
    ),
    (
        "4315 3",
        b"A004 OK [COPYUID 38505 304,319:320 3956:3958] Done",
        status(OK, "Done", "COPYUID", "38505 304,319:320 3956:3958", "A004"),
    ),
    (
        "5530 4",
        b"S: NO [UNAVAILABLE] User's backend down for maintenance.",
        status(NO, "User's backend down for maintenance.", "UNAVAILABLE", tag="S:"),
    ),
    ("7162 3.1.2.1", b"* OK [HIGHESTMODSEQ 715194045007]", status(OK, "", "HIGHESTMODSEQ", "715194045007")),
    (
        "7162 3.1.2.2",
        b"* OK [NOMODSEQ] Sorry, this mailbox format doesn't",
        status(OK, "Sorry, this mailbox format doesn't", "NOMODSEQ"),
    ),
    # RFC 9051 section 7.2 to 7.4: server data
    (
        "9051 7.2.2",
        b"* CAPABILITY STARTTLS AUTH=GSSAPI IMAP4rev2 LOGINDISABLED XPIG-LATIN",
        capability("STARTTLS", "AUTH=GSSAPI", "IMAP4REV2", "LOGINDISABLED", "XPIG-LATIN"),
    ),
    ("9051 7.3.1", b'* LIST (\\Noselect) "/" ~/Mail/foo', ListEntry(frozenset({"\\noselect"}), b"/", b"~/Mail/foo")),
    (
        "9051 6.3.9",
        b'* LIST (\\Subscribed \\NonExistent) "/" "Fruit/Peach"',
        ListEntry(frozenset({"\\subscribed", "\\nonexistent"}), b"/", b"Fruit/Peach"),
    ),
    (
        "9051 6.3.9",
        b'* LIST () "/" ~peter/mail/&U,BTFw-/&ZeVnLIqe-',
        ListEntry(frozenset(), b"/", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
    ),
    ("3501 7.2.2", b"* LIST () NIL {5}\r\nIN\r\nX", ListEntry(frozenset(), None, b"IN\r\nX")),
    (
        "9051 7.3.4",
        b"* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)",
        MailboxStatus(b"blurdybloop", {"MESSAGES": 231, "UIDNEXT": 44292}),
    ),
    ("3501 7.2.5", b"* SEARCH 2 3 6", Search(Numbers.of([2, 3, 6]))),
    ("3501 7.2.5", b"* SEARCH", Search(Numbers.of([]))),
    (
        "7162 3.1.5",
        b"* SEARCH 2 5 6 7 11 12 18 19 20 23 (MODSEQ 917162500)",
        Search(Numbers.of([2, 5, 6, 7, 11, 12, 18, 19, 20, 23])),
    ),
    ("9051 7.3.5", b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)", Other("FLAGS")),
    ("9051 7.4.1", b"* 23 EXISTS", Exists(23)),
    ("3501 7.3.2", b"* 5 RECENT", Other("RECENT")),
    ("9051 7.5.1", b"* 44 EXPUNGE", Expunged(44)),
    ("9051 7.3.3", b'* NAMESPACE (("" "/")) NIL NIL', Namespace(((b"", b"/"),))),
    (
        "9051 6.3.10",
        b'* NAMESPACE (("INBOX." ".") ("X-" NIL "X-PARAM" ("A"))) (("~" "/")) NIL',
        Namespace(((b"INBOX.", b"."), (b"X-", None))),
    ),
    ("2342 5.3", b'* NAMESPACE NIL NIL (("" "."))', Namespace(())),
    ("9051 6.4.4", b'* ESEARCH (TAG "A282") MIN 2 COUNT 3', ESearch("A282", count=3, min=2)),
    ("9051 6.4.4", b'* ESEARCH (TAG "A283") ALL 2,10:11', ESearch("A283", all=Numbers.of([2, 10, 11]))),
    ("9051 6.4.4", b'* ESEARCH (TAG "A284")', ESearch("A284")),
    ("4731 3.1", b'* ESEARCH (TAG "A285") UID MIN 7 MAX 3800', ESearch("A285", uid=True, min=7, max=3800)),
    ("4731 3.2", b'* ESEARCH (TAG "a1") ALL 1:3 MODSEQ 1236', ESearch("a1", all=Numbers([(1, 3)]))),
    ("7162 3.1.10", b"* ESEARCH UID ALL 4:2,9 X-NEW (a (b))", ESearch(uid=True, all=Numbers([(2, 4), (9, 9)]))),
    ("2971 3.3", b'* ID ("name" "Cyrus" "version" "1.5")', ServerId({"name": "Cyrus", "version": "1.5"})),
    ("2971 3.2", b"* ID NIL", ServerId({})),
    ("2971 3.2", b'* ID ("Name" "x" "os" NIL)', ServerId({"name": "x"})),
    ("7162 3.2.10", b"* VANISHED (EARLIER) 41,43:116", Vanished(Numbers([(41, 41), (43, 116)]), earlier=True)),
    ("7162 3.2.10", b"* VANISHED 505,507,510,625", Vanished(Numbers.of([505, 507, 510, 625]))),
    ("5161 3.2", b"* ENABLED X-GOOD-IDEA", Enabled(frozenset({"X-GOOD-IDEA"}))),
    ("5161 3.2", b"* ENABLED", Enabled(frozenset())),
    # RFC 9051 section 7.5.2, 7.6: FETCH and continuation
    ("9051 7.5.2", b"* 23 FETCH (FLAGS (\\Seen) RFC822.SIZE 44827)", Fetch(23, size=44827, flags=frozenset({"\\seen"}))),
    ("9051 6.4.9", b"* 23 FETCH (FLAGS (\\Seen) UID 4827313)", Fetch(23, uid=4827313, flags=frozenset({"\\seen"}))),
    (
        "9051 8",
        b'* 12 FETCH (FLAGS (\\Seen) INTERNALDATE "17-Jul-1996 02:44:25 -0700" RFC822.SIZE 4286)',
        Fetch(12, size=4286, internal_date="17-Jul-1996 02:44:25 -0700", flags=frozenset({"\\seen"})),
    ),
    (
        "9051 8",
        b"* 12 FETCH (BODY[HEADER] {8}\r\nA: b\r\n\r\n)",
        Fetch(12, header=b"A: b\r\n\r\n"),
    ),
    ("7162 3.1.4", b"* 1 FETCH (UID 4 MODSEQ (65402) FLAGS (\\Seen))", Fetch(1, uid=4, modseq=65402, flags=frozenset({"\\seen"}))),
    (
        "8474 4.1",
        b"* 3 FETCH (EMAILID (M5fdc09b49ea703) THREADID (T11863d02dd95b5))",
        Fetch(3, email_id="M5fdc09b49ea703", others={"THREADID": [b"T11863d02dd95b5"]}),
    ),
    (
        "8474 4.1",
        b"* 3 FETCH (EMAILID (M5fdc09b49ea703) THREADID NIL)",
        Fetch(3, email_id="M5fdc09b49ea703", others={"THREADID": None}),
    ),
    ("3516 4.3", b"* 2 FETCH (UID 7 BINARY[1] ~{4}\r\n\0\1\r\n)", Fetch(2, uid=7, others={"BINARY[1]": b"\0\1\r\n"})),
    ("9051 7.6", b"+ Ready for additional command text", Continuation(b"Ready for additional command text")),
    ("9051 7.6", b"+ ", Continuation(b"")),
    ("9051 7.6", b"+", Continuation(b"")),
    (
        "9051 7.5.2",
        b'* 1 FETCH (BODYSTRUCTURE ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 2279 48) UID 9)',
        Fetch(
            1,
            uid=9,
            others={"BODYSTRUCTURE": [b"TEXT", b"PLAIN", [b"CHARSET", b"US-ASCII"], None, None, b"7BIT", b"2279", b"48"]},
        ),
    ),
]


@pytest.mark.parametrize(("place", "octets", "meaning"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_standards_own_examples(place: str, octets: bytes, meaning: Response) -> None:
    assert read(octets) == meaning


# What servers send beside the standard, or at its edge.
DEVIATIONS: list[tuple[str, bytes, Response]] = [
    ("iCloud hands over no literal", b"* 1 FETCH (UID 5)", Fetch(1, uid=5)),
    ("a body that is NIL", b"* 1 FETCH (UID 5 BODY[] NIL)", Fetch(1, uid=5, has_body=True)),
    ("an empty quoted body", b'* 1 FETCH (UID 5 BODY[] "")', Fetch(1, uid=5, has_body=True, body=b"")),
    ("an empty literal", b"* 1 FETCH (UID 5 BODY[] {0}\r\n)", Fetch(1, uid=5, has_body=True, body=b"")),
    ("a short quoted body", b'* 1 FETCH (BODY[] "a: b" UID 5)', Fetch(1, uid=5, has_body=True, body=b"a: b")),
    ("UID behind the body", b"* 1 FETCH (BODY[] {3}\r\na\r\n UID 5)", Fetch(1, uid=5, has_body=True, body=b"a\r\n")),
    ("UID before the body", b"* 1 FETCH (UID 5 BODY[] {3}\r\na\r\n)", Fetch(1, uid=5, has_body=True, body=b"a\r\n")),
    ("a literal of 8-bit octets", b"* 1 FETCH (UID 5 BODY[] ~{2}\r\n\xff\0)", Fetch(1, uid=5, has_body=True, body=b"\xff\0")),
    ("small letters", b"* 1 fetch (uid 5 body[] {1}\r\nx rfc822.size 1)", Fetch(1, uid=5, size=1, has_body=True, body=b"x")),
    ("a part of the body", b"* 1 FETCH (UID 5 BODY[]<0> {1}\r\nx)", Fetch(1, uid=5, has_body=True, body=b"x")),
    (
        "a list of header fields",
        b"* 1 FETCH (BODY[HEADER.FIELDS (DATE)] {2}\r\n\r\n UID 5)",
        Fetch(1, uid=5, others={"BODY[HEADER.FIELDS (DATE)]": b"\r\n"}),
    ),
    ("an unknown item", b'* 1 FETCH (X-NEW (a (b "c")) UID 5)', Fetch(1, uid=5, others={"X-NEW": [b"a", [b"b", b"c"]]})),
    ("an empty list", b"* 1 FETCH ()", Fetch(1)),
    ("no flags", b"* 1 FETCH (FLAGS ())", Fetch(1, flags=frozenset())),
    ("flags that are NIL", b"* 1 FETCH (FLAGS NIL UID 5)", Fetch(1, uid=5)),
    ("escapes in a quoted string", b'* STATUS "a\\"b\\\\c\\d" (UIDNEXT 1)', MailboxStatus(b'a"b\\cd', {"UIDNEXT": 1})),
    ("a folder named NIL stays a name", b'* LIST () "/" "NIL"', ListEntry(frozenset(), b"/", b"NIL")),
    ("a folder as literal", b"* STATUS {3}\r\na b (UIDVALIDITY 1)", MailboxStatus(b"a b", {"UIDVALIDITY": 1})),
    ("a folder with 8-bit octets", "* STATUS Entwürfe (UIDNEXT 2)".encode(), MailboxStatus("Entwürfe".encode(), {"UIDNEXT": 2})),
    ("a status item that is no number", b'* STATUS INBOX (UIDNEXT 2 MAILBOXID ("F1"))', MailboxStatus(b"INBOX", {"UIDNEXT": 2})),
    ("8-bit text", b"* OK gr\xc3\xbc\xc3\x9fe", status(OK, "grüße")),
    ("8-bit text that is no UTF-8", b"* OK gr\xfc\xdfe", status(OK, "gr\ufffd\ufffde")),
    ("controls in text", b"P1 NO a\x1b[31m\tb", status(NO, "a?[31m?b", tag="P1")),
    ("8-bit capability", b"* CAPABILITY IMAP4rev1 X-\xe9", capability("IMAP4REV1", "X-\ufffd")),
    ("capability with blanks", b"* CAPABILITY  IMAP4rev1   IDLE ", capability("IMAP4REV1", "IDLE")),
    ("a code alone", b"P1 OK [READ-ONLY]", status(OK, "", "READ-ONLY", tag="P1")),
    ("no text at all", b"P1 OK", status(OK, "", tag="P1")),
    ("small letters in status", b"* ok [uidnext 5] next", status(OK, "next", "UIDNEXT", "5")),
    ("a bracket that is no code", b"* OK Hello [you]", status(OK, "Hello [you]")),
    ("a code without its end", b"* NO [ALERT hello", status(NO, "[ALERT hello")),
    ("Google's number", b"* 1 FETCH (X-GM-MSGID 1278455344230334865 UID 5)", Fetch(1, uid=5, email_id="1278455344230334865")),
    (
        "a date with a blank before it",
        b'* 1 FETCH (INTERNALDATE " 7-Jul-1996 02:44:25 -0700")',
        Fetch(1, internal_date="7-Jul-1996 02:44:25 -0700"),
    ),
    (
        "the listing in the order that is asked for",
        b'* 1 FETCH (UID 5 RFC822.SIZE 10 INTERNALDATE " 7-Jul-1996 02:44:25 -0700")',
        Fetch(1, uid=5, size=10, internal_date="7-Jul-1996 02:44:25 -0700"),
    ),
    ("a size of 64 bits", b"* 1 FETCH (RFC822.SIZE 9223372036854775807)", Fetch(1, size=2**63 - 1)),
    ("a number of nothing that we know", b"* 5 FETCHED", Other("FETCHED")),
    ("an unknown response", b"* XYZZY (a {2}\r\n)( b", Other("XYZZY")),
]


@pytest.mark.parametrize(("what", "octets", "meaning"), DEVIATIONS, ids=[what for what, _, _ in DEVIATIONS])
def test_what_servers_do_otherwise(what: str, octets: bytes, meaning: Response) -> None:
    assert read(octets) == meaning


OUTSIDE = [
    b"",
    b" ",
    b"*",
    b"* ",
    b"nonsense",
    b"P1",
    b"P1 MAYBE so",
    b"* 1 FETCH",
    b"* 1 FETCH UID 5",
    b"* 1 FETCH (UID)",
    b"* 1 FETCH (UID x)",
    b"* 1 FETCH (UID 5x)",
    b"* 1 FETCH (UID 5",
    b"* 1 FETCH (UID 5 FLAGS (a)",
    b"* 1 FETCH (UID 5 FLAGS (a",
    b"* 1 FETCH (UID NIL)",
    b"* 1 FETCH (UID -1)",
    b"* 1 FETCH (RFC822.SIZE 1.5)",
    b"* 1 FETCH (BODY[] (a))",
    b'* 1 FETCH (BODY[] "a)',
    b"* 1 FETCH (BODY[ {1}\r\nx)",
    b"* 1 FETCH (INTERNALDATE (a))",
    b"* 1 FETCH (MODSEQ 12)",
    b"* 1 FETCH (UID 5 BODY[] {3}\r\nabc",
    b"* STATUS",
    b"* STATUS INBOX",
    b"* STATUS INBOX UIDNEXT 5",
    b"* STATUS (a) (UIDNEXT 5)",
    b"* LIST",
    b"* LIST a b c",
    b"* LIST () (a) b",
    b"* SEARCH a",
    b"* SEARCH 1,2",
    b"* SEARCH 1 0",
    b"* SEARCH 4294967296",
    b"* ESEARCH UID ALL",
    b"* ESEARCH UID ALL 1:*",
    b"* ESEARCH UID ALL 0:3",
    b"* ESEARCH UID ALL 1,,2",
    b"* ESEARCH UID COUNT x",
    b"* ESEARCH (TAG",
    b"* VANISHED",
    b"* VANISHED 1:x",
    b"* VANISHED (EARLIER)",
    b"* ID",
    b"* ID Dovecot",
    b"* NAMESPACE",
    b"* NAMESPACE INBOX",
    b"* 1 FETCH (X " + b"(" * 40 + b")" * 40 + b")",
]


@pytest.mark.parametrize("octets", OUTSIDE, ids=repr)
def test_a_malformed_response_is_dropped_alone(octets: bytes) -> None:
    fragments = Fragments()
    fragments.feed(octets + b"\r\n* 7 EXISTS\r\n")
    first, second = fragments.next(), fragments.next()
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert isinstance(parse(first), Malformed)
    assert parse(second) == Exists(7)


def test_the_octets_of_a_malformed_response_are_shown_without_its_literals_being_lost() -> None:
    malformed = parse([b"* 1 FETCH (UID x ", b"literal", b" ", STREAMED, b")"])
    assert isinstance(malformed, Malformed)
    assert malformed.octets == b"* 1 FETCH (UID x {}literal{} {}{})"
    assert malformed.problem


def test_a_malformed_response_is_shown_as_far_as_it_helps() -> None:
    malformed = parse([b"* 1 FETCH (UID " + b"x" * 10_000])
    assert isinstance(malformed, Malformed)
    assert len(malformed.octets) == 2000


def test_a_bomb_of_nested_lists_is_malformed() -> None:
    for count in (33, 1000, 100_000):
        assert isinstance(parse([b"* 1 FETCH (X " + b"(" * count]), Malformed)
        assert isinstance(parse([b"* STATUS INBOX " + b"(" * count]), Malformed)


def test_lists_as_deep_as_message_parts_are_read() -> None:
    fetch = parse([b"* 1 FETCH (X " + b"(" * 30 + b")" * 30 + b" UID 5)"])
    assert isinstance(fetch, Fetch)
    assert fetch.uid == 5


def test_a_streamed_body_is_told_from_octets() -> None:
    """The stand-in is handed on as the very object, so that nobody takes it for a message."""
    for parts in ([b"* 1 FETCH (UID 5 BODY[] ", STREAMED, b")"], [b"* 1 FETCH (BODY[] ", STREAMED, b" UID 5)"]):
        fetch = parse(parts)
        assert isinstance(fetch, Fetch)
        assert (fetch.uid, fetch.has_body) == (5, True)
        assert fetch.body is STREAMED


# --- properties -------------------------------------------------------------------------------------------------------

_WORDS = [b"* ", b"1 ", b"FETCH ", b"(", b")", b"UID ", b"BODY[] ", b'"', b"\\", b"NIL", b"OK ", b"[", b"]", b"P1 ", b"STATUS "]
_NEWER = [b"ESEARCH ", b"TAG ", b"ALL ", b"COUNT ", b"VANISHED ", b"EARLIER", b"ENABLED ", b"ID ", b"NAMESPACE ", b"1:5", b","]
_TOKENS = st.lists(
    st.one_of(st.sampled_from([*_WORDS, b"FLAGS ", b"LIST ", b"SEARCH ", *_NEWER, b"{", b"}", b" ", b"+"]), st.binary(max_size=3)),
    max_size=20,
)
PARTS = st.lists(_TOKENS.map(b"".join), min_size=1, max_size=5).map(lambda parts: parts if len(parts) % 2 else parts[:-1])


@given(PARTS)
@settings(max_examples=200)
@example([b"* 1 FETCH (UID ", b"5", b")"])
@example([b"* " + b"9" * 5000 + b" EXISTS"])
@example([b"* SEARCH " + b"9" * 5000])
@example([b"* STATUS a (UIDNEXT " + b"9" * 5000 + b")"])
def test_reading_never_raises(parts: list[bytes]) -> None:
    parse(parts)


ATOMS = st.from_regex(rb"[A-Za-z0-9.-]{1,8}", fullmatch=True).filter(lambda atom: atom.upper() != b"NIL")
STRINGS = st.binary(max_size=30)
Value = bytes | list["Value"] | None
VALUES: st.SearchStrategy[Value] = st.recursive(
    st.one_of(st.none(), STRINGS), lambda inner: st.lists(inner, max_size=4), max_leaves=8
)
FETCHES = st.builds(
    Fetch,
    st.integers(1, 2**32 - 1),
    uid=st.none() | st.integers(1, 2**32 - 1),
    size=st.none() | st.integers(0, 2**63 - 1),
    internal_date=st.sampled_from(["", "17-Jul-1996 02:44:25 -0700", "01-Jan-2024 00:00:00 +0000"]),
    flags=st.none() | st.frozensets(st.sampled_from(["\\seen", "\\deleted", "$junk", "a-b"])),
    modseq=st.none() | st.integers(1, 2**63 - 1),
    others=st.dictionaries(
        st.from_regex(r"X-[A-Z]{1,6}", fullmatch=True).filter(lambda name: name != "X-GM-MSGID"), VALUES, max_size=3
    ),
)


def written(value: Value) -> bytes:
    """A value as a server may write it: quoted where that can be, else as literal."""
    if value is None:
        return b"NIL"
    if isinstance(value, list):
        return b"(" + b" ".join(written(item) for item in value) + b")"
    if value.isascii() and not any(octet in value for octet in b"\r\n\0"):
        return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return b"{%d}\r\n" % len(value) + value


def as_written(fetch: Fetch, body: bytes | None) -> dict[str, bytes]:
    """The items of a FETCH by name."""
    items: dict[str, bytes] = {name: written(value) for name, value in fetch.others.items()}  # type: ignore[arg-type]
    if fetch.uid is not None:
        items["UID"] = b"%d" % fetch.uid
    if fetch.size is not None:
        items["RFC822.SIZE"] = b"%d" % fetch.size
    if fetch.internal_date:
        items["INTERNALDATE"] = b'"%b"' % fetch.internal_date.encode()
    if fetch.flags is not None:
        items["FLAGS"] = b"(" + b" ".join(flag.encode() for flag in fetch.flags) + b")"
    if fetch.modseq is not None:
        items["MODSEQ"] = b"(%d)" % fetch.modseq
    if body is not None:
        items["BODY[]"] = b"{%d}\r\n%b" % (len(body), body)
    return items


@given(FETCHES, st.none() | STRINGS, st.integers(), st.booleans())
@settings(max_examples=60)
def test_a_fetch_in_any_order_comes_back_as_it_was_written(fetch: Fetch, body: bytes | None, seed: int, small: bool) -> None:
    items = list(as_written(fetch, body).items())
    random.Random(seed).shuffle(items)
    line = b" ".join((name.lower() if small else name).encode() + b" " + value for name, value in items)
    found = read(b"* %d FETCH (" % fetch.number + line + b")")
    fetch.body, fetch.has_body = body, body is not None
    assert found == fetch


@given(st.lists(st.integers(1, 2**32 - 1), max_size=30))
def test_a_search_comes_back_as_it_was_written(numbers: list[int]) -> None:
    assert read(b" ".join([b"* SEARCH", *(b"%d" % n for n in numbers)])) == Search(Numbers.of(numbers))


@given(STRINGS, st.dictionaries(st.sampled_from(["UIDNEXT", "UIDVALIDITY", "HIGHESTMODSEQ"]), st.integers(0, 2**63 - 1)))
def test_a_status_comes_back_as_it_was_written(name: bytes, items: dict[str, int]) -> None:
    line = b" ".join(b"%b %d" % (key.encode(), value) for key, value in items.items())
    assert read(b"* STATUS " + written(name) + b" (" + line + b")") == MailboxStatus(name, items)


UIDS = st.sets(st.integers(1, 300) | st.integers(2**32 - 20, 2**32 - 1), min_size=1, max_size=30)


@given(st.from_regex(r"[A-Za-z0-9]{0,6}", fullmatch=True), st.none() | UIDS, st.none() | st.integers(0, 2**63), st.integers())
def test_an_esearch_in_any_order_comes_back_as_it_was_written(
    tag: str, uids: set[int] | None, count: int | None, seed: int
) -> None:
    items = [b"MODSEQ 7", b"X-OTHER (a (b c))"]
    items += [b"ALL " + sequence_sets(uids)[0]] if uids else []
    items += [b"COUNT %d" % count] if count is not None else []
    random.Random(seed).shuffle(items)
    correlator = b' (TAG "%b")' % tag.encode() if tag else b""
    found = read(b"* ESEARCH" + b" ".join([correlator, b"UID", *items]))
    assert found == ESearch(tag, uid=True, count=count, all=Numbers.of(uids) if uids else None)


@given(UIDS, st.booleans())
def test_vanished_comes_back_as_it_was_written(uids: set[int], earlier: bool) -> None:
    line = b"* VANISHED " + b"(EARLIER) " * earlier + sequence_sets(uids)[0]
    assert read(line) == Vanished(Numbers.of(uids), earlier)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z-]{1,9}", fullmatch=True), st.none() | st.text(st.characters(categories=["L", "Nd"]), max_size=9)
    )
)
def test_an_id_comes_back_as_it_was_written(fields: dict[str, str | None]) -> None:
    pairs = b" ".join(written(k.encode()) + b" " + (b"NIL" if v is None else written(v.encode())) for k, v in fields.items())
    assert read(b"* ID (" + pairs + b")") == ServerId({key: value for key, value in fields.items() if value is not None})


SPACES = st.lists(st.tuples(STRINGS, st.none() | st.sampled_from([b"/", b".", b"\\"])), max_size=3)


@given(SPACES, SPACES)
def test_namespaces_come_back_as_they_were_written(
    personal: list[tuple[bytes, bytes | None]], others: list[tuple[bytes, bytes | None]]
) -> None:
    def spaces(found: list[tuple[bytes, bytes | None]]) -> bytes:
        each = [b"(" + written(prefix) + b" " + (b"NIL" if sign is None else quoted(sign)) + b")" for prefix, sign in found]
        return b"(" + b"".join(each) + b")" if each else b"NIL"

    assert read(b"* NAMESPACE " + b" ".join(map(spaces, [personal, others, []]))) == Namespace(tuple(personal))
