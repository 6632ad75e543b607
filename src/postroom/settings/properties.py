"""The properties ``mail.*`` of JavaMail (Jakarta Mail): how they stand in for options, and what is wrong with them together.

A property with a counterpart gives an option its value where that option is not written itself. It is read, judged and printed
as options are; ``pop_properties`` and ``smtp_properties`` declare them. ``<type>`` (``<server-type>``) is the section's type in
lower case, also with an ``s`` behind it (``mail.imaps.timeout``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from postroom.settings import network, values
from postroom.settings.ini import Entry
from postroom.settings.network import ProxySettings, ProxyType
from postroom.settings.option import Effect, Option, Surroundings, option, options_of
from postroom.settings.words import Security

_OURS = "What it does here."
MILLISECONDS = "milliseconds, 1 or more; for ever is none"


def milliseconds(value: str, surroundings: Surroundings) -> float:
    """A time in JavaMail's unit, as seconds."""
    return values.integer(1)(value, surroundings) / 1000


def declare(
    name: str,
    parse: Callable[[str, Surroundings], object],
    sentence: str,
    *,
    effect: Effect,
    valid: str = values.BOOLEAN,
    default_words: str = "",
    secret: bool = False,
) -> Any:
    """Declare a property; ``name`` is what stands behind ``mail.``."""
    return option(
        f"mail.{name}",
        parse,
        valid=valid,
        default_words=default_words,
        effect=effect,
        ours=_OURS,
        secret=secret,
        sentence=sentence,
    )


@dataclass(frozen=True)
class Properties:
    """The properties of one sort of section. Fields of ``record`` without ``mail_`` are fields of ``of`` without an option."""

    record: type  # declares them
    of: type  # the section's record
    types: tuple[str, ...]  # what may stand for the type in their names
    stands_for: Mapping[str, str]  # property: option
    remarks: Mapping[str, str]  # what those who miss an effect should know, by the name behind the type
    security: Security  # where nothing is written

    def option_name(self, name: str) -> str:
        """How an option of the section, or a property, is written."""
        return {**options_of(self.of), **options_of(self.record)}[name].written(self.types[0] if len(self.types) == 1 else "<type>")


REMARKS: Mapping[str, str] = {
    "ssl.trust": "Certificates are always checked. Name a company's own authority in tls-ca-file.",
    "ssl.checkserveridentity": "Names and dates of certificates are always checked.",
    "ssl.protocols": "TLS 1.2 and later are spoken, always.",
    "socketfactory.port": "The port is chosen by port.",
    "auth.ntlm.disable": "NTLM is never used here.",
    "auth.ntlm.domain": "NTLM is never used here.",
}
"""Of the properties that all protocols have."""


@dataclass
class Values:
    """What a section's entries say."""

    sound: dict[str, Any] = field(default_factory=dict)  # by field
    written: dict[str, Entry] = field(default_factory=dict)  # by field; an empty value counts as not written
    wrong: set[str] = field(default_factory=set)  # fields whose value cannot be used


@dataclass(frozen=True)
class Complaint:
    """What a section's properties have wrong together; ``name`` is a field."""

    name: str
    problem: str
    remedy: str = ""
    keeps_down: bool = True


def names_of(option: Option, type_word: str) -> tuple[str, ...]:
    """An option's names in a section of that type, in lower case; none where it belongs to another type."""
    word = type_word.lower()
    name = option.written(word).lower()
    if name.startswith(f"mail.{word}."):
        return name, name.replace(f"mail.{word}.", f"mail.{word}s.", 1)
    return () if re.match(r"mail\.[^.]+\.", name) else (name,)


def acts_elsewhere(name: str, options: Iterable[Option], types: Iterable[str]) -> bool:
    """Whether a property acts in a section of some type: among the shared values it is no stray."""
    return any(name.lower() in names_of(option, word) for option in options for word in types)


def remark(name: str, properties: Properties) -> str:
    """What to know of a property that does nothing; mostly nothing."""
    if name.lower() == "mail.debug.auth":
        return "Secrets are masked in every trace."
    word, _, behind = name.lower().removeprefix("mail.").partition(".")
    return properties.remarks.get(behind, "") if word.removesuffix("s") in properties.types else ""


def mechanisms_of(entries: Mapping[str, Entry], type_word: str) -> Entry | None:
    """The entry that chooses the mechanisms of login."""
    word = type_word.lower()
    names = (f"mail.{kind}.{rest}" for rest in ("auth.mechanisms", "sasl.mechanisms") for kind in (word, f"{word}s"))
    return next((entries[name] for name in names if name in entries and entries[name].value), None)


def apply(properties: Properties, found: Values, own: str) -> Iterator[Complaint]:
    """Give the options what the properties say, and take the properties away. Without properties nothing changes.

    ``own`` is the client's section: its own values win over the shared ones.
    """
    if not options_of(properties.record).keys() & found.written.keys():
        return
    for name, target in properties.stands_for.items():
        yield from _stand_in(found, own, name, target)
    yield from _security(properties, found, own)
    yield from _mechanisms(properties, found)
    yield from _proxy(properties, found)
    for name in [name for name in found.sound if name.startswith("mail_")]:
        del found.sound[name]


def _stands_back(found: Values, own: str, name: str, target: str) -> bool:
    """Whether a property gives way to its option: where that is written, and not only among the shared values."""
    return target in found.written and (found.written[target].section == own or found.written[name].section != own)


def _beside(found: Values, name: str, target: str) -> Iterator[Complaint]:
    """A property and its option in one section are worth a word, unless they say the same."""
    if found.written[name].section == found.written[target].section:
        yield Complaint(name, f"without effect beside {found.written[target].name}", keeps_down=False)


def _stand_in(found: Values, own: str, name: str, target: str) -> Iterator[Complaint]:
    if name not in found.written:
        return
    if _stands_back(found, own, name, target):
        if name in found.sound and found.sound[name] != found.sound.get(target):
            yield from _beside(found, name, target)
        return
    found.written[target] = found.written[name]
    if name in found.sound:
        found.sound[target] = found.sound[name]
    else:
        found.wrong.add(target)


def _security(properties: Properties, found: Values, own: str) -> Iterator[Complaint]:
    """JavaMail's three switches (ssl.enable, starttls.enable, starttls.required) as one choice."""
    names = ("mail_ssl_enable", "mail_starttls_required", "mail_starttls_enable")
    at_once, required, enabled = map(found.sound.get, names)
    for other, opposite in (("mail_ssl_enable", at_once is True), ("mail_starttls_enable", enabled is False)):
        if opposite and required:
            entry = found.written[other]
            yield Complaint("mail_starttls_required", f"{entry.name} = {entry.value} (line {entry.line}) says the opposite")
            return
    if at_once or required or enabled:
        name = next(name for name in names if found.sound.get(name))
        wanted = Security.SSL_TLS if at_once else Security.START_TLS
        if not _stands_back(found, own, name, "security"):
            found.sound["security"], found.written["security"] = wanted, found.written[name]
        elif found.sound.get("security", wanted) is not wanted:
            yield from _beside(found, name, "security")
    elif "security" not in found.written:
        yield from _nothing_instead(properties, found)


def _nothing_instead(properties: Properties, found: Values) -> Iterator[Complaint]:
    """What is on where nothing is written is switched off, and nothing else is chosen."""
    at_once = properties.security is Security.SSL_TLS
    name = "mail_ssl_enable" if at_once else "mail_starttls_enable"
    if found.sound.get(name) is False:
        what, other = ("TLS from the start", "start-tls") if at_once else ("STARTTLS", "ssl-tls")
        problem = f"{what} is switched off, and nothing stands in its place"
        yield Complaint(name, problem, f"Write {properties.option_name('security')} = {other}, or none.")


def _mechanisms(properties: Properties, found: Values) -> Iterator[Complaint]:
    """The switches that take a mechanism away."""
    switches = {"mail_plain_disable": "PLAIN", "mail_login_disable": "LOGIN", "mail_xoauth2_disable": "XOAUTH2"}
    off = {mechanism: name for name, mechanism in switches.items() if found.sound.get(name)}
    chosen = found.sound.get("mechanisms", ())
    for mechanism in [mechanism for mechanism in chosen if mechanism in off]:
        entry = found.written["mechanisms"]
        yield Complaint(off[mechanism], f"{entry.name} (line {entry.line}) names {mechanism}, which this switches off")
    if found.sound.get("mail_xoauth2_disable") is False and not set(chosen) & set(values.OAUTH_MECHANISMS):
        remedy = f"OAuth is switched on by {properties.option_name('mechanisms')} = {values.OAUTH_MECHANISMS[0]}."
        yield Complaint("mail_xoauth2_disable", "allows XOAUTH2, and nothing chooses it", remedy, keeps_down=False)
    if not chosen and "mechanisms" not in found.wrong and off.keys() & set(values.PASSWORD_MECHANISMS):
        left = tuple(mechanism for mechanism in values.PASSWORD_MECHANISMS if mechanism not in off)
        last = max((off[mechanism] for mechanism in off), key=lambda name: found.written[name].line)
        if not left:
            both = " and ".join(found.written[off[mechanism]].name for mechanism in values.PASSWORD_MECHANISMS)
            yield Complaint(last, f"{both} leave no way to log in with a password")
        found.sound["mechanisms"], found.written["mechanisms"] = left, found.written[last]


def _proxy(properties: Properties, found: Values) -> Iterator[Complaint]:
    """A proxy of this client alone: HTTP or SOCKS, as the host's property says."""
    hosts = [name for name in ("mail_proxy_host", "mail_socks_host") if name in found.written]
    if len(hosts) == 2:
        entry = found.written["mail_proxy_host"]
        yield Complaint("mail_socks_host", f"{entry.name} (line {entry.line}) names another proxy", "Take one of them away.")
        return
    kind = {"mail_proxy_host": ProxyType.HTTP, "mail_socks_host": ProxyType.SOCKS}[hosts[0]] if hosts else None
    for prefix, needed in (("mail_proxy_", ProxyType.HTTP), ("mail_socks_", ProxyType.SOCKS)):
        for name in [name for name in found.written if name.startswith(prefix) and kind is not needed]:
            host = properties.option_name(f"{prefix}host")
            yield Complaint(name, f"without effect: {host} is not written", keeps_down=False)
    if kind is None or hosts[0] not in found.sound:
        return
    prefix = hosts[0].removesuffix("host")
    given = {name.removeprefix(prefix): value for name, value in found.sound.items() if name.startswith(prefix)}
    proxy = ProxySettings(**{"use_proxy": True, "type": kind, "port": 80 if kind is ProxyType.HTTP else 1080, **given})
    lacking = {name for name in ("user", "password") if f"{prefix}{name}" not in found.written}
    for name, problem, _ in network.complaints(proxy, lacking):
        there = f"{prefix}{name}" if f"{prefix}{name}" in found.written else hosts[0]
        yield Complaint(there, problem)
    found.sound["proxy"] = proxy
