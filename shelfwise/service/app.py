"""The service as one ASGI application."""

import gc
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from threadpoolctl import threadpool_limits

from shelfwise.classifier.model.pipeline import CORES_FOR_EACH
from shelfwise.indexer.errors import AbsentError, InputError, QueryError, ShelfwiseError
from shelfwise.indexer.threads import usable_threads
from shelfwise.service import api, pages
from shelfwise.service.answers import Answer, Ask, answered
from shelfwise.service.batching import ASKS_AT_ONCE, OVERLOADED, RETRY_AFTER, SERVER_BUSY, Batcher, OverloadError
from shelfwise.service.desk import Desk
from shelfwise.service.guard import Guard
from shelfwise.service.intake import Intake
from shelfwise.service.jobs import Jobs
from shelfwise.service.metrics import Metrics
from shelfwise.service.overview import Overview
from shelfwise.service.pages.parts import part_of
from shelfwise.service.recent import Recent
from shelfwise.service.rendering import render
from shelfwise.service.reviews import ReviewQueue
from shelfwise.service.schemas import ReadyOut
from shelfwise.service.served import Served
from shelfwise.service.state import State
from shelfwise.service.tokens import Tokens
from shelfwise.service.writer import Writer
from shelfwise.service.writes import WriteLog

PROBLEMS_SHOWN = 5  # faults of a request
UNTOLD = "see the service's log"
CODES = {  # of what the framework or a route refuses without an error of its own
    401: "token_needed",
    403: "forbidden",
    404: "no_such_page",
    405: "wrong_method",
    408: "too_slow",
    413: "too_large",
}
METHODS = frozenset({"GET", "HEAD", "POST", "DELETE"})  # that are counted by name: anybody can invent others
FULL_BODY = b'{"detail":"%s","code":"%s"}' % (SERVER_BUSY.encode(), OVERLOADED.encode())
FULL_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(FULL_BODY)).encode()),
    (b"retry-after", str(RETRY_AFTER).encode()),
]
ASKING = frozenset({"/v1/classify", "/v1/similar"})  # paths of requests that are answered in batches
log = logging.getLogger("shelfwise")


@dataclass(frozen=True)
class Config:
    """How a service is run. `at_once` is how many asks are answered together."""

    store: Path
    device: str = "auto"
    tokens: Tokens | None = None
    at_once: int = ASKS_AT_ONCE


def create_app(config: Config) -> FastAPI:
    """The service of a store. Raises ShelfwiseError where the store cannot be opened."""
    served, desk, metrics = Served(config.store, config.device), Desk(config.store), Metrics()

    def work(asks: list[Ask]) -> list[Answer]:
        metrics.together.observe(len(asks))
        return answered(served, asks)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.enter_context(threadpool_limits(max(1, usable_threads() // CORES_FOR_EACH)))
            stack.callback(desk.close)
            served.start()
            stack.callback(served.stop)
            written, queue = WriteLog(desk), ReviewQueue(desk)
            writer = Writer(written, served)
            writer.start()
            stack.callback(writer.stop)
            intake = await stack.enter_async_context(Intake(queue))
            jobs = Jobs()
            stack.callback(jobs.close)
            batcher = await stack.enter_async_context(Batcher[Ask, Answer](work, config.at_once))
            app.state.shelfwise = State(
                served, written, queue, intake, writer, batcher, metrics, Recent(), jobs, Overview(), config.tokens
            )
            gc.collect()
            gc.freeze()  # what stays for good need not be looked through again and again while requests wait
            yield
            gc.unfreeze()

    app = Service(
        title="Shelfwise",
        description="Puts listings into the right category by the labelled items most like them.",
        version="1",
        lifespan=running,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(api.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    app.add_api_route("/healthz", healthz, include_in_schema=False)
    app.add_api_route("/readyz", readyz, include_in_schema=False)
    app.add_api_route("/metrics", show_metrics, include_in_schema=False)
    for kind, answer in {
        ShelfwiseError: refused,
        OverloadError: busy,
        RequestValidationError: invalid,
        HTTPException: not_done,
        Exception: failed,
    }.items():
        app.add_exception_handler(kind, answer)
    app.add_middleware(partial(Meter, metrics=metrics))
    app.add_middleware(partial(Guard, tokens=config.tokens))
    return app


def healthz() -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


def readyz(request: Request) -> Response:
    """It answers from a store that is open, and can write. Else 503, with the problems for those who have a token: they
    name folders."""
    state = State.from_request(request)
    manifest = state.served.classifier.index.snapshot.manifest
    ready = ReadyOut(
        store_version=manifest.version,
        items=manifest.rows,
        writes_waiting=len(state.log.waiting_numbers()),
        problems=state.problems if request.state.visitor else [UNTOLD] * len(state.problems),
    )
    return JSONResponse(ready.model_dump(), 503 if ready.problems else 200)


def show_metrics(request: Request) -> Response:
    """For Prometheus."""
    state = State.from_request(request)
    manifest, metrics = state.served.classifier.index.snapshot.manifest, state.metrics
    metrics.version.set(manifest.version)
    metrics.items.set(manifest.rows)
    metrics.waiting.set(state.batcher.waiting)
    metrics.writes_waiting.set(len(state.log.waiting_numbers()))
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def said(request: Request, status: int, code: str, line: str, headers: Mapping[str, str] | None = None) -> Response:
    """One line on what was not done and the code of it: as JSON, or as a page for people."""
    people = "text/html" in request.headers.get("accept", "") or "hx-request" in request.headers
    if request.url.path.startswith("/v1/") or not people:
        return JSONResponse({"detail": line, "code": code}, status, headers)
    template = part_of(request, "problem.html", "told.html")
    response = render(request, template, "Not done", status, problem=line)
    response.headers.update(headers or {})
    return response


async def not_done(request: Request, error: Exception) -> Response:
    """What the framework or the guard refuses."""
    refusal = cast(HTTPException, error)
    code = CODES.get(refusal.status_code, "not_done")
    return said(request, refusal.status_code, code, refusal.detail, refusal.headers)


async def refused(request: Request, error: Exception) -> Response:
    """Answer an error that the client can fix; of others no more than their code, since they name files here."""
    refusal = cast(ShelfwiseError, error)
    if isinstance(error, InputError):
        return said(request, 422, refusal.code, str(error))
    if isinstance(error, QueryError):
        absent = isinstance(error, AbsentError) or request.method in ("GET", "DELETE")
        return said(request, 404 if absent else 409, refusal.code, str(error))
    log.error("%s %s: %s", request.method, request.url.path, error)
    return said(request, 503, refusal.code, "the store cannot be read or written: see the service's log")


async def busy(request: Request, error: Exception) -> Response:
    """Too much waits."""
    return said(request, 503, OVERLOADED, SERVER_BUSY, {"retry-after": str(RETRY_AFTER)})


async def invalid(request: Request, error: Exception) -> Response:
    """What of a request cannot be used; not its content, which may be large."""
    faults = cast(RequestValidationError, error).errors()[:PROBLEMS_SHOWN]
    if any(fault["type"] == "json_invalid" for fault in faults):
        return said(request, 400, "not_json", "the body is not JSON")
    lines = (f"{'.'.join(map(str, fault['loc'][1:])) or 'body'}: {fault['msg']}" for fault in faults)
    return said(request, 422, "invalid_request", "; ".join(lines))


async def failed(request: Request, error: Exception) -> Response:
    """An error of Shelfwise itself: what it was is in the log alone."""
    return said(request, 500, "internal_error", "an error of the service itself: see its log")


class Service(FastAPI):
    """FastAPI, but that what the batcher would refuse is refused before anything else is done for it: that must cost
    next to nothing, since it happens when there is least time."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope["path"] in ASKING:
            state: State = self.state.shelfwise
            if state.batcher.is_full:
                state.metrics.requests.labels(_method(scope), scope["path"], 503).inc()
                await send({"type": "http.response.start", "status": 503, "headers": FULL_HEADERS})
                await send({"type": "http.response.body", "body": FULL_BODY})
                return
        await super().__call__(scope, receive, send)


class Meter:
    """Counts requests and their time, by route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(_method(scope), route, status).inc()
            self._metrics.seconds.labels(route).observe(perf_counter() - start)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else "other"
