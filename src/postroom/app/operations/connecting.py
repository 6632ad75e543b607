"""Addresses for the owners of mailboxes: one opens it, signs in with the provider and allows, and the consent is kept.

An address is good for a day and for one consent. Opening it uses nothing up, because programs that look at mail open what is in
it; the consent does. Which browser began is known by a cookie, so that nobody can be made to finish what another began.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import parse_qs

from postroom import events
from postroom.app.core import Core
from postroom.app.operations.authorize import Authorized, consent_place, consenting, keep, wanted
from postroom.drivers import Account, Mailbox
from postroom.errors import ConfigError, ConsentFailed
from postroom.net import consent
from postroom.settings import WebSettings
from postroom.store.invitations import Invitation

DAY = 86400.0  # seconds that an address is good for
PATH, CALLBACK = "/connect/", "/oauth/callback"
_PATIENCE = 600.0  # seconds from the first page to the last; a code lasts about as long
_MOST = 1000  # consents under way
_ANEW = "Ask whoever gave you the address for a new one."


@dataclass(frozen=True)
class Begun:
    """A consent under way."""

    address: str  # of the authority's page
    nonce: str  # for the browser to bring back


@dataclass(frozen=True)
class _Pending:
    invitation: Invitation
    nonce: str
    asked: consent.Asked
    place: consent.Place
    mailbox: Mailbox | Account
    until: float  # on the monotonic clock


def base_of(web: WebSettings, port: int | None = None) -> str:
    """What addresses begin with that are handed out. Raises ``ConfigError`` where nobody could open them."""
    if web.public_url is None and (web.host in ("0.0.0.0", "::") or (port or web.port) == 0):  # noqa: S104 - compared
        raise ConfigError("the section web needs a public-url: nobody can open an address that begins with what listen says")
    return web.address(port)


async def connect_client(core: Core, section: str, base: str, by: str) -> tuple[str, float]:
    """Make an address to hand to the owner; and when it ends. Raises ``ConfigError`` where no consent could open the client."""
    mailbox = consenting(core, section)
    request, _ = wanted(core, [mailbox])
    consent_place(core, mailbox, request)
    token = secrets.token_urlsafe(32)
    ends = await core.store.invitations.add(section, _digest(token), by, DAY)
    return f"{base}{PATH}{token}", ends


async def revoke_connect(core: Core, section: str) -> int:
    """End the addresses of a client that are still open; how many."""
    return await core.store.invitations.revoke(section)


class Connecting:
    """The consents under way of one process. A restart forgets them: the owner opens the address again."""

    def __init__(self, core: Core, base: str) -> None:
        self._core = core
        self._base = base
        self._pending: OrderedDict[str, _Pending] = OrderedDict()

    async def begin(self, token: str, nonce: str = "") -> Begun:
        """Where the owner signs in. ``nonce``: what the browser has from before. Raises ``ConsentFailed`` and ``ConfigError``."""
        core = self._core
        invitation = await core.store.invitations.find(_digest(token))
        self._judge(invitation)
        assert invitation is not None
        mailbox = consenting(core, invitation.client)
        request, scope = wanted(core, [mailbox])
        place = consent_place(core, mailbox, request)
        asked = consent.begin(place, self._base + CALLBACK, scope, mailbox.client.token_user)
        nonce = nonce or secrets.token_urlsafe(24)
        until = core.clock.monotonic() + _PATIENCE
        self._pending[asked.state] = _Pending(invitation, nonce, asked, place, mailbox, until)
        while len(self._pending) > _MOST:
            self._pending.popitem(last=False)
        return Begun(asked.address, nonce)

    async def come_back(self, query: str, nonce: str) -> Authorized:
        """The browser is back from the authority: keep the consent. Raises ``ConsentFailed``, and what ``authorize`` does."""
        state = parse_qs(query).get("state", [""])[0]
        pending = self._pending.pop(state, None)
        if pending is None or pending.until < self._core.clock.monotonic():
            raise ConsentFailed(
                "this answer is not expected, or came too late", remedy="Open the address that you were given again."
            )
        if not hmac.compare_digest(pending.nonce.encode(), nonce.encode()):
            remedy = "Open the address that you were given again, and stay in one browser until the end."
            raise ConsentFailed("another browser began this", remedy=remedy)
        code = consent.code_in(pending.asked, f"?{query}")
        invitations = self._core.store.invitations
        if not await invitations.take(pending.invitation.id):
            self._judge(await invitations.find_by_id(pending.invitation.id))
            raise ConsentFailed("the address is not good any more", remedy=_ANEW)
        try:
            answer = await consent.exchange(self._core.kit.http, pending.place, pending.asked, code, self._core.clock.now())
            [done] = await keep(self._core, [pending.mailbox], answer, _Nobody())
        except BaseException:
            await invitations.give_back(pending.invitation.id)
            raise
        self._core.observer.event(events.CONSENTED, client=done.client, account=done.account)
        return done

    def _judge(self, invitation: Invitation | None) -> None:
        """Raises ``ConsentFailed`` for what cannot be used."""
        if invitation is None:
            raise ConsentFailed("nobody gave out this address", remedy=f"Copy the whole address. {_ANEW}")
        if invitation.used_at is not None:
            raise ConsentFailed("the address was used already", remedy=f"The mailbox is connected. To connect it anew: {_ANEW}")
        if invitation.revoked_at is not None:
            raise ConsentFailed("the address was taken back", remedy=_ANEW)
        if invitation.expires_at <= self._core.clock.now():
            raise ConsentFailed("the address is older than a day", remedy=_ANEW)


class _Nobody:
    """Talks to nobody: what came of it stands on the page."""

    interactive = False

    def say(self, words: str) -> None:
        """Nobody hears it."""

    def warn(self, words: str) -> None:
        """Nobody hears it."""

    def address(self, address: str, *, open_browser: bool) -> None:
        """The browser is there already."""

    def device(self, uri: str, code: str, complete: str) -> None:
        """There is no device."""

    async def ask(self, prompt: str) -> str:
        """Nobody answers."""
        raise ConsentFailed("nobody is there to answer")

    async def ask_secret(self, prompt: str) -> str:
        """Nobody answers."""
        raise ConsentFailed("nobody is there to answer")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
