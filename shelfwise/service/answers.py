"""Queries to a store, and answering a batch of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from shelfwise.classifier.model.decision import FULL, Decision, SimilarItem
from shelfwise.classifier.model.pipeline import DEFAULT_SIMILAR, Classifier
from shelfwise.indexer.errors import ShelfwiseError
from shelfwise.indexer.item import Item
from shelfwise.indexer.searching.segments import Filter
from shelfwise.service.served import Served


@dataclass(frozen=True, slots=True)
class Way:
    """Options for classifying a listing; see `Classifier.classify`."""

    top: int = 3
    neighbors: int = 3
    tier: str = FULL


@dataclass(frozen=True, slots=True)
class Classify:
    """A query for the category of a listing."""

    listing: Item
    way: Way = Way()


@dataclass(frozen=True, slots=True)
class Look:
    """A query for the items most similar to a text or to a stored item."""

    text: str | None = None
    id: str | None = None
    k: int = DEFAULT_SIMILAR
    where: Filter | None = None


Ask = Classify | Look
Answer = Decision | tuple[SimilarItem, ...] | ShelfwiseError  # an error answers only its own query of a batch


def answered(served: Served, asks: Sequence[Ask]) -> list[Answer]:
    """Return one answer per query, in order, all from one version of the store.

    Listings with the same options are classified in one call.
    """
    try:
        return _answered(served.classifier, asks)
    except ShelfwiseError:  # the version may have been deleted: use the current one
        return _answered(served.refresh(), asks)


def _answered(classifier: Classifier, asks: Sequence[Ask]) -> list[Answer]:
    answers = dict[int, Answer]()
    alike = defaultdict[Way, list[int]](list)
    for place, ask in enumerate(asks):
        if isinstance(ask, Classify):
            alike[ask.way].append(place)
    for way, places in alike.items():
        items = [ask.listing for ask in asks if isinstance(ask, Classify) and ask.way == way]
        neighbors = min(way.neighbors, len(classifier.index))
        answers |= dict(zip(places, classifier.classify(items, way.top, neighbors, tier=way.tier), strict=True))
    looks = {place: ask for place, ask in enumerate(asks) if isinstance(ask, Look)}
    texts = [ask.text for ask in looks.values() if ask.text is not None]
    vectors = dict(zip(texts, classifier.index.embed(texts), strict=True)) if texts else {}
    for place, look in looks.items():
        vector = None if look.text is None else vectors[look.text][None]
        try:
            answers[place] = classifier.similar_to(vector, look.id, min(look.k, len(classifier.index)), look.where)
        except ShelfwiseError as error:
            answers[place] = error
    return [answers[place] for place in range(len(asks))]
