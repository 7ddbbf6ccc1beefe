"""The category tree, and new categories."""

from asyncio import to_thread
from collections.abc import Sequence
from typing import Annotated

from fastapi import Form, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from classifier.proposal import propose
from indexer.catalog import Item
from indexer.errors import QueryError, ShelfwiseError, listed
from service.api import OneState, Reads, Writes
from service.overview import tree_of
from service.pages.parts import OPTIONS, Lines, items_of, lines_of, page_router
from service.rendering import render
from service.schemas import MAX_ID
from service.state import State

PENDING = 500  # listings of the review queue that a dry run looks at

router = page_router()

CategoryPath = Annotated[str, Form(max_length=2000)]
Also = Annotated[list[str], Form(max_length=100)]


@router.get("/categories")
def categories(request: Request, state: OneState, _: Reads) -> Response:
    """The tree, with counts and quality."""
    classifier = state.served.classifier
    survey = state.overview.survey(classifier)
    return render(
        request,
        "categories.html",
        "Categories",
        tree=tree_of(classifier, survey),
        total=len(classifier.index),
        many=len(classifier.labels),
        measured=survey is not None,
    )


@router.get("/categories/options")
def options(
    request: Request, state: OneState, _: Reads, category_path: Annotated[str, Query(max_length=2000)] = ""
) -> Response:
    """Categories whose path has what was typed so far."""
    typed = category_path.casefold()
    paths = [path for path in state.served.classifier.labels.paths if typed in path.casefold()]
    return render(request, "options.html", "Categories", paths=paths[:OPTIONS])


@router.get("/categories/new")
def new_category(
    request: Request,
    _: Writes,
    category_path: Annotated[str, Query(max_length=2000)] = "",
    examples: Annotated[str, Query(max_length=MAX_ID)] = "",
) -> Response:
    """Name it, and give examples; a review brings its listing, and what was typed there."""
    form = {"category_path": category_path, "examples": examples}
    return render(request, "new_category.html", "New category", form=form, proposal=None, problem="")


@router.post("/categories/dry-run")
async def dry_run(
    request: Request, state: OneState, _: Writes, category_path: CategoryPath, examples: Lines
) -> Response:
    """What a new category would do."""
    proposal, problem = None, ""
    try:
        items = await _examples(state, lines_of(examples), category_path)
        pending = [review.listing for review in await to_thread(state.desk.reviews, most=PENDING)]
        proposal = await to_thread(propose, state.served.classifier, items, pending)
    except ShelfwiseError as error:
        problem = str(error)
    template = "proposal.html" if "hx-request" in request.headers else "new_category.html"
    form = {"category_path": category_path, "examples": examples}
    return render(
        request, template, "New category", 422 if problem else 200, form=form, proposal=proposal, problem=problem
    )


@router.post("/categories")
async def insert_category(
    state: OneState,
    who: Writes,
    category_path: CategoryPath,
    examples: Lines,
    also: Also = [],  # noqa: B006
) -> Response:
    """Put the examples of a category into the index, and the items and listings of the ids `also`."""
    items = await _examples(state, lines_of(examples), category_path, also)
    await state.write(who, f"category {items[0].category_path}: {len(items)} examples", items)
    return RedirectResponse("/changes", 303)


async def _examples(state: State, lines: list[str], category_path: str, also: Sequence[str] = ()) -> list[Item]:
    """Each line is a title, or the id of a stored item or of a listing with an open review, as those of `also` are.

    Raises InputError and QueryError.
    """
    await state.intake.flush()
    named = [*lines, *also]
    there = await to_thread(state.desk.find_listings, named)
    there |= await to_thread(state.served.classifier.index.items, named)
    absent = [id_ for id_ in also if id_ not in there]
    if absent:
        raise QueryError(f"there is no item and no open review {listed(absent)} any more: make the dry run again")
    return items_of(named, category_path, there)
