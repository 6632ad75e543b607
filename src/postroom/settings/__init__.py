"""Every section and option of the product, declared once, and the way from a file's text to sound records.

Reading order: ``sections``, ``pop_client``, ``mailbox`` and ``smtp_client`` (what can be written), ``option`` (what a declaration
is), ``values`` (how values are written), then ``ini``, ``reading``, ``checks`` and ``configuration`` (from text to
records), ``reference`` (what is printed).
The rule: nothing here knows a provider, opens a connection or reads a file that no value names.
"""

from postroom.settings.application import Begin, PullApplication
from postroom.settings.configuration import Configuration, parse_configuration, unusable
from postroom.settings.faults import Fault, Severity
from postroom.settings.listener import ListenerAccount, ListenerSettings
from postroom.settings.mailbox import RECENT
from postroom.settings.network import Hosts, ProxySettings, ProxyType
from postroom.settings.option import Effect
from postroom.settings.pop_client import PopClient
from postroom.settings.processing import ProcessingSettings
from postroom.settings.sections import AuthoritySection, LogSettings, SecretSection, ServerSettings
from postroom.settings.smtp_client import Client, SmtpClient
from postroom.settings.values import ServiceAccountKey
from postroom.settings.web import WebSettings
from postroom.settings.words import BigMessages, FirstRead, GrantType, InDoubt, MailboxType, PublishingStatus, Security, ServerType

__all__ = [
    "RECENT",
    "AuthoritySection",
    "Begin",
    "BigMessages",
    "Client",
    "Configuration",
    "Effect",
    "Fault",
    "FirstRead",
    "GrantType",
    "Hosts",
    "InDoubt",
    "ListenerAccount",
    "ListenerSettings",
    "LogSettings",
    "MailboxType",
    "PopClient",
    "ProcessingSettings",
    "ProxySettings",
    "ProxyType",
    "PublishingStatus",
    "PullApplication",
    "SecretSection",
    "Security",
    "ServerSettings",
    "ServerType",
    "ServiceAccountKey",
    "Severity",
    "SmtpClient",
    "WebSettings",
    "parse_configuration",
    "unusable",
]
