"""Error to decision, as a table and as promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom import errors
from postroom.engine.retry import Decision, decide, decide_work, trouble_again
from postroom.errors import (
    ConfigError,
    ConnectError,
    Fate,
    ImapStatus,
    LoginRefused,
    Lost,
    NoMechanism,
    PostroomError,
    StoreError,
    StoreFull,
    StoreNewer,
    Throttled,
    TimedOut,
    TlsError,
    TokenRefused,
    VaultLocked,
)

LOST = Lost("x")
LOGIN = LoginRefused("x")
TOKEN = TokenRefused("x", error="invalid_grant")
NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("error", "failures", "lasted", "decision"),
    [
        (LOST, 1, 0, Decision(5)),
        (LOST, 2, 5, Decision(10)),
        (LOST, 5, 100, Decision(80)),
        (LOST, 8, 1000, Decision(640)),
        (LOST, 9, 1000, Decision(900)),
        (LOST, 10_000, 1e9, Decision(900)),
        (TimedOut(), 1, 0, Decision(5)),
        (ConnectError(), 1, 0, Decision(5)),
        (TlsError(), 1, 0, Decision(5)),
        (ImapStatus("x", status="NO"), 3, 0, Decision(20)),
        (StoreError(), 2, 0, Decision(10)),
        (StoreNewer(), 2, 0, Decision(10)),
        (ValueError("nobody foresaw it"), 2, 0, Decision(10)),
        (KeyboardInterrupt(), 1, 0, Decision(5)),
        # a full disk is looked at at an even pace
        (StoreFull(), 1, 0, Decision(15)),
        (StoreFull(), 100, 1e6, Decision(15)),
        # a server that asks for less is given it, and never less than our own patience
        (Throttled(retry_after=120), 1, 0, Decision(120)),
        (Throttled(retry_after=1), 4, 0, Decision(40)),
        (Throttled(), 3, 0, Decision(20)),
        (Throttled(retry_after=0.0), 1, 0, Decision(5)),
        # a refused login is believed once it has lasted
        (LOGIN, 1, 0, Decision(5, person=True)),
        (LOGIN, 3, 15, Decision(20, person=True)),
        (LOGIN, 4, 35, Decision(3600, person=True)),
        (LOGIN, 2, 121, Decision(3600, person=True)),
        # an authority's no is final at once, and so is what only a person can mend
        (TOKEN, 1, 0, Decision(3600, person=True)),
        (NoMechanism(), 1, 0, Decision(3600, person=True)),
        (ConfigError("x"), 1, 0, Decision(3600, person=True)),
        (VaultLocked(), 1, 0, Decision(3600, person=True)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_becomes_of_a_mailbox(error: BaseException, failures: int, lasted: float, decision: Decision) -> None:
    assert decide(error, failures, NOW - lasted, NOW) == decision


@pytest.mark.parametrize(
    ("error", "attempts", "decision"),
    [
        (ValueError(), 1, Decision(5)),
        (ValueError(), 3, Decision(20)),
        (ValueError(), 7, Decision(320)),
        (ValueError(), 8, Decision(0, dead=True)),
        (ValueError(), 100, Decision(0, dead=True)),
        (StoreError(), 1, Decision(5)),
        (StoreNewer(), 1, Decision(0, dead=True)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_becomes_of_a_piece_of_work(error: BaseException, attempts: int, decision: Decision) -> None:
    assert decide_work(error, attempts) == decision


def every_error() -> list[BaseException]:
    """One of each class, and some that nobody foresaw."""
    made: list[BaseException] = [ValueError("x"), OSError(5, "x"), MemoryError()]
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, PostroomError):
            error = cls.__new__(cls)
            PostroomError.__init__(error, "x")
            if isinstance(error, Throttled):
                error.retry_after = None
            made.append(error)
    return made


ERRORS = st.sampled_from(every_error())
FAILURES = st.integers(1, 10_000)
LASTED = st.floats(0, 1e9)


@given(ERRORS, FAILURES, LASTED)
def test_a_pause_is_never_nothing_and_never_for_ever(error: BaseException, failures: int, lasted: float) -> None:
    decision = decide(error, failures, NOW - lasted, NOW)
    assert 5 <= decision.seconds <= 3600
    assert not decision.dead
    fate = error.fate if isinstance(error, PostroomError) else Fate.RETRY
    assert decision.person == (fate is Fate.REAUTHORIZE)


@given(ERRORS, FAILURES, LASTED, LASTED)
def test_patience_only_grows(error: BaseException, failures: int, lasted: float, more: float) -> None:
    now = decide(error, failures, NOW - lasted, NOW).seconds
    assert decide(error, failures + 1, NOW - lasted, NOW).seconds >= now
    assert decide(error, failures, NOW - lasted - more, NOW).seconds >= now


@given(st.floats(0, 1e6), FAILURES)
def test_what_a_server_asks_for_is_honoured(retry_after: float, failures: int) -> None:
    seconds = decide(Throttled(retry_after=retry_after), failures, NOW, NOW).seconds
    assert seconds >= retry_after
    assert seconds in (retry_after, decide(LOST, failures, NOW, NOW).seconds)


@given(ERRORS, st.integers(1, 7))
def test_work_waits_longer_each_time(error: BaseException, attempts: int) -> None:
    first, second = decide_work(error, attempts), decide_work(error, attempts + 1)
    assert first.dead or 5 <= first.seconds <= 900
    assert first.dead <= second.dead
    assert second.dead or second.seconds > first.seconds


@given(st.integers(0, 10_000), st.booleans())
def test_a_message_in_trouble_is_asked_for_less_and_less_often(attempts: int, absent: bool) -> None:
    seconds = trouble_again(attempts, absent=absent)
    assert 10 <= seconds <= 6 * 3600
    assert trouble_again(attempts + 1, absent=absent) >= seconds
    assert not absent or seconds >= 180  # looked for in another conversation
