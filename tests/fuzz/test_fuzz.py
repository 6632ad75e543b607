"""A share of the fuzzing, and every input that was ever kept."""

from __future__ import annotations

import pytest

from fuzz.__main__ import CORPUS, fuzz
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_noise_brings_documented_refusals_only(name: str) -> None:
    assert fuzz(name, seed=7, count=400) == 400


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_stay_mended(name: str) -> None:
    kept = sorted((CORPUS / name).iterdir())
    assert kept
    for path in kept:
        TARGETS[name](path.read_bytes())
