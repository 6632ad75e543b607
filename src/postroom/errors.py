"""Every exception of Postroom, on one page.

::

    PostroomError
    ├── ConfigError            a value in the configuration
    │   └── FaultyEdit             several, in an edit that was refused
    ├── Conflict               what was asked for contradicts what is there
    │   └── ChangedMeanwhile       it is no longer what it was when that was asked for
    ├── ProtocolError
    │   ├── LocalProtocolError     we broke the protocol
    │   └── RemoteProtocolError    the peer broke it
    │       └── LimitExceeded          more than we let a peer make us hold
    ├── NetworkError
    │   ├── ConnectError       no conversation came about
    │   │   ├── TlsError           … because TLS could not be trusted
    │   │   ├── ProxyError         … because the proxy opens no way
    │   │   │   └── ProxyRefused       … and does not accept who asks
    │   │   ├── PortTaken          nothing can be listened on: another has the port
    │   │   └── NoListening        … for another reason
    │   ├── Lost               a conversation ended in the middle
    │   │   └── SessionEnded       … because its token's hour is over: expected
    │   └── TimedOut           the peer was silent for too long
    ├── Throttled              the peer asks for less; ``retry_after`` seconds
    │   └── AllowanceUsed      the octets that a provider allows a day are used up
    ├── AuthError
    │   ├── ConsentFailed      a person's consent did not come about
    │   ├── TokenRefused       the authority gives no token
    │   │   └── ConsentMissing     nobody has consented yet
    │   ├── TokenUnavailable   no token now; passing trouble
    │   ├── LoginRefused       the server does not accept the login
    │   └── NoMechanism        the server offers no mechanism that we may use
    ├── Reply                  the peer answered, and the answer is no
    │   ├── ImapStatus
    │   ├── Pop3Error
    │   ├── SmtpReply
    │   └── HttpStatus
    ├── DraftRefused       a message that an application wants sent; all its ``faults``
    └── StoreError
        ├── StoreFull          the disk is full
        ├── StoreNewer         written by a later version
        ├── VaultLocked        the vault's key is missing or is another one
        ├── NotFound           no such thing is here
        │   └── Ambiguous          more than one is
        ├── StateRefused       a move that the table of states does not have
        ├── KeyReused          an idempotency key came with another request before
        ├── LeaseLost          another process reads this mailbox now
        └── LeaseHeld          … already when we asked

The first paragraph of a class's docstring is its message, the second is the operator's remedy; ``docs/errors.md`` prints
both. ``fate`` answers the engine's only question: what now?
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from postroom.settings.faults import Fault


class Fate(enum.Enum):
    """What the engine does about an error."""

    RETRY = "retry"  # again later, with back-off; also for every error that nobody foresaw
    REAUTHORIZE = "reauthorize"  # a person must act; until something changes, only rare attempts
    GIVE_UP = "give up"  # will never work for this item
    UNSURE = "unsure"  # it may have happened


class PostroomError(Exception):
    """Something went wrong.

    See the words that follow.
    """

    fate: Fate = Fate.RETRY

    def __init__(self, detail: str = "", *, remedy: str = "") -> None:
        super().__init__(detail)
        self.detail = detail  # what happened, with the place and the peer's own words; never a secret
        self._remedy = remedy

    @classmethod
    def message(cls) -> str:
        """The class's message: the first paragraph of its docstring, without the full stop."""
        return _paragraphs(cls)[0].removesuffix(".")

    @property
    def remedy(self) -> str:
        """What an operator can do: given where the error arose, else the second paragraph of the docstring."""
        if self._remedy:
            return self._remedy
        return self.class_remedy().replace("``", "")

    @remedy.setter
    def remedy(self, words: str) -> None:
        self._remedy = words

    @classmethod
    def class_remedy(cls) -> str:
        """The second paragraph of the docstring, with its markup."""
        paragraphs = _paragraphs(cls)
        return paragraphs[1] if len(paragraphs) > 1 else ""

    def __str__(self) -> str:
        return f"{self.message()}: {self.detail}" if self.detail else self.message()


def _paragraphs(cls: type) -> list[str]:
    return [" ".join(part.split()) for part in inspect.cleandoc(cls.__doc__ or cls.__name__).split("\n\n")]


class ConfigError(PostroomError):
    """A value in the configuration cannot be used.

    Correct the named line; ``postroom options NAME`` prints what is valid. The other sections go on meanwhile.
    """

    fate = Fate.REAUTHORIZE

    def __init__(self, detail: str, *, place: str = "", option: str = "", value: str = "", valid: str = "") -> None:
        super().__init__(detail)
        self.place = place  # file and line
        self.option = option
        self.value = value  # as written; *** for a secret
        self.valid = valid


class FaultyEdit(ConfigError):
    """The edit is faulty, and nothing was changed.

    Correct what is named; all of it is named at once.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(" ".join(map(str, faults)))
        self.faults = tuple(faults)


class Conflict(PostroomError):
    """What was asked for contradicts what is there.

    Read what is there, then decide.
    """

    fate = Fate.GIVE_UP


class ChangedMeanwhile(Conflict):
    """It was changed meanwhile.

    Read it again, and repeat the change on what is there now.
    """


class ProtocolError(PostroomError):
    """The conversation left the protocol."""


class LocalProtocolError(ProtocolError):
    """Postroom was about to break the protocol.

    This is a defect of Postroom; please report it with the words that follow.
    """


class RemoteProtocolError(ProtocolError):
    """The server broke the protocol.

    The connection is made anew by itself. If it comes back, switch on ``enable-debug`` for the client and report the
    trace; the server may need a quirk.
    """


class LimitExceeded(RemoteProtocolError):
    """The server sent more than Postroom holds for one answer.

    The connection is made anew by itself. If it comes back, switch on ``enable-debug`` for the client and report the
    trace: no sound answer is that long.
    """


class NetworkError(PostroomError):
    """The network failed.

    It is tried again by itself, less and less often.
    """


class ConnectError(NetworkError):
    """The server cannot be reached.

    Check the options ``server``, ``port`` and ``pop-connection-security`` (of an smtp-client ``smtp-connection-security``),
    the name service and the firewall. It is tried again by itself, less and less often.
    """


class TlsError(ConnectError):
    """The conversation cannot be protected by TLS.

    ``server`` must be a name that the certificate holds. For a company's own authority name its PEM file in
    ``tls-ca-file``. Checks are never switched off.
    """


class ProxyError(ConnectError):
    """The proxy opens no way to the server.

    Check the section ``proxy`` and the proxy itself. It is tried again by itself, less and less often.
    """


class ProxyRefused(ProxyError):
    """The proxy does not accept who asks.

    Check ``user`` and ``password`` in the section ``proxy``. It is tried again when the settings change, and rarely by itself.
    """

    fate = Fate.REAUTHORIZE


class PortTaken(ConnectError):
    """The port is taken.

    Another program has it, perhaps another Postroom with this file. End it, or set another port as ``listen``.
    """


class NoListening(ConnectError):
    """Nothing can be listened on there.

    Set another address as ``listen``.
    """


class Lost(NetworkError):
    """The connection was lost in the middle of the conversation.

    The connection is made anew by itself; what was under way is repeated and nothing is kept twice.
    """


class SessionEnded(Lost):
    """The server ended the conversation because its access token is over.

    Nothing is to be done: a new login with a new token follows at once.
    """


class TimedOut(NetworkError):
    """The server did not answer in time.

    It is tried again by itself. If the server is only slow, raise ``protocol-timeout``.
    """


class Throttled(PostroomError):
    """The server asks for fewer requests.

    Postroom waits for as long as the server asks, then goes on by itself.
    """

    def __init__(self, detail: str = "", *, retry_after: float | None = None, limit: int | None = None, remedy: str = "") -> None:
        super().__init__(detail, remedy=remedy)
        self.retry_after = retry_after  # seconds, when the server named a time
        self.limit = limit  # connections at once, when the server named how many it allows


class AllowanceUsed(Throttled):
    """A provider allows so many octets a day, and they are used up for now.

    Postroom goes on by itself, new mail first; over the day it reads as much as the provider allows, and never more.
    """


class AuthError(PostroomError):
    """The identity was not accepted."""

    fate = Fate.REAUTHORIZE


class TokenRefused(AuthError):
    """The authority gives no token.

    Read the authority's words; ``postroom authorize CLIENT`` gets a new refresh token. The mailbox goes on as soon as the
    token or the settings change.
    """

    certain = True  # False: believed only when it has lasted

    def __init__(
        self, detail: str, *, error: str, description: str = "", remedy: str = "", certain: bool = True, reason: str = ""
    ) -> None:
        super().__init__(detail, remedy=remedy)
        self.error = error  # RFC 6749 section 5.2
        self.description = description
        self.certain = certain
        self.reason = reason  # the name of the entry in the table of refusals


class ConsentMissing(TokenRefused):
    """Nobody has consented yet.

    Run ``postroom authorize CLIENT``, or set the mailbox's refresh token as ``password``.
    """

    def __init__(self, detail: str, *, remedy: str = "") -> None:
        super().__init__(detail, error="consent_missing", remedy=remedy, reason="consent-missing")


class ConsentFailed(AuthError):
    """The consent did not come about.

    Run ``postroom authorize CLIENT`` again. If the browser showed an error, answer the question "what do you see?".
    """

    def __init__(self, detail: str, *, remedy: str = "", error: str = "") -> None:
        super().__init__(detail, remedy=remedy)
        self.error = error  # RFC 6749 section 4.1.2.1


class TokenUnavailable(AuthError):
    """No token can be had now.

    It is tried again by itself, less and less often.
    """

    fate = Fate.RETRY


class LoginRefused(AuthError):
    """The server does not accept the login.

    Check ``mailbox`` and ``password``, with OAuth also ``scope`` and whether the account that consented may open this
    mailbox. It is tried again when the settings change, and rarely by itself.
    """

    certain = False  # servers refuse good logins in passing: believed only when it has lasted

    def __init__(self, detail: str = "", *, remedy: str = "", certain: bool = False) -> None:
        super().__init__(detail, remedy=remedy)
        self.certain = certain


class NoMechanism(AuthError):
    """The server offers no way to log in that the configuration allows.

    Compare ``mail.<type>.auth.mechanisms`` with what the server offers, and see whether IMAP and OAuth are switched on
    at the provider.
    """


class Reply(PostroomError):
    """The server answered no."""


class ImapStatus(Reply):
    """The IMAP server refused a command.

    The server's words follow; RFC 9051 section 7.1 explains the code in brackets.
    """

    def __init__(self, detail: str, *, status: str, code: str = "", text: str = "", remedy: str = "") -> None:
        super().__init__(detail, remedy=remedy)
        self.status = status  # NO, BAD or BYE
        self.code = code  # response code without its arguments, upper case
        self.text = text  # the server's own words


class Pop3Error(Reply):
    """The POP3 server refused a command.

    The server's words follow; RFC 2449 section 8 explains the code in brackets.
    """

    def __init__(self, detail: str, *, code: str = "", text: str = "", remedy: str = "") -> None:
        super().__init__(detail, remedy=remedy)
        self.code = code  # response code, upper case
        self.text = text  # the server's own words


class SmtpReply(Reply):
    """The SMTP server refused a command.

    The server's words follow; RFC 5321 section 4.2 explains the first number, RFC 3463 the one with dots.
    """

    def __init__(self, detail: str, *, code: int, enhanced: str = "", text: str = "", remedy: str = "") -> None:
        super().__init__(detail, remedy=remedy)
        self.code = code
        self.enhanced = enhanced  # as "5.7.1"; empty where the server has none
        self.text = text  # the server's own words, without both codes


class HttpStatus(Reply):
    """The web server refused a request.

    The server's words follow; RFC 9110 section 15 explains the number.
    """

    def __init__(self, detail: str, *, status: int) -> None:
        super().__init__(detail)
        self.status = status


class DraftFault(NamedTuple):
    """What is wrong at one place of a draft, or of a raw message."""

    pointer: str  # the place (RFC 6901); empty for the whole
    value: str  # as it stands there: shortened, its control characters escaped
    problem: str
    valid: str  # what is valid there

    def __str__(self) -> str:
        value = f" {self.value}" if self.value else ""
        return f"{self.pointer or 'the message'}{value}: {self.problem}; valid: {self.valid}"


class DraftRefused(PostroomError):
    """The message cannot be sent as it is.

    Correct what is named and submit it again; nothing of it was kept or sent.
    """

    fate = Fate.GIVE_UP

    def __init__(self, faults: Sequence[DraftFault]) -> None:
        shown = [str(fault) for fault in faults[:10]]
        more = [f"and {len(faults) - 10} more"] if len(faults) > 10 else []
        super().__init__(" | ".join([*shown, *more]))
        self.faults = tuple(faults)  # all there are


class StoreError(PostroomError):
    """The store failed.

    Check the data directory's disk and rights. Nothing is settled at any server until the store works again.
    """


class StoreFull(StoreError):
    """The disk is full.

    Make room on the disk of the data directory. Postroom holds still meanwhile and goes on by itself.
    """


class StoreNewer(StoreError):
    """The store was written by a later version of Postroom.

    Install that version or a later one; an older program does not touch the store.
    """

    fate = Fate.GIVE_UP


class VaultLocked(StoreError):
    """The vault's key is missing or is not the one that sealed it.

    Put the key file back where ``settings.vault-key`` names it. Without it the stored tokens cannot be read.
    """

    fate = Fate.REAUTHORIZE


class NotFound(StoreError):
    """There is no such thing here.

    Check the id; lists print them, and the beginning of one suffices where it is unique.
    """

    fate = Fate.GIVE_UP


class Ambiguous(NotFound):
    """More than one is meant.

    Give more of the id; lists print it.
    """


class StateRefused(StoreError):
    """That cannot be done in the state that it is in.

    Look at its state and its history first.
    """

    fate = Fate.GIVE_UP


class KeyReused(StoreError):
    """An idempotency key names one request, and this is another.

    Use a new key for each new request; the same key again only to repeat the very same one.
    """

    fate = Fate.GIVE_UP


class LeaseLost(StoreError):
    """Another process took this mailbox over.

    Nothing is to be done: the other process goes on where this one stopped.
    """


class LeaseHeld(StoreError):
    """Another process reads this mailbox.

    Wait until it ends, or stop it; ``postroom status`` names it.
    """


def words_of(error: BaseException) -> str:
    """An error in words: ours speak for themselves, others with their kind."""
    return str(error) if isinstance(error, PostroomError) else f"{type(error).__name__}: {error}"
