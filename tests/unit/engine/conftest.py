"""The house that the engine's tests run in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from house import House


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    house = House(tmp_path)
    monkeypatch.setattr("postroom.engine.watch.open_reader", house.open_reader)
    yield house
    await house.stop()
