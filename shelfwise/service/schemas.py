"""Request and response models of the API; their docstrings are part of its OpenAPI document."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model, model_validator

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import FIELDS, ID, IMAGE, KEPT, MAX_FIELD, MAX_TITLE, TARGET, TEXT, Item, names_of, words_of
from shelfwise.indexer.reading.reader import item_of
from shelfwise.indexer.searching.segments import Filter

MOST = 1_000  # listings or items in one request
MAX_ID = 2_000  # characters
MOST_SIMILAR = 1_000

Text = Annotated[str, StringConstraints(max_length=MAX_FIELD)]
Id = Annotated[str, StringConstraints(max_length=MAX_ID)]
Tier = Literal["full", "auto", "fast"]
ReviewState = Literal["open", "accepted", "corrected", "skipped", "resolved"]


class Body(BaseModel):
    """Base of the request models. Unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid")


def _taken_fields(*roles: str) -> dict[str, Any]:
    """Return the item fields with some roles as optional texts of limited length, for `create_model`."""
    longest = {
        name: min(field.longest, MAX_ID) if field.role == ID else field.longest for name, field in FIELDS.items()
    }
    return {name: (Annotated[str, StringConstraints(max_length=longest[name])], "") for name in names_of(*roles)}


class ListingIn(create_model("Said", __base__=Body, **_taken_fields(ID, TEXT, IMAGE, KEPT))):  # type: ignore[misc]
    """A listing to classify. Without an `id`, it gets one derived from its text."""

    def item(self) -> Item:
        """Return the same content as an item. Raise InputError when a field cannot be used."""
        return item_of(dict(self), labelled=False)


class ItemIn(create_model("Labelled", __base__=ListingIn, **_taken_fields(TARGET))):  # type: ignore[misc]
    """A labelled item. Its label is a `category_path` ("A > B > C"), or a `category` name if there is no tree."""

    def item(self) -> Item:
        """Return the same content as an item. Raise InputError when a field cannot be used."""
        return item_of(dict(self), labelled=True)


class ClassifyIn(Body):
    """Listings to classify, and the detail of the response.

    - `top`: the number of most probable categories to return as `alternatives`.
    - `neighbors`: the number of most similar items to return as `evidence`.
    - `tier`: `full` uses the encoder, `fast` uses n-grams alone. `auto` uses n-grams alone for a listing when
      held-out items show that this costs little accuracy.
    - `review`: add decisions that are not accepted to the review queue, except for listings without text.
    """

    listings: Annotated[list[ListingIn], Field(min_length=1, max_length=MOST)]
    top: Annotated[int, Field(ge=1, le=20)] = 3
    neighbors: Annotated[int, Field(ge=0, le=32)] = 3
    tier: Tier = "full"
    review: bool = True


class WhereIn(Body):
    """A filter of items. Empty fields match every item.

    - `category`: the path of a node of the category tree. Items in or below it match.
    - `brand`: the brand. Case is ignored.
    - `attributes`: a text that the attributes contain. Case is ignored.
    """

    category: Text = ""
    brand: Text = ""
    attributes: Text = ""

    def filter(self) -> Filter | None:
        """Return the filter for a search (None if all fields are empty)."""
        wanted = Filter(**dict(self))
        return None if wanted == Filter() else wanted


class SimilarIn(Body):
    """A search for the `k` items most similar to either a `text` or the stored item `id`, filtered by `where`."""

    text: Annotated[str, StringConstraints(max_length=MAX_TITLE)] | None = None
    id: Id | None = None
    k: Annotated[int, Field(ge=1, le=MOST_SIMILAR)] = 10
    where: WhereIn = WhereIn()
    _composed: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.text is None) == (self.id is None):
            raise ValueError("pass either a text or an id")
        if self.text is not None:
            self._composed = words_of(self.text).text()
        if self._composed == "":
            raise ValueError("the text is empty; pass a title to search for")
        return self

    @property
    def composed(self) -> str | None:
        """The text to embed (None for a search by id)."""
        return self._composed


class ItemsIn(Body):
    """Items to add, or to replace the stored items with the same ids."""

    items: Annotated[list[ItemIn], Field(min_length=1, max_length=MOST)]


class ReviewIn(Body):
    """The answer to a review.

    - `action`: `accept` the decision, `correct` its category, or `skip` the review.
    - `category_path`: the right category, required to correct. To accept, pass the category that was shown: the
      listing may have been classified again since.
    - `new_category`: confirm that the category is new. Otherwise a category that the store does not have is an error.
    - `seen`: the `seen` value of the review that was shown. If the listing's text has changed since, the answer is
      rejected.
    """

    action: Literal["accept", "correct", "skip"]
    category_path: Text = ""
    new_category: bool = False
    seen: Id = ""

    @model_validator(mode="after")
    def _corrected_by(self) -> Self:
        if self.action == "correct" and not self.category_path.strip():
            raise ValueError("action correct needs a category_path")
        return self


class AlternativeOut(BaseModel):
    """A category, or a node above the categories, and its probability in [0, 1]."""

    category_path: str
    probability: float


class SimilarOut(BaseModel):
    """A stored item and its cosine similarity in [-1, 1] to the query."""

    id: str
    title: str
    brand: str
    category_path: str
    similarity: float


class DecisionOut(BaseModel):
    """The decision on one listing, with the content that `shelfwise classify` writes.

    - `category_path`: the most probable category, also where the decision is `unknown`. Empty for a listing without
      text. `category` is the name of its leaf.
    - `confidence`: its calibrated probability, in [0, 1].
    - `decision`: `accept`, `review` (a person should check it) or `unknown` (do not file the listing).
    - `reason`: `ok`, `sure_above` (only the node in `sure_path` is sure), `low_confidence`, `head_and_vote_disagree`,
      `new_category`, `far_from_catalog` or `empty_text`.
    - `sure_path`: the deepest node of the category tree that is sure enough. Empty if there is none.
    - `alternatives`: the most probable categories, the predicted one first.
    - `levels`: the most probable node of each level above the categories, from the top.
    - `prediction_set`: the categories that include the right one for 95% of listings like the held-out items.
    - `evidence`: the most similar items. Empty in tier `fast`.
    - `tier`: `full`, or `fast` where n-grams alone decided.
    - `store_version`: the version of the store that decided.
    """

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
    """A category, its number of items, and whether the model has been trained on it."""

    category_path: str
    items: int
    trained: bool


class CategoriesOut(BaseModel):
    """All categories, in order of their paths."""

    store_version: int
    categories: list[CategoryOut]


class WriteOut(BaseModel):
    """A change to the store. It is stored safely before the response is sent.

    - `at`, `who`, `what`: the time, the author and a description.
    - `state`: `done` (indexed), `waiting` (to be indexed soon), `refused` or `undone`.
    - `version`: the store version that contains the write, null until it is indexed.
    - `note`, `code`: the reason for a refusal, and its error code.
    """

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
    """A decision that a person should check, with its listing; see `GET /v1/reviews`.

    - `times`: how often the listing was sent.
    - `value`: the value of an answer. It grows with the uncertainty of the decision and with `times`.
    - `category_path`: the category of the answer, empty if there is none. `who`: its author.
    - `seen`: stands for the listing's text. Send it back with the answer.
    """

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
    """Reviews in one state, the most valuable first, and the number of reviews in each state."""

    counts: dict[str, int]
    reviews: list[ReviewOut]


class AnsweredOut(BaseModel):
    """The state of an answered review, and the write that stores the answer (null for a skipped review)."""

    state: str
    write: WriteOut | None


class ReadyOut(BaseModel):
    """The store version that is served, and the problems of the service (empty if there are none)."""

    store_version: int
    items: int
    writes_waiting: int
    problems: list[str]


class Refusal(BaseModel):
    """An error: `detail` explains it in one line; `code` names its kind and stays the same in later versions."""

    detail: str
    code: str


def items_of(taken: Sequence[ListingIn], name: str) -> list[Item]:
    """Return the items of a request. Raise InputError with the position of the first item that cannot be used."""
    found = []
    for place, one in enumerate(taken):
        try:
            found.append(one.item())
        except InputError as error:
            raise error.at(f"{name}[{place}]") from None
    return found
