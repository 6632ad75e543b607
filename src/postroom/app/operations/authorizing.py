"""``postroom authorize`` for one client or many: people's consents in turn, an administrator's once for an application."""

from __future__ import annotations

from collections.abc import Sequence

import click

from postroom.app.config import Live
from postroom.app.core import Core, opened
from postroom.app.observing import Quiet
from postroom.app.operations.admin_consent import application, show, show_delegation, spread
from postroom.app.operations.authorize import Authorized, Wish, authorize, together
from postroom.app.operations.check import Finding, as_lines, check_client
from postroom.app.operations.talk import Talk
from postroom.app.terminal import FAILED, print_json
from postroom.clock import SystemClock
from postroom.errors import ConfigError, PostroomError
from postroom.net.refusals import named
from postroom.settings import GrantType

_BY_ADMINISTRATOR = (GrantType.CLIENT_CREDENTIALS, GrantType.SERVICE_ACCOUNT)
_SPREADS = 1800.0  # seconds that a new application at Microsoft may take


async def authorize_clients(live: Live, sections: Sequence[str], wish: Wish, talk: Talk, *, everything: bool, as_json: bool) -> int:
    """Connect the clients, with one consent for those that it serves together; the exit status.

    One that fails does not keep the others from their turn.
    """
    clock = SystemClock()
    log = Quiet(live, clock)
    async with opened(live, clock, log, log.trace) as core:
        if everything:
            sections = await _unconnected(core, sections, talk)
        applications, people = _sorted(core, sections)
        good = True
        for of_one in applications:
            good = await _application(core, of_one, wish, talk, as_json=as_json) and good
        for of_one in together(core, people):
            good = await _person(core, of_one, wish, talk, as_json=as_json) and good
    return 0 if good else FAILED


async def _unconnected(core: Core, sections: Sequence[str], talk: Talk) -> list[str]:
    """Those with OAuth that do not open now."""
    wanted = []
    for section in sections:
        login = core.login(section)
        if login is None or not login.client.uses_oauth:
            continue
        finding = await check_client(core, section)
        talk.say(f"{section}: {'works already' if finding.ok else finding.words}")
        if not finding.ok:
            wanted.append(section)
    return wanted


def _sorted(core: Core, sections: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """The clients of applications with a right of their own, by application; and those that need a person."""
    applications: dict[tuple[str | None, ...], list[str]] = {}
    people = []
    for section in sections:
        client = core.live.either(section)
        if client is not None and client.uses_oauth and client.grant_type in _BY_ADMINISTRATOR:
            key = (client.grant_type.value, client.client_id, client.secret, client.tenant_authority, client.directory_id)
            applications.setdefault(key, []).append(section)
        else:
            people.append(section)
    return list(applications.values()), people


async def _application(core: Core, sections: list[str], wish: Wish, talk: Talk, *, as_json: bool) -> bool:
    try:
        login = core.login(sections[0], also_disabled=True)
        if login is not None and login.client.grant_type is GrantType.SERVICE_ACCOUNT:
            show_delegation(core, login, talk)
        else:
            show(application(core, sections), talk, open_browser=wish.browser)
        findings = await spread(core, sections, _SPREADS if wish.seconds is None else wish.seconds, talk)
    except PostroomError as error:
        _failed(sections[0], error, as_json=as_json)
        return False
    for finding in findings:
        _print_finding(finding, as_json=as_json)
    return all(finding.ok for finding in findings)


async def _person(core: Core, sections: list[str], wish: Wish, talk: Talk, *, as_json: bool) -> bool:
    client = core.live.either(sections[0])
    talk.say(click.style(f"{' and '.join(sections)}: connecting {client.token_user if client is not None else ''}", bold=True))
    if _is_a_companys(core, sections[0]):
        talk.say(
            "For a company's mailboxes grant-type = client_credentials is better: an administrator consents once for all of them, "
            "and no person's sign-in can end it."
        )
    try:
        results = await authorize(core, sections, wish, talk)
    except PostroomError as error:
        for section in sections:
            _failed(section, error, as_json=as_json)
        return False
    for result in results:
        _print(result, as_json=as_json)
    if wish.print_token and not as_json:
        click.echo(results[0].refresh_token.reveal())  # asked for by name
    return all(result.finding.ok for result in results)


def _is_a_companys(core: Core, section: str) -> bool:
    """Whether the mailbox is at Microsoft under a domain of its own, where an application may have a right of its own."""
    login = core.login(section, also_disabled=True)
    if login is None or not login.client.uses_oauth:
        return False
    authority = core.kit.providers.authority_of(login.client, login.authorities)
    domain = login.client.account.rpartition("@")[2].lower()
    return (
        authority.admin_consent_endpoint is not None and authority.provider is not None and domain not in authority.provider.domains
    )


def _print(result: Authorized, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": result.finding.ok, **result.as_dict()})
        return
    whose = f" by {result.account}" if result.account else ""
    click.echo(f"{click.style('ok  ', fg='green')} {result.client}: consent given{whose}, scope {result.scope or 'not told'}")
    _print_finding(result.finding, as_json=False)
    for line in result.advice:
        click.echo(f"     {line}")


def _print_finding(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        print_json(finding.as_dict())
        return
    for line in as_lines(finding):
        click.echo(line)


def _failed(section: str, error: PostroomError, *, as_json: bool) -> None:
    remedy = named(error.remedy, section)
    if as_json:
        print_json({"ok": False, "client": section, "error": str(error), "remedy": remedy})
        return
    words = error.detail if isinstance(error, ConfigError) else str(error)
    click.echo(f"{click.style('FAIL', fg='red')} {section}: {words}")
    if not isinstance(error, ConfigError):
        click.echo(f"     → {remedy}")


async def forget_consents(live: Live, sections: Sequence[str], talk: Talk) -> int:
    """Take consents out of the vault; the exit status."""
    clock = SystemClock()
    log = Quiet(live, clock)
    async with opened(live, clock, log, log.trace) as core:
        for section in sections:
            found = await core.store.forget_consent(section)
            talk.say(f"{section}: {'the consent is forgotten; what the file says acts again' if found else 'no consent was kept'}")
    return 0
