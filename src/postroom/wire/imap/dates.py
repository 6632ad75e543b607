"""Dates as IMAP writes them (RFC 9051 section 9). Months are English, whatever the server speaks."""

from __future__ import annotations

import datetime
import re

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""date-month."""

_DATE_TIME = re.compile(r"\s?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")


def date(day: datetime.date) -> bytes:
    """date-text, as search-keys want it."""
    return b"%d-%s-%04d" % (day.day, MONTHS[day.month - 1].encode(), day.year)


def date_time(seconds: float) -> bytes:
    """date-time, with its quotes, in UTC."""
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    month = MONTHS[at.month - 1].encode()
    return b'"%2d-%s-%04d %02d:%02d:%02d +0000"' % (at.day, month, at.year, at.hour, at.minute, at.second)


def read_date_time(text: str) -> datetime.datetime | None:
    """A date-time without its quotes, in UTC; None for what is none."""
    found = _DATE_TIME.fullmatch(text)
    if found is None or found[2].title() not in MONTHS:
        return None
    ahead = datetime.timedelta(hours=int(found[8]), minutes=int(found[9]))
    day, year, *clock = (int(found[at]) for at in (1, 3, 4, 5, 6))
    try:
        hour, minute, second = clock
        when = datetime.datetime(year, MONTHS.index(found[2].title()) + 1, day, hour, minute, min(second, 59), tzinfo=datetime.UTC)
        return when - ahead if found[7] == "+" else when + ahead
    except (ValueError, OverflowError):
        return None
