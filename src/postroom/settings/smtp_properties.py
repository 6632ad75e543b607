"""The properties ``mail.smtp.*`` that act for an account, as Jakarta Mail's package smtp names them."""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from postroom.secret import Secret
from postroom.settings import values
from postroom.settings.option import Effect, Surroundings
from postroom.settings.properties import MILLISECONDS, REMARKS, Properties, declare, milliseconds
from postroom.settings.smtp_client import SmtpClient
from postroom.settings.words import Security

_property = functools.partial(declare, effect=Effect.RESTART)
_HOST = "the name or address of a host"
_TYPE = "<server-type>"
_WHEN = ("SUCCESS", "FAILURE", "DELAY")


def _notify(value: str, surroundings: Surroundings) -> tuple[str, ...]:
    """RFC 3461 section 4.1: NEVER stands alone."""
    chosen = values.several_of(("NEVER", *_WHEN))(value, surroundings)
    if "NEVER" in chosen and len(chosen) > 1:
        raise ValueError("has NEVER beside other words, and it stands alone")
    return chosen


def _ret(value: str, _: Surroundings) -> str:
    """RFC 3461 section 4.3."""
    if value.upper() not in ("FULL", "HDRS"):
        raise ValueError("is none of the valid values")
    return value.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpProperties:
    """The properties that act. Fields without ``mail_`` are fields of ``SmtpClient`` that have no option of their own."""

    mail_host: str | None = _property(
        f"{_TYPE}.host", values.host, "The server, where `server` is not written.", valid=_HOST, default_words="See server"
    )
    mail_port: int | None = _property(
        f"{_TYPE}.port",
        values.integer(1, 65535),
        "Its port, where `port` is not written.",
        valid="1..65535",
        default_words="See port",
    )
    mail_user: str | None = _property(
        f"{_TYPE}.user",
        values.text,
        "The login name, where `user` is not written.",
        valid="the login name",
        default_words="See user",
    )
    mail_auth: bool | None = _property(
        f"{_TYPE}.auth",
        values.boolean,
        "As `enable-authentication`, where that is not written.",
        effect=Effect.IMMEDIATELY,
        default_words="See enable-authentication",
    )
    mail_connectiontimeout: float | None = _property(
        f"{_TYPE}.connectiontimeout",
        milliseconds,
        "How long a connection may take to come about, where `connect-timeout` is not written.",
        valid=MILLISECONDS,
        default_words="See connect-timeout",
    )
    mail_timeout: float | None = _property(
        f"{_TYPE}.timeout",
        milliseconds,
        "How long the server may be silent when it owes an answer, where `protocol-timeout` is not written.",
        valid=MILLISECONDS,
        default_words="See protocol-timeout",
    )
    mail_ssl_enable: bool | None = _property(
        f"{_TYPE}.ssl.enable",
        values.boolean,
        "`true` is `smtp-connection-security = ssl-tls`, where that is not written, and comes before `starttls.enable`. With "
        "`starttls.required` it contradicts itself.",
        default_words="See smtp-connection-security",
    )
    mail_starttls_enable: bool | None = _property(
        f"{_TYPE}.starttls.enable",
        values.boolean,
        "`true` is `smtp-connection-security = start-tls`, where that is not written. Unlike JavaMail's it never goes on in "
        "clear. `false` alone is a fault: it leaves open what stands in its place.",
        default_words="See smtp-connection-security",
    )
    mail_starttls_required: bool | None = _property(
        f"{_TYPE}.starttls.required",
        values.boolean,
        "`true` is `smtp-connection-security = start-tls`, where that is not written.",
        default_words="See smtp-connection-security",
    )
    mail_sasl_mechanisms: tuple[str, ...] | None = _property(
        f"{_TYPE}.sasl.mechanisms",
        values.several_of(values.MECHANISMS),
        f"As `mail.{_TYPE}.auth.mechanisms`, where that is not written.",
        valid="as there",
        default_words=f"See mail.{_TYPE}.auth.mechanisms",
    )
    mail_plain_disable: bool | None = _property(
        f"{_TYPE}.auth.plain.disable", values.boolean, "`true`: PLAIN is not used.", default_words="false"
    )
    mail_login_disable: bool | None = _property(
        f"{_TYPE}.auth.login.disable", values.boolean, "`true`: LOGIN is not used.", default_words="false"
    )
    mail_xoauth2_disable: bool | None = _property(
        f"{_TYPE}.auth.xoauth2.disable",
        values.boolean,
        f"`true`: XOAUTH2 is not used. `false` allows it; `mail.{_TYPE}.auth.mechanisms` switches it on.",
        default_words="false",
    )
    ehlo_name: str | None = _property(
        f"{_TYPE}.localhost",
        values.host,
        "The name under which Postroom presents itself to the server in EHLO.",
        valid=_HOST,
        default_words="The address of this end of the connection, in brackets",
    )
    envelope_from: str | None = _property(
        f"{_TYPE}.from",
        values.mail_address,
        "The sender in the envelope (MAIL FROM), to whom reports of failure go, of every message that is not a report itself.",
        valid="an e-mail address",
        default_words="The address in From",
    )
    dsn_notify: tuple[str, ...] = _property(
        f"{_TYPE}.dsn.notify",
        _notify,
        "When the server is to report of a recipient (RFC 3461 section 4.1), where it can.",
        valid="NEVER, or some of SUCCESS, FAILURE, DELAY with commas between them",
        default_words="As the server likes: FAILURE and DELAY mostly",
    )
    dsn_ret: str = _property(
        f"{_TYPE}.dsn.ret",
        _ret,
        "How much of the message a report returns (RFC 3461 section 4.3), where the server can.",
        valid="FULL, HDRS",
        default_words="As the server likes",
    )
    mail_proxy_host: str | None = _property(
        f"{_TYPE}.proxy.host",
        values.host,
        "An HTTP proxy for this account and its tokens alone, in the place of the section `proxy`.",
        valid=_HOST,
    )
    mail_proxy_port: int | None = _property(
        f"{_TYPE}.proxy.port", values.integer(1, 65535), "Its port.", valid="1..65535", default_words="80"
    )
    mail_proxy_user: str | None = _property(
        f"{_TYPE}.proxy.user", values.text, "Who logs in to it.", valid="the login name; without a colon"
    )
    mail_proxy_password: Secret | None = _property(
        f"{_TYPE}.proxy.password", values.secret, "The password of that user.", valid=f"as {values.SECRET_FORMS}", secret=True
    )
    mail_socks_host: str | None = _property(
        f"{_TYPE}.socks.host",
        values.host,
        "A SOCKS proxy of version 5 for this account and its tokens alone, in the place of the section `proxy`.",
        valid=_HOST,
    )
    mail_socks_port: int | None = _property(
        f"{_TYPE}.socks.port", values.integer(1, 65535), "Its port.", valid="1..65535", default_words="1080"
    )
    mail_debug: bool | None = _property(
        "debug", values.boolean, "As `enable-debug`, where that is not written.", default_words="See enable-debug"
    )


_STANDS_FOR = {
    "mail_host": "server",
    "mail_port": "port",
    "mail_user": "user",
    "mail_auth": "enable_authentication",
    "mail_connectiontimeout": "connect_timeout",
    "mail_timeout": "protocol_timeout",
    "mail_sasl_mechanisms": "mechanisms",
    "mail_debug": "enable_debug",
}

_REMARKS: Mapping[str, str] = {
    **REMARKS,
    "socketfactory.class": "TLS is chosen by smtp-connection-security.",
    "ssl.socketfactory.class": "TLS is chosen by smtp-connection-security.",
    "writetimeout": "protocol-timeout holds for writing too.",
    "sasl.enable": "The mechanisms are chosen by mail.smtp.auth.mechanisms.",
    "allow8bitmime": "Octets above 127 are sent as they are where the server offers 8BITMIME, and encoded where it does not.",
    "sendpartial": "A recipient that is refused holds up none of the others.",
    "reportsuccess": "What became of each recipient is kept, whether it is good or bad.",
    "quitwait": "The server's answer to QUIT is not waited for long: nothing depends on it.",
    "userset": "An idle connection is checked with NOOP.",
    "chunksize": "BDAT is used where the server offers CHUNKING.",
    "ehlo": "EHLO is always said: without it there is neither TLS nor a login.",
}

SMTP_PROPERTIES = Properties(SmtpProperties, SmtpClient, ("smtp",), _STANDS_FOR, _REMARKS, Security.START_TLS)
