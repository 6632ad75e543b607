"""The application of the README, killed some times with its service; ``make crash`` kills two hundred times."""

from __future__ import annotations

from pathlib import Path

from crash.answers import Desk, answered
from crash.drain_rig import Record
from crash.nursery import Nursery
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.smtp_faults import SmtpFaults

KILLS = 10


def test_each_message_is_answered_once(dovecot: Dovecot, certificates: Certificates, mailbox_user: str, tmp_path: Path) -> None:
    with SmtpFaults(certificates=certificates) as server, Nursery() as nursery:
        figures = answered(Desk(nursery, mailbox_user, Record(server, dovecot), tmp_path), KILLS, seed=2)
    assert figures.complaints == [], figures
    assert figures.applications + figures.services == KILLS, figures
    assert figures.answered == figures.letters
    assert figures.applications
    assert figures.services
