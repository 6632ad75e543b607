"""Kill an application, and the service under it, and see that each message is answered once: ``python -m crash.answers``.

The application is ``examples/answer.py`` as the README shows it. Real mail in a Dovecot is captured by the service, leased,
answered and acknowledged by the application, and sent to a server that keeps a record of what it took over.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crash.drain_plan import Way
from crash.drain_rig import Here, Record
from crash.drain_verdict import Recorded, State
from crash.nursery import PATIENCE, Nursery, Order, Process
from crash.persons import resolve
from postroom.model import WorkState
from postroom.outbound import RecipientState, SubmissionRow
from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.smtp_faults import Fault, SmtpFaults
from servers.waiting import free_ports, wait_for

APPLICATION = Path(__file__).resolve().parents[2] / "examples" / "answer.py"
_DESK = "desk@example.test"
_OF_SERVICE = 0.2  # share of the kills that are of the service
_SECONDS = 0.3  # between two kills at most
_LETTERS = 4  # that come for each kill
_ANSWER = 0.05  # seconds that the server takes to answer a message that it has: kills of the service fall into them
_MUCH_LATER = 4000.0
_CONFIGURATION = """\
[settings]
data-directory = {data}

[web]
listen = 127.0.0.1:{web}

[pop-client-desk]
type = IMAP
server = localhost
port = {imap}
pop-connection-security = none
mailbox = {user}
address = {desk}
password = {password}
cycle-time = 1s

[pull-desk]
lease-time = 1s
maximum-attempts = 1000

[smtp-client]
server = 127.0.0.1
port = {smtp}
smtp-connection-security = none
enable-authentication = true
user = {desk}
password = {password}
"""
_ANSWERED = re.compile(rb"^In-Reply-To: (<[^>]+>)", re.MULTILINE)


def letter(number: int) -> bytes:
    """A message of a customer."""
    head = f"From: Customer {number} <customer{number}@example.test>\r\nTo: {_DESK}\r\nSubject: Question {number}\r\n"
    return f"{head}Message-ID: <{number}@answers.test>\r\n\r\nWhere is my order {number}?\r\n".encode()


@dataclass
class Figures:
    """What a series came to."""

    letters: int = 0
    applications: int = 0  # killed
    between: int = 0  # of these, with messages leased and not acknowledged
    services: int = 0  # killed
    answered: int = 0
    doubts: int = 0
    resolved: int = 0
    complaints: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = (
            f"{self.applications} kills of the application ({self.between} with messages in hand), {self.services} of the service"
        )
        sent = f"{self.letters} messages, {self.answered} answered once, {self.doubts} doubts, {self.resolved} resolved"
        return f"{kills}: {sent}; {'; '.join(self.complaints) or 'none twice, none lost'}"


class Desk:
    """A service with a mailbox and an account, and the application that answers."""

    def __init__(self, nursery: Nursery, user: str, record: Record, folder: Path) -> None:
        self._nursery, self._dovecot, self._user, self._record = nursery, record.dovecot, user, record
        self._here = Here(folder)
        (self._web,) = free_ports(1)
        self._here.file.write_text(
            _CONFIGURATION.format(
                data=folder / "data",
                web=self._web,
                imap=record.dovecot.imap_port,
                user=user,
                desk=_DESK,
                password=PASSWORD,
                smtp=record.server.port,
            )
        )
        record.begin(Way("hold", "service", chunking=True))
        record.server.fail(Fault("dot", seconds=_ANSWER, times=0))
        key = json.loads(self._command("keys", "create", "desk", "--role", "application", "--application", "desk", "--json"))
        self._environment = {"POSTROOM": f"http://127.0.0.1:{self._web}", "POSTROOM_KEY": str(key["key"])}
        self.figures = Figures()
        self._ahead = 0.0
        self._service = self._serve()
        self._application = self._apply()

    def _command(self, *arguments: str) -> str:
        order = Order(str(self._here.directory), ("--config", str(self._here.file), *arguments))
        process = self._nursery.make(order)
        assert process.status == 0, (arguments, process.printed, process.errors)
        return process.printed

    def _serve(self) -> Process:
        return self._nursery.make(Order(str(self._here.directory), ("--config", str(self._here.file), "run"), ahead=self._ahead))

    def _apply(self) -> Process:
        return self._nursery.make(Order(str(self._here.directory), file=str(APPLICATION), environment=self._environment))

    # --- kills

    def kill(self, chance: random.Random) -> None:
        """Let letters come, and kill one of the two at some instant."""
        self._dovecot.seed(self._user, [letter(self.figures.letters + number) for number in range(_LETTERS)])
        self.figures.letters += _LETTERS
        time.sleep(chance.random() * _SECONDS)
        if chance.random() < _OF_SERVICE:
            self.figures.services += self._service.kill()
            self._service = self._serve()
        else:
            self.figures.applications += self._application.kill()
            self.figures.between += self._waiting()["leased"] > 0
            self._application = self._apply()

    # --- the end

    def finish(self) -> Figures:
        """Let all be answered, resolve what is in doubt, and compare."""
        wait_for(lambda: self._handed_in() >= self.figures.letters, "an answer to each message", timeout=3 * PATIENCE)
        wait_for(self._all_acknowledged, "an acknowledgement of each message", timeout=3 * PATIENCE)
        self._application.kill()
        state = self._settled()
        self.figures.doubts = sum(_in_doubt(known) for known in state.recorded)
        self._judge(state, whole=False)
        self.figures.resolved = resolve(state, self._command)
        state = self._settled()
        if any(known.row.state is WorkState.DEAD for known in state.recorded):
            self._command("outbox", "replay", "--failed")
            state = self._settled()
        self._judge(state, whole=True)
        if not self.figures.complaints:
            shutil.rmtree(self._here.directory)
        return self.figures

    def _handed_in(self) -> int:
        return len(self._here.recorded())

    def _all_acknowledged(self) -> bool:
        found = self._waiting()
        assert found["dead"] == 0, found
        return not (found["waiting"] + found["leased"] + found["deferred"])

    def _waiting(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self._command("pull", "list", "--json"))
        return found

    def _settled(self) -> State:
        """What there is once nothing is left to send but for a person; time passes as is needed. The service is down then."""
        self._service.stop()
        end = time.monotonic() + PATIENCE
        while open_ := self._open():
            assert time.monotonic() < end, open_
            self._ahead += _MUCH_LATER
            self._service = self._serve()
            wait_for(lambda: not any(self._is_due(row) for row in self._open()), "all to be sent that is due", timeout=PATIENCE)
            self._service.stop()
        return State({}, self._record.copies(), self._here.recorded())

    def _open(self) -> list[SubmissionRow]:
        states = (WorkState.READY, WorkState.LEASED)
        return [known.row for known in self._here.recorded() if known.row.state in states]

    def _is_due(self, row: SubmissionRow) -> bool:
        return row.state is WorkState.LEASED or row.not_before <= time.time() + self._ahead

    def _judge(self, state: State, *, whole: bool) -> None:
        """Every message has one answer; every answer is at the server once, or in recorded doubt."""
        complaints = self.figures.complaints
        answers = Counter(known.row.answers for known in state.recorded)
        captured = {
            row["id"]: row["message_id"] for row in map(json.loads, self._command("messages", "list", "--json").splitlines())
        }
        complaints += [f"{count} answers were handed in to {name}" for name, count in answers.items() if count > 1]
        complaints += [f"{name} has no answer" for name in captured if name not in answers]
        complaints += [f"{len(captured)} messages are here, not {self.figures.letters}"] * (len(captured) != self.figures.letters)
        had = Counter(name.decode() for octets in self._record.octets() for name in _ANSWERED.findall(octets)[:1])
        for known in state.recorded:
            count = had[captured.get(known.row.answers, "")]
            least = 0 if _in_doubt(known) and not whole else 1
            if not least <= count <= 1:
                complaints.append(f"the answer to {known.row.answers} was taken over {count} times: {known}")
        self.figures.answered = sum(count == 1 for count in had.values())


def _in_doubt(known: Recorded) -> bool:
    return any(person.state is RecipientState.DOUBT for person in known.row.recipients)


def answered(desk: Desk, kills: int, seed: int) -> Figures:
    """Make so many kills, then compare."""
    chance = random.Random(f"{seed} answers")
    for _ in range(kills):
        desk.kill(chance)
    return desk.finish()


@contextlib.contextmanager
def rigged(folder: Path) -> Iterator[Desk]:
    """The servers, and a desk with them."""
    with (
        Certificates() as certificates,
        Authority(certificates=certificates) as authority,
        Dovecot(authority.tokens, certificates=certificates) as dovecot,
        SmtpFaults(certificates=certificates) as server,
        Nursery() as nursery,
    ):
        yield Desk(nursery, "desk1@example.test", Record(server, dovecot), folder)


def main() -> int:
    """Make a series, print its sum; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m crash.answers", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="processes to be killed (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="where the plan comes from (%(default)s)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="postroom-answers-"))
    with rigged(folder) as desk:
        figures = answered(desk, options.kills, options.seed)
    print(figures)
    if figures.complaints:
        print(f"evidence is in {folder}")
    return 1 if figures.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
