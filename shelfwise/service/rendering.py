"""Renders templates in the reader's language."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

LANGUAGES = {"en": "English", "zh": "中文"}
COOKIE, COOKIE_SECONDS = "lang", 365 * 24 * 3600
PAGES = (
    ("/", "Look up"),
    ("/classify", "Classify"),
    ("/review", "Review"),
    ("/categories", "Categories"),
    ("/changes", "Changes"),
    ("/health", "Health"),
)
SERVICE_FOLDER = Path(__file__).parent

environment = Environment(
    loader=FileSystemLoader(SERVICE_FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@cache
def words(language: str) -> Mapping[str, str]:
    """Return the translations of the English text of the templates into a language."""
    file = SERVICE_FOLDER / "locale" / f"{language}.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def language_of(request: Request) -> str:
    """Return the language that the reader chose, else the browser's first one in LANGUAGES, else English."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if chosen in LANGUAGES:
            return chosen
    wanted = [
        part.partition(";")[0].strip()[:2].lower() for part in request.headers.get("accept-language", "").split(",")
    ]
    return next((code for code in wanted if code in LANGUAGES), "en")


def translated(language: str) -> Callable[[str], str]:
    """Return a function that translates English into a language. Text without a translation stays."""
    known = words(language)
    return lambda text: known.get(text, text)


def render(request: Request, template: str, title: str, status: int = 200, **values: object) -> Response:
    """Render a template: a page, or a part of one."""
    language = language_of(request)
    content = environment.get_template(template).render(
        request=request,
        lang=language,
        languages=LANGUAGES,
        _=translated(language),
        pages=PAGES,
        here=request.url.path,
        again=request.url if request.method == "GET" else URL(f"/{request.url.path.split('/')[1]}"),
        title=title,
        visitor=getattr(request.state, "visitor", None),
        **values,
    )
    response = HTMLResponse(content, status, {"cache-control": "no-store", "vary": "accept-language, cookie"})
    if request.query_params.get("lang") in LANGUAGES:
        response.set_cookie(COOKIE, language, COOKIE_SECONDS, httponly=True, samesite="strict")
    return response
