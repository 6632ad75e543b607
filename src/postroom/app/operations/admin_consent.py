"""An application's own right to a company's mailboxes at Microsoft: one administrator consents, for all of them.

The steps: the address where the administrator consents, the commands that give the application these mailboxes and no others,
then token and login are tried until the grant has spread, and each change is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

from postroom.app.core import Core
from postroom.app.operations.check import Finding, check_client
from postroom.app.operations.talk import Talk
from postroom.drivers import Account, Mailbox, wanted
from postroom.errors import ConfigError
from postroom.settings import GrantType
from postroom.wire import oauth

_FIRST, _LONGEST = 5.0, 60.0  # seconds between looks
_NATIVE = "/common/oauth2/nativeclient"
"""Where the administrator's browser ends: the authority's own page for applications without one of their own."""


@dataclass(frozen=True)
class Application:
    """The clients that one application opens."""

    client_id: str
    address: str  # where the administrator consents
    redirect_uri: str  # where the browser ends
    right: str  # the application permissions that the clients need
    mailboxes: tuple[Mailbox | Account, ...]


def application(core: Core, sections: Sequence[str]) -> Application:
    """The one application of these clients. Raises ``ConfigError`` when they are of several, or need a person's consent."""
    mailboxes: list[Mailbox | Account] = []
    applications: dict[str, tuple[str, str]] = {}
    rights: dict[str, None] = {}
    for section in sections:
        mailbox = core.login(section, also_disabled=True)
        if mailbox is None or mailbox.client.grant_type is not GrantType.CLIENT_CREDENTIALS:
            raise ConfigError(f"[{section}] has no grant-type = client_credentials")
        client = mailbox.client
        authority = core.kit.providers.authority_of(client, mailbox.authorities, GrantType.CLIENT_CREDENTIALS)
        scope = client.scope or authority.scope(client.type, GrantType.CLIENT_CREDENTIALS) or ""
        if authority.admin_consent_endpoint is None:
            raise ConfigError(
                f"[{section}] {authority.title} has no page for an administrator's consent (admin_consent_endpoint); "
                f"postroom check {section} tells whether it works"
            )
        client_id = client.client_id or ""
        redirect_uri = urljoin(authority.admin_consent_endpoint, _NATIVE)
        parameters = {"client_id": client_id, "scope": scope, "redirect_uri": redirect_uri, "state": client_id}
        address = oauth.authorization_address(authority.admin_consent_endpoint, parameters)
        applications[client_id] = address, redirect_uri
        rights[wanted(client, authority).application] = None
        mailboxes.append(mailbox)
    if len(applications) != 1:
        raise ConfigError(f"these clients are of {len(applications)} applications; name those of one, or authorize them in turn")
    [(client_id, (address, redirect_uri))] = applications.items()
    return Application(client_id, address, redirect_uri, " and ".join(filter(None, rights)), tuple(mailboxes))


def commands(found: Application) -> list[str]:
    """What the administrator types in Exchange Online PowerShell: this application, these mailboxes, nothing more.

    https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth
    """
    mailboxes = dict.fromkeys(mailbox.client.account for mailbox in found.mailboxes)
    return [
        "Connect-ExchangeOnline",
        "$id = '<Object ID of the Enterprise application, not of the App registration>'",
        f"New-ServicePrincipal -AppId '{found.client_id}' -ObjectId $id",
        *(f"Add-MailboxPermission -Identity '{_quoted(name)}' -User $id -AccessRights FullAccess" for name in mailboxes),
    ]


def _quoted(text: str) -> str:
    """Within PowerShell's single quotes."""
    return text.replace("'", "''")


def show(found: Application, talk: Talk, *, open_browser: bool) -> None:
    """What the administrator has to do."""
    talk.say(f"1. In the Entra admin center give the application {found.client_id} the application permission")
    talk.say(f"   {found.right} of Office 365 Exchange Online, and {found.redirect_uri} as a redirect address.")
    talk.say("2. An administrator of the directory opens this address and accepts:")
    talk.address(found.address, open_browser=open_browser)
    talk.say("3. In Exchange Online PowerShell the application gets these mailboxes and no others:\n")
    for line in commands(found):
        talk.say(f"   {line}")
    talk.say("\nA new application may take up to half an hour until it works everywhere.")


def show_delegation(core: Core, mailbox: Mailbox | Account, talk: Talk) -> None:
    """What a Workspace's administrator does for a service account.

    https://support.google.com/a/answer/162106
    """
    secret, client = mailbox.secret, mailbox.client
    if secret is None or secret.service_account is None:
        raise ConfigError(f"[{client.section}] needs a secret- section with a service-account")
    authority = core.kit.providers.authority_of(client, mailbox.authorities, GrantType.SERVICE_ACCOUNT)
    key = secret.service_account
    talk.say("An administrator of the Workspace delegates to the service account, once for all mailboxes of the domain:")
    talk.say("  Google Admin console, Security, Access and data control, API controls, Domain-wide delegation, Add new")
    talk.say(f"  Client ID:    {key.client_id or f'the number (Unique ID) of {key.client_email}'}")
    talk.say(f"  OAuth scopes: {client.scope or authority.scope(client.type, GrantType.SERVICE_ACCOUNT) or ''}")


async def spread(core: Core, found: Sequence[str], seconds: float, talk: Talk) -> list[Finding]:
    """Try every client until all open or the time is over; tell each change. The last findings."""
    core.kit.tokens.remembers_refusals = False  # what the administrator did must show at once
    end, pause = core.clock.monotonic() + seconds, _FIRST
    told: dict[str, str] = {}
    done: dict[str, Finding] = {}
    while True:
        for section in found:
            if section in done and done[section].ok:
                continue
            finding = done[section] = await check_client(core, section)
            if told.get(section) != finding.words:
                told[section] = finding.words
                talk.say(f"{section}: {finding.words}" + (f"\n  → {finding.remedy}" if finding.remedy else ""))
        left = end - core.clock.monotonic()
        if all(finding.ok for finding in done.values()) or left <= 0:
            return [done[section] for section in found]
        await core.clock.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST)
