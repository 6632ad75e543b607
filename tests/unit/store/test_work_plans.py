"""Open work is found without a look at what was done: a mailbox that was read for years is no slower."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.clock import SystemClock
from postroom.store import Store, work


@pytest.mark.parametrize("statement", [work._CLAIM, work._NEXT, work._RECLAIM])
def test_work_is_found_by_its_index(tmp_path: Path, statement: str) -> None:
    store = Store(tmp_path, SystemClock(), f"file:{tmp_path / 'vault.key'}", {})
    given = (1,) * max(statement.count("?"), 1)
    steps = store._db.now(lambda db: [str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", given)])
    store.close()
    assert any("INDEX work_open" in step for step in steps)
    assert not any(step.startswith("SCAN work") or step == "SEARCH work" for step in steps)
