"""What Google's and Microsoft's token endpoints say when they refuse: facts from their documentation, as data.

Microsoft numbers its refusals (``AADSTS50173``), Google tells them apart by words; each has a short name of ours here.
"""

from __future__ import annotations

import datetime
import json
import uuid
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Refusal:
    """One answer of a token endpoint that is no token."""

    status: int
    error: str  # RFC 6749 section 5.2, or a word of the provider's own
    words: str
    number: int | None = None  # Microsoft's
    more: dict[str, object] = field(default_factory=dict)  # further members of the answer

    def body(self) -> str:
        """The JSON, in the provider's form."""
        if self.number is None:
            return json.dumps({"error": self.error, "error_description": self.words, **self.more})
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        stamp = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%SZ}"
        about = f"Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}"
        answer = {
            "error": self.error,
            "error_description": f"AADSTS{self.number}: {self.words} {about}",
            "error_codes": [self.number],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.number}",
        }
        return json.dumps({**answer, **self.more})


def _microsoft(number: int, error: str, words: str, *, status: int = 400, suberror: str = "") -> Refusal:
    return Refusal(status, error, words, number, {"suberror": suberror} if suberror else {})


_MICROSOFT = (
    # The token or the code is of no use any more.
    _microsoft(50173, "invalid_grant", "The provided grant has expired due to it being revoked.", suberror="bad_token"),
    _microsoft(50089, "invalid_grant", "Authentication failed due to flow token expired."),
    _microsoft(54005, "invalid_grant", "OAuth2 Authorization code was already redeemed."),
    _microsoft(70000, "invalid_grant", "The provided value for the input parameter 'refresh_token' or 'code' is not valid."),
    _microsoft(70008, "invalid_grant", "The provided authorization code or refresh token has expired due to inactivity."),
    _microsoft(700082, "invalid_grant", "The refresh token has expired due to inactivity.", suberror="bad_token"),
    _microsoft(700084, "invalid_grant", "The refresh token was issued to a single page app (SPA), and has a fixed lifetime."),
    # A person must sign in again or do something more.
    _microsoft(50076, "invalid_grant", "You must use multi-factor authentication.", suberror="basic_action"),
    _microsoft(50078, "invalid_grant", "Presented multi-factor authentication has expired.", suberror="basic_action"),
    _microsoft(50079, "invalid_grant", "You must enroll in multi-factor authentication.", suberror="basic_action"),
    _microsoft(50158, "invalid_grant", "External security challenge not satisfied.", suberror="basic_action"),
    _microsoft(53000, "invalid_grant", "Device is not in required device state.", suberror="message_only"),
    _microsoft(53003, "invalid_grant", "Access has been blocked by Conditional Access policies.", suberror="message_only"),
    _microsoft(65001, "invalid_grant", "The user or administrator has not consented.", suberror="consent_required"),
    # The account.
    _microsoft(50020, "invalid_grant", "User account from identity provider does not exist in tenant."),
    _microsoft(50034, "invalid_grant", "The user account does not exist in the directory."),
    _microsoft(50053, "invalid_grant", "The account is locked because of too many attempts with an incorrect password."),
    _microsoft(50055, "invalid_grant", "The password is expired.", suberror="user_password_expired"),
    _microsoft(50057, "invalid_grant", "The user account is disabled."),
    _microsoft(50105, "invalid_grant", "The signed in user is not assigned to a role for the application."),
    _microsoft(50126, "invalid_grant", "Error validating credentials due to invalid username or password."),
    # The application.
    _microsoft(50194, "invalid_request", "Application is not configured as a multi-tenant application."),
    _microsoft(700016, "unauthorized_client", "Application was not found in the directory."),
    _microsoft(700024, "invalid_client", "Client assertion is not within its valid time range.", status=401),
    _microsoft(700027, "invalid_client", "Client assertion failed signature validation.", status=401),
    _microsoft(7000112, "unauthorized_client", "Application is disabled."),
    _microsoft(7000215, "invalid_client", "Invalid client secret provided.", status=401),
    _microsoft(
        7000218,
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        status=401,
    ),
    _microsoft(7000222, "invalid_client", "The provided client secret keys are expired.", status=401),
    _microsoft(7000229, "unauthorized_client", "The client application is missing service principal in the tenant."),
    # The request.
    _microsoft(28000, "invalid_request", "The scope is not valid because it contains more than one resource."),
    _microsoft(50011, "invalid_request", "The redirect URI does not match the redirect URIs configured for the application."),
    _microsoft(70011, "invalid_scope", "The provided value for the input parameter 'scope' is not valid."),
    _microsoft(90002, "invalid_request", "Tenant not found."),
    _microsoft(900144, "invalid_request", "The request body must contain the following parameter: 'scope'."),
    _microsoft(1002012, "invalid_scope", "Client credential flows must have a scope value with /.default suffixed."),
    _microsoft(9002313, "invalid_request", "Invalid request. Request is malformed or invalid."),
    # Passing trouble.
    _microsoft(50196, "invalid_request", "The server terminated an operation because it encountered a client request loop."),
    _microsoft(90033, "temporarily_unavailable", "A transient error has occurred. Please try again.", status=503),
    _microsoft(90055, "temporarily_unavailable", "There are too many incoming requests for this tenant.", status=429),
)


def _google(status: int, error: str, words: str, **more: object) -> Refusal:
    return Refusal(status, error, words, None, more)


REFUSALS = {f"AADSTS{refusal.number}": refusal for refusal in _MICROSOFT} | {
    "google-revoked": _google(400, "invalid_grant", "Token has been expired or revoked."),
    "google-bad-request": _google(400, "invalid_grant", "Bad Request"),
    "google-malformed-code": _google(400, "invalid_grant", "Malformed auth code."),
    "google-no-verifier": _google(400, "invalid_grant", "Missing code verifier."),
    "google-reauthentication": _google(400, "invalid_grant", "reauth related error (invalid_rapt)", error_subtype="invalid_rapt"),
    "google-account-deleted": _google(400, "invalid_grant", "Account has been deleted"),
    "google-account-restricted": _google(400, "access_denied", "Account restricted"),
    "google-admin-policy": _google(400, "admin_policy_enforced", "Access to your account data is restricted by policies."),
    "google-no-client": _google(401, "invalid_client", "The OAuth client was not found."),
    "google-wrong-secret": _google(401, "invalid_client", "Unauthorized"),
    "google-client-deleted": _google(401, "deleted_client", "The OAuth client was deleted."),
    "google-client-disabled": _google(401, "disabled_client", "The OAuth client was disabled."),
    "google-no-delegation": _google(
        401,
        "unauthorized_client",
        "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes "
        "requested.",
    ),
    "google-signature": _google(400, "invalid_grant", "Invalid JWT Signature."),
    "google-clock": _google(
        400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
    ),
    "google-scope": _google(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided."),
    "google-redirect": _google(400, "redirect_uri_mismatch", "Bad Request"),
    "google-throttled": _google(429, "rate_limit_exceeded", "Rate Limit Exceeded"),
    "google-trouble": _google(500, "internal_failure", "Backend Error"),
}
