"""Five switches between two systems and back under incoming mail; ``make crash`` makes a hundred."""

from __future__ import annotations

from pathlib import Path

from crash.switches import Switching
from servers.dovecot import Dovecot


def test_p26_nothing_is_missed_and_nothing_handled_twice(dovecot: Dovecot, mailbox_user: str, tmp_path: Path) -> None:
    assert Switching(dovecot, tmp_path, mailbox_user, seed=1).run(5) == []
