"""What ends when: told ahead over moved time, by status, check, forecast, an event and a metric."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path

import pytest
from consenting import asking
from running import Here, oauth

from postroom import events
from postroom.app.config import Live, load
from postroom.app.core import opened
from postroom.app.forecasting import announce, forecast
from postroom.app.observing import Log
from postroom.clock import SystemClock
from servers.authority import TEST, Authority
from servers.browser import Browser
from servers.dovecot import Dovecot

A = "pop-client-a"
DAY = 86400.0


class MovedClock(SystemClock):
    """The machine's clock, moved on by a test."""

    def __init__(self, days: float) -> None:
        self.days = days

    def now(self) -> float:
        return super().now() + self.days * DAY


@pytest.fixture
def here(tmp_path: Path, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> Here:
    here = Here(tmp_path)
    here.put("authority-google", {"token_endpoint": authority.token_url, "authorization_endpoint": authority.authorize_url})
    here.put("secret-gmail", {"password": TEST.secret})
    here.put(A, {**oauth(dovecot.imap_port, mailbox_user, "", tenant_authority="google", secret="gmail"), "password": None})
    return here


def consent(here: Here, browser: Browser) -> None:
    with asking(here, "authorize", "a", "--manual") as person:
        person.answer(browser.consent(person.address()))
        assert person.done().status == 0


async def told(here: Here, days: float) -> tuple[list[dict[str, object]], dict[str, float]]:
    """What a service announces so many days from now, and its gauges."""
    clock = MovedClock(days)
    live = Live(load(here.file, {}), {})
    stream = io.StringIO()
    log = Log(live, clock, stream)
    async with opened(live, clock, log, log.trace, {}) as core:
        await announce(core, log)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    gauges = {dict(labels)["what"]: value for (metric, labels), value in log.counters.items() if metric is events.DAYS_TO_EXPIRY}
    return [line for line in lines if line["event"] == "ending"], gauges


class TestTesting:
    """ "During the test phase, a refresh token expires in 7 days." """

    async def test_the_seventh_day_is_told_ahead(self, here: Here, browser: Browser) -> None:
        here.put("secret-gmail", {"publishing-status": "testing"})
        consent(here, browser)
        first, gauges = await told(here, 0)
        assert [(line["what"], round(float(str(line["days"])))) for line in first] == [("testing", 7)]
        assert gauges["testing"] == pytest.approx(7, abs=0.01)
        assert "Internal" in str(first[0]["remedy"])
        assert (await told(here, 1))[0] == []  # once at each distance
        [unused], _ = await told(here, 2.5)
        assert (unused["what"], "not used for a few days" in str(unused["words"])) == ("testing-unused", True)
        [again], _ = await told(here, 4.5)
        assert again["what"] == "testing"

    async def test_what_the_authority_says_is_believed(self, here: Here, authority: Authority, browser: Browser) -> None:
        authority.set_refresh_expires_in(604_799)
        consent(here, browser)
        [line], _ = await told(here, 0)
        assert line["what"] == "refresh-token"

    async def test_an_unknown_status_is_told_as_such_until_it_is_outlived(self, here: Here, browser: Browser) -> None:
        consent(here, browser)
        [line], _ = await told(here, 0)
        assert str(line["words"]).startswith("if the application is in testing")
        assert "testing" not in (await told(here, 8))[1]

    async def test_a_published_one_is_told_of_nothing(self, here: Here, browser: Browser) -> None:
        here.put("secret-gmail", {"publishing-status": "production"})
        consent(here, browser)
        assert (await told(here, 3))[0] == []
        lines, _ = await told(here, 155)  # six months unused
        assert [line["what"] for line in lines] == ["refresh-token-unused"]


async def test_a_secrets_end_is_told_30_14_and_3_days_ahead(here: Here) -> None:
    ends = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(60)
    here.put("secret-gmail", {"expires": ends.isoformat(), "publishing-status": "internal"})
    days = [day for day in range(62) for line in (await told(here, day))[0] if line["what"] == "client-secret"]
    assert [60 - day for day in days] in ([30, 14, 3], [29, 13, 2], [31, 15, 4])


class TestCommands:
    def test_forecast_at_a_day(self, here: Here, browser: Browser) -> None:
        here.put("secret-gmail", {"publishing-status": "testing"})
        consent(here, browser)
        soon = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(10)
        done = here.command("forecast", "--at", soon.isoformat(), status=1)
        assert "the application is in testing" in done.out
        here.put("secret-gmail", {"publishing-status": "internal"})
        done = here.command("forecast", "--at", soon.isoformat())
        assert "Nothing that is known of ends by then." in done.out

    def test_check_and_status_tell_of_what_is_near(self, here: Here, browser: Browser) -> None:
        here.put("secret-gmail", {"publishing-status": "testing"})
        consent(here, browser)
        assert "soon" in here.command("check").out
        assert [ending["what"] for ending in here.status(A)["endings"]] == ["testing"]
        assert [ending["what"] for ending in here.check()[A]["endings"]] == ["testing"]

    def test_an_announcement_concerns_whom_it_touches(self, here: Here) -> None:
        options = {"type": "IMAP", "mailbox": "b@example.test", "server": "outlook.office365.com", "password": "x"}
        here.put("pop-client-b", options)
        found = here.command("forecast", "--json", "b").objects
        assert any(ending["what"] == "announcement:exchange-online-basic-gone" for ending in found)
        assert all(ending["source"].startswith("https://") for ending in found)

    def test_a_bad_day(self, here: Here) -> None:
        assert "does not match the format" in here.command("forecast", "--at", "soon", status=2).err


async def test_nothing_is_asked_of_anybody(here: Here, authority: Authority) -> None:
    live = Live(load(here.file, {}), {})
    log = Log(live, SystemClock(), io.StringIO())
    async with opened(live, SystemClock(), log, log.trace, {}) as core:
        await forecast(core, core.clock.now())
    assert authority.count() == 0
