"""The application: routes joined, errors as problems, the document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.routing import Match

from postroom import __version__
from postroom.app.core import Core
from postroom.app.metrics import Exposition
from postroom.app.observing import Log
from postroom.app.operations.clients import Clients
from postroom.app.operations.connecting import Connecting
from postroom.app.rest import clients, connect, messages, pull, submissions, system
from postroom.app.rest.draft import SCHEMAS
from postroom.app.rest.guard import Guard
from postroom.app.rest.operation import Bodies
from postroom.app.rest.problems import SCHEMA, Problem, of_error, of_validation, request_id, response
from postroom.errors import PostroomError

_ABOUT = (
    "Reads what Postroom captured, sends mail, and tells its clients what to do. Every request needs a key: "
    "`postroom keys create NAME --role ROLE`. Errors are problems as RFC 9457 has them."
)


_ROUTERS = (
    messages.router,
    submissions.router,
    submissions.sending,
    clients.router,
    connect.router,
    connect.pages,
    system.router,
)


def web_app(core: Core, log: Log, address: str, reload: Callable[[], None]) -> Guard:
    """The whole application. ``address`` begins the addresses that it hands out; ``reload`` reads the file again, whole."""
    application = api()
    application.state.core = core
    application.state.address = address
    application.state.bodies = Bodies()
    application.state.reload = reload
    application.state.exposition = Exposition(core, log)
    application.state.clients = Clients(core)
    application.state.connecting = Connecting(core, address)
    return Guard(application, core, log)


def api() -> FastAPI:
    """The routes and the document, without anything to work on."""
    # A slash too many leads nowhere: to lead elsewhere Starlette would repeat the Host that was asked for, whoever's that is.
    application = _Api(
        title="Postroom",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    for router in (
        messages.router,
        pull.router,
        submissions.router,
        submissions.sending,
        clients.router,
        connect.router,
        connect.pages,
        system.router,
    ):
        application.router.routes.extend(router.routes)
    application.add_exception_handler(HTTPException, _http)
    application.add_exception_handler(RequestValidationError, _invalid)
    application.add_exception_handler(PostroomError, _failed)
    application.add_exception_handler(Exception, _unforeseen)
    return application


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The document: FastAPI's, with what it cannot know."""
        if self.openapi_schema is None:
            found = get_openapi(
                title=self.title, version=self.version, openapi_version="3.1.0", description=self.description, routes=self.routes
            )
            components = found.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = SCHEMA
            components["schemas"].update(SCHEMAS)
            components["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "description": "A key of `postroom keys create`."}
            }
            found["security"] = [{"key": []}]
            self.openapi_schema = found
        return self.openapi_schema


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, Problem):
        return response(request_id(request), error)
    words, headers = "", dict(error.headers or {})
    if error.status_code == 404:
        words = "Nothing is at this address."
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
        words = f"At this address can be done: {headers['Allow']}."
    if error.status_code == 400:
        words = "The body cannot be read."
    return response(request_id(request), Problem(error.status_code, words, headers=headers))


def _methods(request: Request) -> set[str]:
    """What can be done at an address (RFC 9110 section 10.2.1): of all its routes, not of the first."""
    found: set[str] = set()
    for route in request.app.routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            found |= set(route.methods or ())
    return found


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return response(request_id(request), of_validation(error.errors(), error.body))


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, PostroomError)
    return response(request_id(request), of_error(error))


async def _unforeseen(request: Request, _error: Exception) -> Response:
    return response(request_id(request), Problem(500, ""))  # the guard tells the log
