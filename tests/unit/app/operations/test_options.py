from __future__ import annotations

import json

import pytest

from postroom.app.operations.options import as_json, as_text, options
from postroom.errors import ConfigError
from postroom.settings.reference import reference


def test_all_options_are_printed_section_by_section() -> None:
    text = as_text(options())
    heads = [line for line in text.split("\n") if line.startswith("[")]
    assert heads == [
        "[pop-client]",
        "[secret-<secretName>]",
        "[authority-<name>]",
        "[pull-<name>]",
        "[proxy]",
        "[settings]",
        "[web]",
        "[log]",
    ]
    assert all(f"\n{entry.name}\n" in text for entry in reference())
    assert max(map(len, text.split("\n"))) <= 100


def test_one_option_is_printed() -> None:
    assert as_text(options("client-id")).split("\n")[:3] == [
        "client-id",
        "  The client ID of the application that reads the mailbox. It acts only with OAuth.",
        "  Section:             pop-client",
    ]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no option is named 'cycletime'; the nearest are: cycle-time"):
        options("cycletime")


def test_programs_get_the_same_as_people() -> None:
    (entry,) = json.loads(json.dumps(as_json(options("secret"))))
    assert entry["name"] == "secret"
    assert entry["effect"] == "At the next POP cycle"
    assert entry["modified"] == "8.5.202.02"
