"""The properties ``mail.imap.*`` and ``mail.pop3.*`` that act for a mailbox, as Jakarta Mail's packages imap and pop3 name them."""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from postroom.secret import Secret
from postroom.settings import values
from postroom.settings.option import Effect
from postroom.settings.pop_client import PopClient
from postroom.settings.properties import MILLISECONDS, REMARKS, Properties, declare, milliseconds
from postroom.settings.words import Security

_property = functools.partial(declare, effect=Effect.NEXT_CYCLE)
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
        milliseconds,
        "How long a connection may take to come about, where `connect-timeout` is not written.",
        valid=MILLISECONDS,
        default_words="See connect-timeout",
    )
    mail_timeout: float | None = _property(
        "<type>.timeout",
        milliseconds,
        "How long the server may be silent when it owes an answer, where `protocol-timeout` is not written.",
        valid=MILLISECONDS,
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


_STANDS_FOR = {
    "mail_host": "server",
    "mail_port": "port",
    "mail_user": "mailbox",
    "mail_connectiontimeout": "connect_timeout",
    "mail_timeout": "protocol_timeout",
    "mail_sasl_mechanisms": "mechanisms",
    "mail_debug": "enable_debug",
}

_REMARKS: Mapping[str, str] = {
    **REMARKS,
    "socketfactory.class": "TLS is chosen by pop-connection-security.",
    "ssl.socketfactory.class": "TLS is chosen by pop-connection-security.",
    "writetimeout": "protocol-timeout holds for writing too.",
    "peek": "Reading never marks a message as seen; after-capture = seen does.",
    "fetchsize": "Messages are written to the disk as they come.",
    "partialfetch": "Messages are written to the disk as they come.",
    "rsetbeforequit": "RSET would take back the deletions that after-capture asked for, and is never sent before QUIT.",
    "sasl.enable": "The mechanisms are chosen by mail.<type>.auth.mechanisms.",
    "auth": "The mechanisms are chosen by mail.<type>.auth.mechanisms.",
}

POP_PROPERTIES = Properties(MailProperties, PopClient, ("imap", "pop3"), _STANDS_FOR, _REMARKS, Security.SSL_TLS)
