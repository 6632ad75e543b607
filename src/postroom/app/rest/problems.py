"""Errors as problems (RFC 9457): what is wrong, all of it at once, in our words. What came in is never repeated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from postroom.errors import (
    ChangedMeanwhile,
    ConfigError,
    Conflict,
    DraftRefused,
    FaultyEdit,
    KeyReused,
    NotFound,
    PostroomError,
    StateRefused,
)

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A sort of problem; its page is served at ``/problems/<name>``."""

    name: str
    status: int
    title: str
    remedy: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("bad-request", 400, "The request cannot be read", "Send what the OpenAPI document at /openapi.json describes."),
        Kind(
            "unauthorized",
            401,
            "A key is needed",
            "postroom keys create NAME --role ROLE makes one; send it as Authorization: Bearer KEY.",
        ),
        Kind("forbidden", 403, "The key's role does not allow this", "postroom keys roles explains the roles."),
        Kind("not-found", 404, "There is no such thing", "Look at the list that it should be in."),
        Kind("method-not-allowed", 405, "This cannot be done here", "The header Allow names what can."),
        Kind("timeout", 408, "The request came too slowly", "Send it again; a body must be here within two minutes."),
        Kind("conflict", 409, "This contradicts what is there", "Read what is there, then decide."),
        Kind("precondition-failed", 412, "It was changed meanwhile", "Read it again, and repeat the change on what is there now."),
        Kind(
            "too-large",
            413,
            "The request is too large",
            "Requests that bring mail may have maximum-request-size of the section web, others 1 MiB.",
        ),
        Kind(
            "unsupported-media-type",
            415,
            "The body is of another type",
            "Send JSON, with the header Content-Type: application/json.",
        ),
        Kind("invalid", 422, "Something in the request is not valid", "errors names every fault with its place."),
        Kind("too-many-requests", 429, "Too many requests", "Wait as long as Retry-After says."),
        Kind(
            "unforeseen",
            500,
            "Something happened that nobody foresaw",
            "The log tells more under the id in instance. Please report it.",
        ),
        Kind(
            "unavailable",
            503,
            "Postroom cannot answer now",
            "Wait as long as Retry-After says; postroom status and the log tell what is wrong.",
        ),
    )
}
_BY_STATUS = {kind.status: kind for kind in KINDS.values()}

SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "What is wrong, as RFC 9457 has it.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Where the sort of problem is explained."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong with this request, and what to do."},
        "instance": {"type": "string", "format": "uri", "description": "The request, as the log names it."},
        "errors": {
            "type": "array",
            "description": "Every fault that was found.",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "Where in the body: a JSON pointer as a URI fragment (RFC 6901)."},
                    "parameter": {"type": "string", "description": "Which parameter of the address or header."},
                    "detail": {"type": "string"},
                    "valid": {"type": "string", "description": "What is valid instead."},
                    "remedy": {"type": "string"},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}


class Problem(HTTPException):
    """A request that cannot be carried out. ``errors`` are single faults, as ``fault`` makes them."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers=dict(headers or {}))
        self.errors = tuple(errors)


def fault(
    detail: str, *, path: Iterable[object] | None = None, parameter: str = "", valid: str = "", remedy: str = ""
) -> dict[str, str]:
    """One fault: of the body at a path of names and numbers, or of a parameter."""
    place: dict[str, str] = {}
    if path is not None:
        place["pointer"] = "#" + "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
    if parameter:
        place["parameter"] = parameter
    more = {"valid": valid, "remedy": remedy}
    return {**place, "detail": detail, **{name: words for name, words in more.items() if words}}


def document(status: int, detail: str, request_id: str, errors: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """A problem as it is sent."""
    kind = _BY_STATUS.get(status) or KINDS["bad-request" if status < 500 else "unforeseen"]
    found: dict[str, Any] = {
        "type": f"/problems/{kind.name}",
        "title": kind.title,
        "status": status,
        "detail": detail or kind.remedy,
        "instance": f"urn:postroom:request:{request_id}",
    }
    return {**found, "errors": list(errors)} if errors else found


def response(request_id: str, problem: Problem) -> Response:
    """The answer for a problem."""
    body = json.dumps(document(problem.status_code, problem.detail, request_id, problem.errors), ensure_ascii=False)
    # A name that came in may hold half a character, which JSON can escape and UTF-8 cannot carry.
    return Response(body.encode("utf-8", "replace"), problem.status_code, problem.headers, MEDIA_TYPE)


_STATUS: tuple[tuple[type[PostroomError], int], ...] = (
    (NotFound, 404),
    (ChangedMeanwhile, 412),
    (Conflict, 409),
    (StateRefused, 409),
    (KeyReused, 422),  # draft-ietf-httpapi-idempotency-key-header section 2.7
    (DraftRefused, 422),
    (ConfigError, 422),
)


def of_error(error: PostroomError) -> Problem:
    """What an operation's error is to who asked."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 503)
    if status == 503:
        return Problem(503, f"{error}. {error.remedy}", headers={"Retry-After": "10"})
    return Problem(status, _words(error), errors=list(_faults(error)))


def _words(error: PostroomError) -> str:
    if isinstance(error, FaultyEdit | DraftRefused):
        count = len(error.faults)
        return f"{error.message()}: {'one fault' if count == 1 else f'{count} faults'}; errors names the place."
    return f"{error}. {_remedy(error)}" if not isinstance(error, ConfigError) else f"{error.detail}."


_REMEDIES: tuple[tuple[type[PostroomError], str], ...] = (
    (NotFound, "Check the name or id: the list that it should be in has all that are there."),
    (
        StateRefused,
        "GET it: its state, recipients and history tell what can be done. A doubt is ended by POST /v1/submissions/{id}/resolve.",
    ),
)


def _remedy(error: PostroomError) -> str:
    """What to do over the API: no command is of use here."""
    for kind, remedy in _REMEDIES:
        if isinstance(error, kind) and ("postroom " in error.remedy or error.remedy == kind("").remedy):
            return remedy
    return error.remedy


def _faults(error: PostroomError) -> Iterator[dict[str, str]]:
    """The single faults, where an error has some."""
    if isinstance(error, FaultyEdit):
        for each in error.faults:
            # The file's other sections have no place in the request.
            place = ("options", each.option) if each.option else ("options",)
            yield fault(f"{each.section}: {each.problem}", path=place, valid=each.valid, remedy=each.remedy)
    elif isinstance(error, DraftRefused):
        for found in error.faults:
            yield {**fault(found.problem, valid=found.valid), "pointer": f"#{found.pointer}"}
    elif isinstance(error, ConfigError):
        yield fault(error.detail, valid=error.valid)


def of_validation(faults: Sequence[Mapping[str, Any]], body: object = None) -> Problem:
    """All that is wrong with a request's parts, in our words. ``body``: as text, where it is no JSON."""
    found = [_told(each) for each in faults]
    if [each.get("type") for each in faults] == ["json_invalid"]:
        at = faults[0]["loc"][-1]
        if not (isinstance(body, str) and isinstance(at, int)):
            return Problem(400, "The body is not JSON.")
        line, column = body.count("\n", 0, at) + 1, at - body.rfind("\n", 0, at)
        return Problem(400, f"The body is not JSON: see line {line}, column {column}.")
    number = f"{len(found)} faults" if len(found) > 1 else "one fault"
    return Problem(422, f"The request has {number}; errors names the place.", errors=found)


_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "is not text",
    "int_type": "is not a whole number",
    "int_parsing": "is not a whole number",
    "int_from_float": "is not a whole number",
    "bool_type": "is neither true nor false",
    "bool_parsing": "is neither true nor false",
    "float_type": "is not a number",
    "float_parsing": "is not a number",
    "list_type": "is not a list",
    "dict_type": "is not an object",
    "model_type": "is not an object",
    "model_attributes_type": "is not an object",
    "string_too_long": "is longer than {max_length} characters",
    "string_too_short": "is shorter than {min_length} characters",
    "too_long": "has more than {max_length} parts",
    "too_short": "has fewer than {min_length} parts",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "string_pattern_mismatch": "does not have the form {pattern}",
    "enum": "is none of {expected}",
    "literal_error": "is none of {expected}",
}


def _told(each: Mapping[str, Any]) -> dict[str, str]:
    try:
        words = _WORDS[each["type"]].format_map(each.get("ctx", {}))
    except KeyError:
        words = "is not valid"
    where, *path = [step for step in each["loc"] if step != "[key]"]  # of a name that is wrong itself
    if where == "body":
        name = str(path[-1]) if path else "the body"
        return fault(f"{name} {words}", path=path)
    return fault(f"{path[0]} {words}", parameter=str(path[0]), valid=_valid(each))


_VALID = {
    "enum": "{expected}",
    "literal_error": "{expected}",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "int_parsing": "a whole number",
    "bool_parsing": "true or false",
    "string_pattern_mismatch": "what has the form {pattern}",
}


def _valid(each: Mapping[str, Any]) -> str:
    return _VALID.get(each["type"], "").format_map(each.get("ctx", {}))


def page(name: str) -> str | None:
    """The page that explains a sort of problem."""
    kind = KINDS.get(name)
    if kind is None:
        return None
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Postroom</title></head>'
        f"<body><h1>{escape(kind.title)}</h1><p>HTTP {kind.status}. {escape(kind.remedy)}</p></body></html>"
    )


def request_id(request: Request) -> str:
    """The id under which the log has this request."""
    return str(request.state.request_id)
