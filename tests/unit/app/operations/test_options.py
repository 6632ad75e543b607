from __future__ import annotations

import json

import pytest

from postroom.app.operations.options import as_json, as_text, options
from postroom.errors import ConfigError
from postroom.settings.reference import reference
from postroom.settings.sections import SECTIONS


def test_all_options_are_printed_section_by_section() -> None:
    text = as_text(options())
    heads = [line for line in text.split("\n") if line.startswith("[")]
    assert heads == [f"[{kind.name}]" for kind in SECTIONS]
    assert all(f"\n{entry.name}\n" in text for entry in reference())
    assert max(map(len, text.split("\n"))) <= 100


def test_one_option_is_printed() -> None:
    assert as_text(options("cycle-time")).split("\n")[:3] == [
        "cycle-time",
        "  The longest pause between two POP cycles.",
        "  Section:             pop-client",
    ]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no option is named 'cycletime'; the nearest are: cycle-time"):
        options("cycletime")


@pytest.mark.parametrize(
    ("name", "section"),
    [("smtp-client-support", "smtp-client"), ("Pull-Desk", "pull-<name>"), ("pull", "pull-<name>"), ("pop-client", "pop-client")],
    ids=["account", "application", "kind", "bare"],
)
def test_a_section_is_answered_with_the_options_of_its_kind(name: str, section: str) -> None:
    assert options(name) == tuple(entry for entry in reference() if entry.section == section)
    assert options(name)


def test_a_section_may_be_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no option is named 'smtp-cient'; the nearest are: smtp-client"):
        options("smtp-cient")


def test_programs_get_the_same_as_people() -> None:
    mailbox, account = json.loads(json.dumps(as_json(options("secret"))))
    assert mailbox["name"] == account["name"] == "secret"
    assert (mailbox["effect"], account["effect"]) == ("At the next POP cycle", "At start/restart")
    assert (mailbox["modified"], account["default"]) == ("8.5.202.02", "smtp")
