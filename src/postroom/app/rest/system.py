"""What is asked of the server itself, without a key: health, readiness, metrics, the document, the pages of problems."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from postroom.app.metrics import readiness
from postroom.app.rest.problems import Problem, page

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Counters and gauges, as Prometheus reads them."""
    exposition = request.app.state.exposition
    return Response(exposition.text(), media_type=exposition.content_type)


@router.get("/health")
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """Which clients are ill. 200 all the same: one sick mailbox is no reason to take the whole server out of service."""
    return JSONResponse(await readiness(request.app.state.core))


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """The document of the API (OpenAPI 3.1)."""
    return JSONResponse(request.app.openapi())


@router.get("/problems/{name}")
async def problem(name: str) -> HTMLResponse:
    """What a sort of problem is."""
    text = page(name)
    if text is None:
        raise Problem(404, "There is no such sort of problem.")
    return HTMLResponse(text, headers={"Content-Security-Policy": "default-src 'none'"})
