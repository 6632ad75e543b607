"""The options of a mailbox and the tests that show what each does.

*When* they act, at the next POP cycle, is shown for each of them by ``unit/engine/test_option_moment.py``, and for those of
``integration/test_option_effects.py`` and ``integration/test_live.py`` with a running service and real servers too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from docs.pages import ROOT
from postroom.settings import PopClient, PullApplication
from postroom.settings.option import options_of

EFFECTS = "integration/test_option_effects.py"
GRANTS = "integration/test_grants.py"
_PLACE = f"{EFFECTS}::test_where_and_how_it_connects"

TESTS: dict[str, tuple[str, ...]] = {
    "type": (f"{EFFECTS}::test_the_type_itself",),
    "server": (_PLACE, "unit/drivers/test_provider.py"),
    "port": (_PLACE,),
    "mailbox": (_PLACE, "integration/test_pop3_gmail.py::test_p25_changing_the_mode_captures_nothing_twice"),
    "oauth-user": (f"{GRANTS}::test_it_is_the_default_at_microsoft_and_warned_of", "unit/drivers/test_token_request.py"),
    "password": (_PLACE, "integration/test_live.py::test_a_password_file_is_watched_too"),
    "folder-path": (f"{EFFECTS}::test_first_read_and_folder_path",),
    "pop-connection-security": (_PLACE, "integration/test_tls.py::test_nothing_is_said_in_clear"),
    "tls-ca-file": (_PLACE, "integration/test_tls.py::test_with_the_authority_in_tls_ca_file"),
    "connect-timeout": ("integration/test_option_effects.py::test_connect_timeout",),
    "protocol-timeout": ("integration/test_idling.py::test_p11_a_connection_that_died_silently_is_noticed_and_made_anew",),
    "enable-client": ("integration/test_live.py::test_a_client_is_disabled_and_enabled",),
    "enable-debug": (f"{EFFECTS}::test_enable_debug_shows_no_secret", "dialogue/test_dialogue_traces.py"),
    "cycle-time": ("integration/test_live.py::test_an_edit_while_waiting_begins_the_next_cycle_at_once",),
    "maximum-msg-number": (f"{EFFECTS}::test_maximum_msg_number",),
    "after-capture": (
        f"{EFFECTS}::test_after_capture_and_processed_folder_path",
        "integration/test_live.py::test_an_edit_acts_at_the_next_cycle_and_not_in_the_running_one",
    ),
    "processed-folder-path": (f"{EFFECTS}::test_after_capture_and_processed_folder_path",),
    "failed-items-folder-path": ("unit/engine/test_big.py::test_p22_refused_for_a_day_it_is_moved_away_unread",),
    "maximum-msg-size": (f"{EFFECTS}::test_p23_maximum_msg_size_and_big_messages", "unit/engine/test_big.py"),
    "big-messages": (f"{EFFECTS}::test_p23_maximum_msg_size_and_big_messages", "unit/engine/test_big.py"),
    "first-read": (f"{EFFECTS}::test_first_read_and_folder_path", f"{EFFECTS}::test_first_read_over_pop3"),
    "address": (f"{EFFECTS}::test_address",),
    "copy-message-to-recipients": (f"{EFFECTS}::test_copies",),
    "copy-message-with-header": (f"{EFFECTS}::test_copies",),
    "inbound-msg-copy-limit": (f"{EFFECTS}::test_copies",),
    "mail.<type>.auth.mechanisms": ("integration/test_pop3.py::test_oauth", f"{EFFECTS}::test_enable_debug_shows_no_secret"),
    "client-id": ("integration/test_oauth.py::test_a_chain_belongs_to_its_application",),
    "tenant-authority": ("integration/test_pop3_gmail.py::test_p25_a_token_in_one_line_at_google",),
    "directory-id": (f"{GRANTS}::test_it_is_the_default_at_microsoft_and_warned_of",),
    "scope": ("integration/test_oauth.py::test_what_else_is_asked_with_has_tokens_of_its_own",),
    "secret": ("integration/test_oauth.py::test_a_wrong_client_secret_waits_for_a_person",),
    "grant-type": (f"{GRANTS}::test_with_a_secret", f"{GRANTS}::test_it_reads_a_mailbox_of_the_domain"),
    "token-command": (f"{GRANTS}::test_a_command",),
    "token-url": (f"{GRANTS}::test_an_address",),
    "token-expiry-margin-time": (
        "integration/test_seed.py",
        "integration/test_oauth.py::test_a_token_is_renewed_by_the_margin",
    ),
    # those that mail.<type>.* alone can say
    "mail.imap.compress.enable": ("unit/settings/test_properties.py", "dialogue/test_dialogue_compress.py"),
    "mail.pop3.disabletop": (
        "unit/settings/test_properties.py",
        "dialogue/test_dialogue_pop3.py::test_p25_top_is_never_sent_where_it_is_disabled",
    ),
    "mail.pop3.disablecapa": ("integration/test_properties_live.py::test_a_property_acts_at_the_next_cycle",),
}


PULL = "integration/test_pull_rest.py::test_options_act_immediately"
TESTS_OF_PULL: dict[str, tuple[str, ...]] = {
    "clients": (PULL, "unit/engine/test_applications.py::test_clients"),
    "folders": (PULL, "unit/engine/test_applications.py::test_folders"),
    "addresses": (PULL, "unit/engine/test_applications.py::test_addresses"),
    "lease-time": (PULL,),
    "maximum-attempts": (PULL,),
    "begin": (PULL, "unit/engine/test_applications.py::test_or_with_a_day"),
}


def _tests_of(path: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / "tests" / path).read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


def test_every_option_is_in_the_table() -> None:
    assert {option.name for option in options_of(PopClient).values()} <= set(TESTS)


def test_every_option_of_an_application_is_in_its_table() -> None:
    assert {option.name for option in options_of(PullApplication).values()} == set(TESTS_OF_PULL)


@pytest.mark.parametrize(("option", "tests"), [*TESTS.items(), *TESTS_OF_PULL.items()], ids=[*TESTS, *TESTS_OF_PULL])
def test_the_tests_of_an_option_exist_and_name_it(option: str, tests: tuple[str, ...]) -> None:
    spellings = {option, option.replace("-", "_"), option.removeprefix("mail.<type>.").split(".")[-1]}
    written = ""
    for name in tests:
        path, _, function = name.partition("::")
        names = list(_tests_of(path))
        assert function in names if function else names, name
        written += (ROOT / "tests" / path).read_text("utf-8")
    assert any(spelling in written for spelling in spellings), f"none of {', '.join(tests)} writes {option}"
