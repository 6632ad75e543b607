"""``postroom authorize``: get a person's consent for a mailbox, an account or both, check it, keep it in the vault.

The steps: what is wanted (from the file), the consent (browser on this machine, pasted back, or on another device), the exchange,
then three questions before anything is kept: did a refresh token come, was the scope granted, and is the account that signed in
the mailbox, or may it open it? At last the way to the mailbox is taken for real.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from postroom.app.core import Core
from postroom.app.operations import pages
from postroom.app.operations.check import Finding, check_client
from postroom.app.operations.talk import Talk
from postroom.drivers import Account, Mailbox, token_request
from postroom.errors import ConfigError, ConsentFailed
from postroom.model import AccessToken, TokenFields
from postroom.net import consent
from postroom.net.tokens import Consented, TokenRequest
from postroom.secret import Secret
from postroom.settings import GrantType, PopClient
from postroom.wire import jwt, oauth

_PATIENCE = 600.0  # seconds; a code lasts about as long
MANUAL_PORT = 8026  # of the address that the browser ends on when nobody listens there


class Manner(enum.Enum):
    """How the person consents."""

    LOOPBACK = "loopback"  # the browser comes back to this machine
    MANUAL = "manual"  # a browser anywhere; what it ends on is pasted back
    DEVICE = "device"  # a code is entered on another device (RFC 8628)
    OUT_OF_BAND = "oob"  # the page shows the code


@dataclass(frozen=True)
class Wish:
    """What the command line asked for."""

    manner: Manner = Manner.LOOPBACK
    port: int = 0  # of the loopback address; 0 takes a free one
    browser: bool = True  # open it
    pkce: bool = True
    seconds: float | None = None  # how long it is waited for
    print_token: bool = False


@dataclass(frozen=True)
class Authorized:
    """What came of it."""

    client: str
    account: str  # that signed in; empty where the authority does not tell
    scope: str
    advice: tuple[str, ...]  # what, if anything, to change in the file
    finding: Finding
    refresh_token: Secret  # for ``--print`` only

    def as_dict(self) -> dict[str, object]:
        """For programs. The token is not in it."""
        return {
            "client": self.client,
            "account": self.account,
            "scope": self.scope,
            "advice": list(self.advice),
            "check": self.finding.as_dict(),
        }


Login = Mailbox | Account


async def authorize(core: Core, sections: Sequence[str], wish: Wish, talk: Talk) -> list[Authorized]:
    """Connect clients ``together`` with one consent.

    Raises ``ConsentFailed``, ``ConfigError`` and what tokens and the network raise; nothing is kept then.
    """
    logins = [consenting(core, section) for section in sections]
    mailbox = logins[0]
    request, scope = wanted(core, logins)
    if wish.manner is Manner.DEVICE:
        endpoint = core.kit.providers.authority_of(mailbox.client, mailbox.authorities).device_authorization_endpoint
        answer = await _on_a_device(core, request, endpoint, scope, talk)
    else:
        answer = await _with_a_browser(core, consent_place(core, mailbox, request), scope, mailbox, wish, talk)
    return await keep(core, logins, answer, talk)


def together(core: Core, sections: Sequence[str]) -> list[list[str]]:
    """The clients by the consents that they need: those of one account and one application share theirs."""
    groups: dict[object, list[str]] = {}
    for section in sections:
        try:
            request = token_request(consenting(core, section), core.kit.providers)
        except ConfigError:  # told in its turn
            groups[section] = [section]
            continue
        consented = request.consented
        assert consented is not None
        groups.setdefault((consented.token_endpoint, request.application, consented.login.lower()), []).append(section)
    return list(groups.values())


def wanted(core: Core, logins: Sequence[Login]) -> tuple[TokenRequest, str | None]:
    """What a consent is asked for: the request of tokens, and the scope of all with what tells who signed in.

    At Microsoft reading and sending are scopes of one resource, so that one token may have both.
    """
    request = token_request(logins[0], core.kit.providers)
    known = core.kit.providers.authority_of(logins[0].client, logins[0].authorities).provider
    identity = known.identity_scope if known is not None else ""
    return request, " ".join(dict.fromkeys(f"{_scope(core, logins)} {identity}".split())) or None


def _scope(core: Core, logins: Sequence[Login]) -> str:
    """What the clients need, each word once."""
    scopes = (_consented(core, login).scope or "" for login in logins)
    return " ".join(dict.fromkeys(" ".join(scopes).split()))


def _consented(core: Core, login: Login) -> Consented:
    consented = token_request(login, core.kit.providers).consented
    assert consented is not None
    return consented


def consenting(core: Core, section: str) -> Login:
    """The mailbox or account of a client that a person's consent can open. Raises ``ConfigError`` that says why not."""
    mailbox = core.login(section, also_disabled=True)
    if mailbox is None:
        faults = " ".join(map(str, core.live.configuration.faults_of(section)))
        raise ConfigError(f"[{section}] has a fault: {faults}")
    client = mailbox.client
    if not client.uses_oauth:
        line = f"mail.{client.type.value.lower()}.auth.mechanisms = XOAUTH2"
        raise ConfigError(f"[{section}] uses a password, not OAuth. For a consent add the line: {line}")
    if client.grant_type not in (None, GrantType.REFRESH_TOKEN):
        raise ConfigError(
            f"[{section}] grant-type = {client.grant_type.value} needs no person's consent; "
            f"postroom check {section} tells whether it works"
        )
    return mailbox


def consent_place(core: Core, mailbox: Login, request: TokenRequest) -> consent.Place:
    """Where a person consents. Raises ``ConfigError`` where the authority has no page for it."""
    authority = core.kit.providers.authority_of(mailbox.client, mailbox.authorities)
    if authority.authorization_endpoint is None:
        place = f"[authority-{authority.name}]"
        raise ConfigError(f"{place} has no authorization_endpoint: there is no page where a person could consent")
    parameters = authority.provider.consent_parameters if authority.provider is not None else {}
    return _place(request, authority.authorization_endpoint, parameters)


def _place(request: TokenRequest, endpoint: str, parameters: Mapping[str, str]) -> consent.Place:
    assert request.consented is not None
    return consent.Place(
        endpoint,
        request.consented.token_endpoint,
        request.application,
        request.ca_file,
        request.issuer,
        request.authority,
        parameters,
        request.via,
    )


# --- the consent


async def _with_a_browser(
    core: Core, place: consent.Place, scope: str | None, mailbox: Login, wish: Wish, talk: Talk
) -> oauth.TokenAnswer:
    login = mailbox.client.token_user
    if wish.manner is Manner.LOOPBACK:
        async with consent.loopback(wish.port) as listening:
            asked = consent.begin(place, listening.redirect_uri, scope, login, pkce=wish.pkce)
            listening.expects = asked.state
            talk.address(asked.address, open_browser=wish.browser)
            text = await _come_back(listening, wish, talk, place.authority)
    else:
        oob = wish.manner is Manner.OUT_OF_BAND
        uri = consent.OUT_OF_BAND if oob else f"http://127.0.0.1:{wish.port or MANUAL_PORT}/"
        if oob:
            talk.warn("Google refuses this way for published applications since 2023-01-31; it serves those in testing only.")
        asked = consent.begin(place, uri, scope, login, pkce=wish.pkce)
        talk.address(asked.address, open_browser=False)
        talk.say(_SHOWN if oob else _PASTE)
        text = await _pasted(talk, place.authority, "The code: " if oob else "The address or the code: ")
    code = consent.code_in(asked, text)
    return await consent.exchange(core.kit.http, place, asked, code, core.clock.now())


_PASTE = (
    "Open the address in any browser, sign in as the mailbox and allow. The browser then ends on an address that begins with "
    "http://127.0.0.1 and cannot be opened: that is right. Copy that whole address (or the code in it) and paste it here within "
    "ten minutes. If the browser shows an error instead, press Enter."
)
_SHOWN = (
    "Open the address in any browser, sign in as the mailbox and allow. The page then shows a code: paste it here within ten "
    "minutes. If the browser shows an error instead, press Enter."
)


async def _come_back(listening: consent.Loopback, wish: Wish, talk: Talk, authority: str) -> str:
    """What the browser came back with; meanwhile a person may paste what it ended on, or say that it shows an error."""
    talk.say("Waiting for the browser to come back ...")
    if talk.interactive:
        talk.say("(If it runs on another machine, paste the address that it ends on. If it shows an error, press Enter.)")
    patience = _PATIENCE if wish.seconds is None else wish.seconds
    coming = asyncio.ensure_future(listening.answer())
    asking = asyncio.ensure_future(talk.ask("")) if talk.interactive else None
    try:
        waiting = {coming} if asking is None else {coming, asking}
        await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if coming.done():
            return coming.result()
        if asking is not None and asking.done():
            typed = asking.result().strip()
            if typed.startswith(("http://", "https://")):
                return typed
            raise await pages.explained(talk, authority, typed)
    finally:
        coming.cancel()
        if asking is not None:
            asking.cancel()
    raise ConsentFailed(
        f"nobody came back within {patience:.0f} s", remedy="Begin again; on a machine without a browser use --manual."
    )


async def _pasted(talk: Talk, authority: str, prompt: str) -> str:
    text = (await talk.ask(prompt)).strip()
    if not text:
        raise await pages.explained(talk, authority, "")
    return text


async def _on_a_device(core: Core, request: TokenRequest, endpoint: str | None, scope: str | None, talk: Talk) -> oauth.TokenAnswer:
    if endpoint is None:
        remedy = "Google gives no access to mail by a device code" if request.authority == "google" else "The authority has none"
        raise ConfigError(f"{request.title} has no device_authorization_endpoint. {remedy}: use --manual instead")
    place = _place(request, "", {})
    device = await consent.begin_device(core.kit.http, endpoint, place, scope)
    talk.device(device.verification_uri, device.user_code, device.verification_uri_complete)
    return await consent.await_device(core.kit.http, place, device, core.clock)


# --- what came of it


async def keep(core: Core, logins: Sequence[Login], answer: oauth.TokenAnswer, talk: Talk) -> list[Authorized]:
    """Ask the three questions, keep the consent for each client, and take the way to its server. Raises as ``authorize`` does."""
    requests = [token_request(login, core.kit.providers) for login in logins]
    scope = _scope(core, logins)
    if answer.refresh_token is None:
        raise ConsentFailed("an access token came, but no refresh token", remedy=_NO_REFRESH[requests[0].authority])
    missing = not_granted(scope, answer.scope)
    if missing:
        remedy = f"Consent again and leave every box ticked; the application must have the scope {' '.join(missing)}."
        raise ConsentFailed(f"the scope {' '.join(missing)} was not granted", remedy=remedy)
    claims = jwt.claims_of(answer.id_token) if answer.id_token is not None else None
    account = jwt.account_of(claims) if claims is not None else ""
    advice = [await _advice(core, login, account, answer, talk) for login in logins]
    granted = answer.scope or scope
    fields = TokenFields(answer.access_token, answer.expires_in, answer.refresh_token, granted, answer.refresh_expires_in)
    for request in requests:
        await core.kit.tokens.keep_consent(request, account, fields)
    talk.say("The refresh token is in the vault, sealed.")
    sections = [login.client.section for login in logins]
    findings = [await check_client(core, section) for section in sections]
    return [
        Authorized(section, account, granted, tuple(advised), finding, answer.refresh_token)
        for section, advised, finding in zip(sections, advice, findings, strict=True)
    ]


_NO_REFRESH: Mapping[str, str] = {
    "google": "Take the application's access away at https://myaccount.google.com/connections, then authorize again.",
    "microsoft": "Add offline_access to scope, or leave scope out for the default, then authorize again.",
    "": "The application must be allowed refresh tokens at the authority; with some, scope needs offline_access.",
}
_GO_WITH_ANY = frozenset({"openid", "email", "profile", "offline_access"})  # they open nothing; some authorities rename them


def not_granted(asked: str | None, granted: str) -> list[str]:
    """The scopes that were asked for and not granted (RFC 6749 section 5.1: none told means all)."""
    given = {word.lower() for word in granted.split()}
    wanted = [word for word in (asked or "").split() if word not in _GO_WITH_ANY and not word.endswith("/.default")]
    return [word for word in wanted if given and word.lower() not in given and word.rpartition("/")[2].lower() not in given]


async def _advice(core: Core, mailbox: Login, account: str, answer: oauth.TokenAnswer, talk: Talk) -> list[str]:
    """What to change in the file. Raises ``ConsentFailed`` when the account that signed in cannot open the mailbox."""
    client = mailbox.client
    advice = []
    if account and account.lower() != client.token_user.lower():
        what = "mailbox" if isinstance(client, PopClient) else "account"
        talk.say(f"{account} signed in, and the {what} is {client.account}: trying whether {account} may open it ...")
        given = _Given(AccessToken(answer.access_token, 1, answer.expires_in, core.clock.now() + answer.expires_in))
        finding = await check_client(core, client.section, given)
        if not finding.ok:
            remedy = (
                f"Sign out in the browser, or use a private window, and sign in as {client.token_user}. For a shared mailbox give "
                f"{account} Full Access to it first."
            )
            raise ConsentFailed(
                f"{account} signed in, which is not {client.token_user} and cannot open it: {finding.words}", remedy=remedy
            )
        told = f"[{client.section}] opens with {account}'s consent."
        by_option = f" To say so in the file, add: oauth-user = {account}" if isinstance(client, PopClient) else ""
        advice.append(told + by_option)
    if client.password is not None:
        advice.append(
            f"[{client.section}] password is not used while it stays as it is; it can be taken out. Another value there wins "
            "over the vault."
        )
    return advice


class _Given:
    """A token at hand, for a login before anything is kept."""

    def __init__(self, token: AccessToken) -> None:
        self._token = token

    async def get(self, request: TokenRequest, refused: int | None = None) -> AccessToken:
        """The same one again."""
        return self._token
