"""What becomes of each recipient by what a server answers, or does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from fakes import HandClock, kit, place
from postroom.clock import SystemClock
from postroom.drivers.smtp import AFTER_THE_END, SmtpSubmitter, open_smtp
from postroom.errors import (
    LoginRefused,
    Lost,
    NetworkError,
    PostroomError,
    SmtpReply,
    StoreError,
    Throttled,
    TimedOut,
    TlsError,
)
from postroom.outbound import Octets, RecipientState
from submission import BYE, LINES, SENDS, TEXT, Marks, Streamed, brief, hello, plainly, sent, submitting, to

SENT, PENDING, FAILED, DOUBT = RecipientState.SENT, RecipientState.PENDING, RecipientState.FAILED, RecipientState.DOUBT
RESET = "C: RSET\nS: 250 ok\n"


# --- recipients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipelining", [True, False])
async def test_each_recipient_has_its_own_answer(pipelining: bool) -> None:
    mail, rcpts = "C: MAIL FROM:<a@b.c>\n", [f"C: RCPT TO:<{n}@y.z>\n" for n in "1234"]
    answers = [
        "S: 250 2.1.5 ok\n",
        "S: 550-5.1.1 no such\nS: 550 5.1.1 user\n",
        "S: 450 4.2.0 greylisted\n",
        "S: 452 4.5.3 too many\n",
    ]
    if pipelining:
        script = hello() + mail + "".join(rcpts) + "C: DATA\nS: 250 ok\n" + "".join(answers) + "S: 354 go\n"
    else:
        script = (
            plainly() + mail + "S: 250 ok\n" + "".join(a + b for a, b in zip(rcpts, answers, strict=True)) + "C: DATA\nS: 354 go\n"
        )
    async with submitting(script + LINES + "S: 250 2.0.0 ok\n" + BYE) as submitter:
        marks = Marks()
        statuses = await sent(submitter, to(*[f"{n}@y.z" for n in "1234"]), marks=marks)
        assert brief(statuses) == [
            ("1@y.z", SENT, 250, "2.0.0"),
            ("2@y.z", FAILED, 550, "5.1.1"),
            ("3@y.z", PENDING, 450, "4.2.0"),
            ("4@y.z", PENDING, 452, "4.5.3"),
        ]
        assert statuses[1].words == "no such user"
        assert marks.seen == [["1@y.z"]]


async def test_552_for_too_many_recipients_is_for_now() -> None:
    script = hello() + "C: MAIL FROM:<a@b.c>\nC: RCPT TO:<1@y.z>\nC: RCPT TO:<2@y.z>\nC: RCPT TO:<3@y.z>\nC: DATA\n"
    script += (
        "S: 250 ok\nS: 250 ok\nS: 552 Too many recipients\nS: 552 5.2.2 mailbox full\nS: 354 go\n" + LINES + "S: 250 ok\n" + BYE
    )
    async with submitting(script) as submitter:
        assert [status.state for status in await sent(submitter, to("1@y.z", "2@y.z", "3@y.z"))] == [SENT, PENDING, FAILED]


NONE_LEFT = "C: MAIL FROM:<a@b.c>\nC: RCPT TO:<x@y.z>\nC: DATA\nS: 250 ok\nS: 550 5.1.1 no\n"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(hello() + NONE_LEFT + "S: 554 5.5.1 no valid recipients\n" + RESET, id="pipelined"),
        pytest.param(hello() + NONE_LEFT + "S: 354 go\nC: .\nS: 554 none\n", id="go-all-the-same"),
        pytest.param(plainly() + "C: MAIL FROM:<a@b.c>\nS: 250 ok\nC: RCPT TO:<x@y.z>\nS: 550 5.1.1 no\n" + RESET, id="one-by-one"),
    ],
)
async def test_nothing_is_sent_where_no_recipient_is_left(script: str) -> None:
    async with submitting(script + sends_like(script) + LINES + "S: 250 ok\n" + BYE) as submitter:
        marks = Marks()
        assert brief(await sent(submitter, marks=marks)) == [("x@y.z", FAILED, 550, "5.1.1")]
        assert marks.seen == []
        assert (await sent(submitter))[0].state is SENT  # the conversation goes on


def sends_like(script: str) -> str:
    if "PIPELINING" in script:
        return SENDS
    return "C: MAIL FROM:<a@b.c>\nS: 250 ok\nC: RCPT TO:<x@y.z>\nS: 250 ok\nC: DATA\nS: 354 go\n"


@pytest.mark.parametrize("answer", ["S: 502 no\n", "[CLOSE]\n"])
async def test_a_conversation_that_cannot_be_reset_is_not_used_again(answer: str) -> None:
    async with submitting(hello() + NONE_LEFT + "S: 554 none\nC: RSET\n" + answer) as submitter:
        assert (await sent(submitter))[0].state is FAILED
        assert not submitter.stands()


# --- the message ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "state", "code", "enhanced"),
    [
        pytest.param("550 5.7.1 not as this sender", FAILED, 550, "5.7.1", id="policy"),
        pytest.param("553 5.1.8 no such domain", FAILED, 553, "5.1.8", id="domain"),
        pytest.param("552 5.3.4 too big", FAILED, 552, "5.3.4", id="size"),
        pytest.param("452 4.3.1 no room", PENDING, 452, "4.3.1", id="room"),
        pytest.param("451 try later", PENDING, 451, "", id="later"),
    ],
)
async def test_a_sender_that_is_refused(answer: str, state: RecipientState, code: int, enhanced: str) -> None:
    script = hello() + "C: MAIL FROM:<a@b.c>\nC: RCPT TO:<x@y.z>\nC: DATA\n" + f"S: {answer}\nS: 503 no\nS: 503 no\n" + RESET
    async with submitting(script + BYE) as submitter:
        marks = Marks()
        assert brief(await sent(submitter, marks=marks)) == [("x@y.z", state, code, enhanced)]
        assert marks.seen == []
        assert submitter.stands()


@pytest.mark.parametrize(("answer", "state"), [("554 5.6.0 no", FAILED), ("451 4.3.0 no", PENDING)])
async def test_content_that_is_refused_before_it_is_sent(answer: str, state: RecipientState) -> None:
    async with submitting(hello() + SENDS.replace("354 go", answer) + RESET + BYE) as submitter:
        marks = Marks()
        assert (await sent(submitter, marks=marks))[0].state is state
        assert marks.seen == []


@pytest.mark.parametrize(
    ("answer", "state", "stands"),
    [
        pytest.param("S: 250 2.0.0 ok\n", SENT, True, id="taken"),
        pytest.param("S: 451 4.3.0 later\n", PENDING, True, id="later"),
        pytest.param("S: 554 5.7.1 spam\n", FAILED, True, id="never"),
        pytest.param("S: 421 4.3.2 going down\n[CLOSE]\n", PENDING, None, id="421"),
        pytest.param("[CLOSE]\n", DOUBT, False, id="closed"),
        pytest.param("[RESET]\n", DOUBT, False, id="reset"),
        pytest.param("[STALL]\n", DOUBT, False, id="silent"),
        pytest.param("S: 354 go on\n", DOUBT, False, id="354"),
        pytest.param("S: what?\n", DOUBT, False, id="noise"),
        pytest.param("s: 250 2.0.0 o\n[CLOSE]\n", DOUBT, False, id="half"),
    ],
)
async def test_p27_the_answer_to_the_end_of_a_message(answer: str, state: RecipientState, stands: bool | None) -> None:
    async with submitting(hello() + SENDS + LINES + answer + (BYE if stands else ""), timeout=0.3, patience=0.3) as submitter:
        marks = Marks()
        (status,) = await sent(submitter, marks=marks)
        assert status.state is state
        assert marks.seen == [["x@y.z"]]
        assert stands is None or submitter.stands() is stands
        if state is DOUBT:
            assert status.words.startswith("no answer to the end of the message: ")
            assert (status.code, status.enhanced) == (0, "")
        if stands is None:
            with pytest.raises(Lost, match=r"421 4\.3\.2 going down"):
                await submitter.check()


@pytest.mark.parametrize(("timeout", "patience"), [(0.1, 0.3), (0.3, 0.1)])
async def test_the_answer_to_the_end_has_a_patience_of_its_own_that_protocol_timeout_can_only_raise(
    timeout: float, patience: float
) -> None:
    async with submitting(hello() + SENDS + LINES + "[STALL]\n", timeout=timeout, patience=patience) as submitter:
        (status,) = await sent(submitter)
        assert status.words.endswith("within 0.3 s")
    assert AFTER_THE_END == 600  # RFC 5321 section 4.5.3.2.6


# --- the account ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "answers", "kind", "limit"),
    [
        pytest.param(
            "microsoft", "S: 432 4.3.2 Concurrent connections limit exceeded\nS: 503 a\nS: 503 b\n", Throttled, 3, id="432"
        ),
        pytest.param(
            "microsoft",
            "S: 421 4.4.2 Message submission rate for this client has exceeded the configured limit\n[CLOSE]\n",
            Throttled,
            None,
            id="rate",
        ),
        pytest.param(
            "microsoft", "S: 530 5.7.57 Client not authenticated to send mail\nS: 503 a\nS: 503 b\n", LoginRefused, None, id="530"
        ),
        pytest.param(
            "microsoft", "S: 550 5.7.30 Basic authentication is not supported\nS: 503 a\nS: 503 b\n", LoginRefused, None, id="5730"
        ),
        pytest.param("google", "S: 550 5.4.5 Daily user sending limit exceeded\nS: 503 a\nS: 503 b\n", Throttled, None, id="day"),
        pytest.param("google", "S: 421 4.7.0 Try again later, closing connection.\n[CLOSE]\n", Throttled, None, id="421"),
        pytest.param("", "S: 250 ok\nS: 530 5.7.0 Authentication required\nS: 554 no\n", LoginRefused, None, id="rcpt"),
        pytest.param("", "S: 250 ok\nS: 250 ok\nS: 454 4.7.0 Temporary authentication failure\n", SmtpReply, None, id="454"),
        pytest.param("", "S: 530 5.7.0 Must issue a STARTTLS command first\nS: 503 a\nS: 503 b\n", TlsError, None, id="tls"),
        pytest.param("", "S: 250 ok\nS: 554 5.7.1 <x@y.z>: Relay access denied\nS: 554 no\n", LoginRefused, None, id="relay"),
        pytest.param("", "S: 250 ok\nS: 421 4.3.0 going down\n[CLOSE]\n", Lost, None, id="closing"),
        pytest.param("", "S: 250 ok\n[CLOSE]\n", Lost, None, id="lost"),
    ],
)
async def test_p28_what_concerns_the_account_fails_no_message(
    provider: str, answers: str, kind: type[PostroomError], limit: int | None
) -> None:
    script = hello("AUTH PLAIN") + "C: MAIL FROM:<a@b.c>\nC: RCPT TO:<x@y.z>\nC: DATA\n" + answers
    async with submitting(script, provider=provider) as submitter:
        marks = Marks()
        with pytest.raises(PostroomError) as caught:
            await sent(submitter, marks=marks)
        assert type(caught.value) is kind
        assert caught.value.remedy
        assert getattr(caught.value, "limit", None) == limit
        assert marks.seen == []
        assert not submitter.stands()


async def test_p28_the_last_answer_may_speak_of_the_account() -> None:
    script = hello() + SENDS + LINES + "S: 550-5.4.5 Daily user sending\nS: 550 5.4.5 limit exceeded\n" + BYE
    async with submitting(script, provider="google") as submitter:
        assert brief(await sent(submitter)) == [("x@y.z", PENDING, 550, "5.4.5")]
        assert submitter.stands()
        with pytest.raises(Throttled, match="Daily user sending limit exceeded") as caught:
            await sent(submitter)
        assert caught.value.retry_after == 3600
        assert "24 hours" in caught.value.remedy


async def test_a_silent_server_before_the_end_changes_nothing() -> None:
    async with submitting(hello() + "C: MAIL FROM:<a@b.c>\nC: RCPT TO:<x@y.z>\nC: DATA\n[STALL]\n", timeout=0.3) as submitter:
        with pytest.raises(TimedOut):
            await sent(submitter)
        assert not submitter.stands()


# --- what reaches a server, and when ----------------------------------------------------------------------------------

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[tuple[int, bytearray]]:
    """A server that notes all octets behind its 354."""
    seen = bytearray()
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await serve(reader, writer)
            while octets := await reader.read(65536):
                seen.extend(octets)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1], seen
        await asyncio.gather(*tasks)


async def until_data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 hello\r\n")
    await reader.readline()
    writer.write(b"250-hello\r\n250 PIPELINING\r\n")
    await reader.readuntil(b"DATA\r\n")
    writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - of octets that cross a real socket
            await asyncio.sleep(0)


@asynccontextmanager
async def connected(serve: Serve = until_data) -> AsyncIterator[tuple[SmtpSubmitter, bytearray]]:
    async with server(serve) as (port, seen), open_smtp(place(port), None, kit(HandClock()), None) as submitter:
        yield submitter, seen


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([b"x" * 70 + b"\r\n", b".\r\n.", b"\r\n"] * 4000, id="pieces"),
        pytest.param([(b"x" * 70 + b"\r\n.\r\n.\r\n") * 4000], id="one-piece"),
    ],
)
async def test_p27_nothing_complete_reaches_the_server_before_the_mark(parts: Sequence[bytes]) -> None:
    whole = b"".join(parts)
    async with connected() as (submitter, seen):

        async def commit(addresses: Sequence[str]) -> None:
            await until(lambda: len(seen) >= len(whole) + 2 * 4000)  # all of it is there, with its doubled dots …
            await asyncio.sleep(0)
            assert b"\r\n.\r\n" not in seen  # … and no end
            raise StoreError("no mark")

        with pytest.raises(StoreError):
            await submitter.submit(to(), Octets(whole) if len(parts) == 1 else Streamed(parts), commit)
        assert not submitter.stands()
    assert b"\r\n.\r\n" not in seen


@pytest.mark.parametrize("error", [StoreError("no mark"), asyncio.CancelledError()])
async def test_p27_without_a_mark_no_octet_of_a_small_message_leaves(error: BaseException) -> None:
    async with connected() as (submitter, seen):
        with pytest.raises(type(error)):
            await sent(submitter, marks=Marks(error=error))
        assert not submitter.stands()
    assert seen == b""


async def test_p27_a_store_that_fails_in_the_middle_never_finishes_the_message() -> None:
    async with connected() as (submitter, seen):
        marks = Marks()
        with pytest.raises(StoreError):
            await sent(submitter, content=Streamed([b"a\r\n"] * 10, StoreError("gone")), marks=marks)
        assert marks.seen == []
        assert not submitter.stands()
    assert b"\r\n.\r\n" not in seen


async def test_a_store_that_fails_before_anything_was_sent_leaves_the_conversation_alone() -> None:
    class Broken(Streamed):
        @property
        def size(self) -> int:
            return 10

    async with submitting(hello() + SENDS + LINES + "S: 250 ok\n" + BYE) as submitter:
        with pytest.raises(StoreError):
            await sent(submitter, content=Broken([], StoreError("gone")))
        assert (await sent(submitter, content=TEXT))[0].state is SENT


async def test_a_connection_that_is_lost_before_the_end_could_leave_is_no_doubt() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until_data(reader, writer)
        await writer.drain()
        writer.close()

    async with connected(hang_up) as (submitter, _):

        async def commit(addresses: Sequence[str]) -> None:
            await until(lambda: not submitter.stands())

        (status,) = await submitter.submit(to(), TEXT, commit)
        assert (status.state, status.words) == (PENDING, "the connection was lost before the end of the message was sent")


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        pytest.param(
            b"250 2.0.0 queued\r\n", PENDING, "answered before the end of the message was sent: 250 2.0.0 queued", id="yes"
        ),
        pytest.param(b"250-half\r\n", PENDING, "answered before the end of the message was sent", id="half"),
        pytest.param(b"550 5.1.1 once more\r\n", FAILED, "once more", id="no"),
        pytest.param(b"421 4.3.2 going down\r\n", PENDING, "going down", id="421"),
    ],
)
async def test_p27_an_answer_before_the_end_is_none_and_the_end_is_not_sent(
    answer: bytes, state: RecipientState, words: str
) -> None:
    """Taken for the answer it would tell of mail that the server has refused that it was sent, or the other way round."""

    async def say_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until_data(reader, writer)
        writer.write(answer)

    async with connected(say_more) as (submitter, seen):

        async def commit(addresses: Sequence[str]) -> None:
            await until(lambda: not submitter._session.replies.empty)

        (status,) = await submitter.submit(to(), TEXT, commit)
        assert (status.state, status.words[-len(words) :]) == (state, words)
        assert not submitter._session.stream.open
    assert seen == b""


async def test_a_reply_that_drips_for_ever_ends_with_its_time() -> None:
    """Each octet in time, and the reply never: the conversation would be held for days."""
    dripped = 0

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dripped
        await until_data(reader, writer)
        await reader.readuntil(b"\r\n.\r\n")
        while dripped < 10_000:
            writer.write(b"250-a\r\n")
            await writer.drain()
            dripped += 1
            await asyncio.sleep(0.01)

    async with (
        server(drip) as (port, _),
        open_smtp(replace(place(port), protocol_timeout=0.3), None, kit(SystemClock()), None, patience=0.3) as submitter,
    ):
        (status,) = await sent(submitter)
        assert status.state is DOUBT
        assert "within" in status.words
    assert 0 < dripped < 1000


async def test_a_server_that_breaks_a_long_message_off_by_a_reply() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until_data(reader, writer)
        await reader.readexactly(1000)
        writer.write(b"552 5.3.4 that is too much\r\n")
        writer.write_eof()

    async with connected(refuse) as (submitter, _):
        marks = Marks()
        statuses = await sent(submitter, content=Streamed([(b"x" * 70 + b"\r\n") * 1000] * 200), marks=marks)
        assert brief(statuses) == [("x@y.z", FAILED, 552, "5.3.4")]
        assert marks.seen == []
        assert not submitter.stands()


# --- a conversation at rest -------------------------------------------------------------------------------------------


async def test_a_conversation_at_rest_is_checked() -> None:
    async with submitting(hello() + "C: NOOP\nS: 250 ok\n" + BYE) as submitter:
        await submitter.check()
        assert submitter.stands()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("S: 421 4.4.2 idle for too long\n[CLOSE]\n", Lost),
        ("[CLOSE]\n", Lost),
        ("S: 500 what?\n", SmtpReply),
        ("[STALL]\n", TimedOut),
    ],
)
async def test_a_conversation_that_is_over_is_found_out(answer: str, kind: type[PostroomError]) -> None:
    async with submitting(hello() + "C: NOOP\n" + answer, timeout=0.3) as submitter:
        with pytest.raises(kind):
            await submitter.check()
        assert not submitter.stands()


async def test_what_comes_unasked_announces_the_end() -> None:
    async def timed_out(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        await reader.readline()
        writer.write(b"250 hello\r\n421 4.4.2 idle for too long\r\n")

    async with connected(timed_out) as (submitter, _):
        await until(lambda: not submitter.stands())
        with pytest.raises(NetworkError):
            await sent(submitter)
