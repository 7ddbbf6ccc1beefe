"""Parts shared by several pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request

from shelfwise.classifier.model.decision import Decision, SimilarItem
from shelfwise.classifier.model.explanation import Piece, explain
from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import Item, clean
from shelfwise.indexer.reading.reader import item_of
from shelfwise.service.guard import BODY_BYTES
from shelfwise.service.schemas import MOST
from shelfwise.service.state import State

OPTIONS = 50  # categories suggested while typing

TitleLines = Annotated[str, Form(max_length=400_000)]
WriteNumber = Annotated[int, Form(ge=1, le=2**63 - 1)]


@dataclass(frozen=True)
class Card:
    """A listing and its decision.

    `pieces` marks the words of its title that support the category, `neighbors` the shared words of similar items.
    """

    listing: Item
    decision: Decision
    pieces: list[Piece]
    neighbors: list[tuple[SimilarItem, list[Piece]]]


def page_router() -> APIRouter:
    """Create a router for pages, which are not part of the OpenAPI document."""
    return APIRouter(include_in_schema=False, max_body_size=BODY_BYTES)


def part_of(request: Request, page: str, part: str) -> str:
    """Return the template of the part of a page to update, or that of the full page for a browser without scripts."""
    return part if "hx-request" in request.headers else page


def lines_of(text: str) -> list[str]:
    """Return the lines of a text that are not blank, stripped."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def items_from(lines: Sequence[str], category_path: str = "", there: Mapping[str, Item] | None = None) -> list[Item]:
    """Return a listing for each line or, with a `category_path`, an example of that category.

    A line is the id of an item in `there`, or else a title. Repeated lines count once. Raise InputError when there are
    no lines or more than MOST, or when a line cannot be used.
    """
    if not 0 < len(lines) <= MOST:
        raise InputError(
            "wrong_line_count", f"{len(lines)} lines with a title", f"1 to {MOST} lines", "put one title on each line"
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
    """Return a card for each listing and its decision."""
    head = state.served.classifier.model.head
    cards = []
    for listing, said in zip(listings, decisions, strict=True):
        title, shown = listing.words.title, [(item, clean(item.title)) for item in said.evidence]
        agreeing = [cleaned for item, cleaned in shown if item.category_path == said.category_path]
        neighbors = [(item, explain(cleaned, None, "", [title])) for item, cleaned in shown]
        cards.append(Card(listing, said, explain(title, head, said.category_path, agreeing), neighbors))
    return cards
