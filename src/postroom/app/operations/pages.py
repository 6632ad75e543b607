"""Some refusals are shown to the person in the browser and never reach us: ask what is seen, and explain it."""

from __future__ import annotations

from postroom.app.operations.talk import Talk
from postroom.errors import ConsentFailed
from postroom.net.refusals import Rule, Where, explain, heard_from_words, rules


def choices(authority: str) -> list[Rule]:
    """What the pages of an authority are known to show."""
    return [rule for rule in rules() if rule.at is Where.PAGE and rule.authority in ("", authority)]


async def explained(talk: Talk, authority: str, seen: str) -> ConsentFailed:
    """Ask what the browser shows, and turn it into an error with its remedy. Words typed at once are taken as the answer."""
    known = choices(authority)
    rule = _meant(seen, known, authority)
    if rule is None:
        talk.say("What do you see in the browser?")
        for number, choice in enumerate(known, 1):
            talk.say(f"  {number:2}  {shown(choice)}")
        rule = _meant(await talk.ask("A number, or the page's words: "), known, authority)
    if rule is None:
        return ConsentFailed(
            "the page shows something that is not in the table of refusals",
            remedy="Search for the page's error code at the provider; docs/refusals.md lists what is known.",
        )
    return ConsentFailed(rule.means.rstrip("."), remedy=rule.remedy)


def _meant(answer: str, known: list[Rule], authority: str) -> Rule | None:
    answer = answer.strip()
    if answer.isdigit():
        return known[int(answer) - 1] if 1 <= int(answer) <= len(known) else None
    return explain(heard_from_words(Where.PAGE, authority, answer)) if answer else None


def shown(rule: Rule) -> str:
    """The words on the page, on one line."""
    return " ".join(rule.example.split())[:110]
