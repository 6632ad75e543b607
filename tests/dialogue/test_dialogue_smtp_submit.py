"""What is said to submission servers of every kind while a message is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from postroom.drivers.limits import Limits
from postroom.outbound import Body, DeliveryStatus, Envelope, Octets, Recipient, RecipientState
from submission import BYE, LINES, SENDS, Marks, Streamed, brief, hello, plainly, sent, submitting, to

SENT, PENDING, FAILED, DOUBT = RecipientState.SENT, RecipientState.PENDING, RecipientState.FAILED, RecipientState.DOUBT


# --- a message that is taken ------------------------------------------------------------------------------------------


async def test_pipelined_where_the_server_takes_it() -> None:
    script = (
        hello() + SENDS + LINES + "S: 250 2.0.0 queued as 7\n" + SENDS + LINES + "S: 250-2.0.0 queued\nS: 250 2.0.0 as 8\n" + BYE
    )
    async with submitting(script) as submitter:
        marks = Marks()
        assert await sent(submitter, marks=marks) == [DeliveryStatus("x@y.z", SENT, 250, "2.0.0", "queued as 7")]
        assert marks.seen == [["x@y.z"]]
        assert submitter.stands()
        assert (await sent(submitter))[0].words == "queued as 8"


async def test_one_command_at_a_time_where_it_does_not() -> None:
    script = plainly() + "C: MAIL FROM:<a@b.c>\nS: 250 ok\nC: RCPT TO:<x@y.z>\nS: 250 ok\nC: RCPT TO:<y@y.z>\nS: 251 will forward\n"
    script += "C: DATA\nS: 354 go\n" + LINES + "S: 250 ok\n" + BYE
    async with submitting(script) as submitter:
        assert [status.state for status in await sent(submitter, to("x@y.z", "y@y.z"))] == [SENT, SENT]


async def test_a_server_without_extensions() -> None:
    script = "S: 220 hello\nC: EHLO [127.0.0.1]\nS: 502 what?\nC: HELO [127.0.0.1]\nS: 250 hello\nC: MAIL FROM:<>\nS: 250 ok\n"
    script += "C: RCPT TO:<x@y.z>\nS: 250 ok\nC: DATA\nS: 354 go\n" + LINES + "S: 250 ok\n" + BYE
    async with submitting(script) as submitter:
        assert (await sent(submitter, to(mail_from="", envid="e", ret="FULL")))[0].state is SENT


@pytest.mark.parametrize(
    ("presents", "said"), [("mail.example.org", "mail.example.org"), ("192.0.2.7", "[192.0.2.7]"), ("::1", "[IPv6:::1]")]
)
async def test_the_name_under_which_we_present_ourselves_may_be_chosen(presents: str, said: str) -> None:
    script = hello().replace("[127.0.0.1]", said) + SENDS + LINES + "S: 250 ok\n" + BYE
    async with submitting(script, presents=presents) as submitter:
        assert (await sent(submitter))[0].state is SENT


async def test_dots_are_doubled_and_the_last_line_is_ended() -> None:
    script = hello() + SENDS + "C: ..\nC: ..x\nC: a.\nC: .\nS: 250 ok\n" + SENDS + "C: .\nS: 250 ok\n" + BYE
    async with submitting(script) as submitter:
        assert (await sent(submitter, content=Octets(b".\r\n.x\r\na.")))[0].state is SENT
        assert (await sent(submitter, content=Octets(b"")))[0].state is SENT


async def test_what_the_server_offers_is_used_and_nothing_else() -> None:
    full = to(envid="id 1", ret="HDRS", body=Body.EIGHT_BIT, smtputf8=True)
    full = replace(full, recipients=(Recipient("ü@y.z", ("SUCCESS", "DELAY"), "rfc822;o@y.z"),))
    told = "C: MAIL FROM:<a@b.c> SIZE=21 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+201\n"
    told += "C: RCPT TO:<ü@y.z> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@y.z\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
    script = hello("SIZE 1000", "8BITMIME", "SMTPUTF8", "DSN", "X-ELSE") + told + LINES + "S: 250 ok\n"
    script += SENDS.replace("<a@b.c>", "<a@b.c> SIZE=21") + LINES + "S: 250 ok\n" + BYE
    async with submitting(script) as submitter:
        assert (await sent(submitter, full))[0].state is SENT
        assert (await sent(submitter))[0].state is SENT
    asks = replace(to(envid="id 1", ret="HDRS"), recipients=(Recipient("x@y.z", ("SUCCESS",), "rfc822;o@y.z"),))
    async with submitting(hello() + SENDS + LINES + "S: 250 ok\n" + BYE) as submitter:
        assert (await sent(submitter, asks))[0].state is SENT


async def test_many_recipients_go_in_groups() -> None:
    addresses = [f"r{n}@y.z" for n in range(150)]
    script = hello() + "C: MAIL FROM:<a@b.c>\n" + "".join(f"C: RCPT TO:<{a}>\n" for a in addresses[:99]) + "S: 250 ok\n" * 100
    script += "".join(f"C: RCPT TO:<{a}>\n" for a in addresses[99:]) + "C: DATA\n" + "S: 250 ok\n" * 51 + "S: 354 go\n"
    script += LINES + "S: 250 ok\n" + BYE
    async with submitting(script) as submitter:
        statuses = await sent(submitter, to(*addresses))
        assert [(status.address, status.state) for status in statuses] == [(address, SENT) for address in addresses]


# --- what a server cannot take ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offers", "envelope", "size", "enhanced", "words"),
    [
        pytest.param(("SIZE 20",), to(), 21, "5.3.4", "20 octets at most; this one has 21", id="size"),
        pytest.param((), to(body=Body.EIGHT_BIT), 21, "5.6.3", "8BITMIME", id="8bit"),
        pytest.param(("BINARYMIME",), to(body=Body.BINARY), 21, "5.6.3", "CHUNKING", id="binary"),
        pytest.param(("8BITMIME",), to(smtputf8=True), 21, "5.6.9", "encoded words", id="header"),
        pytest.param(("8BITMIME",), to("ü@y.z", smtputf8=True), 21, "5.6.7", "an address is not ASCII", id="address"),
    ],
)
async def test_what_the_server_lacks_is_named_and_nothing_is_sent(
    offers: Sequence[str], envelope: Envelope, size: int, enhanced: str, words: str
) -> None:
    async with submitting(hello(*offers) + BYE) as submitter:
        marks = Marks()
        (status,) = await sent(submitter, envelope, Octets(b"x" * size), marks)
        assert (status.state, status.code, status.enhanced, marks.seen) == (FAILED, 0, enhanced, [])
        assert words in status.words
        assert submitter.stands()


@pytest.mark.parametrize("octets", [b"a\n.\nb\r\n", b"a\r.\r\n", b"a\r\n.\r\n\n"])
async def test_a_bare_line_end_is_not_sent(octets: bytes) -> None:
    async with submitting(hello() + BYE) as submitter:
        (status,) = await sent(submitter, content=Octets(octets))
        assert (status.state, status.enhanced) == (FAILED, "5.6.0")
        assert "CR or LF stands alone" in status.words


async def test_a_bare_line_end_in_the_middle_of_a_long_message_ends_it_without_its_dot() -> None:
    async with submitting(hello() + SENDS + "C: a\nC: b\n") as submitter:
        marks = Marks()
        (status,) = await sent(submitter, content=Streamed([b"a\r\nb\r\n", b"c\n.\n"]), marks=marks)
        assert (status.state, status.enhanced, marks.seen) == (FAILED, "5.6.0", [])
        assert not submitter.stands()


@pytest.mark.parametrize("address", ["x@y.z>\r\nDATA", "x y@z", "x\0@y.z"])
async def test_an_address_that_is_a_command_fails_and_nothing_is_sent(address: str) -> None:
    async with submitting(hello() + BYE) as submitter:
        assert brief(await sent(submitter, to(address))) == [(address, FAILED, 0, "5.5.4")]
        assert (await sent(submitter, to(mail_from=address)))[0].state is FAILED


# --- chunks -----------------------------------------------------------------------------------------------------------

BINARY = to(body=Body.BINARY)
BOTH = "C: MAIL FROM:<a@b.c>\nC: RCPT TO:<x@y.z>\nS: 250 ok\nS: 250 ok\n"
CHUNKS = hello("CHUNKING", "BINARYMIME") + BOTH


async def test_a_message_goes_in_one_chunk_where_the_server_takes_it() -> None:
    script = CHUNKS + "C: BDAT 6 LAST\nC: a\nC: .\nS: 250 ok\n" + BOTH + "C: BDAT 3 LAST\nC: a\nS: 250 ok\n"
    script += (
        BOTH
        + "C: BDAT 0 LAST\nS: 250 ok\n"
        + BOTH.replace("<a@b.c>", "<a@b.c> BODY=BINARYMIME")
        + "C: BDAT 3 LAST\nC: b\nS: 250 ok\n"
    )
    async with submitting(script + BYE) as submitter:
        marks = Marks()
        for envelope, octets in ((to(), b"a\r\n.\r\n"), (to(), b"a"), (to(), b""), (BINARY, b"b\r\n")):
            assert (await sent(submitter, envelope, Octets(octets), marks))[0].state is SENT
        assert marks.seen == [["x@y.z"]] * 4


async def test_chunks_one_ahead_of_their_replies() -> None:
    script = CHUNKS + "C: BDAT 3\nC: a\nC: BDAT 3\nC: .\nS: 250 ok\nC: BDAT 3\nC: b\nS: 250 ok\n"
    script += "C: BDAT 3 LAST\nC: c\nS: 250 ok\nS: 250 2.0.0 all\n" + BYE
    async with submitting(script) as submitter:
        marks = Marks()
        long = Streamed([b"a\r\n", b"", b".\r\n", b"b\r\n", b"c"])
        assert brief(await sent(submitter, content=long, marks=marks)) == [("x@y.z", SENT, 250, "2.0.0")]
        assert marks.seen == [["x@y.z"]]


async def test_of_a_large_chunk_the_end_alone_is_the_last() -> None:
    line = "C: " + "x" * 62 + "\n"
    script = CHUNKS + "C: BDAT 16384\n" + line * 256 + "C: BDAT 512 LAST\n" + line * 8 + "S: 250 ok\nS: 250 ok\n" + BYE
    async with submitting(script) as submitter:
        assert (await sent(submitter, content=Octets((b"x" * 62 + b"\r\n") * 264)))[0].state is SENT


async def test_chunks_one_by_one_where_nothing_may_be_in_flight() -> None:
    script = plainly("CHUNKING") + "C: MAIL FROM:<a@b.c>\nS: 250 ok\nC: RCPT TO:<x@y.z>\nS: 250 ok\n"
    script += "C: BDAT 3\nC: a\nS: 250 ok\nC: BDAT 3 LAST\nC: b\nS: 250 ok\n" + BYE
    async with submitting(script) as submitter:
        assert (await sent(submitter, content=Streamed([b"a\r\n", b"b\r\n"])))[0].state is SENT


@pytest.mark.parametrize(
    ("pieces", "begun"),
    [
        pytest.param([b"a\r\n", b"b\n"], False, id="lf"),
        pytest.param([b"a\r\n", b"b\r"], True, id="cr-at-the-end"),
        pytest.param([b"a\r\n", b"b\r", b"c\r\n"], True, id="cr-between-pieces"),
    ],
)
async def test_a_bare_line_end_ends_a_long_message_without_its_last_chunk(pieces: Sequence[bytes], begun: bool) -> None:
    async with submitting(CHUNKS + ("C: BDAT 3\nC: a\n" if begun else "")) as submitter:
        marks = Marks()
        (status,) = await sent(submitter, content=Streamed(pieces), marks=marks)
        assert (status.state, status.enhanced, marks.seen) == (FAILED, "5.6.0", [])


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        pytest.param("S: 552 5.3.4 too big\nS: 503 no\n", FAILED, id="too-big"),
        pytest.param("S: 452 4.3.1 no room\nS: 503 no\n", PENDING, id="no-room"),
    ],
)
async def test_a_chunk_that_is_refused_ends_the_transaction(answers: str, state: RecipientState) -> None:
    script = CHUNKS + "C: BDAT 3\nC: a\nC: BDAT 3\nC: b\n" + answers + "C: RSET\nS: 250 ok\n" + BYE
    async with submitting(script) as submitter:
        marks = Marks()
        assert (await sent(submitter, content=Streamed([b"a\r\n", b"b\r\n", b"c\r\n"]), marks=marks))[0].state is state
        assert marks.seen == []
        assert submitter.stands()


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        pytest.param("S: 452 4.3.1 no room\nS: 503 no\n", PENDING, id="refused"),
        pytest.param("S: 421 4.3.1 bye\n[CLOSE]\n", PENDING, id="421"),
        pytest.param("S: 250 ok\n[CLOSE]\n", DOUBT, id="lost"),
        pytest.param("S: 452 4.3.1 no room\nS: 250 ok\n", DOUBT, id="taken-without-a-chunk"),
    ],
)
async def test_p27_the_answers_to_the_last_chunks(answers: str, state: RecipientState) -> None:
    script = CHUNKS + "C: BDAT 3\nC: a\nC: BDAT 3 LAST\nC: b\n" + answers
    async with submitting(script + (BYE if "503" in answers else "")) as submitter:
        assert (await sent(submitter, content=Streamed([b"a\r\n", b"b\r\n"])))[0].state is state


# --- several transactions ---------------------------------------------------------------------------------------------


def transaction(*addresses: str) -> str:
    lines = "C: MAIL FROM:<a@b.c>\n" + "".join(f"C: RCPT TO:<{address}>\n" for address in addresses) + "C: DATA\n"
    return lines + "S: 250 ok\n" * (1 + len(addresses)) + "S: 354 go\n" + LINES + "S: 250 ok\n"


@pytest.mark.parametrize(
    ("offer", "limits", "groups"),
    [
        pytest.param("HELP", Limits(recipients=2), (("1@a", "2@a"), ("3@b",)), id="provider"),
        pytest.param("LIMITS RCPTMAX=2", Limits(), (("1@a", "2@a"), ("3@b",)), id="server"),
        pytest.param("LIMITS RCPTMAX=1", Limits(recipients=2), (("1@a",), ("2@a",), ("3@b",)), id="the-lesser"),
        pytest.param("LIMITS RCPTDOMAINMAX=1", Limits(), (("1@a", "2@a"), ("3@b",)), id="domains"),
        pytest.param("LIMITS RCPTMAX=3", Limits(recipients=3), (("1@a", "2@a", "3@b"),), id="enough"),
    ],
)
async def test_more_recipients_than_one_transaction_takes_go_in_several(
    offer: str, limits: Limits, groups: Sequence[Sequence[str]]
) -> None:
    async with submitting(hello(offer) + "".join(transaction(*group) for group in groups) + BYE, limits=limits) as submitter:
        marks = Marks()
        statuses = await sent(submitter, to("1@a", "2@a", "3@b"), marks=marks)
        assert [(status.address, status.state) for status in statuses] == [("1@a", SENT), ("2@a", SENT), ("3@b", SENT)]
        assert marks.seen == [list(group) for group in groups]


async def test_no_more_messages_than_the_server_takes_over_one_connection() -> None:
    script = hello("LIMITS RCPTMAX=1 MAILMAX=2") + transaction("1@a") + transaction("2@a") + BYE
    async with submitting(script) as submitter:
        statuses = await sent(submitter, to("1@a", "2@a", "3@a"))
        assert [status.state for status in statuses] == [SENT, SENT, PENDING]
        assert statuses[2].words == "the conversation ended before these recipients' turn"
        assert not submitter.stands()


@pytest.mark.parametrize(
    "answer", ["S: 421 4.3.0 going down\n", "S: 432 4.3.2 busy\nS: 503 no\nS: 503 no\n", "[CLOSE]\n", "S: what?\n"]
)
async def test_what_was_sent_stays_sent_where_a_later_transaction_comes_to_nothing(answer: str) -> None:
    script = hello("LIMITS RCPTMAX=1") + transaction("1@a") + "C: MAIL FROM:<a@b.c>\nC: RCPT TO:<2@a>\nC: DATA\n" + answer
    async with submitting(script) as submitter:
        marks = Marks()
        statuses = await sent(submitter, to("1@a", "2@a", "3@a"), marks=marks)
        assert [status.state for status in statuses] == [SENT, PENDING, PENDING]
        assert marks.seen == [["1@a"]]
        assert not submitter.stands()
