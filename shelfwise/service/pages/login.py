"""The pages to log in and out."""

from typing import Annotated

from fastapi import Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shelfwise.service.guard import SESSION
from shelfwise.service.pages.parts import page_router
from shelfwise.service.rendering import render
from shelfwise.service.state import OneState
from shelfwise.service.tokens import LOCAL

router = page_router()


@router.get("/login")
def login(request: Request) -> Response:
    """Show the form for a token."""
    return render(request, "login.html", "Log in", problem="")


@router.post("/login")
def log_in(request: Request, state: OneState, token: Annotated[str, Form(max_length=500)]) -> Response:
    """Check the token and start a session."""
    visitor = LOCAL if state.tokens is None else state.tokens.visitor(token.strip())
    if visitor is None:
        return render(request, "login.html", "Log in", 401, problem="Unknown token.")
    response = RedirectResponse("/", 303)
    if state.tokens is not None:
        secure = request.url.scheme == "https"
        session = state.tokens.begin_session(visitor)
        response.set_cookie(SESSION, session, httponly=True, samesite="strict", secure=secure)
    return response


@router.post("/logout")
def log_out(request: Request, state: OneState) -> Response:
    """End the session."""
    if state.tokens is not None:
        state.tokens.end_session(request.cookies.get(SESSION, ""))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION)
    return response
