"""Every log event and every metric, on one page. Each answers an operator's question.

``docs/events.md`` and ``docs/metrics.md`` are printed from here. A field never holds a secret; ``Secret`` prints as ``***``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of log line: its name, level (debug, info, warning, error), sentence and fields."""

    name: str
    level: str
    sentence: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """A kind of measurement: Prometheus name, kind (counter, gauge), sentence and labels."""

    name: str
    kind: str
    sentence: str
    labels: tuple[str, ...] = ()


STARTED = Event("started", "info", "Postroom began to work.", ("version", "config", "clients", "web"))
STOPPED = Event("stopped", "info", "Postroom ended as asked.")
CONFIG_FAULT = Event("config_fault", "error", "A section has a fault; its client keeps what it had, or stays down.", ("fault",))
CONFIG_WARNING = Event("config_warning", "warning", "The configuration has something without effect.", ("warning",))
CONFIG_CHANGED = Event("config_changed", "info", "The edited configuration was read.", ("added", "removed", "changed"))
APPLICATIONS_CHANGED = Event(
    "applications_changed", "info", "Applications are new, changed or gone in the edited configuration.", ("applications",)
)
CLIENT_CHANGED = Event(
    "client_changed", "info", "A changed smtp-client runs with its new options from now on.", ("client", "options")
)
RESTART_PENDING = Event(
    "restart_pending", "info", "A changed smtp-client goes on as it is until it is restarted.", ("client", "options")
)
WAITING_FOR_START = Event(
    "waiting_for_start",
    "warning",
    "A section was changed whose values act only when the service is started again; told once.",
    ("section",),
)
CONNECTED = Event("connected", "info", "A client is logged in.", ("client", "server"))
READ = Event("read", "info", "A cycle brought messages.", ("client", "folder", "captured", "matched", "octets", "left"))
UNCHANGED = Event("unchanged", "debug", "A cycle found nothing new.", ("client", "folder"))
SETTLED = Event("settled", "info", "Messages were settled at the server.", ("client", "folder", "settled", "gone"))
REMARK = Event("remark", "warning", "The server cannot do all of what was asked.", ("client", "folder", "remark"))
RESET = Event(
    "reset",
    "warning",
    "The server's identities changed; messages are met again by date, size and Message-ID, in doubt by their octets.",
    ("client", "folder", "reason"),
)
REBORN = Event(
    "reborn",
    "info",
    "A folder was read whole after a reset: met again (of these fetched and compared), new, no longer there.",
    ("client", "folder", "matched", "compared", "new", "vanished"),
)
FIRST_READ = Event(
    "first_read",
    "info",
    "A folder is read for the first time: what first-read says, messages that this takes, and roughly their octets.",
    ("client", "folder", "first", "messages", "octets"),
)
TROUBLE = Event(
    "trouble",
    "warning",
    "A message is listed and could not be had; it is tried again.",
    ("client", "folder", "identifier", "detail"),
)
BIG = Event(
    "big",
    "warning",
    "A message is larger than maximum-msg-size; big-messages said what was done.",
    ("client", "folder", "identifier", "octets", "done"),
)
FAILED_ITEM = Event(
    "failed_item",
    "warning",
    "A message that the server did not hand over for a day was moved to failed-items-folder-path.",
    ("client", "folder", "identifier", "target", "detail"),
)
AUDITED = Event(
    "audited",
    "info",
    "What the server holds was compared with what is accounted for here.",
    ("client", "folder", "listed", "accounted", "coming", "missing", "here_only", "reset"),
)
MISSING = Event(
    "missing",
    "warning",
    "The server holds messages that are not accounted for here; those that can be asked for are fetched now.",
    ("client", "folder", "missing", "queued", "identifiers"),
)
AUDIT_FAILED = Event("audit_failed", "warning", "The server refused an audit; it is tried again later.", ("client", "error"))
SESSION_ENDED = Event("session_ended", "debug", "The server ended a conversation with its token; a new one follows.", ("client",))
RETRYING = Event("retrying", "warning", "A client failed and is tried again by itself.", ("client", "error", "remedy", "seconds"))
NEEDS_PERSON = Event("needs_person", "error", "A client stands still until somebody acts.", ("client", "error", "remedy"))
ENDING = Event(
    "ending",
    "warning",
    "A token, secret or certificate ends soon, or a provider ends something; told 30, 14 and 3 days ahead.",
    ("client", "what", "at", "days", "words", "remedy"),
)
RECOVERED = Event("recovered", "info", "A client works again.", ("client",))
SILENT = Event(
    "silent",
    "error",
    "No check of a client was proved for longer than its cycles explain; told once.",
    ("client", "seconds", "error", "remedy"),
)
HEARD = Event("heard", "info", "A check of a silent client was proved again.", ("client",))
RESTARTED = Event(
    "restarted",
    "error",
    "A client gave no sign of life for longer than its time-outs allow, and is begun anew. Please report it.",
    ("client", "seconds"),
)
PAUSED = Event(
    "paused",
    "warning",
    "A provider's limit is reached; the client goes on by itself.",
    ("client", "error", "remedy", "seconds"),
)
CLIENT_PAUSED = Event("client_paused", "info", "A client stands still as somebody asked, until it is resumed.", ("client", "by"))
CLIENT_EDITED = Event(
    "client_edited",
    "info",
    "A client's section of the file was made, changed or taken away over the API.",
    ("client", "by", "options"),
)
CONSENTED = Event(
    "consented", "info", "The owner of a client's account consented at an address that was handed out.", ("client", "account")
)
BEGUN_ANEW = Event("begun_anew", "info", "A client's conversation was begun anew as somebody asked.", ("client", "by"))
REQUEST = Event(
    "request",
    "info",
    "The API was asked something. The operation stands for the path, so that no id and no token is in it.",
    ("id", "operation", "method", "status", "seconds", "key", "address"),
)
PROBED = Event("probed", "debug", "Health, readiness or metrics were asked for.", ("operation", "status", "address"))
LIMIT_LEARNED = Event(
    "limit_learned",
    "warning",
    "A server refused one connection more; from now on mailboxes take turns below its limit.",
    ("server", "of", "connections", "error"),
)
ELSEWHERE = Event("elsewhere", "info", "Another process reads this mailbox.", ("client", "error"))
STORE_TROUBLE = Event(
    "store_trouble",
    "error",
    "The store failed; nothing is settled anywhere until it works again.",
    ("client", "error", "remedy", "seconds"),
)
SENT = Event("sent", "info", "A server took a submission over.", ("client", "id", "message_id", "recipients", "reply"))
DEFERRED = Event(
    "deferred",
    "warning",
    "A submission was refused for now, by some of its recipients at least; it is tried again. The words are those of "
    "the first of them.",
    ("client", "id", "message_id", "error", "recipients", "seconds"),
)
UNDELIVERED = Event(
    "undelivered",
    "error",
    "A submission was refused for good, by some of its recipients at least; it is kept for a replay. The words are those of "
    "the first recipient that failed.",
    ("client", "id", "message_id", "error", "recipients"),
)
IN_DOUBT = Event(
    "in_doubt",
    "warning",
    "The connection was lost before the server's answer: nobody knows whether it took a submission over.",
    ("client", "id", "message_id", "error", "recipients"),
)
HELD = Event("held", "error", "A submission in doubt waits for a person.", ("client", "id", "message_id", "error"))
PARKED = Event(
    "parked",
    "warning",
    "An account sends nothing for a while; its mail waits unharmed.",
    ("client", "error", "remedy", "seconds"),
)
STRANDED = Event(
    "stranded",
    "error",
    "Mail waits for a section that is not in the configuration, or has been faulty since the start; told once.",
    ("client", "submissions", "remedy"),
)
SENDER_RESTARTED = Event("sender_restarted", "info", "An account goes on with its present settings.", ("client",))
FILED = Event("filed", "debug", "A copy of what was sent is in Sent.", ("client", "folder", "id"))
NOT_FILED = Event(
    "not_filed",
    "warning",
    "A copy of what was sent could not be filed in Sent for a day, or never can be; the mail itself is not concerned.",
    ("client", "id", "error"),
)
LISTENING = Event("listening", "info", "Programs may hand mail in by SMTP.", ("address", "security"))
LISTENER_FAILED = Event(
    "listener_failed", "error", "Nothing takes mail in by SMTP; it is tried again by itself.", ("error", "remedy", "seconds")
)
CERTIFICATE_UNUSABLE = Event(
    "certificate_unusable",
    "warning",
    "The certificate for those who hand mail in was renewed and cannot be used; the former is shown further.",
    ("error", "remedy"),
)
HANDED_IN = Event(
    "handed_in",
    "info",
    "A program handed a message in by SMTP; it is in the queue.",
    ("client", "owner", "id", "recipients", "octets"),
)
LISTENER_REFUSED = Event("listener_refused", "warning", "A program that hands mail in was refused.", ("peer", "reply"))
WORK_FAILED = Event("work_failed", "warning", "A piece of work failed and is tried again.", ("kind", "subject", "error"))
WORK_DEAD = Event("work_dead", "error", "A piece of work failed for good and is kept for a replay.", ("kind", "subject", "error"))
DEAD_LETTERS = Event(
    "dead_letters",
    "error",
    "Messages were laid aside that an application refused for good or never acknowledged; they are kept for a replay.",
    ("application", "messages", "reason"),
)
UNFORESEEN = Event(
    "unforeseen",
    "error",
    "An error that nobody foresaw; it is tried again. Please report it.",
    ("where", "error", "trace"),
)
PROTOCOL = Event(
    "protocol", "debug", "A line of a client's conversation (enable-debug), secrets masked.", ("client", "side", "line")
)

CAPTURED_TOTAL = Metric("postroom_captured_messages_total", "counter", "Messages kept for the first time.", ("client",))
CAPTURED_OCTETS = Metric("postroom_captured_octets_total", "counter", "Octets of messages kept for the first time.", ("client",))
CYCLES_TOTAL = Metric(
    "postroom_cycles_total", "counter", "POP cycles, by outcome (read, unchanged, failed).", ("client", "outcome")
)
PROVED_AT = Metric("postroom_proved_timestamp_seconds", "gauge", "When the path to the mailbox was last proved.", ("client",))
WORKING = Metric("postroom_client_working", "gauge", "1 while the client works, else 0.", ("client",))
AUDITED_AT = Metric("postroom_audited_timestamp_seconds", "gauge", "When the folder was last audited whole.", ("client", "folder"))
AUDIT_MISSING = Metric(
    "postroom_audit_missing_messages", "gauge", "Messages that the last audit of the folder found missing.", ("client", "folder")
)
SILENT_NOW = Metric("postroom_client_silent", "gauge", "1 while no check was proved for too long, else 0.", ("client",))
CONNECTIONS = Metric("postroom_connections", "gauge", "Conversations with a server, those beginning included.", ("server",))
ALLOWANCE = Metric(
    "postroom_allowance_octets", "gauge", "What may be read now under a provider's limit of octets a day.", ("client",)
)
PROCESSED_TOTAL = Metric("postroom_processed_messages_total", "counter", "Messages understood.")
SENT_TOTAL = Metric(
    "postroom_recipients_total",
    "counter",
    "Recipients by what an attempt came to (sent, pending, failed, doubt).",
    ("client", "state"),
)
OUTBOX = Metric("postroom_outbox_submissions", "gauge", "Submissions by where they stand.", ("client", "state"))
OUTBOX_OLDEST = Metric(
    "postroom_outbox_oldest_seconds",
    "gauge",
    "Since the oldest submission that waits to be sent was handed in; else 0.",
    ("client",),
)
DAYS_TO_EXPIRY = Metric(
    "postroom_days_to_expiry", "gauge", "Days until the next thing ends that a client depends on.", ("client", "what")
)
API_REQUESTS = Metric("postroom_api_requests_total", "counter", "Requests to the API.", ("operation", "status"))
TOKEN_REQUESTS = Metric("postroom_token_requests_total", "counter", "Requests to token endpoints.")

EVENTS = tuple(value for value in list(globals().values()) if isinstance(value, Event))
METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


class Observer(Protocol):
    """Is told what happens."""

    def event(self, event: Event, **fields: object) -> None:
        """Something happened."""

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """A counter grew."""

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        """A gauge stands at a value."""
