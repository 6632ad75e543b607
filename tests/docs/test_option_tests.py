"""The options of a mailbox and of an account, and the tests that show what each does.

*When* they act is shown for each of a mailbox's, at the next POP cycle, by ``unit/engine/test_option_moment.py``, and for those
of ``integration/test_option_effects.py`` and ``integration/test_live.py`` with a running service and real servers too; for each
of an account's, at start/restart or immediately, by ``unit/app/test_restart_pending.py``, and for those of
``integration/test_sending_options.py`` and ``integration/test_seed_smtp.py`` with a running service.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from docs.pages import ROOT
from postroom.settings import ListenerAccount, ListenerSettings, PopClient, PullApplication, SmtpClient
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


ACCOUNT = "unit/drivers/test_account_options.py"
SENDING = "unit/engine/test_submit.py"
COPIES = "unit/engine/test_filing.py"
SUBMISSIONS = "unit/app/operations/test_account_adds.py"
SERVED = "integration/test_sending_options.py"
SEED = "integration/test_seed_smtp.py"
LOGINS = "integration/test_seed_smtp_logins.py"
_SERVED_PLACE = f"{SERVED}::test_where_and_how_it_connects"
_AT_RESTART = (f"{SEED}::test_between_two_messages", f"{SEED}::test_when_a_person_says_so")

SENDER_TESTS: dict[str, tuple[str, ...]] = {
    "server-type": (ACCOUNT, "unit/settings/test_smtp_rules.py::test_a_value_out_of_bounds_keeps_the_section_down"),
    "server": (ACCOUNT, _SERVED_PLACE),
    "port": (ACCOUNT, _SERVED_PLACE),
    "smtp-connection-security": (
        "unit/settings/test_smtp_rules.py::test_a_password_in_clear_is_warned_of",
        ACCOUNT,
        "dialogue/test_dialogue_smtp_login.py::test_nothing_is_said_where_tls_cannot_begin",
        _SERVED_PLACE,
    ),
    "tls-ca-file": (ACCOUNT, _SERVED_PLACE),
    "enable-authentication": (
        f"{SENDING}::test_enable_authentication_acts_on_the_next_message_and_open_conversations_retire",
        "unit/app/test_restart_pending.py::test_enable_authentication_alone_acts_at_once",
        f"{LOGINS}::test_it_acts_immediately_and_open_connections_retire",
        f"{LOGINS}::test_not_written_beside_xoauth2_it_is_on_and_said_once",
    ),
    "user": (ACCOUNT, _SERVED_PLACE),
    "password": (ACCOUNT, _SERVED_PLACE, *_AT_RESTART, f"{LOGINS}::test_it_acts_only_when_authentication_is_on"),
    "mail.<server-type>.auth.mechanisms": (
        f"{ACCOUNT}::test_the_mechanisms_choose_between_token_and_password",
        f"{SEED}::test_no_option_of_oauth_asks_for_a_token",
    ),
    "client-id": (ACCOUNT, *_AT_RESTART),
    "tenant-authority": (ACCOUNT, *_AT_RESTART, f"{SEED}::test_google"),
    "directory-id": (ACCOUNT,),
    "scope": (ACCOUNT,),
    "secret": (
        f"{ACCOUNT}::test_the_secret_proves_the_application",
        "unit/settings/test_smtp_rules.py::test_a_secret_that_is_not_written_is_secret_smtp",
        *_AT_RESTART,
        f"{SEED}::test_not_written_it_is_secret_smtp",
    ),
    "grant-type": (ACCOUNT,),
    "token-command": (ACCOUNT,),
    "token-url": (ACCOUNT,),
    "token-expiry-margin-time": (ACCOUNT,),
    "connect-timeout": (ACCOUNT, f"{SERVED}::test_connect_timeout"),
    "protocol-timeout": (
        ACCOUNT,
        "dialogue/test_dialogue_smtp_answers.py::test_the_answer_to_the_end_has_a_patience_of_its_own_that_protocol_timeout_can_only_raise",
        f"{SERVED}::test_protocol_timeout",
    ),
    "enable-debug": (f"{SUBMISSIONS}::test_enable_debug_writes_the_conversation", f"{SERVED}::test_enable_debug_shows_no_secret"),
    "cnx-pool-size": (f"{SENDING}::test_no_more_conversations_are_open_than_the_pool_allows", f"{SERVED}::test_cnx_pool_size"),
    "cnx-check-idle-time": (
        f"{SENDING}::test_a_conversation_idle_for_long_is_checked_and_for_longer_is_closed",
        f"{SERVED}::test_cnx_check_idle_time_and_cnx_max_idle_time",
    ),
    "cnx-max-idle-time": (
        f"{SENDING}::test_a_conversation_idle_for_long_is_checked_and_for_longer_is_closed",
        f"{SERVED}::test_cnx_check_idle_time_and_cnx_max_idle_time",
    ),
    "addresses": (
        "unit/settings/test_smtp_rules.py::test_a_from_address_has_its_account",
        "unit/app/test_restart_pending.py::test_a_new_address_is_sent_for_after_the_restart",
        f"{SERVED}::test_addresses",
    ),
    "messages-per-minute": (f"{SENDING}::test_it_is_never_sent_faster_than_the_option_says", f"{SERVED}::test_messages_per_minute"),
    "in-doubt": (
        f"{SENDING}::test_p27_a_doubt_is_sent_again_where_the_option_says_so",
        f"{SENDING}::test_p27_a_lost_answer_is_a_doubt_that_waits_for_a_person",
        f"{SERVED}::test_p27_in_doubt",
    ),
    "retry-span": (f"{SENDING}::test_a_refusal_for_now_is_tried_as_long_as_the_option_says", f"{SERVED}::test_retry_span"),
    "copy-in-sent": (
        f"{COPIES}::test_the_folder_is_the_options",
        f"{COPIES}::test_no_copy_is_wanted",
        "integration/test_copy_in_sent.py::test_the_option_acts_when_the_account_restarts",
    ),
    "dkim-domain": (f"{SUBMISSIONS}::test_what_leaves_is_signed",),
    "dkim-selector": (f"{SUBMISSIONS}::test_what_leaves_is_signed",),
    "dkim-key": (f"{SUBMISSIONS}::test_what_leaves_is_signed",),
    # those that mail.smtp.* alone can say
    "mail.smtp.localhost": (
        ACCOUNT,
        "dialogue/test_dialogue_smtp_submit.py::test_the_name_under_which_we_present_ourselves_may_be_chosen",
        "unit/settings/test_smtp_properties.py",
    ),
    "mail.smtp.from": (f"{SUBMISSIONS}::test_the_envelopes_sender", "unit/settings/test_smtp_properties.py"),
    "mail.smtp.dsn.notify": (f"{SUBMISSIONS}::test_which_reports_are_asked_for", "unit/settings/test_smtp_properties.py"),
    "mail.smtp.dsn.ret": (f"{SUBMISSIONS}::test_which_reports_are_asked_for", "unit/settings/test_smtp_properties.py"),
}
_SPELT = {"smtp-connection-security": "security", "cnx-pool-size": "pool_size"}  # the record's field, where it has another name
_SPELT |= {"cnx-check-idle-time": "check_idle_time", "cnx-max-idle-time": "max_idle_time"}
LISTENER_TESTS: dict[str, tuple[str, ...]] = {
    "listen": ("integration/test_listener_service.py::test_it_is_off_by_default_and_follows_the_file_at_a_start",),
    "security": ("integration/test_listener.py::test_starttls_comes_first",),
    "tls-certificate": ("integration/test_listener.py::test_tls_from_the_first_octet_and_a_renewed_certificate",),
    "tls-key": ("integration/test_listener.py::test_tls_from_the_first_octet_and_a_renewed_certificate",),
    "maximum-msg-size": ("integration/test_listener.py::test_sizes",),
    "allow-without-login": ("integration/test_listener_service.py",),
    "password": ("integration/test_listener_service.py::test_it_is_off_by_default_and_follows_the_file_at_a_start",),
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
    assert {option.name for option in options_of(SmtpClient).values()} <= set(SENDER_TESTS)
    listener = {**options_of(ListenerSettings), **options_of(ListenerAccount)}
    assert {option.name for option in listener.values()} == set(LISTENER_TESTS)


def test_every_option_of_an_application_is_in_its_table() -> None:
    assert {option.name for option in options_of(PullApplication).values()} == set(TESTS_OF_PULL)


@pytest.mark.parametrize(
    ("option", "tests"),
    [*TESTS.items(), *SENDER_TESTS.items(), *LISTENER_TESTS.items(), *TESTS_OF_PULL.items()],
    ids=[
        *(f"pop-client {name}" for name in TESTS),
        *(f"smtp-client {name}" for name in SENDER_TESTS),
        *(f"smtp-listener {name}" for name in LISTENER_TESTS),
        *(f"pull {name}" for name in TESTS_OF_PULL),
    ],
)
def test_the_tests_of_an_option_exist_and_name_it(option: str, tests: tuple[str, ...]) -> None:
    spellings = {option, option.replace("-", "_"), option.split(".")[-1], _SPELT.get(option, option)}
    written = ""
    for name in tests:
        path, _, function = name.partition("::")
        names = list(_tests_of(path))
        assert function in names if function else names, name
        written += (ROOT / "tests" / path).read_text("utf-8")
    assert any(spelling in written for spelling in spellings), f"none of {', '.join(tests)} writes {option}"
