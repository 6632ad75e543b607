from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from postroom.settings.option import options_of
from postroom.settings.reference import Entry, find_entries, named_like, nearest_names, options_markdown, reference
from postroom.settings.sections import OPTIONS_WITHOUT_EFFECT, SECTIONS, SECTIONS_WITHOUT_EFFECT

ROOT = Path(__file__).parents[3]
SEED = (ROOT / "tests/data/gmail-oauth-options.txt").read_text("utf-8")
FIELDS = ("Section", "Default Value", "Valid Values", "Changes Take Effect", "Introduced", "Modified")


def seed_options() -> list[dict[str, str]]:
    """The options as the specification prints them: a name alone on its line, then lines of fields."""
    found: list[dict[str, str]] = []
    for block in re.findall(r"^([a-z-]+)\n\n((?:[A-Z][A-Za-z ]+: .+\n)+)", SEED, re.MULTILINE):
        fields = dict(line.split(": ", 1) for line in block[1].splitlines())
        assert set(fields) <= set(FIELDS)
        found.append({"name": block[0], **fields})
    return found


OF_THE_FAMILY = ("enable-debug", "user", "cnx-check-idle-time", "cnx-max-idle-time")
DECLARED_SECTIONS = {kind.name for kind in SECTIONS}
OPTIONS = [option for option in seed_options() if option["Section"] in DECLARED_SECTIONS]


def test_the_specification_is_read_whole() -> None:
    assert len(seed_options()) == SEED.count("\nSection: ") == 9
    assert {option["Section"] for option in seed_options()} <= DECLARED_SECTIONS
    assert len(OPTIONS) == 9


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: f"{option['Section']} {option['name']}")
def test_the_reference_prints_what_the_specification_says(option: dict[str, str]) -> None:
    (entry,) = (entry for entry in find_entries(option["name"]) if entry.section == option["Section"])
    assert entry.default == option["Default Value"]
    assert entry.effect == option["Changes Take Effect"]
    assert entry.introduced == option.get("Introduced", "")
    assert entry.modified == option.get("Modified", "")


@pytest.mark.parametrize("entry", reference(), ids=lambda entry: f"{entry.section} {entry.name}")
def test_what_the_family_does_not_say_is_said_to_be_ours(entry: Entry) -> None:
    specified = any((option["name"], option["Section"]) == (entry.name, entry.section) for option in OPTIONS)
    family = specified or entry.introduced or entry.name in OF_THE_FAMILY
    assert family or entry.ours
    assert entry.valid
    assert entry.sentence.endswith(".")
    assert not entry.ours or entry.ours.endswith(".")


def test_an_option_may_stand_in_several_sections() -> None:
    assert [entry.section for entry in find_entries("PASSWORD")] == [
        "pop-client",
        "smtp-client",
        "secret-<secretName>",
        "proxy",
        "smtp-listener-account-<name>",
    ]


def test_a_property_is_of_the_sections_that_have_its_type() -> None:
    for name in ("mail.smtp.timeout", "MAIL.smtps.timeout"):
        assert [(entry.section, entry.name) for entry in find_entries(name)] == [("smtp-client", "mail.<server-type>.timeout")]
    assert [entry.section for entry in find_entries("mail.debug")] == ["pop-client", "smtp-client"]
    assert named_like("mail.smtp.auth.m") == ("mail.smtp.auth.mechanisms",)
    assert set(named_like("mail.pop3.auth.m")) == {"mail.pop3.auth.mechanisms"}


@pytest.mark.parametrize("name", ["mail.<type>.auth.mechanisms", "mail.imap.auth.mechanisms", "Mail.POP3.auth.mechanisms"])
def test_a_name_with_a_type_is_found(name: str) -> None:
    assert [entry.name for entry in find_entries(name)] == ["mail.<type>.auth.mechanisms"]


@pytest.mark.parametrize("name", ["mail.auth.mechanisms", "mail..auth.mechanisms", "mail", "pasword", ""])
def test_a_name_that_is_none_is_not_found(name: str) -> None:
    assert find_entries(name) == ()


def test_the_nearest_names_are_known() -> None:
    assert nearest_names("pasword")[0] == "password"
    assert nearest_names("§") == ()


def test_a_default_that_is_parsed_is_the_default_that_acts() -> None:
    for kind in SECTIONS:
        fields = {field.name: field for field in dataclasses.fields(kind.record)}
        for name, option in options_of(kind.record).items():
            has_default = fields[name].default is not dataclasses.MISSING and fields[name].default not in (None, (), "")
            assert not has_default or option.default not in ("No default value", "Required")


def test_no_option_acts_and_is_without_effect() -> None:
    for kind in SECTIONS:
        declared = {option.name for option in options_of(kind.record).values()}
        assert not declared & set(OPTIONS_WITHOUT_EFFECT.get(kind.name, ()))
    assert not DECLARED_SECTIONS & set(SECTIONS_WITHOUT_EFFECT)
    assert set(OPTIONS_WITHOUT_EFFECT) <= DECLARED_SECTIONS


def test_the_documentation_is_the_declaration() -> None:
    assert (ROOT / "docs/options.md").read_text("utf-8") == options_markdown(), "run `make docs`"


def test_the_documentation_holds_every_option() -> None:
    page = options_markdown()
    for entry in reference():
        assert f"### {entry.name.replace('<', '&lt;')}\n" in page
