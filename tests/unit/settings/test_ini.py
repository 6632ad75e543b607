from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postroom.settings.ini import read_ini

TEXT = "\ufeff# first\r\n[One]\r\n  Name = a = b # c ; %d \r\n\r\n; more\r\nother=\r\n[two] ; said\nx=1\n"


def test_sections_and_entries_know_their_lines() -> None:
    ini = read_ini(TEXT, "f")
    one, two = ini.sections["one"], ini.sections["two"]
    assert (one.name, one.line, two.line) == ("One", 2, 7)
    assert [(e.name, e.value, e.line) for e in one.entries.values()] == [
        ("Name", "a = b # c ; %d", 3),
        ("other", "", 6),
    ]
    assert ini.faults == []


def test_what_stands_before_the_sections_is_a_fault_of_the_whole() -> None:
    (fault,) = read_ini("a = 1\n[b]\n", "f").faults
    assert (fault.line, fault.option, fault.value, fault.whole) == (1, "a", "1", True)


def test_a_line_without_equals_sign_is_a_fault_of_its_section() -> None:
    (fault,) = read_ini("[a]\nenable yes\nb = 1\n", "f").faults
    assert (fault.line, fault.section, fault.value, fault.whole) == (2, "a", "enable yes", False)


def test_a_line_that_may_continue_a_secret_is_not_shown() -> None:
    (first, second) = read_ini("[a]\npassword = abc\n  defgh\n[b]\nclient-secret: xyz\n", "f").faults
    assert (first.value, second.value) == ("***", "***")


def test_a_repeated_option_names_both_lines() -> None:
    (fault,) = read_ini("[a]\nport = 1\nPORT = 2\n", "f").faults
    assert (fault.line, fault.option, fault.value) == (3, "PORT", "2")
    assert "line 2" in fault.problem


def test_a_repeated_secret_is_not_shown() -> None:
    (fault,) = read_ini("[a]\npassword = 1\npassword = two\n", "f").faults
    assert fault.value == "***"


def test_a_repeated_section_names_both_lines() -> None:
    ini = read_ini("[a]\nx = 1\n[A]\ny = 2\n", "f")
    (fault,) = ini.faults
    assert (fault.line, fault.section) == (3, "a")
    assert "line 1" in fault.problem
    assert list(ini.sections["a"].entries) == ["x"]


def test_a_torn_head_takes_its_lines_from_no_other_section() -> None:
    ini = read_ini("[a]\nx = 1\n[b\nx = 2\n", "f")
    assert [(fault.section, fault.line) for fault in ini.faults] == [("b", 3)]
    assert ini.sections["a"].entries["x"].value == "1"
    assert ini.sections["b"].entries["x"].value == "2"


def test_a_name_must_stand_before_the_equals_sign() -> None:
    (fault,) = read_ini("[a]\n = b\n", "f").faults
    assert (fault.line, fault.value) == (2, "***")


LINES = st.lists(st.one_of(st.text(), st.sampled_from(["[a]", "[b", "x=1", "x = 2", "#", "[]", "y", "=", "[a] z"])))


@given(LINES, st.sampled_from(["\n", "\r\n"]))
def test_any_text_is_read(lines: list[str], end: str) -> None:
    text = end.join(lines)
    ini = read_ini(text, "f")
    last = text.count("\n") + 1
    assert all(1 <= fault.line <= last and str(fault) for fault in ini.faults)
    assert all(1 <= entry.line <= last for section in ini.sections.values() for entry in section.entries.values())


NAMES = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1)
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs"])).map(lambda value: value.strip(" \t\r\f\v"))


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES)), st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_is_what_is_read(written: dict[str, dict[str, str]], end: str) -> None:
    lines = [line for name, entries in written.items() for line in (f"[{name}]", *(f"  {k} = {v}" for k, v in entries.items()))]
    ini = read_ini(end.join(lines), "f")
    assert ini.faults == []
    read = {name: {key: entry.value for key, entry in s.entries.items()} for name, s in ini.sections.items()}
    assert read == written
