"""An smtp-client as it runs: with what was written when it was started or restarted, whatever is written since."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from postroom.settings import AuthoritySection, ProxySettings, SecretSection, SmtpClient
from postroom.settings.network import ProxyType
from postroom.settings.option import Effect, options_of
from postroom.settings.smtp_properties import SmtpProperties


@dataclass(frozen=True, slots=True)
class Running:
    """A client's record, and the values of other sections that its connections and logins are made of."""

    client: SmtpClient
    secret: SecretSection | None = None
    authority: AuthoritySection | None = None
    proxy: ProxySettings | None = None

    def with_what_acts_at_once(self, written: SmtpClient) -> Running:
        """The same, with the options of another record that take effect immediately."""
        at_once = {name: getattr(written, name) for name in _AT_ONCE}  # asked with each message
        if all(getattr(self.client, name) == value for name, value in at_once.items()):
            return self
        return dataclasses.replace(self, client=dataclasses.replace(self.client, **at_once))

    def pending(self, written: Running) -> list[str]:
        """What waits for a restart: names of options, and of the other sections whose values changed."""
        here, there = self.client, written.client
        names = [field.name for field in dataclasses.fields(SmtpClient) if field.name not in ("section", "name")]
        changed = [name for name in names if getattr(here, name) != getattr(there, name) and name not in _AT_ONCE]
        waiting = [_written(name, there if there.proxy else here) for name in changed]
        secret, authority = written.secret or self.secret, written.authority or self.authority
        if self.secret != written.secret and "secret" not in changed and secret is not None:
            waiting.append(f"secret-{secret.name}")
        if self.authority != written.authority and "tenant_authority" not in changed and authority is not None:
            waiting.append(f"authority-{authority.name}")
        if self.proxy != written.proxy and "proxy" not in changed:
            waiting.append("proxy")
        return waiting


_OPTIONS = options_of(SmtpClient)
_AT_ONCE = tuple(name for name, option in _OPTIONS.items() if option.effect is Effect.IMMEDIATELY)
_PROPERTIES = options_of(SmtpProperties)


def _written(name: str, client: SmtpClient) -> str:
    """How a field of the record is written in the file."""
    word = client.server_type.value
    if name == "proxy":
        socks = client.proxy is not None and client.proxy.type is ProxyType.SOCKS
        name = "mail_socks_host" if socks else "mail_proxy_host"
    return (_OPTIONS.get(name) or _PROPERTIES[name]).written(word)
