"""Drafts as JSON: every member, and every fault named at once with its place, its value and what is valid."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from postroom.errors import DraftRefused, Fate
from postroom.mime.addresses import Address
from postroom.mime.draft import Draft, DraftLimits, File, parse_draft

FILE = {"filename": "a.pdf", "content": "AAEC"}


def faults(document: object, limits: DraftLimits | None = None) -> list[tuple[str, str]]:
    with pytest.raises(DraftRefused) as refused:
        parse_draft(document, limits)
    return [(fault.pointer, fault.problem) for fault in refused.value.faults]


def test_every_member() -> None:
    draft = parse_draft(
        {
            "from": "Ann <a@example.org>",
            "sender": "s@example.org",
            "to": ["b@example.org", {"name": "Bee, Bob", "address": "bob@example.org"}],
            "cc": "c@example.org",
            "bcc": {"address": "d@example.org"},
            "reply_to": ["e@example.org"],
            "subject": "Hello",
            "text": "Text",
            "html": "<p>Text",
            "attachments": [{"filename": "a.txt", "content_type": 'text/plain; charset="utf-8"', "content": "SGVs\r\nbG8="}],
            "inline": [{"content_type": "image/png", "content": "AA==", "content_id": "<logo>"}],
            "headers": {"X-A": "b"},
            "in_reply_to_message": "m1",
            "quote": True,
            "auto_submitted": True,
            "priority": "high",
            "envid": "abc",
            "notify": ["FAILURE", "DELAY", "FAILURE"],
            "ret": "HDRS",
        }
    )
    assert draft == Draft(
        author=Address("Ann", "a@example.org"),
        sender=Address("", "s@example.org"),
        to=(Address("", "b@example.org"), Address("Bee, Bob", "bob@example.org")),
        cc=(Address("", "c@example.org"),),
        bcc=(Address("", "d@example.org"),),
        reply_to=(Address("", "e@example.org"),),
        subject="Hello",
        text="Text",
        html="<p>Text",
        attachments=(File("a.txt", "text/plain", (("charset", "utf-8"),), b"Hello"),),
        inline=(File("", "image/png", (), b"\0", "logo"),),
        headers=(("X-A", "b"),),
        in_reply_to_message="m1",
        quote=True,
        auto_submitted="auto-replied",
        priority="high",
        envid="abc",
        notify=("FAILURE", "DELAY"),
        ret="HDRS",
    )


def test_null_is_absent() -> None:
    members = ("from", "cc", "subject", "text", "html", "attachments", "headers", "quote", "auto_submitted", "notify", "envid")
    assert parse_draft({"to": "a@b"} | dict.fromkeys(members)) == Draft(to=(Address("", "a@b"),))


@pytest.mark.parametrize(
    ("given", "kept"), [(True, "auto-generated"), (False, ""), ("auto-replied", "auto-replied")], ids=["true", "false", "named"]
)
def test_automatic_mail(given: object, kept: str) -> None:
    assert parse_draft({"to": "a@b", "auto_submitted": given}).auto_submitted == kept


@pytest.mark.parametrize(
    ("filename", "kind"),
    [("a.PDF", "application/pdf"), ("a.eml", "message/rfc822"), ("a", "application/octet-stream"), ("pdf", "application/pdf")],
)
def test_a_file_without_a_type_is_what_its_name_says(filename: str, kind: str) -> None:
    draft = parse_draft({"to": "a@b", "attachments": [{"filename": filename, "content": ""}]})
    assert draft.attachments[0].content_type == kind


def test_all_faults_at_once_each_with_place_value_and_what_is_valid() -> None:
    document = {
        "from": "nobody",
        "to": ["a@b", "c@d\r\nBcc: x@y", 5],
        "subject": "a\nb",
        "text": 5,
        "attachements": [],
        "headers": {"Bcc": "x@y", "X-A~/": "a\0b"},
        "attachments": [FILE, {"filename": "../x", "content": "!"}, {"filename": "y"}],
        "ret": "ALL",
    }
    with pytest.raises(DraftRefused) as refused:
        parse_draft(document)
    assert refused.value.fate is Fate.GIVE_UP
    assert [fault.pointer for fault in refused.value.faults] == [
        *("/attachements", "/to/1", "/to/2", "/from", "/subject", "/text", "/attachments/1/filename", "/attachments/1/content"),
        *("/attachments/2/content", "/headers/Bcc", "/headers/X-A~0~1", "/ret"),
    ]
    by_place = {fault.pointer: fault for fault in refused.value.faults}
    assert by_place["/attachements"].valid == 'did you mean "attachments"?'
    assert by_place["/to/1"].value == r"'c@d\r\nBcc: x@y'"
    assert by_place["/to/1"].problem == "it holds the control character U+000D at character 4"
    assert '"a@example.org"' in by_place["/to/2"].valid
    assert by_place["/headers/Bcc"].valid == 'the member "bcc"'
    assert "and 2 more" in str(refused.value)


@pytest.mark.parametrize("document", [None, [], "x", 5, True], ids=repr)
def test_what_is_no_object(document: object) -> None:
    assert faults(document)[0] == ("", "no object")


@pytest.mark.parametrize(
    ("member", "value", "pointer", "problem"),
    [
        ("to", [], "/to", "nobody is named"),
        ("to", [None], "/to/0", "null"),
        ("to", {"name": "x"}, "/to", '"address" is missing'),
        ("to", {"name": "x\n", "address": "a@b"}, "/to/name", "control character"),
        ("to", {"name": "x", "address": "Ann <a@b>"}, "/to/address", "belongs into"),
        ("to", {"name": "x", "adress": "a@b"}, "/to/adress", "unknown member"),
        ("to", {"address": ["a@b"]}, "/to/address", "no string"),
        ("to", "Bee, Ann <a@b>", "/to", "no '@'"),
        ("quote", "true", "/quote", "neither true"),
        ("quote", 1, "/quote", "neither true"),
        ("quote", True, "/quote", "nothing to quote"),
        ("subject", "x" * 10_001, "/subject", "too many"),
        ("text", "a\0", "/text", "U+0000"),
        ("html", "\ud800", "/html", "half a character"),
        ("auto_submitted", "no", "/auto_submitted", "not one of"),
        ("priority", 1, "/priority", "not one of"),
        ("envid", "", "/envid", "no envelope"),
        ("envid", "a\n", "/envid", "no envelope"),
        ("envid", "x" * 101, "/envid", "no envelope"),
        ("notify", ["NEVER", "DELAY"], "/notify", "excludes"),
        ("notify", ["never"], "/notify/0", "not one of"),
        ("in_reply_to_message", "", "/in_reply_to_message", "no id"),
        ("forward_message", 7, "/forward_message", "no string"),
        ("headers", {"X A": "b"}, "/headers/X A", "no name"),
        ("headers", {"X:": "b"}, "/headers/X:", "no name"),
        ("headers", {"": "b"}, "/headers/", "no name"),
        ("headers", {"Content-Type": "b"}, "/headers/Content-Type", "not set in this way"),
        ("headers", {"rEsEnT-To": "b"}, "/headers/rEsEnT-To", "not set in this way"),
        ("headers", {"Message-ID": "<a@b>"}, "/headers/Message-ID", "not set in this way"),
        ("headers", {"X": None}, "/headers/X", "no string"),
        ("headers", [["X"]], "/headers/0", "no pair"),
        ("headers", [["X", "a\r\n b"]], "/headers/0", "U+000D"),
        ("headers", {"References": "a"}, "/headers/References", "no message ids"),
        ("headers", {"List-Unsubscribe": "<https://ü>"}, "/headers/List-Unsubscribe", "encoded"),
        ("headers", "X: y", "/headers", "no list"),
        ("attachments", FILE, "/attachments", "no list"),
        ("attachments", [5], "/attachments/0", "no object"),
        ("attachments", [FILE | {"filename": "a/b"}], "/attachments/0/filename", "path"),
        ("attachments", [FILE | {"filename": "a\\b"}], "/attachments/0/filename", "path"),
        ("attachments", [FILE | {"filename": ".."}], "/attachments/0/filename", "path"),
        ("attachments", [FILE | {"filename": "a\u202efdp.exe"}], "/attachments/0/filename", "direction"),
        ("attachments", [FILE | {"filename": 'a"\r\nX: y'}], "/attachments/0/filename", "U+000D"),
        ("attachments", [FILE | {"filename": "x" * 256}], "/attachments/0/filename", "length"),
        ("attachments", [FILE | {"content_type": "pdf"}], "/attachments/0/content_type", "no media type"),
        ("attachments", [FILE | {"content_type": "a/b\r\nX: y"}], "/attachments/0/content_type", "no media type"),
        ("attachments", [FILE | {"content_type": "a/b; x"}], "/attachments/0/content_type", "no media type"),
        ("attachments", [FILE | {"content_type": "multipart/mixed"}], "/attachments/0/content_type", "cannot stand"),
        ("attachments", [FILE | {"content_type": "message/partial"}], "/attachments/0/content_type", "cannot stand"),
        ("attachments", [FILE | {"content": "AAE"}], "/attachments/0/content", "no base64"),
        ("attachments", [FILE | {"content": "A_E="}], "/attachments/0/content", "no base64"),
        ("attachments", [FILE | {"content": "ü"}], "/attachments/0/content", "no base64"),
        ("attachments", [FILE | {"content_id": "x"}], "/attachments/0/content_id", "unknown member"),
        ("inline", [FILE | {"content_id": "x"}], "/inline", "there is none"),
        ("inline", [FILE], "/inline/0/content_id", "no content-id"),
        ("inline", [FILE | {"content_id": "a b"}], "/inline/0/content_id", "no content-id"),
        ("inline", [FILE | {"content_id": "x"}] * 2, "/inline/1/content_id", "stands twice"),
        ("inline", [FILE | {"content_id": "x", "filename": "a.eml"}], "/inline/0/content_type", "no messages"),
    ],
    ids=range(57),
)
def test_what_is_wrong_with_one_member(member: str, value: object, pointer: str, problem: str) -> None:
    found = faults({"to": "a@b", member: value})
    assert any(place == pointer and problem in words for place, words in found), found


def test_members_that_exclude_each_other() -> None:
    assert ("/forward_message", "a message is either an answer or a forward") in faults(
        {"to": "a@b", "in_reply_to_message": "x", "forward_message": "y"}
    )
    threaded: dict[str, Any] = {"in_reply_to_message": "x", "headers": {"References": "<a@b>"}}
    assert faults(threaded) == [("/headers", "References is set from the message that is answered")]
    assert parse_draft({"in_reply_to_message": "x"}).to == ()  # who is answered stands in the message
    assert parse_draft({"to": "a@b", "headers": {"References": "<a@b> <c@d>"}}).headers == (("References", "<a@b> <c@d>"),)


def test_limits() -> None:
    few = DraftLimits(recipients=2, octets=10, files=1, headers=1, characters=3)
    assert faults({"to": ["a@b", "c@d", "e@f"]}, few) == [("/to", "3 are too many")]
    assert faults({"to": ["a@b", "c@d"], "cc": "e@f"}, few) == [("", "3 recipients are too many")]
    assert faults({"to": "a@b", "text": "äääää", "html": "x"}, few) == [
        ("/html", "with it the texts and files have too many octets")
    ]
    assert (
        faults({"to": "a@b", "attachments": [{"content": base64.b64encode(b"x" * 11).decode()}]}, few)[0][0]
        == "/attachments/0/content"
    )
    assert faults({"to": "a@b", "attachments": [{"content": "A" * 1000}]}, few)[0][0] == "/attachments/0/content"
    assert faults({"to": "a@b", "attachments": [FILE, FILE]}, few) == [("/attachments", "2 are too many")]
    assert faults({"to": "a@b", "headers": {"X": "", "Y": ""}}, few) == [("/headers", "too many headers")]
    assert faults({"to": "a@b", "subject": "abcd"}, few) == [("/subject", "4 characters are too many")]
    assert parse_draft({"to": ["a@b", "c@d"], "text": "äääää", "subject": "abc", "headers": {"X": "y"}}, few)


def test_a_hundred_thousand_recipients_and_members_are_one_fault_each() -> None:
    assert faults({"to": [f"{n}@b" for n in range(100_000)]}) == [("/to", "100000 are too many")]
    found = faults({"to": "a@b"} | {f"x{n}": n for n in range(100_000)})
    assert len(found) == 21
    assert found[-1] == ("", "99980 more unknown members")


def test_a_thousand_recipients_are_allowed() -> None:
    assert len(parse_draft({"bcc": [f"{n}@b" for n in range(1000)]}).bcc) == 1000
