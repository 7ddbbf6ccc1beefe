"""Looking up similar items, and items beside each other."""

import csv
import io
from dataclasses import asdict, dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from shelfwise.classifier.output import guarded
from shelfwise.indexer.errors import QueryError, ShelfwiseError
from shelfwise.indexer.text import compose
from shelfwise.service.answers import Look
from shelfwise.service.batching import FULL, OverloadError
from shelfwise.service.pages.parts import OPTIONS, page_router
from shelfwise.service.rendering import language_of, render, translated
from shelfwise.service.schemas import MOST_SIMILAR, WhereIn
from shelfwise.service.state import OneState, State

EXPORTED = ("id", "title", "brand", "category_path", "similarity")

router = page_router()


@dataclass(frozen=True)
class Search:
    """What is looked for: `q` is a title, or the id of an item."""

    q: Annotated[str, Query(max_length=2000)] = ""
    category: Annotated[str, Query(max_length=2000)] = ""
    brand: Annotated[str, Query(max_length=2000)] = ""
    attributes: Annotated[str, Query(max_length=2000)] = ""
    k: Annotated[int, Query(ge=1, le=MOST_SIMILAR)] = 10


Asked = Annotated[Search, Depends()]


@router.get("/")
async def look(request: Request, state: OneState, asked: Asked) -> Response:
    """Look up similar items."""
    paths = list(state.served.classifier.labels.paths)[:OPTIONS]
    return render(request, "look.html", "Look up", paths=paths, **await _found(state, asked))


@router.get("/found")
async def found(request: Request, state: OneState, asked: Asked) -> Response:
    """The part of the page that changes as somebody types."""
    return render(request, "found.html", "Look up", **await _found(state, asked))


@router.get("/found.csv")
async def found_csv(state: OneState, asked: Asked) -> Response:
    """The same as a file; what a spreadsheet would run as a formula gets an apostrophe before it."""
    content = await _found(state, asked)
    if content["problem"] == FULL:
        raise OverloadError
    if content["problem"]:
        raise QueryError(str(content["problem"]))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(EXPORTED)
    for item in content["found"]:
        table.writerow([guarded(str(getattr(item, name))) for name in EXPORTED])
    headers = {"content-disposition": 'attachment; filename="similar.csv"'}
    return Response(out.getvalue().encode("utf-8-sig"), media_type="text/csv", headers=headers)


async def _found(state: State, asked: Search) -> dict[str, Any]:
    text, where = compose(asked.q), WhereIn(category=asked.category, brand=asked.brand, attributes=asked.attributes)
    content: dict[str, Any] = {
        "q": asked,
        "query": urlencode({name: value for name, value in asdict(asked).items() if value}),
        "found": (),
        "problem": "",
    }
    if not text:
        return content
    id_ = asked.q.strip()
    is_id = state.served.classifier.index.has(id_)
    try:
        (answer,) = await state.batcher.submit(
            [Look(None if is_id else text, id_ if is_id else None, asked.k, where.filter())]
        )
    except OverloadError:
        return content | {"problem": FULL}
    return content | ({"problem": str(answer)} if isinstance(answer, ShelfwiseError) else {"found": answer})


@router.get("/items/{id:path}")
def item(request: Request, id: str, state: OneState) -> Response:
    """One item, whole."""
    items = [state.served.classifier.index.item(id)]
    return render(request, "compare.html", "Item", items=items, similarity=None, problem="")


@router.get("/compare")
def compare(request: Request, state: OneState, id: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006
    """Two items beside each other."""
    if len(id) != 2:
        problem = translated(language_of(request))("Choose two items to compare.")
        return render(request, "compare.html", "Compare", 422, items=[], similarity=None, problem=problem)
    index = state.served.classifier.index
    items = [index.item(one) for one in id]
    one, other = (index.vector_of(one)[0] for one in id)
    return render(request, "compare.html", "Compare", items=items, similarity=float(one @ other), problem="")
