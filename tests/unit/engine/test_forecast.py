"""What ends when."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.engine.forecast import DAY, DISTANCES, Announced, Ending, Facts, distance, endings

NOW = datetime.datetime(2026, 3, 10, 12, tzinfo=datetime.UTC).timestamp()
NOTHING = Facts("pop-client-a")
TESTING = Facts("pop-client-a", consented_at=NOW - DAY, used_at=NOW, testing_days=7, testing=True)


def found(facts: Facts, *announced: Announced) -> list[Ending]:
    return endings(facts, announced, NOW)


def whats(facts: Facts, *announced: Announced) -> list[str]:
    return [ending.what for ending in found(facts, *announced)]


def only(facts: Facts) -> Ending:
    (ending,) = found(facts)
    return ending


def test_nothing_known_is_nothing_told() -> None:
    assert found(NOTHING) == []
    assert found(replace(NOTHING, unused_days=90, testing_days=7, testing=True)) == []  # no grant yet


# --- refresh tokens ---------------------------------------------------------------------------------------------------


def test_an_end_that_the_authority_named_is_certain() -> None:
    ending = only(replace(NOTHING, refresh_ends_at=NOW + 5 * DAY))
    assert (ending.client, ending.what, ending.at, ending.certain) == ("pop-client-a", "refresh-token", NOW + 5 * DAY, True)
    assert "postroom authorize pop-client-a" in ending.remedy


@pytest.mark.parametrize("testing", [True, False, None])
def test_an_end_that_was_named_stands_in_the_place_of_a_guess(testing: bool | None) -> None:
    assert whats(replace(TESTING, testing=testing, refresh_ends_at=NOW + 5 * DAY)) == ["refresh-token"]


def test_a_token_that_is_not_used_ends_by_and_by() -> None:
    ending = only(replace(NOTHING, consented_at=NOW - 50 * DAY, used_at=NOW - 10 * DAY, unused_days=90))
    assert (ending.what, ending.at, ending.certain) == ("refresh-token-unused", NOW + 80 * DAY, False)
    assert "90 days" in ending.words
    assert ending.remedy == "Let Postroom read the mailbox before, or run: postroom check pop-client-a"
    sends = only(replace(NOTHING, type="SMTP", consented_at=NOW - 50 * DAY, used_at=NOW - 10 * DAY, unused_days=90))
    assert sends.remedy == "Let Postroom send by this account before, or run: postroom check pop-client-a"


def test_a_token_that_was_never_used_counts_from_the_consent() -> None:
    assert only(replace(NOTHING, consented_at=NOW - 10 * DAY, unused_days=90)).at == NOW + 80 * DAY


# --- applications in testing ------------------------------------------------------------------------------------------


def test_in_testing_a_token_ends_after_seven_days() -> None:
    ending = only(TESTING)
    assert (ending.what, ending.at, ending.certain) == ("testing", NOW + 6 * DAY, True)
    assert ending.words.startswith("the application is in testing")
    assert "publishing-status" in ending.remedy
    assert "postroom authorize pop-client-a" in ending.remedy


def test_where_nobody_says_whether_it_is_in_testing_it_may_be() -> None:
    ending = only(replace(TESTING, testing=None))
    assert (ending.what, ending.at, ending.certain) == ("testing", NOW + 6 * DAY, False)
    assert ending.words.startswith("if the application is in testing")


def test_what_has_outlived_its_testing_is_not_in_testing() -> None:
    assert found(replace(TESTING, testing=None, consented_at=NOW - 7 * DAY - 1)) == []
    assert whats(replace(TESTING, testing=None, consented_at=NOW - 7 * DAY)) == ["testing"]


def test_what_is_said_to_be_in_testing_has_ended() -> None:
    ending = only(replace(TESTING, consented_at=NOW - 8 * DAY))
    assert ending.days(NOW) == -1
    assert ending.certain


def test_what_is_published_does_not_end_so() -> None:
    assert found(replace(TESTING, testing=False)) == []


@pytest.mark.parametrize(("unused", "told"), [(1.0, False), (2.0, False), (2.5, True)])
def test_in_testing_a_few_days_without_use_may_end_it(unused: float, told: bool) -> None:
    facts = replace(TESTING, consented_at=NOW - 3 * DAY, used_at=NOW - unused * DAY)
    assert ("testing-unused" in whats(facts)) is told
    if told:
        ending = found(facts)[0]
        assert (ending.what, ending.at, ending.certain) == ("testing-unused", NOW + 0.5 * DAY, False)


# --- applications -----------------------------------------------------------------------------------------------------


def test_a_secret_and_a_certificate_end() -> None:
    facts = replace(NOTHING, secret_ends_at=NOW + 20 * DAY, certificate_ends_at=NOW + 10 * DAY, secret_name="secret-office")
    certificate, secret = found(facts)
    assert (certificate.what, certificate.at, certificate.certain) == ("certificate", NOW + 10 * DAY, True)
    assert (secret.what, secret.at, secret.certain) == ("client-secret", NOW + 20 * DAY, True)
    assert "[secret-office]" in secret.words
    assert "[secret-office]" in certificate.words
    assert "expires" in secret.remedy
    assert "private-key" in certificate.remedy


# --- announcements ----------------------------------------------------------------------------------------------------

BASIC = Announced("basic", "microsoft", NOW + DAY, frozenset({"IMAP", "POP3", "basic"}), "basic ends", "use OAuth", "https://s")


@pytest.mark.parametrize(
    ("touches", "provider", "kind", "login", "told"),
    [
        ({"IMAP", "basic"}, "microsoft", "IMAP", "basic", True),
        ({"IMAP", "basic", "password-grant"}, "microsoft", "IMAP", "password-grant", True),
        ({"IMAP"}, "microsoft", "IMAP", "", True),
        ({"IMAP"}, "microsoft", "IMAP", "basic", True),
        ({"IMAP", "basic"}, "microsoft", "IMAP", "", False),
        ({"IMAP", "basic"}, "microsoft", "IMAP", "password-grant", False),
        ({"EWS"}, "microsoft", "IMAP", "", False),
        ({"EWS", "basic"}, "microsoft", "IMAP", "basic", False),
        ({"basic"}, "microsoft", "IMAP", "basic", False),
        ({"IMAP", "basic"}, "google", "IMAP", "basic", False),
        ({"IMAP", "basic"}, "", "IMAP", "basic", False),
    ],
)
def test_an_announcement_is_told_to_whom_it_touches(touches: set[str], provider: str, kind: str, login: str, told: bool) -> None:
    announced = replace(BASIC, touches=frozenset(touches))
    facts = replace(NOTHING, provider=provider, type=kind, login=login)
    assert whats(facts, announced) == (["announcement:basic"] if told else [])
    if told:
        (ending,) = found(facts, announced)
        assert (ending.at, ending.words, ending.remedy, ending.source) == (NOW + DAY, "basic ends", "use OAuth", "https://s")
        assert ending.certain


def test_the_first_comes_first() -> None:
    facts = replace(
        TESTING,
        unused_days=180,
        secret_ends_at=NOW + 2 * DAY,
        certificate_ends_at=NOW - DAY,
        provider="microsoft",
        type="IMAP",
        login="basic",
    )
    assert whats(facts, BASIC) == ["certificate", "announcement:basic", "client-secret", "testing", "refresh-token-unused"]


TIMES = st.none() | st.floats(NOW - 1000 * DAY, NOW + 1000 * DAY)
FACTS = st.builds(
    Facts,
    client=st.just("pop-client-a"),
    consented_at=TIMES,
    used_at=TIMES,
    refresh_ends_at=TIMES,
    unused_days=st.sampled_from([0, 90, 180]),
    testing_days=st.sampled_from([0, 7]),
    testing=st.none() | st.booleans(),
    secret_ends_at=TIMES,
    certificate_ends_at=TIMES,
)


@given(FACTS)
def test_whatever_is_known_is_told_in_order_and_each_once(facts: Facts) -> None:
    told = found(facts)
    assert [ending.at for ending in told] == sorted(ending.at for ending in told)
    assert len({ending.key for ending in told}) == len(told)
    for ending in told:
        assert ending.words
        assert ending.remedy
        json.dumps(ending.as_dict())


# --- distances --------------------------------------------------------------------------------------------------------


def at(days: float) -> Ending:
    return Ending("pop-client-a", "certificate", NOW + days * DAY, "words", "Remedy.")


@pytest.mark.parametrize(
    ("days", "near"),
    [(400, None), (30.01, None), (30, 30), (20, 30), (14.5, 30), (14, 14), (3.5, 14), (3, 3), (0, 3), (-5, 3)],
)
def test_an_ending_is_announced_at_its_distances(days: float, near: int | None) -> None:
    assert distance(at(days), NOW) == near
    assert near is None or near in DISTANCES


def test_an_ending_is_told_in_a_line_and_for_programs() -> None:
    ending = at(14)
    assert str(ending) == "2026-03-24: words. Remedy."
    assert ending.days(NOW) == 14
    assert ending.as_dict() == {
        "client": "pop-client-a",
        "what": "certificate",
        "at": "2026-03-24",
        "words": "words",
        "remedy": "Remedy.",
        "certain": True,
        "source": "",
    }


def test_a_later_end_of_the_same_kind_is_another_ending() -> None:
    assert at(14).key == at(14).key
    assert len({at(14).key, at(15).key, replace(at(14), client="b").key, replace(at(14), what="testing").key}) == 4
