"""Gather what a forecast needs: from the file, the vault, the certificates and the providers' announcements."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from postroom import events
from postroom.app.core import Core
from postroom.drivers import Account, Mailbox, token_request
from postroom.drivers.announcements import announcements
from postroom.engine.forecast import Announced, Ending, Facts, distance, endings
from postroom.errors import ConfigError, ConsentMissing
from postroom.events import Observer
from postroom.model import GrantKey, GrantLife
from postroom.settings import GrantType, PublishingStatus


async def forecast(core: Core, now: float) -> dict[str, list[Ending]]:
    """What will end, by client section, the first first."""
    lives = {life.key: life for life in await core.store.grant_lives()}
    announced = [
        Announced(one.name, one.provider, _midnight(one.on), one.touches, one.what, one.remedy, one.source)
        for one in announcements()
    ]
    found = {}
    for section in (*core.live.configuration.clients, *core.live.configuration.senders):
        login = core.login(section, also_disabled=True)
        if login is not None:
            found[section] = endings(await _facts(core, login, lives), announced, now)
    return found


async def _facts(core: Core, mailbox: Mailbox | Account, lives: Mapping[GrantKey, GrantLife]) -> Facts:
    client, secret = mailbox.client, mailbox.secret
    provider = core.kit.providers.provider_of(client, mailbox.authorities)
    if not client.uses_oauth:
        return Facts(client.section, provider=provider.name if provider else "", type=client.type.value, login="basic")
    authority = core.kit.providers.authority_of(client, mailbox.authorities)
    life, refreshes = None, False
    try:
        request = token_request(mailbox, core.kit.providers)
        key = await core.kit.tokens.key_of(request)
        life, refreshes = lives.get(key), await core.kit.tokens.refreshes(request)
    except (ConfigError, ConsentMissing):
        pass  # told by check and by the cycle; what else ends is known all the same
    known = authority.provider
    status = secret.publishing_status if secret is not None else None
    grant = client.grant_type or authority.default_grant
    return Facts(
        client=client.section,
        consented_at=life.consented_at if life and refreshes else None,
        used_at=life.used_at if life and refreshes else None,
        refresh_ends_at=life.ends_at if life and refreshes else None,
        unused_days=known.refresh_token_unused_days if known else 0,
        testing_days=known.refresh_token_testing_days if known else 0,
        testing=None if status is None else status is PublishingStatus.TESTING,
        secret_ends_at=_midnight(secret.expires) if secret is not None and secret.expires is not None else None,
        secret_name=f"secret-{secret.name}" if secret is not None else "",
        certificate_ends_at=certificate_end(secret.certificate) if secret is not None and secret.certificate else None,
        type=client.type.value,
        login="password-grant" if grant is GrantType.PASSWORD and not refreshes else "",
        provider=provider.name if provider else "",
    )


def certificate_end(pem: str) -> float | None:
    """When a certificate ends; None for one that cannot be read."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc.timestamp()
    except ValueError:
        return None


def _midnight(day: datetime.date) -> float:
    return datetime.datetime.combine(day, datetime.time(), datetime.UTC).timestamp()


async def announce(core: Core, observer: Observer) -> None:
    """Tell of each ending once at each distance, over restarts; and keep the gauges."""
    now = core.clock.now()
    for section, found in (await forecast(core, now)).items():
        for ending in reversed(found):  # the nearest of a kind is the one that stays in its gauge
            observer.gauge(events.DAYS_TO_EXPIRY, ending.days(now), client=section, what=ending.what)
            near = distance(ending, now)
            if near is None or ending.days(now) < 0 or not await core.store.tell(ending.key, near):
                continue
            observer.event(
                events.ENDING,
                client=section,
                what=ending.what,
                at=ending.day,
                days=round(ending.days(now), 1),
                words=ending.words,
                remedy=ending.remedy,
            )
