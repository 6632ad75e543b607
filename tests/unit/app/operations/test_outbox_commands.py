"""``postroom send`` and ``postroom outbox`` as a person meets them: what they refuse, and in which words they tell what became
of it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from postroom.app.cli import cli
from postroom.clock import SystemClock
from postroom.model import WorkState
from postroom.outbound import DeliveryStatus, Mark, Outgoing, Passed, RecipientState
from postroom.store import Store

CONFIGURATION = """
[settings]
data-directory = {data}

[pop-client-a]
type = IMAP
server = mail.example.org
mailbox = a@example.org
password = secret

[smtp-client-a]
server = mail.example.org
addresses = a@example.org

[smtp-client-b]
server = mail.example.org
addresses = b@example.org, example.net

[smtp-client-bad]
server = mail.example.org
addresses = bad@example.org
port = many
"""
DRAFT = ("--from", "a@example.org", "--to", "ann@example.org", "--to", "bob@example.org", "--text", "hello")


class Person:
    """Someone at the command line, in a folder of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.file = directory / "postroom.ini"
        self.file.write_text(CONFIGURATION.format(data=self.data))

    def run(self, *arguments: str, status: int = 0, given: bytes | io.BytesIO | None = None) -> Result:
        result = CliRunner().invoke(cli, ["--config", str(self.file), *arguments], input=given)
        assert result.exit_code == status, (result.output, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    def sends(self, *more: str) -> str:
        """Hand a draft in; its id."""
        return str(json.loads(self.run("send", "--json", *DRAFT, *more).stdout)["id"])

    def shown(self, public_id: str) -> dict[str, object]:
        return dict(json.loads(self.run("outbox", "show", "--json", public_id).stdout))

    def play(self, server: Callable[[Store, Outgoing], Awaitable[object]]) -> None:
        """A process sends what waits at the first account, as a server lets it."""

        async def sending() -> None:
            store = Store(self.data, SystemClock(), f"file:{self.data / 'vault.key'}", {})
            try:
                for outgoing in await store.outbox.take("smtp-client-a", 10):
                    await server(store, outgoing)
            finally:
                store.close()

        asyncio.run(sending())


async def doubt_and_refusal(store: Store, outgoing: Outgoing) -> None:
    """The first recipient is in doubt, the second is refused."""
    doubt = DeliveryStatus("ann@example.org", RecipientState.DOUBT, words="the connection was lost")
    failed = DeliveryStatus("bob@example.org", RecipientState.FAILED, 550, "5.1.1", "no such user")
    await store.outbox.record([Mark(outgoing.work, outgoing.numbers)], [])
    numbered = tuple(zip(outgoing.numbers, (doubt, failed), strict=True))
    await store.outbox.record([], [Passed(outgoing.work, numbered, WorkState.WAITING)])


async def all_sent(store: Store, outgoing: Outgoing) -> None:
    await store.outbox.record([Mark(outgoing.work, outgoing.numbers)], [])
    statuses = [DeliveryStatus(one.address, RecipientState.SENT, 250, "2.0.0", "taken") for one in outgoing.envelope.recipients]
    await store.outbox.record([], [Passed(outgoing.work, tuple(zip(outgoing.numbers, statuses, strict=True)), WorkState.DONE)])


async def refused_for_now(store: Store, outgoing: Outgoing) -> None:
    await store.outbox.record([], [Passed(outgoing.work, (), WorkState.READY, SystemClock().now() + 600, None, "busy")])


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


# --- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("send", *DRAFT, "--client", "aa"), "no smtp-client is named 'aa'; there are: smtp-client-a", id="typo"),
        pytest.param(("send", *DRAFT, "--client", "pop-client-a"), "no smtp-client is named", id="a mailbox"),
        pytest.param(("outbox", "list", "--client", "aa"), "no smtp-client is named 'aa'", id="list"),
        pytest.param(("outbox", "replay", "0", "--via", "smtp-client-c"), "no smtp-client is named", id="via"),
        pytest.param(("outbox", "replay", "0", "--client", "a"), "--client goes with --failed", id="client of named ones"),
        pytest.param(("send", *DRAFT, "--client", "bad"), "postroom check", id="faulty"),
        pytest.param(("send", *DRAFT, "--client", "bad"), "/client smtp-client-bad", id="pointer"),
        pytest.param(("send", *DRAFT, "--key", ""), "--key is empty", id="key"),
        pytest.param(("send", "--raw", "--subject", "x", "--quote"), "without --subject, --quote", id="raw"),
        pytest.param(("send", "nothing.json"), "postroom: nothing.json cannot be read: No such file", id="no file"),
        pytest.param(("send", "--raw", "nothing.eml"), "Name a file that can be read", id="no raw file"),
        pytest.param(("send", *DRAFT, "--at", "soon"), "soon is no time to send at", id="time"),
        pytest.param(("send", *DRAFT[2:], "--from", "c@example.com"), "a@example.org (smtp-client-a)", id="who sends"),
        pytest.param(("outbox", "show", ""), "More than one is meant", id="more than one"),
    ],
)
def test_what_is_refused_is_said_plainly(person: Person, arguments: tuple[str, ...], words: str) -> None:
    if words.startswith("More"):
        person.sends(), person.sends()
        arguments = ("outbox", "show", "0")
    status = 1 if "show" in arguments else 2
    assert words in person.run(*arguments, status=status).stderr


class Terminal(io.BytesIO):
    """A standard input that a person sits at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("option", "words"), [((), "name --to and --text, or FILE"), (("--raw",), "name FILE")], ids=["draft", "raw"]
)
def test_nothing_at_a_terminal_is_a_question_of_usage(person: Person, option: tuple[str, ...], words: str) -> None:
    said = person.run("send", *option, status=2, given=Terminal(b"{}")).stderr
    assert "Usage:" in said
    assert words in said


# --- what is handed in --------------------------------------------------------------------------------------------------


def test_every_recipient_of_a_raw_message_is_one(person: Person) -> None:
    raw = b"From: a@example.org\nTo: other@example.org\n\nhello\n"
    people = ("--to", "1@example.org", "--cc", "2@example.org", "--bcc", "3@example.org")
    told = json.loads(person.run("send", "--raw", "--json", *people, given=raw).stdout)
    assert [one["address"] for one in told["recipients"]] == ["1@example.org", "2@example.org", "3@example.org"]


def test_a_file_names_its_time_and_its_client_and_options_go_before(person: Person) -> None:
    draft = {"from": "a@example.org", "to": ["x@example.org"], "text": "t", "send_at": "2999-01-01T00:00:00Z", "client": "b"}
    told = json.loads(person.run("send", "--json", given=json.dumps(draft).encode()).stdout)
    assert (told["client"], told["send_at"]) == ("smtp-client-b", "2999-01-01T00:00:00.000Z")
    result = person.run("send", "--client", "a", given=json.dumps(draft).encode())
    assert "by smtp-client-a" in result.stdout
    assert "it is sent at 2999-01-01T00:00:00.000Z" in result.stderr


# --- what became of it --------------------------------------------------------------------------------------------------


def test_p28_a_person_who_resolves_a_doubt_sees_what_became_of_each(person: Person) -> None:
    public_id = person.sends("--key", "k")
    person.play(doubt_and_refusal)
    waited = person.run("send", *DRAFT, "--key", "k", "--wait", status=1)
    assert "in doubt (1 of 2 failed, 1 of 2 in doubt)" in waited.stdout
    refused = person.run("outbox", "replay", public_id, status=1).stderr
    assert "it is in doubt" in refused
    assert f"postroom outbox resolve {public_id} --as sent|resend|failed" in refused
    said = person.run("outbox", "resolve", public_id, "--as", "sent").stdout
    assert said == f"{public_id}  resolved\n  ann@example.org: sent (resolved by a person)\n"
    shown = person.shown(public_id)
    resolved, failed = shown["recipients"]  # type: ignore[misc]
    assert (resolved["words"], resolved["code"]) == ("resolved by a person", None)  # type: ignore[has-type]
    assert (failed["words"], failed["code"]) == ("no such user", 550)  # type: ignore[has-type]
    assert f"bob@example.org: failed at {failed['at']}: 550 5.1.1 no such user" in person.run("outbox", "show", public_id).stdout  # type: ignore[has-type]


def test_a_wait_that_ends_with_a_refusal_for_now_is_no_success(person: Person) -> None:
    person.sends("--key", "k")
    person.play(refused_for_now)
    assert "queued (attempt 1 was refused or lost)" in person.run("send", *DRAFT, "--key", "k", "--wait", status=1).stdout


def test_what_is_sent_is_refused_in_the_words_of_the_lists(person: Person) -> None:
    public_id = person.sends("--key", "k")
    person.play(all_sent)
    assert "sent by smtp-client-a" in person.run("send", *DRAFT, "--key", "k", "--wait").stdout
    assert "it is sent: nothing is left to take back" in person.run("outbox", "cancel", public_id, status=1).stderr
    assert "it is sent, and only what failed" in person.run("outbox", "replay", public_id, status=1).stderr
    assert person.run("outbox", "replay", "--failed").stderr == "Nothing failed.\n"


def test_a_replay_ahead_of_its_time_says_so(person: Person) -> None:
    public_id = person.sends("--at", "2h")
    result = person.run("outbox", "replay", public_id)
    assert "queued to be sent now by smtp-client-a" in result.stdout
    assert "goes ahead of its time" in result.stderr


def test_a_list_counts_only_whom_it_lists(person: Person) -> None:
    person.sends()
    person.sends("--client", "b")
    lines = [line for line in person.run("outbox", "list", "--client", "b").stdout.splitlines() if "queued" in line]
    assert [line.startswith("smtp-client-b: 1 queued") for line in lines] == [True, False]
    assert "smtp-client" not in person.run("outbox", "list", "--state", "failed").stdout


def test_whether_anybody_is_there_to_send_it_is_told(person: Person) -> None:
    words = "no service runs now; postroom run sends it"
    assert words in person.run("send", *DRAFT).stderr
    other = Store(person.data, SystemClock(), f"file:{person.data / 'vault.key'}", {})
    assert words not in person.run("send", *DRAFT).stderr
    other.close()
    assert words in person.run("send", *DRAFT).stderr
