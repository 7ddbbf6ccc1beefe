"""What several pages have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request

from shelfwise.classifier.model.decision import Decision, SimilarItem
from shelfwise.classifier.model.explanation import Piece, explain
from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import Item, clean
from shelfwise.indexer.reading.catalog import item_of
from shelfwise.service.guard import BODY_BYTES
from shelfwise.service.schemas import MOST
from shelfwise.service.state import State

OPTIONS = 50  # categories that are offered while one is typed

TitleLines = Annotated[str, Form(max_length=400_000)]
WriteNumber = Annotated[int, Form(ge=1, le=2**63 - 1)]


@dataclass(frozen=True)
class Card:
    """A listing with its decision, and with the words marked that speak for it: its own, and the neighbours'."""

    listing: Item
    decision: Decision
    pieces: list[Piece]
    neighbors: list[tuple[SimilarItem, list[Piece]]]


def page_router() -> APIRouter:
    """Routes of pages: none is in the API's document."""
    return APIRouter(include_in_schema=False, max_body_size=BODY_BYTES)


def part_of(request: Request, page: str, part: str) -> str:
    """The template of the part of a page that changes, or that of all of it for a browser without scripts."""
    return part if "hx-request" in request.headers else page


def lines_of(text: str) -> list[str]:
    """The lines that say something."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def items_from(lines: Sequence[str], category_path: str = "", there: Mapping[str, Item] | None = None) -> list[Item]:
    """A listing or, in a category, an example for each line: one of those that are `there`, by id, or else what has the
    line as its title. Raises InputError where there are none, or more than MOST."""
    if not 0 < len(lines) <= MOST:
        raise InputError(
            "wrong_line_count", f"{len(lines)} lines with a title", f"1 to {MOST}", "give a title in each line"
        )
    found = dict[str, Item]()
    for number, line in enumerate(lines, 1):
        try:
            made = item_of({"title": line, "category_path": category_path}, labelled=category_path != "")
        except InputError as error:
            raise error.at(f"line {number}") from None
        if there and line in there:
            made = there[line].moved(made.category_path)
        found[made.id] = made
    return list(found.values())


def cards_of(state: State, listings: Sequence[Item], decisions: Sequence[Decision]) -> list[Card]:
    """What is shown of decisions."""
    head = state.served.classifier.model.head
    cards = []
    for listing, said in zip(listings, decisions, strict=True):
        title, shown = listing.words.title, [(item, clean(item.title)) for item in said.evidence]
        agreeing = [cleaned for item, cleaned in shown if item.category_path == said.category_path]
        neighbors = [(item, explain(cleaned, None, "", [title])) for item, cleaned in shown]
        cards.append(Card(listing, said, explain(title, head, said.category_path, agreeing), neighbors))
    return cards
