"""Kill a process at each step of a refresh, and see that the mailbox is never locked out where the authority permits.

Each run: a fresh store and a refresh token, a process that is killed at its step (or at any instant), and ``postroom check``
afterwards. Three authorities: one that keeps its refresh tokens, one that rotates them and lets the last one be used again, and
one that takes a second use for theft. Only the last may lock out, only where its answer was lost, and then says so plainly.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crash.program import PATIENCE, Postroom, kill
from crash.refresh_child import SPENT, STEPS
from servers.authority import TEST, Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot

AUTHORITIES = ("keeps", "rotates", "detects")
_USER = "refresh@example.test"
_INI = """\
[settings]
data-directory = {data}

[authority-rig]
token_endpoint = {endpoint}

[secret-rig]
password = {secret}

[pop-client-refresh]
type = IMAP
server = 127.0.0.1
port = {port}
pop-connection-security = none
mailbox = {user}
mail.imap.auth.mechanisms = XOAUTH2
tenant-authority = rig
client-id = {client}
secret = rig
scope = https://mail.google.com/
password = {token}
"""


@dataclass(frozen=True)
class Plan:
    """One run: at which authority, and where the process is killed; no step means at any instant."""

    number: int
    authority: str
    step: str
    share: float  # of an undisturbed run's time, where no step is named

    def __str__(self) -> str:
        where = self.step or f"after {self.share:.0%} of its time"
        return f"{self.number:4} {self.authority:8} {where}"


def plans(count: int, seed: int) -> Iterator[Plan]:
    """All steps at all authorities in turn; of four runs one is killed at any instant."""
    chance = random.Random(f"{seed} refresh")
    steps = [*STEPS, "", "", "", ""]
    for number in range(count):
        yield Plan(number, AUTHORITIES[number % 3], steps[(number // 3) % len(steps)], chance.random())


class Refreshing:
    """Carries the runs out over one authority and one mailbox."""

    def __init__(self, authority: Authority, dovecot: Dovecot, folder: Path) -> None:
        self._authority = authority
        self._dovecot = dovecot
        self._folder = folder
        self._seconds = 0.0

    def run(self, plan: Plan) -> list[str]:
        """What is to be complained of; empty when all is well."""
        directory = self._folder / str(plan.number)
        directory.mkdir(parents=True)
        self._authority.reset()
        self._authority.rotate(
            plan.authority != "keeps", reuse_detection=plan.authority == "detects", last_again=plan.authority == "rotates"
        )
        token = self._authority.refresh_token(_USER)
        self._write(directory, token)
        stopped = self._stopped_at(directory, plan) if plan.step else self._stopped_anywhere(directory, plan.share)
        report = self._check(directory)
        locked_out = plan.authority == "detects" and (plan.step in SPENT or (not plan.step and self._was_spent()))
        complaints = [] if stopped else [f"it never came to {plan.step}"]
        complaints += self._judged(report, may_be_locked_out=locked_out)
        complaints += _in_clear(directory, [token, *self._authority.tokens_of(_USER)])
        if not complaints:
            shutil.rmtree(directory)
        return complaints

    def _write(self, directory: Path, token: str) -> None:
        (directory / "postroom.ini").write_text(
            _INI.format(
                data=directory / "data",
                endpoint=self._authority.token_url,
                secret=TEST.secret,
                port=self._dovecot.imap_port,
                user=_USER,
                client=TEST.id,
                token=token,
            )
        )

    def _stopped_at(self, directory: Path, plan: Plan) -> bool:
        process = self._child(directory, plan.step)
        try:
            assert process.stdout is not None
            return process.stdout.readline().decode().strip() == f"at {plan.step}"
        finally:
            kill(process)

    def _stopped_anywhere(self, directory: Path, share: float) -> bool:
        process = self._child(directory, "never")
        try:
            process.wait(share * self._undisturbed())
        except subprocess.TimeoutExpired:
            pass
        finally:
            kill(process)
        return True

    def _undisturbed(self) -> float:
        """Seconds that a process takes when nothing stops it; measured once."""
        if not self._seconds:
            directory = self._folder / "undisturbed"
            directory.mkdir()
            self._write(directory, self._authority.refresh_token("undisturbed@example.test"))
            begun = time.monotonic()
            self._child(directory, "never").wait(PATIENCE)
            self._seconds = time.monotonic() - begun
        return self._seconds

    def _child(self, directory: Path, step: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "crash.refresh_child", str(directory / "postroom.ini"), step]
        tests = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, env=environment)

    def _was_spent(self) -> bool:
        """Whether the authority answered the killed process: a second use of the same token is what it takes for theft."""
        return len(self._authority.requests(_USER)) > 1

    def _check(self, directory: Path) -> dict[str, object]:
        with Postroom(directory).running("check", "--json") as process:
            process.wait(PATIENCE)
        text = (directory / "1.out").read_text()
        found: dict[str, object] = json.loads(text) if text else {"ok": False, "words": (directory / "1.err").read_text()}
        return found

    def _judged(self, report: dict[str, object], *, may_be_locked_out: bool) -> list[str]:
        if report["ok"]:
            return []
        if not may_be_locked_out:
            return [f"locked out: {report}"]
        said = str(report.get("remedy", ""))
        return [] if "interrupted" in said and "postroom authorize" in said else [f"it does not say what happened: {report}"]


def _in_clear(directory: Path, tokens: list[str]) -> list[str]:
    """Tokens that stand in a file of the data directory or in the output."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != "postroom.ini"]
    return [f"a token in clear in {path.name}" for path in files for token in tokens if token.encode() in path.read_bytes()]


def main() -> int:
    """Make a series, print one line for each run, then the sum; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m crash.refresh", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="processes to be killed (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="where the plan comes from (%(default)s)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="postroom-refresh-"))
    found = 0
    with (
        Certificates() as certificates,
        Authority(certificates=certificates) as authority,
        Dovecot(authority.tokens, certificates=certificates) as dovecot,
    ):
        refreshing = Refreshing(authority, dovecot, folder)
        for plan in plans(options.kills, options.seed):
            complaints = refreshing.run(plan)
            found += bool(complaints)
            print(f"{plan}  {'; '.join(complaints) or 'ok'}", flush=True)
    print(f"{options.kills} refreshes killed: {found} found something" + (f"; evidence is in {folder}" if found else ""))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
