"""Every refusal at every command, through the whole service: what becomes of the account and of the mail, and what afterwards.

One service plays all of them at once, each with an account of its own, and each test looks at one. A message has two
recipients; at RCPT the first alone is refused.
"""

from __future__ import annotations

import contextlib
import smtplib
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from running import Here, Record, Service

from servers.certificates import Certificates
from servers.dovecot_config import PASSWORD
from servers.smtp_faults import Fault, Manner, SmtpFaults
from servers.waiting import wait_for

REPLIES = {
    421: "421 4.3.2 Service shutting down",
    432: "432 4.3.2 Concurrent connections limit exceeded",
    450: "450 4.2.0 Mailbox unavailable",
    451: "451 4.3.0 Local error in processing",
    452: "452 4.3.1 Insufficient system storage",
    535: "535 5.7.8 Authentication credentials invalid",
    550: "550 5.7.1 Refused by policy",
    552: "552 5.2.2 Storage allocation exceeded",
    554: "554 5.0.0 Transaction failed",
}
OUTCOMES = """
          421     432     450     451     452     535     550     552     554
greeting  parked  parked  parked  parked  parked  person  parked  parked  parked
ehlo      parked  parked  parked  parked  parked  person  parked  parked  parked
auth      parked  parked  parked  parked  parked  person  person  person  person
mail      broken  parked  later   later   later   person  failed  failed  failed
rcpt      broken  parked  later   later   later   person  failed  failed  failed
data      broken  parked  later   later   later   person  failed  failed  failed
dot       later   later   later   later   later   later   failed  failed  failed
"""
# parked, person: the account waits, in the latter case for somebody, and no recipient has changed. broken: the message waits, and
# no recipient was answered. later, failed: its recipients were answered, and the account works.
PLAIN = Manner(keywords=("PIPELINING", "SIZE 35882577", "8BITMIME", "ENHANCEDSTATUSCODES"), auth_in_clear=True)
HOUR = 3600.0


@dataclass(frozen=True)
class Case:
    """One refusal, and whom it meets."""

    at: str
    code: int
    outcome: str

    @property
    def name(self) -> str:
        return f"{self.at}-{self.code}"

    @property
    def section(self) -> str:
        return f"smtp-client-{self.name}"

    @property
    def called(self) -> str:
        """Under which name its account says EHLO."""
        return f"{self.name}.example.test"

    @property
    def sender(self) -> str:
        return f"{self.name}@example.test"

    @property
    def recipients(self) -> list[str]:
        return [f"first-{self.name}@example.test", f"second-{self.name}@example.test"]

    @property
    def fault(self) -> Fault:
        called = "" if self.at == "greeting" else self.called
        recipient = self.recipients[0] if self.at == "rcpt" else ""
        return Fault(self.at, REPLIES[self.code], times=0, called=called, recipient=recipient)  # type: ignore[arg-type]


_CODES, *_ROWS = (line.split() for line in OUTCOMES.strip().splitlines())
CASES = [Case(at, int(code), outcome) for at, *row in _ROWS for code, outcome in zip(_CODES, row, strict=True)]
ONE_OF_EACH = {case.outcome: case for case in CASES}


class Ahead(Here):
    """A folder whose commands go by a clock that can be set forward."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._clock = directory / "ahead"
        self.hours = 0
        self._clock.write_text("0")

    def pass_an_hour(self) -> None:
        self.hours += 1
        new = self._clock.with_suffix(".new")
        new.write_text(str(self.hours * HOUR))
        new.replace(self._clock)

    def _line(self, arguments: tuple[str, ...], file: Path | None) -> list[str]:
        program = Path(__file__).with_name("ahead.py")
        return [sys.executable, str(program), str(self._clock), "--config", str(file or self.file), *arguments]


@dataclass(frozen=True)
class Played:
    """What was seen of all cases."""

    accounts: Mapping[str, Record]  # while the faults last
    mail: Mapping[str, Record]
    accounts_later: Mapping[str, Record]  # after their end
    mail_later: Mapping[str, Record]
    shown: Mapping[str, Record]  # one of each outcome, with its history
    taken: Counter[str]  # how often the servers took a message over, by recipient


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Played:
    here = Ahead(tmp_path_factory.mktemp("faults"))
    here.put("smtp-listener", {"listen": "127.0.0.1:0", "allow-without-login": "true"})
    with contextlib.ExitStack() as stack:
        servers: dict[str, SmtpFaults] = {}  # by the case that it is for; the first for all the others
        for case in CASES:  # a greeting is for whoever comes
            name = case.name if case.at == "greeting" else ""
            if name not in servers:
                servers[name] = stack.enter_context(SmtpFaults(certificates=certificates, manner=PLAIN))
            here.sections[case.section] = options_of(case, servers[name])
        for name, server in servers.items():
            server.fail(*(case.fault for case in CASES if name == (case.name if case.at == "greeting" else "")))
        here.put("log", {"level": "debug"})  # which writes the file
        service = stack.enter_context(here.service())
        hand_in(service)
        accounts, mail = wait_for(lambda: settled(here), "an answer for each", timeout=60)
        for server in servers.values():
            server.reset()
        wait_for(lambda: gone_out(here), "an end of each", timeout=60)
        wait_for(lambda: all(each["health"] == "working" for each in standing(here).values()), "accounts that work", timeout=60)
        accounts_later, mail_later = standing(here), submissions(here)
        shown = {
            outcome: here.command("outbox", "show", "--json", mail_later[case.section]["id"]).object
            for outcome, case in ONE_OF_EACH.items()
        }
        taken = Counter(recipient for server in servers.values() for each in server.taken() for recipient in each.recipients)
    return Played(accounts, mail, accounts_later, mail_later, shown, taken)


def options_of(case: Case, server: SmtpFaults) -> dict[str, str]:
    """The account of a case."""
    return {
        "server": "127.0.0.1",
        "port": str(server.port),
        "smtp-connection-security": "none",
        "enable-authentication": "true",
        "user": case.sender,
        "password": PASSWORD,
        "addresses": case.sender,
        "cnx-pool-size": "1",
        "mail.smtp.localhost": case.called,
    }


def hand_in(service: Service) -> None:
    """A message for each account, as a program hands it in."""
    port = int(service.wait("listening")["address"].rpartition(":")[2])
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as program:
        for case in CASES:
            text = f"From: {case.sender}\r\nSubject: {case.name}\r\n\r\n.\r\n"
            assert program.sendmail(case.sender, case.recipients, text.encode()) == {}


def submissions(here: Here) -> dict[str, Record]:
    return {each["client"]: each for each in here.command("outbox", "list", "--json", "--limit", "1000").objects}


def standing(here: Here) -> dict[str, Record]:
    return {each["client"]: each for each in here.command("status", "--json", status=None).objects}


def settled(here: Here) -> tuple[dict[str, Record], dict[str, Record]] | None:
    """What is seen once each account is parked, or its mail was answered."""
    mail, accounts = submissions(here), standing(here)
    if len(mail) < len(CASES) or any(each["state"] == "sending" for each in mail.values()):
        return None
    answered = (accounts[case.section]["retry_in"] or mail[case.section]["attempts"] for case in CASES)
    known = (accounts[case.section]["health"] != "starting" for case in CASES)
    return (accounts, mail) if all(answered) and all(known) else None


def gone_out(here: Ahead) -> bool:
    """Whether nothing is left to do; else an hour passes."""
    if all(each["state"] in ("sent", "failed") for each in submissions(here).values()):
        return True
    here.pass_an_hour()
    return False


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_p28_what_is_refused_is_the_accounts_or_the_mails(played: Played, case: Case) -> None:
    account, mail = played.accounts[case.section], played.mail[case.section]
    reply = REPLIES[case.code]
    recipients = [(each["address"], each["state"], each["code"]) for each in mail["recipients"]]
    first, second = case.recipients
    if case.outcome in ("parked", "person"):
        assert account["health"] == ("needs a person" if case.outcome == "person" else "retrying")
        assert reply in account["fault"]
        assert account["remedy"]
        assert (mail["state"], mail["attempts"], mail["fault"]) == ("queued", 0, None)
        assert recipients == [(first, "pending", None), (second, "pending", None)]
        assert account["queue"]["ready"] == 1
        return
    assert (account["health"], account["fault"]) == ("working", "")
    assert reply in mail["fault"]
    assert mail["state"] == ("failed" if case.outcome == "failed" else "queued")
    if case.outcome == "broken":
        assert recipients == [(first, "pending", None), (second, "pending", None)]
        return
    state = "failed" if case.outcome == "failed" else "pending"
    other = ("sent", 250) if case.at == "rcpt" else (state, case.code)
    assert recipients == [(first, state, case.code), (second, *other)]
    _, enhanced, words = reply.split(" ", 2)
    assert (mail["recipients"][0]["enhanced"], mail["recipients"][0]["words"]) == (enhanced, words)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_p28_what_waits_goes_out_by_itself_once_the_fault_has_ended(played: Played, case: Case) -> None:
    account, mail = played.accounts_later[case.section], played.mail_later[case.section]
    assert (account["health"], account["fault"]) == ("working", "")
    refused = case.recipients[: 1 if case.at == "rcpt" else 2] if case.outcome == "failed" else []
    states = {each["address"]: (each["state"], each["code"]) for each in mail["recipients"]}
    assert states == {known: ("failed", case.code) if known in refused else ("sent", 250) for known in case.recipients}
    assert mail["state"] == ("failed" if refused else "sent")
    queue = {"ready": 0, "sending": 0, "in_doubt": 0, "failed": len(refused[:1]), "oldest_age": None}
    assert account["queue"] == queue
    # Nobody got it twice, and whoever was refused for good not at all.
    assert [played.taken[known] for known in case.recipients] == [known not in refused for known in case.recipients]


@pytest.mark.parametrize(
    ("outcome", "event"), [("parked", None), ("person", None), ("broken", "deferred"), ("later", "deferred"), ("failed", "failed")]
)
def test_p28_the_history_of_a_message_tells_of_its_own_refusals(played: Played, outcome: str, event: str | None) -> None:
    case, shown = ONE_OF_EACH[outcome], played.shown[outcome]
    told = [each for each in shown["history"] if each["event"] in ("deferred", "failed", "doubt")]
    if event is None:
        assert told == []
    else:
        assert {each["event"] for each in told} == {event}
        assert REPLIES[case.code] in told[0]["words"]
    del shown["history"]
    assert shown == played.mail_later[case.section]
