"""Whose Sent it is, and what a look into it tells."""

from __future__ import annotations

import asyncio

import pytest
from house import until
from sentbox import Sentbox, mailbox, sender

from fakes import START, HandClock, HastyClock, kit
from postroom.drivers import Mailbox
from postroom.drivers.provider import Providers
from postroom.engine import attempt
from postroom.engine.attempt import Sighting
from postroom.engine.sent import Evidence, files_itself, same_account, wants_copy
from postroom.errors import ConfigError, ConnectError, ImapStatus, LoginRefused, Lost, TokenUnavailable
from postroom.model import Reference, Work, WorkKind, WorkState
from postroom.outbound import Doubt, Envelope, Outgoing, RecipientState
from postroom.settings import InDoubt, MailboxType

PROVIDERS = Providers()
ID = "<one@example.org>"
MICROSOFT = "https://login.microsoftonline.com"

# --- whose mailbox? ---------------------------------------------------------------------------------------------------

SAME = {
    "login and domain": ({}, {}),
    "one host": ({"server": "box.example.org"}, {"server": "box.example.org"}),
    "capitals": ({"user": "A@Example.org"}, {"server": "IMAP.example.org."}),
    "a name of that host and its address": ({"user": "a"}, {}),
    "an address and its name": ({}, {"mailbox": "a"}),
    "names": ({"user": "a"}, {"mailbox": "a", "server": "mail.example.org"}),
    "google": ({"server": None, "user": "a@gmail.com"}, {"server": None, "mailbox": "a@gmail.com"}),
    "microsoft by oauth": (
        {"server": None, "mechanisms": ("XOAUTH2",), "tenant_authority": MICROSOFT},
        {"server": None, "mechanisms": ("XOAUTH2",), "tenant_authority": MICROSOFT},
    ),
    "a shared mailbox that sends for itself": ({}, {"oauth_user": "person@example.org"}),
}


@pytest.mark.parametrize(("account", "box"), SAME.values(), ids=list(SAME))
def test_the_mailbox_of_the_account_that_sends(account: dict[str, object], box: dict[str, object]) -> None:
    found = mailbox(**box)
    assert same_account(sender(**account), [mailbox("pop-client-b", mailbox="b@example.org"), found], PROVIDERS) == found


OTHERS = {
    "another login": ({}, {"mailbox": "b@example.org"}),
    "no login": ({"user": ""}, {}),
    "another domain": ({}, {"server": "imap.example.com"}),
    "a name at another domain": ({"user": "a"}, {"mailbox": "a", "server": "imap.example.com"}),
    "a name at another customer's host": (
        {"user": "a", "server": "one.example.co.uk"},
        {"mailbox": "a", "server": "two.example.co.uk"},
    ),
    "a name below a public suffix": ({"user": "a", "server": "one.co.uk"}, {"mailbox": "a", "server": "two.co.uk"}),
    "a name at another address of the net": ({"user": "a", "server": "192.0.2.1"}, {"mailbox": "a", "server": "192.0.2.2"}),
    "a mailbox that the person may open": ({}, {"mailbox": "shared@example.org", "oauth_user": "a@example.org"}),
    "an address that it serves": ({}, {"mailbox": "b@example.org", "address": "a@example.org"}),
    "pop3": ({}, {"type": MailboxType.POP3}),
}


@pytest.mark.parametrize(("account", "box"), OTHERS.values(), ids=list(OTHERS))
def test_no_other_persons_mailbox(account: dict[str, object], box: dict[str, object]) -> None:
    assert same_account(sender(**account), [mailbox(**box)], PROVIDERS) is None


GOOGLE: dict[str, object] = {"server": None, "user": "a@gmail.com"}


def test_who_files_by_itself() -> None:
    def files(**options: object) -> bool:
        account = sender(**options)
        return files_itself(account.client, account.authorities, PROVIDERS)

    assert files(**GOOGLE)
    assert files(server="smtp.gmail.com", user="a@company.example")
    assert files(server="smtp.office365.com")
    assert files(server=None, mechanisms=("XOAUTH2",), tenant_authority=MICROSOFT)
    assert not files()
    assert not files(server=None, user="a@icloud.com")
    assert not files(server="relay.example.org", user="a@gmail.com")


WANTED = [
    ({}, {}, True),
    (GOOGLE, {}, False),
    ({**GOOGLE, "copy_in_sent": "\\Sent"}, {}, True),
    ({"copy_in_sent": "Gesendet"}, {}, True),
    ({"copy_in_sent": "No"}, {}, False),
    ({}, {"shadow": True}, False),
]


@pytest.mark.parametrize(("account", "box", "wanted"), WANTED, ids=["any", "files", "files, asked", "folder", "no", "shadow"])
def test_where_a_copy_is_filed(account: dict[str, object], box: dict[str, object], wanted: bool) -> None:
    assert wants_copy(sender(**account), mailbox(**box), PROVIDERS) is wanted
    assert not wants_copy(sender(**account), None, PROVIDERS)


# --- looking ----------------------------------------------------------------------------------------------------------


def outgoing(*marked: float, ambiguous: bool = False, message_id: str = ID) -> Outgoing:
    doubts = tuple(Doubt(number, f"{number}@example.org", START, at) for number, at in enumerate(marked or (START,)))
    work = Work(1, WorkKind.SUBMIT, 1, 1, None, 1)
    return Outgoing(
        work,
        "id",
        Envelope("", ()),
        (),
        doubts,
        failed=False,
        reference=Reference(1, 0, 1, b""),
        message_id=message_id,
        ambiguous=ambiguous,
    )


def evidence(box: Sentbox, of: Mailbox | None = None, *, none: bool = False) -> Evidence:
    return Evidence(lambda _account: None if none else of or mailbox(), kit(HandClock()), box)


async def test_p27_a_copy_is_proof() -> None:
    box = Sentbox([(ID, START)])
    assert await evidence(box).look(sender(), outgoing(START, START)) == Sighting(True, "a copy is in Sent")
    assert box.opened == [("pop-client-a", None)]


async def test_p27_a_copy_that_is_older_than_the_attempt_is_none() -> None:
    """The clocks of server and machine may differ by minutes."""
    assert (await evidence(Sentbox([(ID, START - 299)])).look(sender(), outgoing())).found is True
    assert (await evidence(Sentbox([(ID, START - 301)])).look(sender(), outgoing())).found is False


@pytest.mark.parametrize("doubtful", [outgoing(ambiguous=True), outgoing(START, START + 1)], ids=["one has it", "two transactions"])
async def test_p27_a_copy_that_may_be_another_recipients_tells_nothing(doubtful: Outgoing) -> None:
    box = Sentbox([(ID, START)])
    sighting = await evidence(box).look(sender(), doubtful)
    assert (sighting.found, box.opened) == (None, [])
    assert "for which recipients" in sighting.words


async def test_no_copy_is_no_proof() -> None:
    assert await evidence(Sentbox()).look(sender(**GOOGLE), outgoing()) == Sighting(False, "no copy is in Sent")
    unknown = await evidence(Sentbox()).look(sender(), outgoing())
    assert (unknown.found, unknown.words) == (False, "no copy is in Sent, where this server is not known to file one")


async def test_a_look_is_made_where_the_server_files_and_not_where_we_do() -> None:
    box = Sentbox()
    await evidence(box).look(sender(copy_in_sent="Gesendet"), outgoing())
    await evidence(box).look(sender(copy_in_sent="no"), outgoing())
    assert [folder for _, folder in box.opened] == [None, None]


async def test_nowhere_to_look() -> None:
    box = Sentbox([("", START)])
    for sighting in (
        await evidence(box, none=True).look(sender(), outgoing()),
        await evidence(box, mailbox(type=MailboxType.POP3)).look(sender(), outgoing()),
        await evidence(box).look(sender(), outgoing(message_id="")),
    ):
        assert (sighting.found, sighting.passing) == (None, False)
    assert box.opened == []


PASSING = [ConnectError("no way"), Lost("gone"), ImapStatus("NO", status="NO"), TokenUnavailable("later"), LoginRefused("no")]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
async def test_what_hinders_a_look_for_now(error: ConnectError) -> None:
    sighting = await evidence(Sentbox(opening=[error])).look(sender(), outgoing())
    assert (sighting.found, sighting.passing) == (False, True)
    assert str(error) in sighting.words


@pytest.mark.parametrize("error", [LoginRefused("no", certain=True), ConfigError("what?")], ids=["refused", "configuration"])
async def test_what_hinders_every_look(error: LoginRefused) -> None:
    sighting = await evidence(Sentbox(opening=[error])).look(sender(), outgoing())
    assert (sighting.found, sighting.passing) == (None, False)


async def test_one_conversation_looks_for_all_doubts_of_a_mailbox_in_turn() -> None:
    box = Sentbox()
    looking = evidence(box)
    await asyncio.gather(*(looking.look(sender(), outgoing()) for _ in range(5)))
    assert (box.looked, box.most) == (5, 1)


# --- how long? --------------------------------------------------------------------------------------------------------


async def _until_decided(box: Sentbox, in_doubt: InDoubt, clock: HastyClock) -> attempt.Passed:
    """As the engine does it: look, and look again when it is said."""
    looking, doubtful = Evidence(lambda _account: mailbox(), kit(clock), box), outgoing()
    while True:
        sighting = await looking.look(sender(**GOOGLE), doubtful)
        passed = attempt.looked(doubtful, sighting, in_doubt=in_doubt, now=clock.now())
        if passed.state is not WorkState.READY or passed.statuses:
            return passed

        await clock.sleep(passed.not_before - clock.now())


async def test_p27_absence_is_looked_at_again_before_the_option_decides() -> None:
    clock, box = HastyClock(), Sentbox()
    passed = await _until_decided(box, InDoubt.HOLD, clock)
    assert (passed.state, box.looked, clock.now() - START) == (WorkState.WAITING, 4, 120)
    assert "no copy is in Sent" in passed.fault


async def test_p27_a_server_that_files_late() -> None:
    clock, box = HastyClock(), Sentbox()
    looked = asyncio.create_task(_until_decided(box, InDoubt.RESEND, clock))
    await until(lambda: box.looked == 2)
    box.copies.append((ID, START))
    passed = await looked
    assert [status.state for _, status in passed.statuses] == [RecipientState.SENT]


async def test_p27_as_long_as_no_look_is_possible_nothing_is_decided_for_an_hour() -> None:
    """What cut off the one server cuts off the other."""
    clock, box = HastyClock(), Sentbox(opening=[ConnectError("no way") for _ in range(5)])
    passed = await _until_decided(box, InDoubt.RESEND, clock)
    assert (len(box.opened), clock.now() - START) == (6, 900)
    assert [status.state for _, status in passed.statuses] == [RecipientState.PENDING]
    for_ever = Sentbox(opening=[ConnectError("no way") for _ in range(50)])
    clock = HastyClock()
    assert (await _until_decided(for_ever, InDoubt.HOLD, clock)).state is WorkState.WAITING
    assert clock.now() - START == 3600
