"""The page of the review queue."""

from asyncio import to_thread
from contextlib import suppress
from typing import Annotated

from fastapi import Form, Query
from starlette.requests import Request
from starlette.responses import Response

from shelfwise.indexer.errors import QueryError
from shelfwise.service.pages.parts import WriteNumber, cards_of, page_router, part_of
from shelfwise.service.rendering import render
from shelfwise.service.reviews import OPEN, Review
from shelfwise.service.schemas import MAX_ID
from shelfwise.service.state import OneState, State, Writes
from shelfwise.service.writes import Write

NEXT = 20  # reviews listed after the one that is shown

router = page_router()


@router.get("/review")
async def review(request: Request, state: OneState, id: Annotated[str, Query(max_length=MAX_ID)] = "") -> Response:
    """Show the most valuable open review, or that of the listing `id`."""
    return await _reviewed(request, state, chosen=id)


@router.post("/review")
async def answer(
    request: Request,
    state: OneState,
    who: Writes,
    id: Annotated[str, Form(max_length=MAX_ID)],
    action: Annotated[str, Form(pattern="^(accept|correct|skip)$")],
    category_path: Annotated[str, Form(max_length=2000)] = "",
    seen: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Accept, correct or skip a review, and show the next one."""
    try:
        write = await state.answer_review(id, action, category_path, who, seen=seen)
    except QueryError as error:
        return await _reviewed(request, state, str(error), chosen=id, typed=category_path)
    return await _reviewed(request, state, write=write)


@router.post("/review/undo")
async def undo(request: Request, state: OneState, who: Writes, number: WriteNumber) -> Response:
    """Undo an answer."""
    try:
        write = await state.undo(number, who)
    except QueryError as error:
        return await _reviewed(request, state, str(error))
    return await _reviewed(request, state, write=write)


async def _reviewed(
    request: Request,
    state: State,
    problem: str = "",
    write: Write | None = None,
    chosen: str = "",
    typed: str = "",
) -> Response:
    """Return the page with the next review, and the `write` of the last answer or its `problem`."""
    await state.renew_reviews()
    first = await to_thread(_first, state, chosen)
    shown = first[:1]
    there = bool(shown) and state.served.classifier.index.has(shown[0].listing.id)
    cards = await to_thread(
        cards_of, state, [review.listing for review in shown], [review.decision for review in shown]
    )
    return render(
        request,
        part_of(request, "review.html", "reviewed.html"),
        "Review",
        422 if problem else 200,
        counts=await to_thread(state.queue.count),
        card=cards[0] if cards else None,
        seen=shown[0].seen if shown else "",
        next=first[1:],
        there=there,
        missed=chosen if not problem and chosen != (shown[0].listing.id if shown else "") else "",
        problem=problem,
        typed=typed,
        write=write,
    )


def _first(state: State, chosen: str) -> list[Review]:
    """Return the first open reviews. If the review of the listing `chosen` is open, it comes first."""
    first = state.queue.ranked(most=1 + NEXT)
    with suppress(QueryError):
        wanted = state.queue.find(chosen)
        if wanted.state == OPEN:
            return [wanted, *(other for other in first if other.listing.id != chosen)]
    return first
