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
from shelfwise.indexer.store.manifest import read_manifest
from shelfwise.indexer.threads import usable_threads
from shelfwise.service import api, pages
from shelfwise.service.answers import Answer, Ask, answered
from shelfwise.service.batching import ASKS_AT_ONCE, OVERLOADED, RETRY_AFTER, SERVER_BUSY, Batcher, OverloadError
from shelfwise.service.compaction import KEEP_DAYS, compacting
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

PROBLEMS_SHOWN = 5  # validation errors reported per request
UNTOLD = "see the service's log"
CODES = {  # error codes of an HTTPException, by status
    401: "token_needed",
    403: "forbidden",
    404: "no_such_page",
    405: "wrong_method",
    408: "too_slow",
    413: "too_large",
}
METHODS = frozenset({"GET", "HEAD", "POST", "DELETE"})  # counted by name; clients can invent any others
FULL_BODY = b'{"detail":"%s","code":"%s"}' % (SERVER_BUSY.encode(), OVERLOADED.encode())
FULL_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(FULL_BODY)).encode()),
    (b"retry-after", str(RETRY_AFTER).encode()),
]
ASKING = frozenset({"/v1/classify", "/v1/similar"})  # paths whose requests are answered in batches
log = logging.getLogger("shelfwise")


@dataclass(frozen=True)
class Config:
    """Settings of a service.

    `at_once` is the largest number of queries in a batch. `keep_days` is how long versions and contents of the desk are
    kept (None for ever).
    """

    store: Path
    device: str = "auto"
    tokens: Tokens | None = None
    at_once: int = ASKS_AT_ONCE
    keep_days: float | None = KEEP_DAYS


def create_app(config: Config) -> FastAPI:
    """Create the service of a store. Raise ShelfwiseError when the store cannot be opened."""
    served, desk, metrics = Served(config.store, config.device), _desk_of(config.store), Metrics()

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
            if config.keep_days is not None:
                stack.enter_context(compacting(config.store, written, queue, config.keep_days))
            intake = await stack.enter_async_context(Intake(queue))
            jobs = Jobs(config.store)
            stack.callback(jobs.close)
            batcher = await stack.enter_async_context(Batcher[Ask, Answer](work, config.at_once))
            app.state.shelfwise = State(
                served, written, queue, intake, writer, batcher, metrics, Recent(), jobs, Overview(), config.tokens
            )
            gc.collect()
            gc.freeze()  # long-lived objects: scanning them again would delay requests
            yield
            gc.unfreeze()

    app = Service(
        title="Shelfwise",
        description="Classify product listings by the labelled items most similar to them.",
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


def _desk_of(store: Path) -> Desk:
    """Open the desk of a store. Raise StoreError if it belongs to another one."""
    desk = Desk(store)
    try:
        desk.pair(read_manifest(store))
    except BaseException:
        desk.close()
        raise
    return desk


def healthz() -> Response:
    """Return status ok while the process responds."""
    return JSONResponse({"status": "ok"})


def readyz(request: Request) -> Response:
    """Return 200 if the service can answer and write, else 503.

    Problems are shown only to clients with a token, because they name folders.
    """
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
    """Return the metrics in the Prometheus text format."""
    state = State.from_request(request)
    manifest, metrics = state.served.classifier.index.snapshot.manifest, state.metrics
    metrics.version.set(manifest.version)
    metrics.items.set(manifest.rows)
    metrics.waiting.set(state.batcher.waiting)
    metrics.writes_waiting.set(len(state.log.waiting_numbers()))
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def said(request: Request, status: int, code: str, line: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error response with a message and a code: JSON, or a page for browsers outside the API."""
    people = "text/html" in request.headers.get("accept", "") or "hx-request" in request.headers
    if request.url.path.startswith("/v1/") or not people:
        return JSONResponse({"detail": line, "code": code}, status, headers)
    template = part_of(request, "problem.html", "told.html")
    response = render(request, template, "Request failed", status, problem=line)
    response.headers.update(headers or {})
    return response


async def not_done(request: Request, error: Exception) -> Response:
    """Answer an HTTPException of the framework, the guard or a route."""
    refusal = cast(HTTPException, error)
    code = CODES.get(refusal.status_code, "not_done")
    return said(request, refusal.status_code, code, refusal.detail, refusal.headers)


async def refused(request: Request, error: Exception) -> Response:
    """Answer a ShelfwiseError: 422 for bad input, 404 or 409 for a query that cannot be answered, else 503.

    A 503 shows only the code; the message goes to the log, because it names files of the server.
    """
    refusal = cast(ShelfwiseError, error)
    if isinstance(error, InputError):
        return said(request, 422, refusal.code, str(error))
    if isinstance(error, QueryError):
        absent = isinstance(error, AbsentError) or request.method in ("GET", "DELETE")
        return said(request, 404 if absent else 409, refusal.code, str(error))
    log.error("%s %s: %s", request.method, request.url.path, error)
    return said(request, 503, refusal.code, "the store cannot be read or written; see the service's log")


async def busy(request: Request, error: Exception) -> Response:
    """Answer an OverloadError with 503 and the header Retry-After."""
    return said(request, 503, OVERLOADED, SERVER_BUSY, {"retry-after": str(RETRY_AFTER)})


async def invalid(request: Request, error: Exception) -> Response:
    """Answer a request that fails validation, without its content, which may be large."""
    faults = cast(RequestValidationError, error).errors()[:PROBLEMS_SHOWN]
    if any(fault["type"] == "json_invalid" for fault in faults):
        return said(request, 400, "not_json", "the request body is not valid JSON")
    sent = request.headers.get("content-type", "none")
    if "json" not in sent and any(fault["loc"] == ("body",) for fault in faults):
        return said(
            request, 415, "not_json", f"the content type is {sent[:60]}: expected application/json; send it as JSON"
        )
    lines = (f"{'.'.join(map(str, fault['loc'][1:])) or 'body'}: {fault['msg']}" for fault in faults)
    return said(request, 422, "invalid_request", "; ".join(lines))


async def failed(request: Request, error: Exception) -> Response:
    """Answer an internal error with 500. Its details are only in the log."""
    return said(request, 500, "internal_error", "internal error; see the service's log")


class Service(FastAPI):
    """A FastAPI application that refuses queries before anything else when the batcher is full.

    An overloaded server has little time, so a refusal must cost almost nothing.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http" and scope["path"] in ASKING:
            state: State = self.state.shelfwise
            if state.batcher.is_full:
                state.metrics.requests.labels(_method(scope), scope["path"], 503).inc()
                await send({"type": "http.response.start", "status": 503, "headers": FULL_HEADERS})
                await send({"type": "http.response.body", "body": FULL_BODY})
                return
        await super().__call__(scope, receive, send)


class Meter:
    """Middleware that counts and times requests by route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request and record its status and duration."""
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
