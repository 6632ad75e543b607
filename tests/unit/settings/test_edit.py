"""Edits of the file: what is asked for stands there, and every other line stays."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.settings.edit import with_entries, with_section, without_section
from postroom.settings.ini import read_ini

TEXT = """\
# the company's mailboxes
[settings]
data-directory = data   ; not a comment

[pop-client-a]
; who reads this mailbox: Anna
  server=mail.example.test
port   =   993

# about b
[pop-client-b]
server = other.example.test
"""


def entries(text: str, section: str) -> dict[str, str]:
    """A section's entries as the program reads them."""
    return {entry.name: entry.value for entry in read_ini(text, "f").sections[section.lower()].entries.values()}


def test_a_value_is_changed_in_its_place() -> None:
    assert with_entries(TEXT, "POP-client-a", {"SERVER": "new.example.test"}) == TEXT.replace(
        "  server=mail.example.test", "  server= new.example.test"
    )
    assert with_entries(TEXT, "pop-client-a", {"port": "143"}) == TEXT.replace("port   =   993", "port   =   143")


def test_what_is_new_stands_behind_the_last_entry() -> None:
    assert with_entries(TEXT, "pop-client-a", {"mailbox": "a"}) == TEXT.replace("993\n", "993\nmailbox = a\n")
    assert with_entries("[a]", "a", {"x": "1"}) == "[a]\nx = 1\n"


def test_an_entry_is_taken_away() -> None:
    assert with_entries(TEXT, "pop-client-a", {"port": None}) == TEXT.replace("port   =   993\n", "")
    assert with_entries(TEXT, "pop-client-a", {"port": None, "x": "1"}) == TEXT.replace("port   =   993\n", "x = 1\n")


def test_a_section_is_made_and_taken_away() -> None:
    made = with_section(TEXT, "pop-client-c", {"server": "c.example.test", "password": "x=[y];#"})
    assert made == TEXT + "\n[pop-client-c]\nserver = c.example.test\npassword = x=[y];#\n"
    assert entries(made, "pop-client-c") == {"server": "c.example.test", "password": "x=[y];#"}
    assert without_section(made, "pop-client-c") == TEXT + "\n"
    gone = without_section(TEXT, "pop-client-a")
    assert gone == TEXT[: TEXT.index("[pop-client-a]")] + TEXT[TEXT.index("\n# about b") :]


def test_the_ends_of_lines_and_the_mark_at_the_beginning_stay() -> None:
    text = "\ufeff[a]\r\nx = 1\r\n"
    assert with_entries(text, "a", {"x": "2", "y": "3"}) == "\ufeff[a]\r\nx = 2\r\ny = 3\r\n"
    assert with_section(text, "b", {"z": "4"}) == text + "\r\n[b]\r\nz = 4\r\n"
    assert without_section(text, "a") == "\ufeff"


NO_LINES = {"line": "a\nb", "return": "a\rb", "blank-before": " a", "blank-behind": "a ", "control": "a\0"}


@pytest.mark.parametrize("value", NO_LINES.values(), ids=NO_LINES)
def test_a_value_that_cannot_stand_on_its_line(value: str) -> None:
    for edit in (lambda: with_entries(TEXT, "pop-client-a", {"port": value}), lambda: with_section(TEXT, "c", {"port": value})):
        with pytest.raises(ValueError, match="value"):
            edit()


@pytest.mark.parametrize("name", ["", " a", "a=b", "[a", "#a", "a\nb"], ids=["none", "blank", "equals", "head", "comment", "line"])
def test_a_name_that_cannot_stand_on_its_line(name: str) -> None:
    with pytest.raises(ValueError, match="name of an option"):
        with_entries(TEXT, "pop-client-a", {name: "x"})


@pytest.mark.parametrize("name", ["", " a", "a]", "a\nb"], ids=["none", "blank", "bracket", "line"])
def test_a_section_that_cannot_stand_on_its_line(name: str) -> None:
    with pytest.raises(ValueError, match="name of a section"):
        with_section(TEXT, name, {})
    with pytest.raises(ValueError, match="there already"):
        with_section(TEXT, "SETTINGS", {})
    with pytest.raises(KeyError):
        without_section(TEXT, "nobody")


# --- any sequence of edits

NAMES = st.sampled_from(["pop-client-x", "pop-client-y", "smtp-client-z"])
OPTIONS = st.sampled_from(["server", "port", "mailbox", "password"])
VALUES = st.text(string.ascii_letters + string.digits + "=[]#;: ü", max_size=12).map(str.strip)
EDITS = st.one_of(
    st.tuples(st.just("create"), NAMES, st.dictionaries(OPTIONS, VALUES, max_size=4)),
    st.tuples(st.just("change"), NAMES, st.dictionaries(OPTIONS, st.none() | VALUES, max_size=4)),
    st.tuples(st.just("delete"), NAMES, st.just({})),
)
FOREIGN = st.lists(
    st.sampled_from(
        [
            "# a remark",
            "; another",
            "",
            "   ",
            "[settings]",
            "[pop-client-other]",
            "server = s",
            "\tport = 1",
            "torn",
            "[bad",
            "x=[y",
        ]
    ),
    max_size=12,
)


@given(FOREIGN, st.lists(EDITS, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_sequence_keeps_every_foreign_line(
    lines: list[str], edits: list[tuple[str, str, dict[str, str]]], end: str, closed: bool
) -> None:
    text = end.join(lines) + (end if closed and lines else "")
    expected: dict[str, dict[str, str]] = {}
    for kind, name, options in edits:
        if kind == "create" and name not in expected:
            text = with_section(text, name, options)
            expected[name] = dict(options)
        elif kind == "change" and name in expected:
            text = with_entries(text, name, options)
            expected[name].update(options)
            expected[name] = {option: value for option, value in expected[name].items() if value is not None}
        elif kind == "delete" and name in expected:
            text = without_section(text, name)
            del expected[name]
    for name, options in expected.items():
        assert entries(text, name) == options
    ours = {f"[{name}]" for name in expected}
    mine = {f"{option} = {value}".strip() for options in expected.values() for option, value in options.items()}
    kept = [line for line in text.splitlines() if line.strip() and line.strip() not in ours and line.strip() not in mine]
    assert kept == [line for line in lines if line.strip() and line.strip() not in mine]
