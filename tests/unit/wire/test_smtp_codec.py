"""SMTP's codec: replies of any cut, capabilities, commands that nothing can break, and dots."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from postroom.outbound import Body, Recipient
from postroom.wire.smtp import commands
from postroom.wire.smtp.capabilities import Capabilities, capabilities
from postroom.wire.smtp.content import Stuffing, has_bare_line_end, whole
from postroom.wire.smtp.replies import LINE, REPLY, Replies, Reply


def replies_of(octets: bytes, cuts: list[int] | None = None) -> list[Reply]:
    """All replies of a stream that comes in pieces."""
    replies = Replies()
    found, start = [], 0
    for end in [*sorted(cut % (len(octets) + 1) for cut in cuts or []), len(octets)]:
        replies.feed(octets[start:end])
        start = end
        while (reply := replies.reply()) is not None:
            found.append(reply)
    return found


def reply_of(octets: bytes) -> Reply:
    (reply,) = replies_of(octets)
    return reply


# --- replies ----------------------------------------------------------------------------------------------------------

# What no enhanced code begins with, so that a text is told from one.
TEXTS = st.binary(max_size=40).filter(lambda text: b"\n" not in text and not text.endswith(b"\r") and not re.match(rb"\d", text))
ENHANCED = st.one_of(st.just(""), st.builds("{}.{}.{}".format, st.sampled_from("245"), st.integers(0, 999), st.integers(0, 999)))
WRITTEN = st.builds(
    lambda code, enhanced, lines: Reply(code, enhanced if code // 100 != 3 else "", tuple(lines)),
    st.integers(200, 599),
    ENHANCED,
    st.lists(TEXTS, min_size=1, max_size=4),
)


def written(reply: Reply) -> bytes:
    lines = []
    for number, text in enumerate(reply.lines, 1):
        mark = "-" if number < len(reply.lines) else " "
        enhanced = f"{reply.enhanced} " if reply.enhanced else ""
        lines.append(f"{reply.code}{mark}{enhanced}".encode() + text + b"\r\n")
    return b"".join(lines)


@given(st.lists(WRITTEN, max_size=5), st.lists(st.integers(0, 2000), max_size=6))
def test_replies_come_back_as_they_were_written_whatever_the_cut(sent: list[Reply], cuts: list[int]) -> None:
    found = replies_of(b"".join(map(written, sent)), cuts)
    # an enhanced code swallows the blanks behind it
    assert [(r.code, r.enhanced, tuple(line.lstrip() for line in r.lines)) for r in found] == [
        (r.code, r.enhanced, tuple(line.lstrip() for line in r.lines)) for r in sent
    ]


@pytest.mark.parametrize(
    ("octets", "code", "enhanced", "text"),
    [
        (b"250 2.1.0 Ok\r\n", 250, "2.1.0", "Ok"),
        (b"250\r\n", 250, "", ""),
        (b"250 \r\n", 250, "", ""),
        (b"250 2.1.0\r\n", 250, "2.1.0", ""),
        (b"250 bare\n", 250, "", "bare"),
        (b"550-5.1.1 no such\r\n550 5.1.1 user\r\n", 550, "5.1.1", "no such user"),
        (b"550-no such\r\n550 5.1.1 user\r\n", 550, "5.1.1", "no such user"),
        (b"450 5.7.1 odd\r\n", 450, "5.7.1", "odd"),
        (b"354 2.0.0 go\r\n", 354, "", "2.0.0 go"),
        (b"220 2.0.0.1 ESMTP\r\n", 220, "", "2.0.0.1 ESMTP"),
        (b"550 \xff\x00\x1b[31m\r\n", 550, "", "\ufffd??[31m".replace("\ufffd", "?")),
        (b"535 5.7.3 d\xc3\xa9sol\xc3\xa9\r\n", 535, "5.7.3", "désolé"),
    ],
)
def test_what_servers_write(octets: bytes, code: int, enhanced: str, text: str) -> None:
    reply = reply_of(octets)
    assert (reply.code, reply.enhanced, reply.text.replace("\ufffd", "?")) == (code, enhanced, text)
    assert reply.text.isprintable()
    assert str(code) in reply.words


@pytest.mark.parametrize(
    "octets",
    [
        b"250-one\r\n550 two\r\n",
        b"250-one\r\nhello\r\n",
        b"25 short\r\n",
        b"2500 long\r\n",
        b"250_x\r\n",
        b"150 no\r\n",
        b"650 no\r\n",
        b"\r\n",
        b"+OK POP3\r\n",
        b"* OK IMAP\r\n",
        b"\x16\x03\x01\n",
    ],
)
def test_what_is_no_reply_is_refused(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        replies_of(octets)


def test_what_never_ends_is_refused_in_bounded_memory() -> None:
    with pytest.raises(LimitExceeded, match="a line"):
        replies_of(b"250 " + b"x" * (LINE + 1))
    replies = Replies()
    line = b"250-" + b"x" * 1000 + b"\r\n"
    for _ in range(REPLY // len(line)):
        replies.feed(line)
        assert replies.reply() is None
        assert len(replies.get_buffer()) <= 2 * REPLY
    replies.feed(line)
    with pytest.raises(LimitExceeded, match="a reply"):
        replies.reply()


def test_a_reply_is_told_whole_and_shown_short() -> None:
    reply = reply_of(b"250 " + b"x" * 10_000 + b"\r\n")
    assert len(reply.lines[0]) == 10_000
    assert len(reply.text) == 1000


def test_the_beginning_of_a_reply_is_not_nothing() -> None:
    replies = Replies()
    assert replies.empty
    replies.feed(b"250-one\r\n")
    assert replies.reply() is None
    assert not replies.empty


# --- capabilities -----------------------------------------------------------------------------------------------------


def offered(*lines: str) -> Capabilities:
    every = ["mail.example.org SIZE 1", *lines]
    return capabilities(reply_of("".join(f"250{'-' if n < len(every) else ' '}{x}\r\n" for n, x in enumerate(every, 1)).encode()))


def test_what_a_server_offers() -> None:
    found = offered(
        "PIPELINING", "size 1000", "AUTH PLAIN xoauth2", "AUTH=LOGIN PLAIN", "8bitmime", "LIMITS RCPTMAX=20 MAILMAX=5 X"
    )
    assert [name in found for name in ("PIPELINING", "8BITMIME", "SMTPUTF8")] == [True, True, False]
    assert found.size == 1000
    assert found.mechanisms == ("PLAIN", "XOAUTH2", "LOGIN")
    assert found.limits == {"RCPTMAX": 20, "MAILMAX": 5}


@pytest.mark.parametrize("line", ["SIZE", "SIZE 0", "SIZE many", "SIZE \u0663", "SIZE 123456789012345678901", "HELP"])
def test_no_limit_of_size(line: str) -> None:
    assert offered(line).size is None


@given(st.lists(st.binary(max_size=60).filter(lambda text: b"\n" not in text), max_size=6))
def test_whatever_ehlo_is_answered_by_can_be_read(lines: list[bytes]) -> None:
    found = capabilities(Reply(250, "", tuple(lines)))
    assert isinstance(found.size, int | None)
    assert all(number > 0 for number in found.limits.values())
    assert all(name.isprintable() for name in (*found.keywords, *found.mechanisms))


# --- commands ---------------------------------------------------------------------------------------------------------


def test_mail_and_rcpt_with_all_their_parameters() -> None:
    line = commands.mail("a@b.c", size=10, body=Body.EIGHT_BIT, smtputf8=True, ret="HDRS", envid="id=1+2 x")
    assert line == b"MAIL FROM:<a@b.c> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+3D1+2B2+20x\r\n"
    assert commands.mail("") == b"MAIL FROM:<>\r\n"
    told = Recipient("x@y.z", ("SUCCESS", "FAILURE"), "rfc822;o+1@y.z")
    assert commands.rcpt(told, dsn=True) == b"RCPT TO:<x@y.z> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o+2B1@y.z\r\n"
    assert commands.rcpt(told) == b"RCPT TO:<x@y.z>\r\n"
    assert commands.rcpt(Recipient("ü@y.z", orcpt="rfc822;ü@y.z"), smtputf8=True, dsn=True) == (
        "RCPT TO:<ü@y.z> ORCPT=utf-8;\\x{FC}@y.z\r\n".encode()
    )
    assert commands.rcpt(Recipient('"a >b"@y.z')) == b'RCPT TO:<"a >b"@y.z>\r\n'


HOSTILE = [
    "a@b.c>\r\nRSET",
    "a\r@b",
    "a\nb@c",
    "a\0b@c",
    "a@b.c> SIZE=1",
    "a b@c",
    "<a@b.c>",
    "\ud800@b.c",
    '"a@b.c',
    "a\\b@c",
    "a@b.c\x7f",
]


@pytest.mark.parametrize("address", HOSTILE)
def test_an_address_cannot_become_a_command(address: str) -> None:
    for build in (commands.mail, lambda text: commands.rcpt(Recipient(text))):
        with pytest.raises(LocalProtocolError):
            build(address)


@pytest.mark.parametrize(
    "arguments",
    [
        {"ret": "FULL\r\n"},
        {"ret": "x"},
        {"envid": "a\r\nb"},
        {"envid": "a\0"},
        {"envid": "x" * 101},
        {"envid": "=" * 34},
        {"address": "ü@y.z"},
        {"address": "a" * 500 + "@b"},
    ],
)
def test_a_parameter_that_cannot_be_sent_is_refused(arguments: dict[str, str]) -> None:
    address = arguments.pop("address", "a@b.c") if "address" in arguments else "a@b.c"
    with pytest.raises(LocalProtocolError):
        commands.mail(address, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "recipient",
    [
        Recipient("a@b", ("NEVER", "SUCCESS")),
        Recipient("a@b", ("SUCCESS\r\nQUIT",)),
        Recipient("a@b", orcpt="no type"),
        Recipient("a@b", orcpt="rfc822;a\r\nQUIT"),
        Recipient("a@b", orcpt="rf c;a"),
        Recipient("a@b", orcpt="utf-8;ü\n"),
        Recipient("a@b", orcpt="rfc822;" + "x" * 500),
    ],
)
def test_a_recipients_parameter_that_cannot_be_sent_is_refused(recipient: Recipient) -> None:
    with pytest.raises(LocalProtocolError):
        commands.rcpt(recipient, dsn=True)


@given(st.text(max_size=30), st.text(max_size=30), st.lists(st.text(max_size=8), max_size=2))
def test_whatever_is_given_a_command_is_one_line(address: str, text: str, notify: list[str]) -> None:
    recipient = Recipient(address, tuple(notify), f"rfc822;{text}")
    for build in (
        lambda: commands.mail(address, smtputf8=True, envid=text),
        lambda: commands.rcpt(recipient, smtputf8=True, dsn=True),
        lambda: commands.ehlo(commands.own_name(text)),
        lambda: commands.auth(text, b"eA=="),
    ):
        try:
            line = build()
        except LocalProtocolError:
            continue
        assert line.endswith(b"\r\n")
        assert not set(line[:-2]) & {0, 10, 13}


@given(st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), max_size=60))
def test_xtext_comes_back(text: str) -> None:
    encoded = commands.xtext(text)
    assert re.fullmatch(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", encoded)
    octets = re.sub(rb"\+([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), encoded.encode())
    assert octets.decode() == text


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "[192.0.2.1]"),
        ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ("fe80::1%eth0", "[IPv6:fe80::1]"),
        ("::ffff:192.0.2.1", "[192.0.2.1]"),
        ("mail.example.org", "mail.example.org"),
        ("", "localhost"),
        ("my_machine", "localhost"),
        ("a b", "localhost"),
        ("-x", "localhost"),
    ],
)
def test_the_name_we_say(address: str, name: str) -> None:
    assert commands.own_name(address) == name


# --- content ----------------------------------------------------------------------------------------------------------

LINES = st.lists(st.sampled_from([b".", b"..", b"", b"a", b".a", b"\xff", b"x" * 30]), max_size=8).map(b"\r\n".join)


def unstuffed(sent: bytes) -> bytes:
    """What a server makes of it (RFC 5321 section 4.5.2)."""
    lines = sent.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2]
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2])


@given(LINES, st.booleans(), st.lists(st.integers(0, 400), max_size=6))
def test_a_server_gets_what_was_sent_whatever_the_cut(text: bytes, ended: bool, cuts: list[int]) -> None:
    message = text + (b"\r\n" if ended else b"")
    wanted = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    assert unstuffed(whole(message)) == wanted
    stuffing, sent, start = Stuffing(), b"", 0
    for end in [*sorted(cut % (len(message) + 1) for cut in cuts), len(message)]:
        sent += stuffing.piece(message[start:end])
        start = end
        assert b"\r\n.\r\n" not in b"\r\n" + sent  # nothing complete before the end
    assert unstuffed(sent + stuffing.end()) == wanted


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a"]), max_size=12).map(b"".join), st.integers(1, 4))
def test_a_line_end_that_stands_alone_is_found_whatever_the_cut(text: bytes, width: int) -> None:
    bare = re.search(rb"\r(?!\n)|(?<!\r)\n", text) is not None
    assert has_bare_line_end(text) is bare
    stuffing = Stuffing()
    try:
        sent = b"".join(stuffing.piece(text[at : at + width]) for at in range(0, len(text), width)) + stuffing.end()
    except LocalProtocolError:
        assert bare
    else:
        assert not bare
        assert sent == whole(text)


def test_chunks() -> None:
    assert commands.bdat(5, last=False) == b"BDAT 5\r\n"
    assert commands.bdat(0, last=True) == b"BDAT 0 LAST\r\n"
