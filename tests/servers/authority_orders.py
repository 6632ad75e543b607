"""What tests may order of the OAuth 2.0 authority, and what it tells them: its side door.

Each method returns when the order is in force; most hold until ``reset()``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

Endpoint = Literal["token", "introspection"]
Fault = Literal[
    "throttled",  # 429 with Retry-After
    "unavailable",  # 503 with a page, with Retry-After if one is given
    "broken",  # 200 with half a JSON object
    "answer",  # ``status`` and ``body`` as given
    "drop",  # the connection is cut and the request not processed
    "lost",  # the request is processed and the connection cut instead of an answer
    "delay",  # the true answer, ``seconds`` later
]


@dataclass(frozen=True)
class Client:
    """A registered application; without a secret it is a public one."""

    id: str
    secret: str = ""


TEST = Client("postroom-test", "client-secret-of-the-test")
OTHER = Client("postroom-other", "client-secret-of-the-other")
PUBLIC = Client("postroom-public")
SERVER = Client("server", "secret")  # Dovecot, asking about tokens


@dataclass(frozen=True)
class TokenRequest:
    """One request to the token endpoint, as it came in."""

    path: str  # as asked for, before it was found to be an alias
    grant_type: str | None
    client_id: str | None
    authentication: str  # basic, post, assertion or none: how the client proved itself
    refresh_token: str | None
    account: str | None  # whose refresh token it is or was, who was named, or to whom the grant belongs
    scope: str | None
    code_verifier: bool  # RFC 7636 section 4.5: whether one came
    redirect_uri: str | None
    status: int | None  # None: no answer was sent, or not yet
    fault: Fault | None


class Orders(ABC):
    """The orders; how they reach the authority is the running authority's affair."""

    # Tokens

    def refresh_token(self, account: str, *, client: Client = TEST, rotate: bool = False, ttl: int | None = None) -> str:
        """A refresh token for all scopes, as after a consent; with ``ttl`` 0 it is over already.

        With ``rotate`` each use gives a new one, and a second use of an old one ends the whole consent.
        """
        return str(self._control("refresh_token", account=account, client_id=client.id, rotate=rotate, ttl=ttl))

    def access_token(self, account: str, ttl: int | None = None, *, client: Client = TEST) -> str:
        """An access token that no request asked for; with ``ttl`` 0 it is over already."""
        return str(self._control("access_token", account=account, client_id=client.id, ttl=ttl))

    def revoke_access(self, token: str | None = None, *, account: str | None = None) -> int:
        """End one access token or all of an account; how many there were."""
        return int(self._control("revoke_access", token=token, account=account))

    def revoke_refresh(self, token: str | None = None, *, account: str | None = None) -> int:
        """End one refresh token or all of an account, and no access token; how many there were."""
        return int(self._control("revoke_refresh", token=token, account=account))

    def tokens_of(self, account: str) -> list[str]:
        """Every refresh token and every access token that an account was ever given."""
        return [str(token) for token in self._control("tokens_of", account=account)]

    # Grants without a browser

    def register_certificate(self, client_id: str, certificate: str) -> str:
        """An application that proves itself by a certificate (PEM) from now on; answers its ``x5t#S256``.

        Its assertions may be signed with PS256 or RS256 (RFC 7523 section 2.2) and must name the certificate.
        """
        return str(self._control("certificate", client_id=client_id, certificate=certificate))

    def set_password(self, account: str, password: str, *, mfa: bool = False) -> None:
        """An account for the password grant; with ``mfa`` it is refused as Microsoft refuses it (AADSTS50076)."""
        self._control("password", account=account, password=password, mfa=mfa)

    def register_service_account(self, address: str, public_key: str) -> None:
        """A service account as Google has them, with its public key (PEM); it may read no mailbox yet."""
        self._control("service_account", address=address, public_key=public_key)

    def delegate(self, address: str, *scopes: str, subject: str | None = None) -> None:
        """Domain-wide delegation of these scopes to a service account, for all mailboxes or for one."""
        self._control("delegate", address=address, scopes=scopes, subject=subject)

    def approve_device(self, user_code: str, account: str) -> None:
        """What a person does on the page of RFC 8628 section 3.3: this account consents."""
        self._control("approve_device", user_code=user_code, account=account)

    def deny_device(self, user_code: str) -> None:
        """The person says no."""
        self._control("deny_device", user_code=user_code)

    def set_device(self, *, interval: int | None = None, ttl: int = 900) -> None:
        """The interval that device answers name (None: none is named), and the lifetime of their codes."""
        self._control("set", deviceInterval=interval, deviceTtl=ttl)

    def expire_device_codes(self) -> int:
        """Let the time of all device codes be over; how many there were."""
        return int(self._control("expire_device_codes"))

    # The consent page

    def sign_in(self, *accounts: str) -> None:
        """The accounts that are signed in at the browser: the consent page offers them."""
        self._control("set", signedIn=accounts)

    def only_testers(self, *accounts: str) -> None:
        """Only these may consent; the others see a page of refusal, and the application hears nothing."""
        self._control("set", testers=accounts)

    def allow_out_of_band(self, on: bool) -> None:
        """Whether ``urn:ietf:wg:oauth:2.0:oob`` is served, or refused with a page as Google does it."""
        self._control("set", outOfBand=on)

    def send_issuer(self, issuer: bool | str) -> None:
        """Whether redirections name the issuer (RFC 9207 section 2), or a wrong one in its place."""
        self._control("set", iss=issuer)

    def set_code_ttl(self, seconds: int) -> None:
        """The lifetime of the authorization codes it gives from now on."""
        self._control("set", codeTtl=seconds)

    def expire_codes(self) -> int:
        """Let the time of all authorization codes be over; how many there were."""
        return int(self._control("expire_codes"))

    # What its tokens are

    def set_token_format(self, kind: Literal["opaque", "jwt"], **claims: object) -> None:
        """The access tokens it gives from now on: opaque, or JWTs with Microsoft's claims, which open mailboxes too.

        ``claims`` stand in the place of the true ones (None: the claim is left out). The mail server goes by what
        stands there: another audience or no right to mail is a refusal, ``upn`` is whose mailbox it opens.
        """
        self._control("set", tokenFormat=kind, claims=claims)

    def set_refresh_expires_in(self, seconds: int | None) -> None:
        """The ``refresh_token_expires_in`` beside refresh tokens, as Google names it for applications in testing."""
        self._control("set", refreshExpiresIn=seconds)

    # How it behaves, until reset()

    def set_access_ttl(self, seconds: int) -> None:
        """The lifetime of the access tokens it gives from now on."""
        self._control("set", accessTtl=seconds)

    def set_token_length(self, characters: int) -> None:
        """The length of the access tokens it gives from now on; Microsoft's have some 2,000 characters."""
        self._control("set", tokenLength=characters)

    def rotate(self, on: bool, *, reuse_detection: bool = True, last_again: bool = False) -> None:
        """Whether each use of a refresh token gives a new one.

        With reuse detection a second use of the old one ends the whole consent (RFC 9700 section 4.14.2), without it
        the old one stays good, as Microsoft's do. With ``last_again`` the last one may be used again as long as none
        that came from it was: a lost answer can be asked for once more.
        """
        exchanged = "last" if last_again else "ends" if reuse_detection else "stays"
        self._control("rotation", on=on, exchanged=exchanged)

    def fault(
        self,
        kind: Fault,
        times: int = 1,
        *,
        endpoint: Endpoint = "token",
        retry_after: int | str | None = None,
        seconds: float = 0,
        status: int = 400,
        body: str = "",
    ) -> None:
        """What happens to the next ``times`` requests, after what was ordered before."""
        self._control(
            "fault",
            kind=kind,
            times=times,
            endpoint=endpoint,
            retry_after=retry_after,
            seconds=seconds,
            status=status,
            body=body,
        )

    def reset(self) -> None:
        """All orders, the record and the counts are as at the start; tokens and certificates stay."""
        self._control("reset")

    # What was asked of it

    def requests(self, account: str | None = None) -> list[TokenRequest]:
        """The requests to the token endpoint since the last reset, oldest first; of all accounts or of one."""
        return [TokenRequest(**entry) for entry in self._control("requests", account=account)]

    def count(self, account: str | None = None) -> int:
        """How many requests to the token endpoint there were."""
        return len(self.requests(account))

    def refreshes(self, account: str) -> int:
        """How many refreshes of an account it processed, those included whose answers were lost."""
        return int(self._control("refreshes", account=account))

    @abstractmethod
    def _control(self, name: str, /, **arguments: object) -> Any:
        """What the authority answers to an order."""
