"""How long IDLE may last is learned from where it was cut."""

from __future__ import annotations

import pytest

from postroom.drivers.idles import LONGEST, Idles


def test_p11_two_cuts_at_about_the_same_age_are_a_time_out() -> None:
    idles = Idles()
    assert idles.longest("a") == LONGEST
    idles.cut("a", 300)
    assert idles.longest("a") == LONGEST
    idles.cut("a", 310)
    assert idles.longest("a") == 225
    assert idles.longest("b") == LONGEST  # another mailbox, which nobody cut


def test_p11_it_is_learned_until_it_holds() -> None:
    """A connection that dies in silence shows its age too late, at the end of IDLE: the next is shorter until it lives."""
    idles = Idles()
    ages = []
    for _ in range(40):
        ages.append(idles.longest("a"))
        idles.cut("a", idles.longest("a"))
    assert ages == sorted(ages, reverse=True)
    assert ages[-1] == 60  # and no shorter


@pytest.mark.parametrize("ages", [(100, 300, 100, 300), (20, 20, 21), (59, 59)], ids=str)
def test_p11_accidents_teach_nothing(ages: tuple[float, ...]) -> None:
    idles = Idles()
    for age in ages:
        idles.cut("a", age)
    assert idles.longest("a") == LONGEST
