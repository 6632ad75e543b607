"""What a repair holds in memory does not grow with the folder."""

from __future__ import annotations

from pathlib import Path

from bench.repair import measure


async def test_p21_memory_does_not_grow_with_the_folder(tmp_path: Path) -> None:
    small = await measure(4000, tmp_path / "small")
    large = await measure(16_000, tmp_path / "large")
    assert (small.matched, small.fetched, large.matched, large.fetched) == (4000, 0, 16_000, 0)
    assert large.peak < small.peak * 1.2
