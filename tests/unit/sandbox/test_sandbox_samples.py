"""The sample messages: valid where they mean to be, varied, and harmless."""

from __future__ import annotations

import codecs
import email
import itertools
import re
import zlib
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime

import pytest

from postroom.sandbox.parts import pdf, png
from postroom.sandbox.samples import Sample, later, samples

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
ALL = samples(NOW)
BY_NAME = {sample.name: sample for sample in ALL}


def parsed(name: str) -> Message:
    return email.message_from_bytes(BY_NAME[name].octets)


@pytest.mark.parametrize("sample", ALL, ids=lambda sample: sample.name)
def test_parses(sample: Sample) -> None:
    message = email.message_from_bytes(sample.octets)
    for part in message.walk():
        assert not part.defects
        if not part.is_multipart():
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            if part.get_content_maintype() == "text" and sample.name != "broken-charset":
                payload.decode(part.get_content_charset("ascii"))
    assert parsedate_to_datetime(message["Date"]) == sample.when
    assert NOW - timedelta(days=2) <= sample.when < NOW


@pytest.mark.parametrize("sample", ALL, ids=lambda sample: sample.name)
def test_lines_end_in_crlf_and_are_short(sample: Sample) -> None:
    assert sample.octets.endswith(b"\r\n")
    assert b"\n" not in sample.octets.replace(b"\r\n", b"")
    assert b"\r" not in sample.octets.replace(b"\r\n", b"")
    assert max(len(line) for line in sample.octets.split(b"\r\n")) <= 998  # RFC 5322 section 2.1.1


def test_addresses_are_reserved_for_examples() -> None:
    for sample in ALL:
        for domain in re.findall(rb"@([A-Za-z0-9.-]+)", sample.octets):
            assert re.fullmatch(rb"(.+\.)?(example\.(com|org|net)|test)", domain), (sample.name, domain)


def test_message_ids() -> None:
    identifiers = [parsed(name)["Message-ID"] for name in BY_NAME]
    assert [name for name in BY_NAME if parsed(name)["Message-ID"] is None] == ["without-message-id"]
    assert len(set(identifiers)) == len(identifiers)
    assert samples(NOW) == ALL
    assert parsed("second-question")["In-Reply-To"] == parsed("question")["Message-ID"]


def test_kinds() -> None:
    assert len(ALL) >= 15
    types = {name: [part.get_content_type() for part in parsed(name).walk()] for name in BY_NAME}
    assert "image/png" in types["html-with-picture"]
    assert {"application/pdf", "text/csv"} <= set(types["attachments"])
    assert "message/delivery-status" in types["bounce"]
    assert "text/calendar" in types["invitation"]
    assert "message/rfc822" in types["forwarded"]
    assert parsed("automatic-reply")["Auto-Submitted"].startswith("auto-replied")
    assert parsed("bounce")["Return-Path"] == "<>"
    assert "🎉" in str(email.header.make_header(email.header.decode_header(parsed("emoji")["Subject"])))
    names = [part.get_filename() for part in parsed("long-file-names").walk()]
    assert "Kostenvoranschlag für die große Inspektion 2026.pdf" in names
    assert "自転車.png" in names
    with pytest.raises(LookupError):
        codecs.lookup(parsed("broken-charset").get_content_charset(""))


def test_delivery_status_has_its_groups() -> None:
    report = next(part for part in parsed("bounce").walk() if part.get_content_type() == "message/delivery-status")
    groups = report.get_payload()
    assert isinstance(groups, list)
    whole, recipient = (group for group in groups if isinstance(group, Message))
    assert whole["Reporting-MTA"] == "dns; mail.example.org"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")


def test_png_is_valid() -> None:
    octets = png(3, 2)
    assert octets.startswith(b"\x89PNG\r\n\x1a\n")
    position, kinds = 8, []
    while position < len(octets):
        length = int.from_bytes(octets[position : position + 4], "big")
        chunk = octets[position + 4 : position + 8 + length]
        assert int.from_bytes(octets[position + 8 + length : position + 12 + length], "big") == zlib.crc32(chunk)
        kinds.append(chunk[:4])
        if kinds[-1] == b"IDAT":
            assert len(zlib.decompress(chunk[4:])) == 2 * (1 + 3 * 3)
        position += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


def test_pdf_references_are_exact() -> None:
    octets = pdf(("a (b) \\ c",))
    (found,) = re.findall(rb"startxref\n(\d+)\n%%EOF\n$", octets)
    start = int(found)
    assert octets[start:].startswith(b"xref\n0 6\n")
    for number, offset in enumerate(re.findall(rb"(\d{10}) 00000 n \n", octets), 1):
        assert octets[int(offset) :].startswith(b"%d 0 obj\n" % number)
    ((length, stream),) = re.findall(rb"/Length (\d+) >>\nstream\n(.*?)\nendstream", octets, re.DOTALL)
    assert int(length) == len(stream)
    assert rb"a \(b\) \\ c" in stream


def test_later_never_ends_and_never_repeats() -> None:
    made = list(itertools.islice(later("support@example.test"), 40))
    messages = [email.message_from_bytes(sample.octets) for sample in made]
    assert len({message["Message-ID"] for message in messages}) == 40
    assert len({sample.name for sample in made}) == 40
    for message in messages:
        assert not message.defects
        assert getaddresses([message["To"]]) == [("", "support@example.test")]
