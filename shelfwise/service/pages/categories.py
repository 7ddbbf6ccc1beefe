"""The pages of the category tree and of new categories."""

from asyncio import to_thread
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated

from fastapi import Form, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shelfwise.classifier.changing.proposal import propose
from shelfwise.indexer.errors import QueryError, ShelfwiseError, listed
from shelfwise.indexer.item import PATH_SEPARATOR, Item
from shelfwise.service.overview import tree_of
from shelfwise.service.pages.parts import OPTIONS, TitleLines, items_from, lines_of, page_router, part_of
from shelfwise.service.rendering import render
from shelfwise.service.schemas import MAX_ID, MOST
from shelfwise.service.state import OneState, State, Writes

PENDING = 500  # listings of the review queue that a dry run checks

router = page_router()

CategoryPath = Annotated[str, Form(max_length=2000)]
Ids = Annotated[list[str], Form(max_length=MOST)]


@router.get("/categories")
def categories(request: Request, state: OneState) -> Response:
    """Show the category tree, with counts and quality."""
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
def options(request: Request, state: OneState, category_path: Annotated[str, Query(max_length=2000)] = "") -> Response:
    """List the categories whose path contains the typed text."""
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
    """Show the form for a new category. A link from a review fills in its listing and the typed path."""
    form = {"category_path": category_path, "examples": examples}
    return render(request, "new_category.html", "New category", form=form, proposal=None, problem="")


@router.post("/categories/dry-run")
async def dry_run(
    request: Request, state: OneState, _: Writes, category_path: CategoryPath, examples: TitleLines
) -> Response:
    """Preview the effect of a new category."""
    proposal, problem, ids, titles = None, "", list[str](), list[str]()
    classifier = state.served.classifier
    try:
        lines = lines_of(examples)
        there = await _there(state, lines)
        ids, titles = [line for line in lines if line in there], [line for line in lines if line not in there]
        items = items_from(lines, category_path, there)
        pending = [review.listing for review in await to_thread(state.queue.ranked, most=PENDING)]
        proposal = await to_thread(propose, classifier, items, pending)
    except ShelfwiseError as error:
        problem = str(error)
    return render(
        request,
        part_of(request, "new_category.html", "proposal.html"),
        "New category",
        422 if problem else 200,
        form={"category_path": category_path, "examples": examples},
        proposal=proposal,
        ids=ids,
        titles=titles,
        alike=_alike(proposal.category_path, classifier.labels.paths) if proposal and proposal.is_new else [],
        problem=problem,
    )


@router.post("/categories")
async def insert_category(
    state: OneState,
    who: Writes,
    category_path: CategoryPath,
    titles: TitleLines = "",
    ids: Ids = [],  # noqa: B006
) -> Response:
    """Add examples to a category: new titles, and the items and listings with some ids."""
    there = await _there(state, ids)
    absent = [id_ for id_ in ids if id_ not in there]
    if absent:
        raise QueryError(
            "no_such_item",
            f"there is no longer an item or an open review with id {listed(absent)}",
            "stored items and listings under review",
            "preview the category again",
        )
    items = items_from([*lines_of(titles), *ids], category_path, there)
    await state.write(who, f"category {items[0].category_path}: {len(items)} examples", items)
    return RedirectResponse("/changes", 303)


async def _there(state: State, ids: Sequence[str]) -> dict[str, Item]:
    """Return the stored items and the listings with an open review that have some ids."""
    await state.intake.flush()
    items = await to_thread(state.served.classifier.index.items, ids)
    return items | await to_thread(state.queue.listings, ids)  # more recent than stored items


def _alike(path: str, paths: Sequence[str]) -> list[str]:
    """Return up to 3 similar categories: equal except for case, or below the path; else close in spelling."""
    below = path + PATH_SEPARATOR
    written = [other for other in paths if other.casefold() == path.casefold() or other.startswith(below)]
    return (written or get_close_matches(path, paths, n=3, cutoff=0.9))[:3]
