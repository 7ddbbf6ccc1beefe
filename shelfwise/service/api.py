"""The API, version 1."""

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

IDS_SHOWN = 3  # ids that are told of a write

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": said}
    for status, said in {
        400: "The body is not JSON.",
        401: "A token is needed.",
        403: "The token may not do this, or the request comes from another site.",
        404: "There is no such item, review or write.",
        408: "The request took too long to come in.",
        409: "It cannot be done as things are.",
        413: "The request is too long.",
        422: "Something in the request cannot be used.",
        503: "Too much is being asked: come again after the seconds in Retry-After.",
    }.items()
}
LATER = "It is not lost, and the index will have it."
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
    """A value as the body of an answer."""
    return Response(orjson.dumps(value), status, media_type="application/json")


@router.post("/classify", response_model=DecisionsOut)
async def classify(asked: ClassifyIn, state: OneState) -> Response:
    """Give every listing a category, a probability and the evidence."""
    listings = items_of(asked.listings, "listings")
    decisions = await state.classify(Way(asked.top, asked.neighbors, asked.tier), listings, asked.review)
    ids = [listing.id for listing in listings]
    return json({"decisions": list(map(decided, ids, decisions))})


@router.post("/similar", response_model=FoundOut)
async def similar(asked: SimilarIn, state: OneState) -> Response:
    """The stored items most like a text, or like a stored item."""
    (found,) = await state.batcher.submit([Look(asked.composed, asked.id, asked.k, asked.where.filter())])
    if isinstance(found, ShelfwiseError):
        raise found
    return json({"items": found})


@router.post("/items", response_model=WriteOut, responses=WRITTEN)
async def add_items(asked: ItemsIn, state: OneState, who: Writes) -> Response:
    """Add labelled items, or put them in place of those with the same id; a new category works at once.

    They stay when the store is built again, until a catalog names their ids.
    """
    items = dict[str, Item]()
    for place, item in enumerate(items_of(asked.items, "items")):
        if items.setdefault(item.id, item) != item:
            raise InputError(
                "repeated_id",
                f"items[{place}]: id {item.id!r} came before with other content",
                "each id once",
                "send it once",
            )
    return _acknowledged(await state.write(who, f"put {listed(items, IDS_SHOWN)}", list(items.values())))


@router.get("/items/{id:path}", response_model=ItemOut)
def item(id: str, state: OneState) -> Response:
    """A stored item."""
    return json(asdict(state.served.classifier.index.item(id)))


@router.delete("/items/{id:path}", response_model=WriteOut, responses=WRITTEN)
async def remove_item(id: str, state: OneState, who: Writes) -> Response:
    """Take a stored item out."""
    if not await to_thread(state.log.awaits, id):
        _ = state.served.classifier.index.item(id)
    return _acknowledged(await state.write(who, f"remove {id}", removed=[id]))


@router.get("/categories", response_model=CategoriesOut)
def categories(state: OneState) -> Response:
    """All categories and their items."""
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
    """Doubtful decisions: those to which an answer is worth most come first. The first 32 that are open are decided
    anew where the store has changed since; those that are accepted by now are resolved."""
    await state.renew_reviews()
    counts, found = await to_thread(state.queue.count), await to_thread(state.queue.ranked, which, limit, offset)
    shown = [
        asdict(review) | {"decision": decided(review.listing.id, review.decision), "seen": review.seen}
        for review in found
    ]
    return json({"counts": counts, "reviews": shown})


@router.post("/reviews/{id:path}", response_model=AnsweredOut, responses=ANSWERED)
async def answer(id: str, asked: ReviewIn, state: OneState, who: Writes) -> Response:
    """Accept, correct or skip a doubtful decision. What is accepted or corrected goes into the index at once."""
    written = await state.answer_review(id, asked.action, asked.category_path, who, asked.new_category, asked.seen)
    if written is None:
        return json({"state": SKIPPED, "write": None})
    answered = await to_thread(state.queue.find, id)
    return json({"state": answered.state, "write": _shown(written)}, _status(written))


@router.get("/writes", response_model=WritesOut)
def writes(state: OneState, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Response:
    """What was written last, by whom, and whether the index has it."""
    return json({"writes": [_shown(write) for write in state.log.last(limit)]})


@router.get("/writes/{number}", response_model=WriteOut)
def one_write(number: Number, state: OneState) -> Response:
    """One write."""
    return json(_shown(state.log.find(number)))


@router.post("/writes/{number}/undo", response_model=WriteOut, responses=WRITTEN)
async def undo(number: Number, state: OneState, who: Writes) -> Response:
    """Give all items that a write touched back what they were before it. It is a write, too."""
    return _acknowledged(await state.undo(number, who))


def decided(id_: str, decision: Decision) -> dict[str, object]:
    """A decision with the id of its listing."""
    return {"id": id_, **{name: getattr(decision, name) for name in DECISION_FIELDS.values()}}


def _acknowledged(written: Write) -> Response:
    return json(_shown(written), _status(written))


def _shown(written: Write) -> dict[str, object]:
    return {name: getattr(written, name) for name in WriteOut.model_fields}


def _status(written: Write) -> int:
    """200 for what the index has, 202 for what it will have, 409 for what it refused."""
    return {WAITING: 202, REFUSED: 409}.get(written.state, 200)
