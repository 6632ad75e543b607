"""What a server's refusal means for a message: whom it concerns, and for how long."""

from __future__ import annotations

import re
from typing import Any

import pytest

from postroom.drivers.smtp_replies import At, Rule, Scope, What, fault_of, judge, rule_of, rules, throttled_by
from postroom.errors import Fate, LoginRefused, Lost, PostroomError, SmtpReply, Throttled, TlsError
from postroom.net.rules import read_table
from postroom.wire.smtp.replies import Replies, Reply

ENTRY = {"name": "a", "scope": "message", "code": [550], "means": "M.", "source": "s", "example": "550 x"}
ACTS = re.compile(r"(A company's administrator|Ask|Do nothing|Let|Lower|Make|See|Send|Set|Wait)\b")


def heard(line: str) -> Reply:
    replies = Replies()
    replies.feed(line.encode() + b"\r\n")
    reply = replies.reply()
    assert reply is not None
    return reply


def fault(line: str, provider: str = "", at: At = At.MAIL) -> PostroomError:
    reply = heard(line)
    return fault_of(judge(reply, at, provider), reply, "mail.example.org")


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_an_entry_is_chosen_for_its_example_by_itself(rule: Rule) -> None:
    reply = heard(rule.example)
    assert not reply.ok
    assert judge(reply, rule.at[0] if rule.at else At.END, rule.provider, anonymous=rule.anonymous).rule is rule


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_an_entry_can_be_read_by_an_administrator(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert rule.source.startswith("https://")
    assert re.match(r"[A-Z].*\.$", rule.means)
    assert re.match(r"[A-Z].*\.$", rule.advice)
    assert not rule.remedy or ACTS.match(rule.remedy), rule.remedy
    assert rule.what is not What.AUTH or re.search(r"enable-authentication|password|mechanisms|Authenticated SMTP", rule.remedy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scope": "all"}, "scope|all"),
        ({"code": []}, "fits everything"),
        ({"words": "("}, "missing|unterminated"),
        ({"colour": "red"}, "colour"),
        ({"scope": "account"}, "what belongs"),
        ({"what": "quota"}, "what belongs"),
        ({"at": ["nowhere"]}, "nowhere"),
        ({"source": None}, "a"),
    ],
)
def test_a_fault_in_the_table_is_named(change: dict[str, Any], words: str) -> None:
    entry = {key: value for key, value in {**ENTRY, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=words):
        read_table({"reply": [entry]}, "reply", rule_of)
    with pytest.raises(ValueError, match="twice"):
        read_table({"reply": [ENTRY, ENTRY]}, "reply", rule_of)


# --- what no entry knows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "at", "scope", "permanent"),
    [
        ("550 5.1.1 no such user", At.RCPT, Scope.RECIPIENT, True),
        ("450 4.2.0 greylisted", At.RCPT, Scope.RECIPIENT, False),
        ("451 4.7.1 greylisted", At.RCPT, Scope.RECIPIENT, False),
        ("450 4.7.0 greylisted", At.RCPT, Scope.RECIPIENT, False),
        ("452 4.2.2 over quota", At.RCPT, Scope.RECIPIENT, False),
        ("450 5.7.1 the code decides", At.RCPT, Scope.RECIPIENT, False),
        ("550 4.7.1 the code decides", At.RCPT, Scope.RECIPIENT, True),
        ("554 5.7.1 relay access denied", At.RCPT, Scope.RECIPIENT, True),
        ("550 5.7.1 no", At.MAIL, Scope.MESSAGE, True),
        ("451 4.3.0 later", At.MAIL, Scope.MESSAGE, False),
        ("554 5.7.1 spam", At.END, Scope.MESSAGE, True),
        ("450 4.7.0 spam, perhaps", At.END, Scope.MESSAGE, False),
        ("452 4.3.1 no room", At.END, Scope.MESSAGE, False),
        ("554 no", At.GREETING, Scope.ACCOUNT, True),
        ("550 no", At.LOGIN, Scope.ACCOUNT, True),
    ],
)
def test_the_class_of_the_code_and_the_command_decide(line: str, at: At, scope: Scope, permanent: bool) -> None:
    judgement = judge(heard(line), at, "")
    assert (judgement.scope, judgement.permanent, judgement.rule) == (scope, permanent, None)


@pytest.mark.parametrize("line", ["421 x", "454 4.7.0 x", "530 x", "534 x", "535 x", "538 x", "450 4.7.0 x", "451 4.3.2 x"])
def test_some_codes_always_concern_the_account(line: str) -> None:
    assert judge(heard(line), At.MAIL, "").scope is Scope.ACCOUNT


def test_what_one_provider_means_another_does_not() -> None:
    line = heard("550 5.4.5 Daily user sending limit")
    assert judge(line, At.END, "google").scope is Scope.ACCOUNT
    assert judge(line, At.END, "").scope is Scope.MESSAGE


# --- as errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "provider", "kind", "fate"),
    [
        ("421 bye", "", Lost, Fate.RETRY),
        ("454 4.7.0 later", "", SmtpReply, Fate.RETRY),
        ("451 4.3.2 later", "", SmtpReply, Fate.RETRY),
        ("530 5.7.0 Must issue a STARTTLS command first", "", TlsError, Fate.RETRY),
        ("530 5.7.0 Authentication required", "", LoginRefused, Fate.REAUTHORIZE),
        ("503 5.5.1 need EHLO and AUTH first !", "", LoginRefused, Fate.REAUTHORIZE),
        ("550 5.7.30 no", "microsoft", LoginRefused, Fate.REAUTHORIZE),
        ("554 5.2.0 STOREDRV.Submission.Exception:OutboundSpamException", "microsoft", Throttled, Fate.RETRY),
        ("554 5.2.2 mailbox full", "microsoft", Throttled, Fate.RETRY),
        ("550 5.7.1 You have exceeded your daily sending limit", "icloud", Throttled, Fate.RETRY),
        ("599 5.9.9 never heard of", "", SmtpReply, Fate.RETRY),
    ],
)
def test_an_accounts_refusal_as_an_error(line: str, provider: str, kind: type[PostroomError], fate: Fate) -> None:
    error = fault(line, provider)
    assert type(error) is kind
    assert error.fate is fate
    assert line.split(" ", 2)[-1] in error.detail
    assert error.remedy


def test_a_limit_is_the_servers_before_what_is_known_of_it() -> None:
    known = fault("432 4.3.2 Concurrent connections limit exceeded", "microsoft")
    assert isinstance(known, Throttled)
    assert (known.limit, known.retry_after) == (3, None)  # and not the 2 that stands before "Concurrent connections"
    told = fault("421 4.3.2 limit of 5 concurrent connections, backoff time 90 seconds")
    assert isinstance(told, Throttled)
    assert (told.limit, told.retry_after) == (5, 90)


def test_a_refused_login_is_a_wish_for_less_only_where_it_says_so() -> None:
    for line, less in (("454 4.7.0 Temporary authentication failure", False), ("421 4.7.0 too many connections", True)):
        reply = heard(line)
        assert (throttled_by(judge(reply, At.LOGIN, ""), reply, "mail.example.org") is not None) is less


def test_a_refusal_of_who_did_not_log_in_concerns_the_account() -> None:
    reply = heard("554 5.7.1 <a@example.org>: Relay access denied")
    assert judge(reply, At.RCPT, "", anonymous=True).scope is Scope.ACCOUNT
    assert judge(reply, At.RCPT, "").scope is Scope.RECIPIENT
