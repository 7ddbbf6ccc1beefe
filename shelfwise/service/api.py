"""The routes of the HTTP API, version 1."""

from asyncio import to_thread
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from shelfwise.classifier.measuring.output import DECISION_FIELDS
from shelfwise.classifier.model.decision import Decision
from shelfwise.indexer.errors import InputError, ShelfwiseError, listed
from shelfwise.indexer.item import Item
from shelfwise.service.answers import Look, Way
from shelfwise.service.guard import BODY_BYTES
from shelfwise.service.reviews import SKIPPED
from shelfwise.service.schemas import (
    AnsweredOut,
    CategoriesOut,
    ClassifyIn,
    DecisionsOut,
    FoundOut,
    ItemOut,
    ItemsIn,
    Refusal,
    ReviewIn,
    ReviewsOut,
    ReviewState,
    SimilarIn,
    WriteOut,
    WritesOut,
    items_of,
)
from shelfwise.service.state import OneState, Writes
from shelfwise.service.writes import REFUSED, WAITING, Write

Number = Annotated[int, Path(ge=1, le=2**63 - 1)]

IDS_SHOWN = 3  # ids named in the description of a write

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": said}
    for status, said in {
        400: "The request body is not valid JSON.",
        401: "The token is missing or unknown.",
        403: "The token does not permit writes, or the request comes from another site or names another host.",
        404: "The item, review or write does not exist.",
        408: "The request body arrived too slowly.",
        409: "The request conflicts with the current state of the store.",
        413: "The request body is too large.",
        415: "The request body is not sent as JSON.",
        422: "The request is not valid; `detail` says what to correct.",
        503: "The server is busy (retry after the seconds in Retry-After), or its store is not accessible.",
    }.items()
}
LATER = "The write is stored safely and will be indexed soon."
NOT_AS_THINGS_ARE = REFUSALS[409]["description"]
WRITTEN: dict[int | str, dict[str, Any]] = {
    202: {"model": WriteOut, "description": LATER},
    409: {"model": WriteOut | Refusal, "description": NOT_AS_THINGS_ARE},
}
ANSWERED: dict[int | str, dict[str, Any]] = {
    202: {"model": AnsweredOut, "description": LATER},
    409: {"model": AnsweredOut | Refusal, "description": NOT_AS_THINGS_ARE},
}
router = APIRouter(prefix="/v1", responses=REFUSALS, max_body_size=BODY_BYTES)


def json(value: object, status: int = 200) -> Response:
    """Return a JSON response with `value` as its body."""
    return Response(orjson.dumps(value), status, media_type="application/json")


@router.post("/classify", response_model=DecisionsOut)
async def classify(asked: ClassifyIn, state: OneState) -> Response:
    """Classify listings: return a category, its probability and the evidence for each listing."""
    listings = items_of(asked.listings, "listings")
    decisions = await state.classify(Way(asked.top, asked.neighbors, asked.tier), listings, asked.review)
    ids = [listing.id for listing in listings]
    return json({"decisions": list(map(decided, ids, decisions))})


@router.post("/similar", response_model=FoundOut)
async def similar(asked: SimilarIn, state: OneState) -> Response:
    """Return the stored items most similar to a text or to a stored item."""
    (found,) = await state.batcher.submit([Look(asked.composed, asked.id, asked.k, asked.where.filter())])
    if isinstance(found, ShelfwiseError):
        raise found
    return json({"items": found})


@router.post("/items", response_model=WriteOut, responses=WRITTEN)
async def add_items(asked: ItemsIn, state: OneState, who: Writes) -> Response:
    """Add labelled items, or replace the stored items with the same ids. New categories work at once.

    The items stay when the store is rebuilt, until a catalog lists their ids. An item also answers the open review of
    the listing with its id.
    """
    items = dict[str, Item]()
    for place, item in enumerate(items_of(asked.items, "items")):
        if items.setdefault(item.id, item) != item:
            raise InputError(
                "repeated_id",
                f"items[{place}]: id {item.id!r} is repeated with other content",
                "one item per id",
                "send each id once",
            )
    return _acknowledged(await state.write(who, f"put {listed(items, IDS_SHOWN)}", list(items.values())))


@router.get("/items/{id:path}", response_model=ItemOut)
def item(id: str, state: OneState) -> Response:
    """Return a stored item by its id."""
    return json(asdict(state.served.classifier.index.item(id)))


@router.delete("/items/{id:path}", response_model=WriteOut, responses=WRITTEN)
async def remove_item(id: str, state: OneState, who: Writes) -> Response:
    """Remove a stored item by its id."""
    if not await to_thread(state.log.awaits, id):
        _ = state.served.classifier.index.item(id)
    return _acknowledged(await state.write(who, f"remove {id}", removed=[id]))


@router.get("/categories", response_model=CategoriesOut)
def categories(state: OneState) -> Response:
    """List all categories with their numbers of items."""
    classifier = state.served.classifier
    rows = zip(classifier.labels.paths, classifier.counts.tolist(), classifier.known.tolist(), strict=True)
    listed = [{"category_path": path, "items": many, "trained": known} for path, many, known in rows]
    return json({"store_version": classifier.index.snapshot.manifest.version, "categories": listed})


@router.get("/reviews", response_model=ReviewsOut)
async def reviews(
    state: OneState,
    which: Annotated[ReviewState, Query(alias="state")] = "open",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """List reviews (decisions that a person should check) in one state, the most valuable first.

    If the store has changed, the first 32 open reviews are classified again, unless the server is busy. A review whose
    new decision is `accept` becomes `resolved`.
    """
    await state.renew_reviews()
    counts, found = await to_thread(state.queue.count), await to_thread(state.queue.ranked, which, limit, offset)
    shown = [
        asdict(review) | {"decision": decided(review.listing.id, review.decision), "seen": review.seen}
        for review in found
    ]
    return json({"counts": counts, "reviews": shown})


@router.post("/reviews/{id:path}", response_model=AnsweredOut, responses=ANSWERED)
async def answer(id: str, asked: ReviewIn, state: OneState, who: Writes) -> Response:
    """Accept, correct or skip an open review. An accepted or corrected listing is added to the index at once."""
    written = await state.answer_review(id, asked.action, asked.category_path, who, asked.new_category, asked.seen)
    if written is None:
        return json({"state": SKIPPED, "write": None})
    answered = await to_thread(state.queue.find, id)
    return json({"state": answered.state, "write": _shown(written)}, _status(written))


@router.get("/writes", response_model=WritesOut)
def writes(state: OneState, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Response:
    """List the last writes, the newest first, each with its author and state."""
    return json({"writes": [_shown(write) for write in state.log.last(limit)]})


@router.get("/writes/{number}", response_model=WriteOut)
def one_write(number: Number, state: OneState) -> Response:
    """Return a write by its number."""
    return json(_shown(state.log.find(number)))


@router.post("/writes/{number}/undo", response_model=WriteOut, responses=WRITTEN)
async def undo(number: Number, state: OneState, who: Writes) -> Response:
    """Undo a write: restore all its items to their content before it. The undo is itself a write."""
    return _acknowledged(await state.undo(number, who))


def decided(id_: str, decision: Decision) -> dict[str, object]:
    """Return a decision as a dict, with the id of its listing."""
    return {"id": id_, **{name: getattr(decision, name) for name in DECISION_FIELDS.values()}}


def _acknowledged(written: Write) -> Response:
    return json(_shown(written), _status(written))


def _shown(written: Write) -> dict[str, object]:
    return {name: getattr(written, name) for name in WriteOut.model_fields}


def _status(written: Write) -> int:
    """Return the HTTP status of a write: 202 if waiting, 409 if refused, else 200."""
    return {WAITING: 202, REFUSED: 409}.get(written.state, 200)
