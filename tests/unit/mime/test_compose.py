"""Drafts become messages: their structure, what is encoded, the envelope; and whatever a draft holds comes back as it was."""

from __future__ import annotations

import base64
import email
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.drafts import hostile, judge
from fuzz.letters import GIVEN, body_of, check, lines, octets_of, people_in
from postroom.errors import DraftRefused
from postroom.mime.compose import Given, compose
from postroom.mime.draft import parse_draft
from postroom.mime.original import original_of
from postroom.outbound import Body, Composed, Recipient

FILE = {"filename": "a.bin", "content": base64.b64encode(bytes(range(256))).decode()}
PICTURE = FILE | {"content_id": "logo", "content_type": "image/png"}
ORIGINAL = (
    b"From: =?utf-8?q?Bee=2C_Bj=C3=B6rn?= <b@example.org>\r\nTo: desk@example.org\r\nSubject: AW: Re: Order\r\n"
    b"Date: Tue, 3 Feb 2026 10:00:00 +0100\r\nMessage-ID: <3@example.org>\r\nReferences: <1@example.org>\r\n <2@example.org>\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nWhere is it?\r\n\r\nBj\xc3\xb6rn\r\n"
)


def composed(given: Given = GIVEN, **members: Any) -> Composed:
    draft = parse_draft({"from": "ann@example.org", "to": "b@example.org", **members})
    made = compose(draft, given)
    check(draft, made, given.bcc_address)
    return made


def header_of(made: Composed) -> dict[str, str]:
    return dict(email.message_from_bytes(made.octets).items())


def structure(octets: bytes) -> str:
    def of(part: Any) -> str:
        kind = str(part.get_content_type())
        return f"{kind}({', '.join(map(of, part.get_payload()))})" if part.is_multipart() else kind

    return of(email.message_from_bytes(octets))


def test_a_plain_message_octet_for_octet() -> None:
    assert composed(subject="Hello", text="Hello\nthere", cc="Cee <c@example.org>").octets == (
        b"Date: Mon, 21 Sep 2026 14:13:20 +0000\r\n"
        b"From: ann@example.org\r\n"
        b"To: b@example.org\r\n"
        b"Cc: Cee <c@example.org>\r\n"
        b"Subject: Hello\r\n"
        b"Message-ID: <1@example.org>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"Hello\r\nthere\r\n"
    )


def test_the_record_and_the_envelope() -> None:
    made = composed(
        subject="Grüße",
        sender="s@example.org",
        cc=["b@EXAMPLE.org", "c@müller.example"],
        bcc="d@example.org",
        notify=["FAILURE"],
        envid="e1",
        ret="HDRS",
    )
    assert (made.message_id, made.subject) == ("<1@example.org>", "Grüße")
    envelope = made.envelope
    assert (envelope.mail_from, envelope.envid, envelope.ret, envelope.body, envelope.smtputf8) == (
        *("s@example.org", "e1", "HDRS", Body.SEVEN_BIT),
        False,
    )
    assert envelope.recipients == (
        Recipient("b@example.org", ("FAILURE",), "rfc822;b@example.org"),  # once, though it is named twice
        Recipient("c@xn--mller-kva.example", ("FAILURE",), "rfc822;c@xn--mller-kva.example"),
        Recipient("d@example.org", ("FAILURE",), "rfc822;d@example.org"),
    )


def test_bcc_stands_in_the_envelope_alone() -> None:
    made = composed(replace(GIVEN, bcc_address="archive@example.org"), bcc=["secret@example.org"], text="x")
    assert [one.address for one in made.envelope.recipients] == ["b@example.org", "secret@example.org", "archive@example.org"]
    assert b"bcc" not in made.octets.lower()
    assert b"secret" not in made.octets
    assert b"archive" not in made.octets


def test_bcc_alone_names_nobody_in_the_message() -> None:
    assert header_of(composed(to=None, bcc="x@example.org"))["To"] == "undisclosed-recipients:;"


def test_from_is_the_default_where_it_is_not_given_and_wanted() -> None:
    draft = parse_draft({"to": "a@b"})
    assert email.message_from_bytes(compose(draft, GIVEN).octets)["From"] == "Desk <desk@example.org>"
    with pytest.raises(DraftRefused) as refused:
        compose(draft, replace(GIVEN, default_from=""))
    assert refused.value.faults[0].pointer == "/from"


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ({"text": "x"}, "text/plain"),
        ({"html": "x"}, "multipart/alternative(text/plain, text/html)"),
        ({"text": "x", "attachments": [FILE]}, "multipart/mixed(text/plain, application/octet-stream)"),
        ({"attachments": [FILE]}, "multipart/mixed(text/plain, application/octet-stream)"),
        (
            {"html": "x", "inline": [PICTURE], "attachments": [FILE]},
            "multipart/mixed(multipart/related(multipart/alternative(text/plain, text/html), image/png), application/octet-stream)",
        ),
        ({"html": "x", "inline": [PICTURE]}, "multipart/related(multipart/alternative(text/plain, text/html), image/png)"),
    ],
    ids=["text", "html", "file", "file-alone", "all", "picture"],
)
def test_the_simplest_structure_that_suffices(members: dict[str, Any], wanted: str) -> None:
    assert structure(composed(**members).octets) == wanted


def test_a_text_is_made_of_html() -> None:
    part = email.message_from_bytes(composed(html="<p>Hello</p><p>there</p>").octets).get_payload(0)
    assert body_of(part) == "Hello\r\n\r\nthere\r\n"


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("plain", "7bit"),
        ("x" * 78, "7bit"),
        ("x" * 79, "quoted-printable"),  # RFC 5322 section 2.1.1
        ("x" * 5000, "quoted-printable"),
        ("Grüße an alle", "quoted-printable"),
        ("Привет, мир, как дела? " * 3, "base64"),
        ("a\nFrom here on", "quoted-printable"),  # kept from becoming ">From"
        ("a\n.\nb", "7bit"),  # the dot is doubled when it is sent
        ("ü \t\n.\n=\n" * 9, "quoted-printable"),
        ("\x1b\x0b\x7f", "7bit"),
    ],
    ids=range(10),
)
def test_texts_are_encoded_where_they_must_be(text: str, how: str) -> None:
    made = composed(text=text)
    assert header_of(made)["Content-Transfer-Encoding"] == how
    assert b"\r\nFrom " not in made.octets.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("charset", "text", "label"),
    [
        ("iso-8859-1", "Grüße", "iso-8859-1"),
        ("iso-8859-1", "Grüße €", "utf-8"),
        ("windows-1252", "Grüße €", "windows-1252"),
        ("iso-2022-jp", "日本語", "iso-2022-jp"),
        ("utf-8", "日本語", "utf-8"),
    ],
    ids=range(5),
)
def test_outbound_msg_charset_where_the_text_fits(charset: str, text: str, label: str) -> None:
    made = composed(replace(GIVEN, charset=charset), text=text, subject=text, to={"name": text, "address": "b@example.org"})
    message = email.message_from_bytes(made.octets)
    assert message.get_content_charset() == label
    assert body_of(message) == text + "\r\n"
    assert f"=?{label}?" in message["Subject"]
    assert f"=?{label}?" in message["To"]


@pytest.mark.parametrize("member", ["to", "cc", "bcc", "reply_to", "from", "sender"])
def test_an_address_beyond_ascii_needs_smtputf8(member: str) -> None:
    made = composed(subject="Grüße", text="ü", **{member: "Jürgen <jürgen@müller.example>"})
    assert made.envelope.smtputf8
    assert ("jürgen@xn--mller-kva.example".encode() in made.octets) == (member != "bcc")
    assert b"=?utf-8?q?J=C3=BCrgen?=" in made.octets or member == "bcc"


def test_names_and_domains_beyond_ascii_need_nothing() -> None:
    made = composed(subject="Grüße", text="ü", to="Jürgen <j@müller.example>", attachments=[FILE | {"filename": "ü.bin"}])
    assert not made.envelope.smtputf8
    assert made.octets.isascii()


def test_an_attached_message() -> None:
    inner = b"Subject: x\r\n\r\nx\r\n"
    for content, kind in (
        (inner, "message/rfc822"),
        (inner + b"\xff", "application/octet-stream"),
        (b"a\nb", "application/octet-stream"),
    ):
        file = {"filename": "a.eml", "content": base64.b64encode(content).decode()}
        assert email.message_from_bytes(composed(attachments=[file]).octets).get_payload(1).get_content_type() == kind


def test_a_boundary_stands_nowhere_in_the_parts() -> None:
    first = composed(text="x", attachments=[FILE])
    boundary = email.message_from_bytes(first.octets).get_boundary()
    assert boundary
    again = composed(text=f"--{boundary}--\n", attachments=[FILE])
    assert again.octets.count(boundary.encode()) == 1


def test_p30_automatic_mail_says_so() -> None:
    assert header_of(composed(auto_submitted=True))["Auto-Submitted"] == "auto-generated"
    assert "Auto-Submitted" not in header_of(composed())


def test_priority_and_further_headers() -> None:
    header = header_of(composed(priority="low", headers=[["X-A", "ä"], ["X-A", "b"], ["List-Id", "<a.b>"]]))
    assert (header["X-Priority"], header["Importance"]) == ("5", "low")
    assert header["List-Id"] == "<a.b>"


# --- answers and forwards


def test_p29_an_answer_joins_the_thread() -> None:
    given = replace(GIVEN, original=original_of(ORIGINAL))
    draft = parse_draft({"in_reply_to_message": "m1", "text": "It comes.", "quote": True})
    made = compose(draft, given)
    message = email.message_from_bytes(made.octets)
    assert made.subject == "Re: Order"
    assert people_in(message, "To") == [("Bee, Björn", "b@example.org")]
    assert [one.address for one in made.envelope.recipients] == ["b@example.org"]
    assert message["In-Reply-To"] == "<3@example.org>"
    assert message["References"].split() == ["<1@example.org>", "<2@example.org>", "<3@example.org>"]
    assert body_of(message) == lines(
        "It comes.\n\nOn Tue, 3 Feb 2026 10:00:00 +0100, Bee, Björn <b@example.org> wrote:\n> Where is it?\n>\n> Björn\n"
    )


def test_an_answer_in_html_quotes_in_a_blockquote() -> None:
    original = original_of(ORIGINAL.replace(b"Where", b"<script>Where</script>"))
    given = replace(GIVEN, original=original, quote_prefix="| ", reply_prefix="Antw: ")
    draft = parse_draft({"in_reply_to_message": "m1", "to": "x@y", "html": "<html><body>It comes.</body></html>", "quote": True})
    made = compose(draft, given)
    text, html = email.message_from_bytes(made.octets).get_payload()
    assert made.subject == "Antw: Order"
    assert "\r\n| Björn\r\n" in body_of(text)
    written = body_of(html)
    assert "&lt;script&gt;Where&lt;/script&gt; is it?<br>" in written
    assert "<script>" not in written
    assert written.endswith("</blockquote>\r\n</body></html>\r\n")
    assert [one.address for one in made.envelope.recipients] == ["x@y"]


def test_an_answer_without_quotation_or_with_another_subject() -> None:
    given = replace(GIVEN, original=original_of(ORIGINAL))
    made = compose(parse_draft({"in_reply_to_message": "m1", "subject": "New", "text": "x"}), given)
    assert made.subject == "New"
    assert b"Where" not in made.octets


def test_nobody_can_be_answered() -> None:
    draft = parse_draft({"in_reply_to_message": "m1"})
    for octets in (b"", b"From: nobody\r\n\r\n", b"From: <>\r\n\r\n"):
        with pytest.raises(DraftRefused) as refused:
            compose(draft, replace(GIVEN, original=original_of(octets)))
        assert refused.value.faults[0].pointer == "/to"


@pytest.mark.parametrize("more", [b"", b"\xff"], ids=["clean", "8bit"])
def test_a_forward_holds_the_message_itself(more: bytes) -> None:
    given = replace(GIVEN, original=original_of(ORIGINAL.replace(b"\xc3\xb6", b"o") + more))
    draft = parse_draft({"to": "x@y", "forward_message": "m1", "text": "See below.", "quote": True})
    made = compose(draft, given)
    assert made.subject == "Fwd: AW: Re: Order"
    text, file = email.message_from_bytes(made.octets).get_payload()
    assert "From: Bee, Björn <b@example.org>\r\n" in body_of(text)
    assert file.get_filename() == "forwarded.eml"
    assert made.octets.isascii()
    if more:
        assert octets_of(file) == given.original.octets
    else:
        assert given.original.octets in made.octets
    assert "In-Reply-To" not in header_of(made)


# --- whatever is asked for


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=400)
LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=120)
ADDRESS = st.builds(
    lambda name, local, domain: {"name": name, "address": f"{local}@{domain}"},
    LINE,
    st.sampled_from(["a", "b.c", '"d e"', "ü", "x" * 60]),
    st.sampled_from(["example.org", "müller.example", "[192.0.2.1]"]),
)
PLAIN_FILE = st.builds(
    lambda name, content: {"filename": name, "content": base64.b64encode(content).decode()},
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cf"], exclude_characters="/\\"), max_size=100).filter(
        lambda name: name not in (".", "..") and (not name or name.strip()) and not name.endswith(".eml")
    ),
    st.binary(max_size=300),
)


@settings(max_examples=200)
@given(
    st.fixed_dictionaries(
        {"to": st.lists(ADDRESS, min_size=1, max_size=4)},
        optional={
            "from": ADDRESS,
            "cc": st.lists(ADDRESS, max_size=3),
            "bcc": st.lists(ADDRESS, max_size=3),
            "reply_to": st.lists(ADDRESS, max_size=2),
            "subject": LINE,
            "text": TEXT,
            "html": TEXT,
            "attachments": st.lists(PLAIN_FILE, max_size=3),
            "headers": st.dictionaries(st.from_regex(r"X-[A-Za-z0-9]{1,20}", fullmatch=True), LINE, max_size=3),
        },
    ),
    st.sampled_from(["utf-8", "iso-8859-1", "iso-2022-jp", "gb18030"]),
)
def test_what_is_composed_reads_back_as_it_was_asked_for(document: dict[str, Any], charset: str) -> None:
    draft = parse_draft(document)
    check(draft, compose(draft, replace(GIVEN, charset=charset)))


ANYTHING = st.text(st.characters(), max_size=60)


@settings(max_examples=300)
@given(
    st.sampled_from(["from", "sender", "to", "cc", "reply_to", "subject", "envid", "text", "html", "in_reply_to_message"]),
    ANYTHING,
    ANYTHING,
)
def test_no_unicode_in_any_member_brings_a_header_that_was_not_meant(member: str, text: str, name: str) -> None:
    judge({"to": "a@b", member: text})
    judge({"to": {"name": text, "address": "a@b"}, "cc": f"{text} <c@d>", "bcc": f"{text}@d"})
    judge({"to": "a@b", "headers": {name: text}, "attachments": [{"filename": text, "content": "", "content_type": name}]})
    judge({"to": "a@b", "html": "", "inline": [{"filename": name, "content": "", "content_id": text}]})


def test_a_thousand_hostile_drafts_are_refused_clearly_or_composed_correctly() -> None:
    """tests/fuzz draws ten thousand."""
    outcomes = [judge(hostile(random.Random(seed))) for seed in range(1000)]
    assert 200 < sum(outcomes) < 800
