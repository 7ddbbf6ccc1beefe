"""The pages to look up similar items and to compare two items."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, cast
from urllib.parse import urlencode

from fastapi import Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from shelfwise.classifier.model.decision import SimilarItem
from shelfwise.indexer.errors import ShelfwiseError
from shelfwise.indexer.item import FIELDS, words_of
from shelfwise.indexer.reading.guard import guarded
from shelfwise.service.answers import Look
from shelfwise.service.batching import SERVER_BUSY, OverloadError
from shelfwise.service.pages.parts import OPTIONS, page_router
from shelfwise.service.rendering import language_of, render, translated
from shelfwise.service.schemas import MOST_SIMILAR, WhereIn
from shelfwise.service.state import OneState, State

COMPARED: dict[str, Any] = {  # defaults of the comparison, which shows the path of a category
    "fields": [name for name in FIELDS if name != "category"],
    "items": [],
    "similarity": None,
    "problem": "",
}
EXPORTED = ("id", "title", "brand", "category_path", "similarity")

router = page_router()


@dataclass(frozen=True)
class Search:
    """The fields of the search form. `q` is a title, or the id of an item."""

    q: Annotated[str, Query(max_length=2000)] = ""
    category: Annotated[str, Query(max_length=2000)] = ""
    brand: Annotated[str, Query(max_length=2000)] = ""
    attributes: Annotated[str, Query(max_length=2000)] = ""
    k: Annotated[int, Query(ge=1, le=MOST_SIMILAR)] = 10


Searched = Annotated[Search, Depends()]


@router.get("/")
async def look(request: Request, state: OneState, asked: Searched) -> Response:
    """Show the search page, with the items found."""
    paths = list(state.served.classifier.labels.paths)[:OPTIONS]
    return render(request, "look.html", "Look up", paths=paths, **await _content(state, asked))


@router.get("/found")
async def found(request: Request, state: OneState, asked: Searched) -> Response:
    """Show the items found, the part of the page that changes while typing."""
    return render(request, "found.html", "Look up", **await _content(state, asked))


@router.get("/found.csv")
async def found_csv(state: OneState, asked: Searched) -> Response:
    """Return the items found as CSV. A text that a spreadsheet would run as a formula gets a leading apostrophe."""
    found = await _found(state, asked)
    out = io.StringIO()
    table = csv.writer(out)  # with the ends of line that the CSV standard names
    table.writerow(EXPORTED)
    for item in found:
        table.writerow([guarded(str(getattr(item, name))) for name in EXPORTED])
    headers = {"content-disposition": 'attachment; filename="similar.csv"'}
    return Response(out.getvalue().encode("utf-8-sig"), media_type="text/csv", headers=headers)


async def _content(state: State, asked: Search) -> dict[str, Any]:
    """Return the template values of a search: the items found, or the problem."""
    query = urlencode({name: value for name, value in asdict(asked).items() if value})
    content: dict[str, Any] = {"q": asked, "query": query, "found": (), "problem": ""}
    try:
        return content | {"found": await _found(state, asked)}
    except OverloadError:
        return content | {"problem": SERVER_BUSY}
    except ShelfwiseError as error:
        return content | {"problem": str(error)}


async def _found(state: State, asked: Search) -> Sequence[SimilarItem]:
    """Return the items most similar to a text, or to the item with that id (none for an empty text).

    Raise OverloadError when the server is busy, and ShelfwiseError when the search fails.
    """
    text = words_of(asked.q).text()
    where = WhereIn(category=asked.category, brand=asked.brand, attributes=asked.attributes)
    if not text:
        return ()
    id_ = asked.q.strip()
    is_id = state.served.classifier.index.has(id_)
    look = Look(None if is_id else text, id_ if is_id else None, asked.k, where.filter())
    (answer,) = await state.batcher.submit([look])
    if isinstance(answer, ShelfwiseError):
        raise answer
    return cast(Sequence[SimilarItem], answer)


@router.get("/items/{id:path}")
def item(request: Request, id: str, state: OneState) -> Response:
    """Show all fields of an item."""
    items = [state.served.classifier.index.item(id)]
    return render(request, "compare.html", "Item", **COMPARED | {"items": items})


@router.get("/compare")
def compare(request: Request, state: OneState, id: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006
    """Show two items side by side, with their similarity."""
    if len(id) != 2:
        problem = translated(language_of(request))("Choose two items to compare.")
        return render(request, "compare.html", "Compare", 422, **COMPARED | {"problem": problem})
    index = state.served.classifier.index
    items = [index.item(one) for one in id]
    one, other = (index.vector_of(one)[0] for one in id)
    return render(request, "compare.html", "Compare", **COMPARED | {"items": items, "similarity": float(one @ other)})
