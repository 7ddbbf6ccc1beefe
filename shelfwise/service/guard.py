"""Authentication, request limits and security headers.

Requests are checked by their headers alone, before routing.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shelfwise.service.tokens import LOCAL, Tokens, Visitor

BODY_BYTES = 4 << 20  # per request; room for 1,000 listings with long descriptions
UPLOAD_BYTES = 64 << 20  # per uploaded file
BODY_SECONDS = 30.0  # to receive the body of a request
UPLOAD_SECONDS = 300.0  # to receive an uploaded file
UPLOAD = "/classify/file"
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/login"})  # without a token, like /static/
SESSION = "shelfwise"  # name of the session cookie
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach `host`."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Guard:
    """ASGI middleware that checks requests and adds security headers to responses.

    Without `tokens` every client is local, and only requests that name this machine as their host pass. Without
    this check, another site could point its own host name here and read the service (DNS rebinding).
    """

    app: ASGIApp
    tokens: Tokens | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, sealed)
            return
        seconds = UPLOAD_SECONDS if scope["path"] == UPLOAD else BODY_SECONDS
        await self.app(scope, _in_time(receive, seconds), sealed)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        path, host = scope["path"], headers.get("host", "")
        if self.tokens is None and not _is_this_machine(host):
            return _refused(
                403, "other_host", f"host {host!r} is not this machine; use localhost, or serve with a token file"
            )
        if scope["method"] not in SAFE_METHODS and not _is_same_site(headers, host):
            return _refused(403, "other_site", "the request comes from another site; it was refused")
        # FastAPI limits bodies that have no Content-Length, or a wrong one.
        length, most = headers.get("content-length", "0"), UPLOAD_BYTES if path == UPLOAD else BODY_BYTES
        if not length.isdecimal() or int(length) > most:
            line = f"the body has {length[:20]} bytes: expected at most {most} bytes; send it in parts"
            return _refused(413, "too_large", line)
        visitor = LOCAL if self.tokens is None else _visitor(self.tokens, headers)
        scope.setdefault("state", {})["visitor"] = visitor
        if visitor is not None or path in OPEN_PATHS or path.startswith("/static/"):
            return None
        if path.startswith("/v1/") or path == "/metrics":
            refusal = _refused(
                401, "token_needed", "token missing or unknown; send the header Authorization: Bearer TOKEN"
            )
            refusal.headers["www-authenticate"] = "Bearer"
            return refusal
        if "hx-request" in headers:  # htmx would put the login page into a part of the page
            refusal = _refused(401, "token_needed", "not logged in; log in with a token")
            refusal.headers["hx-redirect"] = "/login"
            return refusal
        return RedirectResponse("/login", 303)


def _visitor(tokens: Tokens, headers: Mapping[str, str]) -> Visitor | None:
    """Return the visitor of a token or session (None if unknown). If there is a token, the session is ignored."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind:
        return tokens.visitor(token.strip()) if kind.lower() == "bearer" else None
    session = cookie_parser(headers.get("cookie", "")).get(SESSION)  # unlike SimpleCookie, skips malformed ones
    return tokens.session(session) if session else None


def _is_same_site(headers: Mapping[str, str], host: str) -> bool:
    """Return True unless a browser sent the request for a page of another site.

    Uses headers that pages cannot change: Fetch Metadata (W3C) and Origin (RFC 6454).
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or origin.partition("//")[2] == host


def _in_time(receive: Receive, seconds: float) -> Receive:
    """Return a `receive` that raises HTTPException 408 when the body takes longer than `seconds`."""
    until, more = asyncio.get_running_loop().time() + seconds, True

    async def limited() -> Message:
        nonlocal more
        if not more:
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "the request body arrived too slowly") from None
        more = bool(message.get("more_body"))
        return message

    return limited


@lru_cache(64)
def _is_this_machine(address: str) -> bool:
    """Return True if a Host header (HOST or HOST:PORT) names this machine."""
    try:
        return is_loopback(urlsplit(f"//{address}").hostname or "")
    except ValueError:
        return False


def _refused(status: int, code: str, line: str) -> Response:
    return JSONResponse({"detail": line, "code": code}, status)
