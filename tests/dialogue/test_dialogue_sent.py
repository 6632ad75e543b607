"""The folder of what was sent: where it is, whether a message is there, and how a copy gets there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from fakes import START, HandClock, ScriptedServer, Traces, kit, place
from postroom.drivers.imap_sent import ImapSent, open_imap_sent
from postroom.errors import ImapStatus, LocalProtocolError, Lost, TimedOut
from postroom.net.credentials import PasswordCredentials
from postroom.outbound import Octets
from postroom.secret import Secret

Opening = Callable[..., AbstractAsyncContextManager[ImapSent]]

ID = "<one@example.org>"
SINCE = START - 300  # START is 2023-11-14 22:13:20 UTC
SEARCH = 'SINCE 12-Nov-2023 HEADER Message-ID "<one@example.org>"'
ITEMS = "(UID INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID X-GOOGLE-ORIGINAL-MESSAGE-ID X-MICROSOFT-ORIGINAL-MESSAGE-ID)])"
FIELDS = "BODY[HEADER.FIELDS (MESSAGE-ID X-GOOGLE-ORIGINAL-MESSAGE-ID X-MICROSOFT-ORIGINAL-MESSAGE-ID)]"
DATE = "14-Nov-2023 22:13:21 +0000"
CONTENT = Octets(b"Message-ID: <one@example.org>\r\n\r\nhello\r\n")
APPEND = f'APPEND "Sent" (\\Seen) "14-Nov-2023 22:13:20 +0000" {{{CONTENT.size}}}'


@pytest.fixture
def opening() -> Opening:
    """``async with opening(script, name=octets) as sent``: the folder of the script's account, to the end of the script."""

    @asynccontextmanager
    async def converse(
        script: str, *, folder: str = "Sent", timeout: float = 5.0, traces: Traces | None = None, **literals: bytes
    ) -> AsyncIterator[ImapSent]:
        password = PasswordCredentials("user", Secret("pw"), (), "", "pop-client-a")
        hands = kit(HandClock())
        trace = traces("pop-client-a") if traces else None
        async with (
            ScriptedServer(script, literals=literals) as server,
            open_imap_sent(place(server.port, timeout=timeout), password, hands, trace, folder) as sent,
        ):
            yield sent

    return converse


def hello(capabilities: str = "") -> str:
    return f"S: * PREAUTH [CAPABILITY IMAP4rev1 {capabilities}] hello\n"


def examined(exists: int = 3, tag: str = "P1", name: str = "Sent", validity: int = 7) -> str:
    return f'C: {tag} EXAMINE "{name}"\nS: * {exists} EXISTS\nS: * OK [UIDVALIDITY {validity}] ok\nS: {tag} OK [READ-ONLY]\n'


def searched(tag: str, *uids: int, criteria: str = SEARCH) -> str:
    return f"C: {tag} UID SEARCH {criteria}\nS: * SEARCH {' '.join(map(str, uids))}\nS: {tag} OK\n"


def shown(tag: str, command: str, *rows: str) -> str:
    return f"C: {tag} {command} {ITEMS}\n" + "".join(f"S: {row}\n" for row in rows) + f"S: {tag} OK\n"


def row(uid: int, literal: str = "id", date: str = DATE) -> str:
    return f'* {uid} FETCH (UID {uid} INTERNALDATE "{date}" {FIELDS} {{{literal}}})'


async def has(opening: Opening, script: str, message_id: str = ID, **literals: bytes) -> bool:
    async with opening(script, **literals) as sent:
        return await sent.has(message_id, SINCE)


# --- is it there? -----------------------------------------------------------------------------------------------------


async def test_p27_found_by_search(opening: Opening) -> None:
    script = hello() + examined() + searched("P2", 3) + shown("P3", "UID FETCH 3", row(3))
    assert await has(opening, script, id=b"Message-ID: <one@example.org>\r\n\r\n")


HEADERS = {
    "folded": b"Message-Id:\r\n <one@example.org>\r\n\r\n",
    "replaced by gmail": b"Message-ID: <x@mx.google.com>\r\nX-Google-Original-Message-ID: <one@example.org>\r\n\r\n",
    "replaced by outlook.com": b"X-Microsoft-Original-Message-ID:\r\n <one@example.org>\r\nMessage-ID: <A@b.outlook.com>\r\n\r\n",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=list(HEADERS))
async def test_p27_found_among_the_newest_where_search_finds_nothing(opening: Opening, header: bytes) -> None:
    """An index that lags behind, or an id that the server gave the message in the place of ours."""
    script = hello() + examined(exists=250) + searched("P2") + shown("P3", "FETCH 151:*", row(250))
    assert await has(opening, script, id=header)


OTHERS = {
    "longer in front": b"Message-ID: <<one@example.org>\r\n\r\n",
    "longer behind": b"Message-ID: <one@example.org>.de\r\n\r\n",
    "in capitals": b"Message-ID: <ONE@example.org>\r\n\r\n",
    "another field": b"In-Reply-To: <one@example.org>\r\n\r\n",
    "none": b"\r\n",
}


@pytest.mark.parametrize("header", OTHERS.values(), ids=list(OTHERS))
async def test_p27_search_finds_parts_and_only_the_same_id_counts(opening: Opening, header: bytes) -> None:
    script = hello() + examined() + searched("P2", 3)
    script += shown("P3", "UID FETCH 3", row(3)) + shown("P4", "FETCH 1:*", row(3))
    assert not await has(opening, script, id=header)


async def test_p27_a_copy_from_before_says_nothing(opening: Opening) -> None:
    """The same message was sent before it was handed in this time."""
    old = row(3, date="14-Nov-2023 22:08:19 +0000")
    script = hello() + examined() + searched("P2", 3) + shown("P3", "UID FETCH 3", old) + shown("P4", "FETCH 1:*", old)
    assert not await has(opening, script, id=b"Message-ID: <one@example.org>\r\n\r\n")


async def test_an_empty_folder(opening: Opening) -> None:
    assert not await has(opening, hello() + examined(exists=0) + searched("P2"))


async def test_search_with_ranges(opening: Opening) -> None:
    script = hello("ESEARCH") + examined()
    script += f'C: P2 UID SEARCH RETURN (ALL) {SEARCH}\nS: * ESEARCH (TAG "P2") UID ALL 2:3\nS: P2 OK\n'
    script += shown("P3", "UID FETCH 2:3", row(2, "other"), row(3))
    assert await has(opening, script, id=b"Message-ID: <one@example.org>\r\n\r\n", other=b"Message-ID: <two@x>\r\n\r\n")


async def test_p27_gmail_is_asked_in_its_own_words(opening: Opening) -> None:
    """Its HEADER does not find every id."""
    script = hello("X-GM-EXT-1") + examined() + searched("P2", 3, criteria='X-GM-RAW "rfc822msgid:!&!one@example.org"')
    script += shown("P3", "UID FETCH 3", row(3))
    assert await has(opening, script, "<!&!one@example.org>", id=b"Message-ID: <!&!one@example.org>\r\n\r\n")


ODD = {
    "quotes": ('<"a b\\c"@example.org>', 'HEADER Message-ID "<\\"a b\\\\c\\"@example.org>"'),
    "no brackets": ("one@example.org", 'HEADER Message-ID "one@example.org"'),
}


@pytest.mark.parametrize(("message_id", "criteria"), ODD.values(), ids=list(ODD))
@pytest.mark.parametrize("capability", ["", "X-GM-EXT-1"], ids=["any", "gmail"])
async def test_odd_ids(opening: Opening, message_id: str, criteria: str, capability: str) -> None:
    """RFC 9051 section 4.3: quoted, for they are ASCII. In Gmail's query they would mean something else."""
    script = hello(capability) + examined() + searched("P2", 3, criteria=f"SINCE 12-Nov-2023 {criteria}")
    script += shown("P3", "UID FETCH 3", row(3))
    assert await has(opening, script, message_id, id=f"Message-ID: {message_id}\r\n\r\n".encode())


async def test_an_id_in_utf8_goes_as_a_literal_with_its_charset(opening: Opening) -> None:
    script = hello() + examined()
    script += "C: P2 UID SEARCH CHARSET UTF-8 SINCE 12-Nov-2023 HEADER Message-ID {17}\nS: + go on\n"
    script += "C: <ü@bücher.test>\nS: * SEARCH 3\nS: P2 OK\n" + shown("P3", "UID FETCH 3", row(3))
    assert await has(opening, script, "<ü@bücher.test>", id="Message-ID: <ü@bücher.test>\r\n\r\n".encode())


async def test_an_id_in_utf8_where_the_server_speaks_it(opening: Opening) -> None:
    script = hello("ENABLE UTF8=ACCEPT LITERAL+") + "C: P1 ENABLE UTF8=ACCEPT\nS: * ENABLED UTF8=ACCEPT\nS: P1 OK\n"
    script += examined(tag="P2") + "C: P3 UID SEARCH SINCE 12-Nov-2023 HEADER Message-ID {17+}\n"
    script += "C: <ü@bücher.test>\nS: * SEARCH 3\nS: P3 OK\n" + shown("P4", "UID FETCH 3", row(3))
    assert await has(opening, script, "<ü@bücher.test>", id="Message-ID: <ü@bücher.test>\r\n\r\n".encode())


async def test_an_id_that_no_search_can_name_is_looked_for_among_the_newest(opening: Opening) -> None:
    assert not await has(opening, hello() + examined() + shown("P2", "FETCH 1:*", row(3)), "<a\0b@x>", id=b"Message-ID: <ab@x>\r\n")


REFUSED = ["S: P2 NO [BADCHARSET] no\n", "S: P2 BAD unknown search-key\n", "S: P2 OK without an answer\n"]


@pytest.mark.parametrize("answer", REFUSED, ids=["no", "bad", "nothing"])
async def test_a_server_that_cannot_search(opening: Opening, answer: str) -> None:
    script = hello() + examined() + f"C: P2 UID SEARCH {SEARCH}\n{answer}" + shown("P3", "FETCH 1:*", row(3))
    assert await has(opening, script, id=b"Message-ID: <one@example.org>\r\n\r\n")


async def test_a_search_that_finds_everything_is_not_followed_to_its_end(opening: Opening) -> None:
    every = " ".join(map(str, range(1, 2001)))
    script = hello() + examined(exists=2000) + f"C: P2 UID SEARCH {SEARCH}\nS: * SEARCH {every}\nS: P2 OK\n"
    script += shown("P3", "UID FETCH 1501:2000") + shown("P4", "FETCH 1901:*")
    assert not await has(opening, script)


async def test_a_look_that_the_server_refuses_is_no_answer(opening: Opening) -> None:
    script = hello() + examined() + searched("P2") + f"C: P3 FETCH 1:* {ITEMS}\nS: P3 NO [UNAVAILABLE] later\n"
    with pytest.raises(ImapStatus, match="UNAVAILABLE"):
        await has(opening, script)


async def test_a_lost_connection_is_no_answer(opening: Opening) -> None:
    with pytest.raises(Lost):
        await has(opening, hello() + examined() + f"C: P2 UID SEARCH {SEARCH}\n[CLOSE]")


async def test_silence_is_no_answer(opening: Opening) -> None:
    with pytest.raises(TimedOut):
        async with opening(hello() + examined() + f"C: P2 UID SEARCH {SEARCH}\n[STALL]", timeout=0.2) as sent:
            await sent.has(ID, SINCE)


# --- which folder? ----------------------------------------------------------------------------------------------------

LISTS = {
    "of that use": ('S: * LIST (\\Sent) "/" "[Gmail]/Gesendet"\nS: * LIST () "/" "Sent"\n', "[Gmail]/Gesendet"),
    "of a usual name": ('S: * LIST () "/" "INBOX"\nS: * LIST () "/" "Gesendete Elemente"\n', "Gesendete Elemente"),
}


@pytest.mark.parametrize(("listed", "name"), LISTS.values(), ids=list(LISTS))
async def test_the_folder_is_found_by_its_use_else_by_its_name(opening: Opening, listed: str, name: str) -> None:
    """RFC 6154. Gmail names the use in every LIST and announces nothing; its folder's name is in the user's language."""
    script = hello() + f'C: P1 LIST "" "*"\n{listed}S: P1 OK\n' + examined(exists=0, tag="P2", name=name) + searched("P3")
    async with opening(script, folder="\\Sent") as sent:
        assert not await sent.has(ID, SINCE)


async def test_no_folder_holds_nothing_and_one_is_made_for_the_copy(opening: Opening) -> None:
    script = hello() + 'C: P1 LIST "" "*"\nS: * LIST () "/" "INBOX"\nS: P1 OK\nC: P2 EXAMINE "Sent"\nS: P2 NO [NONEXISTENT] none\n'
    script += f"C: P3 {APPEND}\nS: P3 NO [TRYCREATE] none\n" + 'C: P4 CREATE "Sent"\nS: P4 OK\n'
    script += _appended("P5")
    async with opening(script, folder="\\Sent") as sent:
        assert not await sent.has(ID, SINCE)
        await sent.file(CONTENT, START)
        assert sent.folder == "Sent"


async def test_no_folder_where_the_server_names_no_code(opening: Opening) -> None:
    script = hello() + 'C: P1 EXAMINE "Sent"\nS: P1 NO no such mailbox\nC: P2 LIST "" "Sent"\nS: P2 OK\n'
    assert not await has(opening, script)


@pytest.mark.parametrize(
    "rest",
    ["S: P1 NO [UNAVAILABLE] later\n", 'S: P1 NO not now\nC: P2 LIST "" "Sent"\nS: * LIST () "/" "Sent"\nS: P2 OK\n'],
    ids=["code", "words"],
)
async def test_a_folder_that_cannot_be_opened_is_no_answer(opening: Opening, rest: str) -> None:
    with pytest.raises(ImapStatus):
        await has(opening, hello() + f'C: P1 EXAMINE "Sent"\n{rest}')


async def test_a_folder_below_the_prefix_of_the_server(opening: Opening) -> None:
    script = hello("NAMESPACE") + 'C: P1 EXAMINE "Sent"\nS: P1 NO no such mailbox\n'
    script += 'C: P2 NAMESPACE\nS: * NAMESPACE (("INBOX." ".")) NIL NIL\nS: P2 OK\n'
    script += examined(exists=0, tag="P3", name="INBOX.Sent") + searched("P4") + _appended("P5", "INBOX.Sent")
    async with opening(script) as sent:
        assert not await sent.has(ID, SINCE)
        await sent.file(CONTENT, START)


# --- filing -----------------------------------------------------------------------------------------------------------


def _appended(tag: str, name: str = "Sent") -> str:
    lines = CONTENT.octets.decode().removesuffix("\r\n").split("\r\n")
    line = APPEND.replace("Sent", name)
    text = "".join(f"C: {line}\n" for line in lines)
    return f"C: {tag} {line}\nS: + go on\n{text}C: \nS: {tag} OK [APPENDUID 7 4] filed\n"


async def test_a_copy_is_filed_read_already_with_the_time_of_its_sending(opening: Opening) -> None:
    traces = Traces()
    async with opening(hello() + _appended("P1"), traces=traces) as sent:
        await sent.file(CONTENT, START)
    assert "hello" not in str(traces.lines[1:]).replace("* PREAUTH", "")
    assert ("C", "{...}") in traces.lines


@pytest.mark.parametrize("capability", ["LITERAL+", "LITERAL-"])
async def test_a_short_copy_waits_for_no_leave_where_none_is_needed(opening: Opening, capability: str) -> None:
    """RFC 7888 sections 4 and 5."""
    script = hello(capability) + _appended("P1").replace("S: + go on\n", "").replace(f"{{{CONTENT.size}}}", f"{{{CONTENT.size}+}}")
    async with opening(script) as sent:
        await sent.file(CONTENT, START)


async def test_a_long_copy_waits_for_leave_and_is_not_sent_to_a_server_that_is_full(opening: Opening) -> None:
    long = Octets(b"x" * 5000)
    script = hello("LITERAL+") + f"C: P1 {APPEND}\n".replace(f"{{{CONTENT.size}}}", "{5000}") + "S: P1 NO [OVERQUOTA] full\n"
    with pytest.raises(ImapStatus, match="OVERQUOTA"):
        async with opening(script) as sent:
            await sent.file(long, START)


class _Pieces:
    def __init__(self, *pieces: bytes, size: int) -> None:
        self.size = size
        self._pieces = pieces

    def pieces(self) -> Iterator[bytes]:
        yield from self._pieces


async def test_a_copy_goes_piece_by_piece(opening: Opening) -> None:
    script = hello() + f"C: P1 {APPEND}\n".replace(f"{{{CONTENT.size}}}", "{12}") + "S: + go on\nC: one\nC: two\nC: ab\nS: P1 OK\n"
    async with opening(script) as sent:
        await sent.file(_Pieces(b"one\r", b"\ntwo\r\n", b"ab", size=12), START)


@pytest.mark.parametrize("pieces", [(b"abc",), ()], ids=["too long", "too short"])
async def test_octets_that_are_not_as_many_as_were_announced_end_the_conversation(
    opening: Opening, pieces: tuple[bytes, ...]
) -> None:
    script = hello() + f"C: P1 {APPEND}\n".replace(f"{{{CONTENT.size}}}", "{2}") + "S: + go on\n[STALL]"
    with pytest.raises(LocalProtocolError):
        async with opening(script) as sent:
            await sent.file(_Pieces(*pieces, size=2), START)


@pytest.mark.parametrize(
    "script",
    [
        hello("APPENDLIMIT=30"),
        hello("APPENDLIMIT") + 'C: P1 STATUS "Sent" (APPENDLIMIT)\nS: * STATUS "Sent" (APPENDLIMIT 30)\nS: P1 OK\n',
    ],
    ids=["of the server", "of the folder"],
)
async def test_what_is_longer_than_the_server_takes_is_not_sent(opening: Opening, script: str) -> None:
    """RFC 7889 sections 2 and 3.1."""
    with pytest.raises(ImapStatus, match="TOOBIG") as caught:
        async with opening(script) as sent:
            await sent.file(CONTENT, START)
    assert caught.value.code == "TOOBIG"


@pytest.mark.parametrize("answer", ['S: * STATUS "Sent" (APPENDLIMIT NIL)\nS: P1 OK\n', "S: P1 NO [NONEXISTENT] none\n"])
async def test_a_folder_without_a_limit(opening: Opening, answer: str) -> None:
    script = hello("APPENDLIMIT") + f'C: P1 STATUS "Sent" (APPENDLIMIT)\n{answer}' + _appended("P2")
    async with opening(script) as sent:
        await sent.file(CONTENT, START)


@pytest.mark.parametrize("code", ["OVERQUOTA", "NOPERM", "LIMIT"])
async def test_a_copy_that_is_refused(opening: Opening, code: str) -> None:
    """Nothing is made, and nothing is tried a second time."""
    with pytest.raises(ImapStatus, match=code):
        async with opening(hello() + f"C: P1 {APPEND}\nS: P1 NO [{code}] no\n") as sent:
            await sent.file(CONTENT, START)


async def test_p27_no_answer_to_append_is_an_error_and_no_second_attempt(opening: Opening) -> None:
    script = hello() + _appended("P1").partition("S: P1")[0] + "[CLOSE]"
    with pytest.raises(Lost):
        async with opening(script) as sent:
            await sent.file(CONTENT, START)
