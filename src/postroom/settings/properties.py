"""The properties ``mail.*`` of JavaMail (Jakarta Mail): what each does here, and why some do nothing.

A property with a counterpart gives an option its value where that option is not written itself. It is read, judged and printed
as options are. ``<type>`` is the section's type in lower case, also with an ``s`` behind it (``mail.imaps.timeout``). The meaning
of each name is that of the documentation of Jakarta Mail's packages ``imap`` and ``pop3``.
"""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from postroom.secret import Secret
from postroom.settings import network, values
from postroom.settings.ini import Entry
from postroom.settings.network import ProxySettings, ProxyType
from postroom.settings.option import Effect, Option, Surroundings, option, options_of
from postroom.settings.words import Security

_TYPES = ("imap", "pop3")
_OURS = "What it does here."


def _milliseconds(value: str, surroundings: Surroundings) -> float:
    return values.integer(1)(value, surroundings) / 1000


def _property(
    name: str,
    parse: Callable[[str, Surroundings], object],
    sentence: str,
    *,
    valid: str = values.BOOLEAN,
    default_words: str = "",
    secret: bool = False,
) -> Any:
    """Declare a property."""
    return option(
        f"mail.{name}",
        parse,
        valid=valid,
        default_words=default_words,
        effect=Effect.NEXT_CYCLE,
        ours=_OURS,
        secret=secret,
        sentence=sentence,
    )


_MILLISECONDS = "milliseconds, 1 or more; for ever is none"
_HOST = "the name or address of a host"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailProperties:
    """The properties that act. Fields without ``mail_`` are fields of ``PopClient`` that have no option of their own."""

    mail_host: str | None = _property(
        "<type>.host", values.host, "The server, where `server` is not written.", valid=_HOST, default_words="See server"
    )
    mail_port: int | None = _property(
        "<type>.port",
        values.integer(1, 65535),
        "Its port, where `port` is not written.",
        valid="1..65535",
        default_words="See port",
    )
    mail_user: str | None = _property(
        "<type>.user",
        values.text,
        "The login name, where `mailbox` is not written.",
        valid="the login name",
        default_words="See mailbox",
    )
    mail_connectiontimeout: float | None = _property(
        "<type>.connectiontimeout",
        _milliseconds,
        "How long a connection may take to come about, where `connect-timeout` is not written.",
        valid=_MILLISECONDS,
        default_words="See connect-timeout",
    )
    mail_timeout: float | None = _property(
        "<type>.timeout",
        _milliseconds,
        "How long the server may be silent when it owes an answer, where `protocol-timeout` is not written.",
        valid=_MILLISECONDS,
        default_words="See protocol-timeout",
    )
    mail_ssl_enable: bool | None = _property(
        "<type>.ssl.enable",
        values.boolean,
        "`true` is `pop-connection-security = ssl-tls`, where that is not written, and comes before `starttls.enable`. `false` "
        "alone is a fault: it leaves open what stands in its place. With `starttls.required` it contradicts itself.",
        default_words="See pop-connection-security",
    )
    mail_starttls_enable: bool | None = _property(
        "<type>.starttls.enable",
        values.boolean,
        "`true` is `pop-connection-security = start-tls`, where that is not written. Unlike JavaMail's it never goes on in clear.",
        default_words="See pop-connection-security",
    )
    mail_starttls_required: bool | None = _property(
        "<type>.starttls.required",
        values.boolean,
        "`true` is `pop-connection-security = start-tls`, where that is not written.",
        default_words="See pop-connection-security",
    )
    mail_sasl_mechanisms: tuple[str, ...] | None = _property(
        "<type>.sasl.mechanisms",
        values.several_of(values.MECHANISMS),
        "As `mail.<type>.auth.mechanisms`, where that is not written.",
        valid="as there",
        default_words="See mail.<type>.auth.mechanisms",
    )
    mail_plain_disable: bool | None = _property(
        "<type>.auth.plain.disable", values.boolean, "`true`: PLAIN is not used.", default_words="false"
    )
    mail_login_disable: bool | None = _property(
        "<type>.auth.login.disable", values.boolean, "`true`: LOGIN is not used (POP3: USER and PASS).", default_words="false"
    )
    mail_xoauth2_disable: bool | None = _property(
        "<type>.auth.xoauth2.disable",
        values.boolean,
        "`true`: XOAUTH2 is not used. `false` allows it; `mail.<type>.auth.mechanisms` switches it on.",
        default_words="false",
    )
    two_line_xoauth2: bool | None = _property(
        "<type>.auth.xoauth2.two.line.authentication.format",
        values.boolean,
        "`true`: the token follows the command in a line of its own, as Microsoft's POP3 wants it; `false`: in the same line, "
        "where the server takes it.",
        default_words="As the provider and the server want it",
    )
    compress: bool = _property(
        "imap.compress.enable",
        values.boolean,
        "`true`: the conversation is compressed where the server offers COMPRESS=DEFLATE (RFC 4978).",
        default_words="false",
    )
    disable_top: bool = _property(
        "pop3.disabletop", values.boolean, "`true`: TOP is never sent; some servers damage what it returns.", default_words="false"
    )
    disable_capa: bool = _property(
        "pop3.disablecapa", values.boolean, "`true`: CAPA is never sent; some servers stumble over it.", default_words="false"
    )
    mail_proxy_host: str | None = _property(
        "<type>.proxy.host",
        values.host,
        "An HTTP proxy for this mailbox and its tokens alone, in the place of the section `proxy`.",
        valid=_HOST,
    )
    mail_proxy_port: int | None = _property(
        "<type>.proxy.port", values.integer(1, 65535), "Its port.", valid="1..65535", default_words="80"
    )
    mail_proxy_user: str | None = _property(
        "<type>.proxy.user", values.text, "Who logs in to it.", valid="the login name; without a colon"
    )
    mail_proxy_password: Secret | None = _property(
        "<type>.proxy.password", values.secret, "The password of that user.", valid=f"as {values.SECRET_FORMS}", secret=True
    )
    mail_socks_host: str | None = _property(
        "<type>.socks.host",
        values.host,
        "A SOCKS proxy of version 5 for this mailbox and its tokens alone, in the place of the section `proxy`.",
        valid=_HOST,
    )
    mail_socks_port: int | None = _property(
        "<type>.socks.port", values.integer(1, 65535), "Its port.", valid="1..65535", default_words="1080"
    )
    mail_debug: bool | None = _property(
        "debug", values.boolean, "As `enable-debug`, where that is not written.", default_words="See enable-debug"
    )


_STANDS_FOR = {  # property: option
    "mail_host": "server",
    "mail_port": "port",
    "mail_user": "mailbox",
    "mail_connectiontimeout": "connect_timeout",
    "mail_timeout": "protocol_timeout",
    "mail_sasl_mechanisms": "mechanisms",
    "mail_debug": "enable_debug",
}

_REMARKS: Mapping[str, str] = {  # what those who miss an effect should know, by the name behind the type
    "ssl.trust": "Certificates are always checked. Name a company's own authority in tls-ca-file.",
    "ssl.checkserveridentity": "Names and dates of certificates are always checked.",
    "ssl.protocols": "TLS 1.2 and later are spoken, always.",
    "socketfactory.class": "TLS is chosen by pop-connection-security.",
    "socketfactory.port": "The port is chosen by port.",
    "ssl.socketfactory.class": "TLS is chosen by pop-connection-security.",
    "writetimeout": "protocol-timeout holds for writing too.",
    "peek": "Reading never marks a message as seen; after-capture = seen does.",
    "fetchsize": "Messages are written to the disk as they come.",
    "partialfetch": "Messages are written to the disk as they come.",
    "rsetbeforequit": "RSET would take back the deletions that after-capture asked for, and is never sent before QUIT.",
    "sasl.enable": "The mechanisms are chosen by mail.<type>.auth.mechanisms.",
    "auth": "The mechanisms are chosen by mail.<type>.auth.mechanisms.",
    "auth.ntlm.disable": "NTLM is never used here.",
    "auth.ntlm.domain": "NTLM is never used here.",
}


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
    return () if any(name.startswith(f"mail.{other}.") for other in _TYPES) else (name,)


def acts_elsewhere(name: str, options: Iterable[Option]) -> bool:
    """Whether a property acts in a section of some type: among the shared values it is no stray."""
    return any(name.lower() in names_of(option, word) for option in options for word in _TYPES)


def remark(name: str) -> str:
    """What to know of a property that does nothing; mostly nothing."""
    if name.lower() == "mail.debug.auth":
        return "Secrets are masked in every trace."
    behind = re.fullmatch(r"mail\.(?:imaps?|pop3s?)\.(.+)", name.lower())
    return _REMARKS.get(behind[1], "") if behind else ""


def mechanisms_of(entries: Mapping[str, Entry], type_word: str) -> Entry | None:
    """The entry that chooses the mechanisms of login."""
    word = type_word.lower()
    names = (f"mail.{kind}.{rest}" for rest in ("auth.mechanisms", "sasl.mechanisms") for kind in (word, f"{word}s"))
    return next((entries[name] for name in names if name in entries and entries[name].value), None)


def apply(found: Values, own: str) -> Iterator[Complaint]:
    """Give the options what the properties say, and take the properties away. Without properties nothing changes.

    ``own`` is the client's section: its own values win over the shared ones.
    """
    if not options_of(MailProperties).keys() & found.written.keys():
        return
    for name, target in _STANDS_FOR.items():
        yield from _stand_in(found, own, name, target)
    yield from _security(found, own)
    yield from _mechanisms(found)
    yield from _proxy(found)
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


def _security(found: Values, own: str) -> Iterator[Complaint]:
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
    elif at_once is False and "security" not in found.written:
        problem = "TLS from the start is switched off, and nothing stands in its place"
        yield Complaint("mail_ssl_enable", problem, "Write pop-connection-security = start-tls, or none.")


def _mechanisms(found: Values) -> Iterator[Complaint]:
    """The switches that take a mechanism away."""
    switches = {"mail_plain_disable": "PLAIN", "mail_login_disable": "LOGIN", "mail_xoauth2_disable": "XOAUTH2"}
    off = {mechanism: name for name, mechanism in switches.items() if found.sound.get(name)}
    chosen = found.sound.get("mechanisms", ())
    for mechanism in [mechanism for mechanism in chosen if mechanism in off]:
        entry = found.written["mechanisms"]
        yield Complaint(off[mechanism], f"{entry.name} (line {entry.line}) names {mechanism}, which this switches off")
    if found.sound.get("mail_xoauth2_disable") is False and not set(chosen) & set(values.OAUTH_MECHANISMS):
        remedy = f"OAuth is switched on by mail.<type>.auth.mechanisms = {values.OAUTH_MECHANISMS[0]}."
        yield Complaint("mail_xoauth2_disable", "allows XOAUTH2, and nothing chooses it", remedy, keeps_down=False)
    if not chosen and "mechanisms" not in found.wrong and off.keys() & set(values.PASSWORD_MECHANISMS):
        left = tuple(mechanism for mechanism in values.PASSWORD_MECHANISMS if mechanism not in off)
        last = max((off[mechanism] for mechanism in off), key=lambda name: found.written[name].line)
        if not left:
            both = " and ".join(found.written[off[mechanism]].name for mechanism in values.PASSWORD_MECHANISMS)
            yield Complaint(last, f"{both} leave no way to log in with a password")
        found.sound["mechanisms"], found.written["mechanisms"] = left, found.written[last]


def _proxy(found: Values) -> Iterator[Complaint]:
    """A proxy of this mailbox alone: HTTP or SOCKS, as the host's property says."""
    hosts = [name for name in ("mail_proxy_host", "mail_socks_host") if name in found.written]
    if len(hosts) == 2:
        entry = found.written["mail_proxy_host"]
        yield Complaint("mail_socks_host", f"{entry.name} (line {entry.line}) names another proxy", "Take one of them away.")
        return
    kind = {"mail_proxy_host": ProxyType.HTTP, "mail_socks_host": ProxyType.SOCKS}[hosts[0]] if hosts else None
    for prefix, needed in (("mail_proxy_", ProxyType.HTTP), ("mail_socks_", ProxyType.SOCKS)):
        for name in [name for name in found.written if name.startswith(prefix) and kind is not needed]:
            host = f"mail.<type>.{prefix[5:-1]}.host"
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
