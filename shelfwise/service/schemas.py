"""What the API takes and gives, as its OpenAPI document tells it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model, model_validator

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import FIELDS, ID, IMAGE, KEPT, MAX_FIELD, MAX_TITLE, TARGET, TEXT, Item, names_of, words_of
from shelfwise.indexer.reading.catalog import item_of
from shelfwise.indexer.searching.segments import Filter

MOST = 1_000  # listings or items in one request
MAX_ID = 2_000  # characters
MOST_SIMILAR = 1_000

Text = Annotated[str, StringConstraints(max_length=MAX_FIELD)]
Id = Annotated[str, StringConstraints(max_length=MAX_ID)]
Tier = Literal["full", "auto", "fast"]
ReviewState = Literal["open", "accepted", "corrected", "skipped", "resolved"]


class Body(BaseModel):
    """Part of a request: what is not named here is refused."""

    model_config = ConfigDict(extra="forbid")


def _taken_fields(*roles: str) -> dict[str, Any]:
    """Return the fields of an item with some roles, as a model takes them: text that may be left out."""
    longest = {
        name: min(field.longest, MAX_ID) if field.role == ID else field.longest for name, field in FIELDS.items()
    }
    return {name: (Annotated[str, StringConstraints(max_length=longest[name])], "") for name in names_of(*roles)}


class ListingIn(create_model("Said", __base__=Body, **_taken_fields(ID, TEXT, IMAGE, KEPT))):  # type: ignore[misc]
    """A listing to classify. Without an id it gets one made from what it says."""

    def item(self) -> Item:
        """The same as an item. Raises InputError."""
        return item_of(dict(self), labelled=False)


class ItemIn(create_model("Labelled", __base__=ListingIn, **_taken_fields(TARGET))):  # type: ignore[misc]
    """A labelled item: `category_path` ("A > B > C"), or the name of a category without a tree."""

    def item(self) -> Item:
        """The same as an item. Raises InputError."""
        return item_of(dict(self), labelled=True)


class ClassifyIn(Body):
    """Listings to classify, with how much is told of each; `review` puts doubtful ones into the queue."""

    listings: Annotated[list[ListingIn], Field(min_length=1, max_length=MOST)]
    top: Annotated[int, Field(ge=1, le=20)] = 3
    neighbors: Annotated[int, Field(ge=0, le=32)] = 3
    tier: Tier = "full"
    review: bool = True


class WhereIn(Body):
    """Only items in or below a node of the category tree, of a brand, with a text in their attributes."""

    category: Text = ""
    brand: Text = ""
    attributes: Text = ""

    def filter(self) -> Filter | None:
        """The same for a search; None where it says nothing."""
        wanted = Filter(**dict(self))
        return None if wanted == Filter() else wanted


class SimilarIn(Body):
    """A text, or the id of a stored item: one of the two."""

    text: Annotated[str, StringConstraints(max_length=MAX_TITLE)] | None = None
    id: Id | None = None
    k: Annotated[int, Field(ge=1, le=MOST_SIMILAR)] = 10
    where: WhereIn = WhereIn()
    _composed: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.text is None) == (self.id is None):
            raise ValueError("give a text or an id, one of the two")
        if self.text is not None:
            self._composed = words_of(self.text).text()
        if self._composed == "":
            raise ValueError("the text is empty: give a title to look for")
        return self

    @property
    def composed(self) -> str | None:
        """The text as it is embedded."""
        return self._composed


class ItemsIn(Body):
    """Items to add, or to put in place of those with the same id."""

    items: Annotated[list[ItemIn], Field(min_length=1, max_length=MOST)]


class ReviewIn(Body):
    """accept what was decided, correct it with a `category_path`, or skip it. With a `category_path`, accept is of that
    one: a review may have been decided anew since it was looked at. `seen`, as the review tells it, stands for the
    listing's words: where these have changed since, nothing is done. A category that the store does not have is taken
    for a slip unless it is said to be a `new_category`."""

    action: Literal["accept", "correct", "skip"]
    category_path: Text = ""
    new_category: bool = False
    seen: Id = ""

    @model_validator(mode="after")
    def _corrected_by(self) -> Self:
        if self.action == "correct" and not self.category_path.strip():
            raise ValueError("a category_path is needed to correct")
        return self


class AlternativeOut(BaseModel):
    """A category and its probability."""

    category_path: str
    probability: float


class SimilarOut(BaseModel):
    """A stored item and its cosine similarity in [-1, 1]."""

    id: str
    title: str
    brand: str
    category_path: str
    similarity: float


class DecisionOut(BaseModel):
    """What is said of one listing, as `shelfwise classify` says it (README tells each field)."""

    id: str
    category: str
    category_path: str
    confidence: float
    decision: Literal["accept", "review", "unknown"]
    reason: str
    sure_path: str
    alternatives: list[AlternativeOut]
    levels: list[AlternativeOut]
    prediction_set: list[str]
    evidence: list[SimilarOut]
    tier: str
    store_version: int


class DecisionsOut(BaseModel):
    """One decision for each listing, in order."""

    decisions: list[DecisionOut]


class FoundOut(BaseModel):
    """Stored items, the most similar first."""

    items: list[SimilarOut]


class ItemOut(create_model("Stored", **dict.fromkeys(FIELDS, (str, ...)))):  # type: ignore[misc]
    """A stored item."""


class CategoryOut(BaseModel):
    """A category, how many items it has, and whether the head has been trained on it."""

    category_path: str
    items: int
    trained: bool


class CategoriesOut(BaseModel):
    """All categories, in order of their paths."""

    store_version: int
    categories: list[CategoryOut]


class WriteOut(BaseModel):
    """A write, which is not lost from here on. `state` is done where the index has it, waiting where it will soon, or
    refused, for the reason in `note`, of the kind `code`; `version` is the store's that has it."""

    number: int
    at: str
    who: str
    what: str
    state: Literal["waiting", "done", "refused", "undone"]
    version: int | None
    note: str
    code: str


class WritesOut(BaseModel):
    """The last writes, the newest first."""

    writes: list[WriteOut]


class ReviewOut(BaseModel):
    """A doubtful decision with its listing; see `GET /v1/reviews`."""

    listing: ItemOut
    decision: DecisionOut
    times: int
    value: float
    at: str
    state: ReviewState
    category_path: str
    who: str
    seen: str


class ReviewsOut(BaseModel):
    """Reviews in one state, the most valuable first, and how many there are in each state."""

    counts: dict[str, int]
    reviews: list[ReviewOut]


class AnsweredOut(BaseModel):
    """A review that is closed, and the write that its answer became; null for one that was skipped."""

    state: str
    write: WriteOut | None


class ReadyOut(BaseModel):
    """What is served, and what is wrong, empty where nothing is."""

    store_version: int
    items: int
    writes_waiting: int
    problems: list[str]


class Refusal(BaseModel):
    """Why a request was refused: in one line, and the kind of error, which stays the same in later versions."""

    detail: str
    code: str


def items_of(taken: Sequence[ListingIn], name: str) -> list[Item]:
    """The items that a request has. Raises InputError with the place of the first that cannot be used."""
    found = []
    for place, one in enumerate(taken):
        try:
            found.append(one.item())
        except InputError as error:
            raise error.at(f"{name}[{place}]") from None
    return found
