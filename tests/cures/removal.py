"""Take a cure out of a copy of the source, and run tests on what is left."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from cures.known import Cure

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
_LONGEST = 300.0  # seconds of one run
_FAILED = 1  # pytest's exit code where tests ran and some failed
_BROKEN = re.compile(r" - (NameError|UnboundLocalError|ImportError|ModuleNotFoundError)")  # what took the cure out broke more


class Flaw(Exception):
    """An entry that proves nothing, or a cure that nobody misses."""


def without(cure: Cure, text: str) -> str:
    """A file's text with the cure taken out. Raises ``Flaw`` where it does not stand there exactly once."""
    if (count := text.count(cure.text)) != 1:
        raise Flaw(f"{cure.file}: the text of the cure stands there {count} times, and not once")
    return text.replace(cure.text, cure.without)


def taken_out(cure: Cure, folder: Path) -> Path:
    """A copy of the source in ``folder``, without the cure. Raises ``Flaw``."""
    source = folder / "src"
    shutil.copytree(SOURCE, source)
    path = source / "postroom" / cure.file
    path.write_text(without(cure, path.read_text("utf-8")), "utf-8")
    return source


def failed(source: Path, tests: Iterable[str]) -> set[str]:
    """Which of the tests fail on a source. Raises ``Flaw`` where they did not run."""
    tests = list(dict.fromkeys(tests))
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider"]
    path = os.pathsep.join((str(source), str(ROOT / "tests")))
    # Of pytest's plugins the one that is needed: half the time goes to the others.
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "400", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    try:
        found = subprocess.run(
            [*command, *(f"tests/{test}" for test in tests)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Flaw(f"no end within {_LONGEST:g} s, and so no failure: {', '.join(tests)}") from None
    if found.returncode not in (0, _FAILED):
        raise Flaw(f"the tests did not run:\n{found.stdout}{found.stderr}")
    lines = [line.removeprefix("FAILED tests/") for line in found.stdout.splitlines() if line.startswith("FAILED ")]
    if any(map(_BROKEN.search, lines)):
        raise Flaw(f"what is left is no program:\n{found.stdout}")
    return {test for test in tests for line in lines if line.startswith(test) and line[len(test) :][:1] in ("", " ", "[")}


def prove(cure: Cure, folder: Path) -> None:
    """Each test of the cure fails without it. Raises ``Flaw``."""
    try:
        unmoved = set(cure.tests) - failed(taken_out(cure, folder), cure.tests)
    except Flaw as flaw:
        raise Flaw(f"P{cure.pain}, {cure.what}: {flaw}") from None
    if unmoved:
        raise Flaw(f"P{cure.pain}, {cure.what}: without it these pass all the same: {', '.join(sorted(unmoved))}")


def prove_whole(cures: Sequence[Cure]) -> None:
    """All tests pass on the source as it is. Raises ``Flaw``."""
    ill = failed(SOURCE, (test for cure in cures for test in cure.tests))
    if ill:
        raise Flaw(f"these fail with every cure in its place: {', '.join(sorted(ill))}")
