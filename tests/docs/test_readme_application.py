"""The application that the documentation shows is the very file that is run, and killed, as a test."""

from __future__ import annotations

import re

import pytest

from crash.answers import APPLICATION
from docs.pages import ROOT

PAGES = ["docs/guides/application.md", "README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_page_shows_the_file(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert APPLICATION.read_text("utf-8") in blocks
    assert "examples/answer.py" in text


def test_it_has_twenty_lines_of_code() -> None:
    lines = [line for line in APPLICATION.read_text("utf-8").splitlines() if line.strip()]
    assert lines[0].startswith('"""')
    assert len(lines) - 1 <= 20
