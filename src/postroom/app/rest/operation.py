"""What every route of the API is: an operation, whose role is checked before its body is read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict

from postroom.app.core import Core
from postroom.app.operations.roles import ALLOWED, Role
from postroom.app.rest.problems import KINDS, MEDIA_TYPE, Problem, fault
from postroom.store.apikeys import ApiKey

SMALL = 1 << 20  # octets of a body that brings no mail
_BODY = 120.0  # seconds within which a body must be here
_ROOM = 256 << 20  # octets of bodies that are held in memory, all together; at least two of the largest fit
_TITLES = {kind.status: kind.title for kind in KINDS.values()}


class Form(BaseModel):
    """What comes in: nothing is converted, and nothing is overlooked."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Answer(BaseModel):
    """What goes out: what an operation says of a thing must be described here, all of it."""

    model_config = ConfigDict(extra="forbid")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers that are problems, for the document."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"description": _TITLES[status], "content": {MEDIA_TYPE: schema}} for status in sorted(statuses)}


class Operation(APIRoute):
    """A route. Its endpoint's name is that of the operation; ``ALLOWED`` says which roles may."""

    large = False  # whether its body brings mail

    def __init__(self, path: str, endpoint: Callable[..., Any], **kwargs: Any) -> None:
        name = kwargs.pop("operation_id", None) or endpoint.__name__
        self.allowed = ALLOWED[name]
        expected = {401, 403, 422, 429, 500, 503, *({404} if "{" in path else ())}
        responses = {**problems(*expected), **(kwargs.pop("responses", None) or {})}
        super().__init__(path, endpoint, operation_id=name, responses=responses, **kwargs)
        if self.body_field is not None:
            self.responses.update(problems(400, 408, 413, 415))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        carry_out = super().get_route_handler()
        parameters = {field.alias for field in self.dependant.query_params}

        async def handler(request: Request) -> Response:
            self._permit(request.state.key)
            strange = [name for name in dict.fromkeys(request.query_params) if name not in parameters]
            if strange:
                valid = ", ".join(sorted(parameters)) or "no parameter"
                errors = [fault(f"{name} is not known here", parameter=name, valid=valid) for name in strange]
                raise Problem(422, "The address has parameters that are not known.", errors=errors)
            if self.body_field is not None:
                _expect_json(request)
                web = request.app.state.core.live.configuration.web
                most = max(_ROOM, 2 * web.maximum_request_size)
                with request.app.state.bodies.held(most) as hold:
                    _bound(request, web.maximum_request_size if self.large else SMALL, hold)
                    return await carry_out(request)
            return await carry_out(request)

        return handler

    def _permit(self, key: ApiKey) -> None:
        if Role(key.role) not in self.allowed:
            may = ", ".join(sorted(role.value for role in self.allowed))
            raise Problem(403, f"The key {key.name} has the role {key.role}; this is for {may}.")


class LargeOperation(Operation):
    """One whose body brings mail."""

    large = True


def _expect_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "The body must be JSON, with the header Content-Type: application/json.")


class Bodies:
    """How many octets of bodies are in memory, those of all requests together."""

    def __init__(self) -> None:
        self.octets = 0

    @contextlib.contextmanager
    def held(self, most: int) -> Iterator[Callable[[int], None]]:
        """Count within the block what the yielded function is told of. It raises ``Problem`` where all have more than ``most``."""
        mine = 0

        def hold(octets: int) -> None:
            nonlocal mine
            mine += octets
            self.octets += octets
            if self.octets > most:
                headers = {"Retry-After": "5", "Connection": "close"}
                raise Problem(503, "Too much is sent here at once; send it again.", headers=headers)

        try:
            yield hold
        finally:
            self.octets -= mine


def _bound(request: Request, most: int, hold: Callable[[int], None]) -> None:
    """Let no more octets in than this, and not for longer than ``_BODY`` seconds."""
    too_large = Problem(413, f"The body is larger than {most} octets.")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        raise too_large
    receive, clock = request.receive, request.app.state.core.clock
    end, octets = clock.monotonic() + _BODY, 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal octets
        try:
            async with asyncio.timeout(max(end - clock.monotonic(), 0.0)):
                message = await receive()
        except TimeoutError:
            raise Problem(408, "", headers={"Connection": "close"}) from None
        more = len(message.get("body", b""))
        octets += more
        if octets > most:
            raise too_large
        hold(more)
        return message

    request._receive = bounded  # where Starlette's own wrappers put theirs


def routes(tag: str, *, large: bool = False) -> APIRouter:
    """The routes of one file, all below ``/v1``; ``large``: their bodies bring mail."""
    return APIRouter(prefix="/v1", tags=[tag], route_class=LargeOperation if large else Operation)


def _core(request: Request) -> Core:
    core: Core = request.app.state.core
    return core


def _key(request: Request) -> ApiKey:
    key: ApiKey = request.state.key
    return key


CoreHere = Annotated[Core, Depends(_core)]
"""The parts of the running program."""

KeyHere = Annotated[ApiKey, Depends(_key)]
"""Who asks."""
