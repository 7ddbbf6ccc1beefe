"""The pipeline from a listing to its decision."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, repeat
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from shelfwise.classifier.labels import Labels, Numbers, Probabilities
from shelfwise.classifier.model.calibration import NEVER
from shelfwise.classifier.model.decision import (
    ACCEPT,
    DECIMALS,
    FAST,
    FULL,
    REASONS,
    Alternative,
    Decision,
    Signals,
    SimilarItem,
    nodes,
    ranked,
    reasons,
)
from shelfwise.classifier.model.fusion import Evidence, K, Mixed, known_to, opinion_of, opinions_of
from shelfwise.classifier.model.model import FAST_OPINION, Model, model_of
from shelfwise.classifier.model.opinions import Features
from shelfwise.indexer.encoding.lexical import Counts, ngram_counts
from shelfwise.indexer.item import Item, Words
from shelfwise.indexer.reading.listings import Listing
from shelfwise.indexer.searching.index import Index
from shelfwise.indexer.searching.search import NONE, Neighbors
from shelfwise.indexer.searching.segments import Filter
from shelfwise.indexer.threads import usable_threads
from shelfwise.indexer.types import Progress, Vectors

AUTO = "auto"  # tier: fast if the n-grams are sure, full if not
TIERS = (FULL, AUTO, FAST)
LISTINGS_AT_A_TIME = {FULL: 4096, AUTO: 4096, FAST: 1024}  # larger batches are encoded with less padding
DECIDED_AT_A_TIME = 256  # listings decided at a time: each needs a number for every category
SHORT_END = 4  # the last batch is divided by this: a small part is left for the time after embedding
DEFAULT_SIMILAR = 10
CORES_FOR_EACH = 4  # one of these cores searches and decides while the others embed
SPARE_DUPLICATES = 32  # neighbours fetched beyond K if an item's own duplicates must not vote for it
TINY = 1e-6  # a category with a lower probability is in no prediction set unless it is the predicted one


@dataclass(frozen=True)
class Scores:
    """The scores of m listings in a tier: `neighbors` (none in tier fast) and calibrated `probabilities` (m, c).

    `far` (m,) marks listings far from the whole catalog. `mixed` has the vote, the opinions and their fusion.
    """

    tier: str
    neighbors: Neighbors
    far: NDArray[np.bool_]
    mixed: Mixed
    probabilities: Probabilities


@dataclass(frozen=True)
class Triage:
    """n listings with their words: `decided` has the decisions by n-grams, by row; other rows `wait` for vectors.

    `counts` are the n-grams of the waiting rows, None if not computed yet.
    """

    words: Sequence[Words]
    decided: Mapping[int, Decision]
    wait: Numbers
    counts: Counts | None = None


def beside(listings: Sequence[Listing], decisions: Sequence[Decision]) -> list[Decision | None]:
    """Return the decision of each listing, None for one without an item."""
    made = iter(decisions)
    return [None if listing.item is None else next(made) for listing in listings]


def _with_short_end(batches: Iterable[Sequence[Listing]]) -> Iterator[Sequence[Listing]]:
    """Yield the batches, the last one in two parts.

    While a batch is decided, the next is embedded. Nothing is embedded during the last part, so it is small.
    """
    before: Sequence[Listing] = ()
    for listings in batches:
        if before:
            yield before
        before = listings
    end = len(before) - max(len(before) // SHORT_END, min(len(before), DECIDED_AT_A_TIME))
    yield from filter(None, (before[:end], before[end:]))


@dataclass(frozen=True)
class Classifier:
    """A store opened for classifying: its index and the model fitted to it."""

    index: Index
    model: Model

    @classmethod
    def open(cls, path: Path, device: str = "auto") -> Self:
        """Open the store at `path`; `device` is auto, cpu or cuda. Raise ShelfwiseError if it cannot be opened."""
        return cls.from_index(Index.open(path, device))

    @classmethod
    def from_index(cls, index: Index) -> Self:
        """Return the classifier of an open index. Raise StoreError if the store has no model."""
        return cls(index, model_of(index.snapshot))

    def refreshed(self) -> Self:
        """Return the classifier of the store's current version, itself if unchanged. Call it before you classify.

        Raise ShelfwiseError if the version cannot be opened.
        """
        index = self.index.refreshed()
        if index is self.index:
            return self
        same = index.snapshot.manifest.blobs == self.index.snapshot.manifest.blobs
        return type(self)(index, self.model) if same else self.from_index(index)

    @cached_property
    def labels(self) -> Labels:
        """The c categories that have an item in the index."""
        segments = self.index.segments
        (path, paths), (name, names) = self._coded_paths, segments.coded("category")
        pairs = np.unique(path[segments.alive] * len(names) + name[segments.alive])
        return Labels.from_paths(
            [paths[pair // len(names)] for pair in pairs], [names[pair % len(names)] for pair in pairs]
        )

    @cached_property
    def _coded_paths(self) -> tuple[Numbers, list[str]]:
        return self.index.segments.coded("category_path")

    @cached_property
    def duplicate_keys(self) -> NDArray[np.object_]:
        """(n,) key of each row of the index; duplicates have the same key."""
        return np.array(self.index.segments.column("twin_key").to_pylist(), dtype=object)

    @cached_property
    def category_of_row(self) -> Numbers:
        """(n,) category of each row of the index; NO_CATEGORY for a deleted row whose category has no item left."""
        path, paths = self._coded_paths
        return self.labels.numbers(paths)[path]

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """(c,) mask of the categories that the head was trained on."""
        return known_to(self.model.head, self.labels)

    @cached_property
    def counts(self) -> Numbers:
        """(c,) number of items of each category."""
        return np.bincount(self.category_of_row[self.index.segments.alive], minlength=len(self.labels))

    def classify(
        self,
        items: Sequence[Item],
        top: int = 3,
        neighbors: int = 3,
        progress: Progress | None = None,
        tier: str = FULL,
    ) -> list[Decision]:
        """Return one decision for each item, in order, with `top` alternatives and `neighbors` items of evidence.

        In `tier` fast, n-grams alone decide, without evidence. In auto, they decide where that costs little accuracy.
        """
        draft = self._draft(items, tier, top)
        vectors = self.index.embed([items[row].words.text() for row in draft.wait], progress)
        return self._decided(draft, vectors, top, neighbors)

    def stream(
        self, batches: Iterable[Sequence[Listing]], top: int = 3, neighbors: int = 3, tier: str = FULL
    ) -> Iterator[tuple[Sequence[Listing], list[Decision | None]]]:
        """Yield each batch with its decisions, in order: None for a variant of an earlier listing's product.

        While one batch is decided, a thread embeds the next.
        """
        few = max(1, usable_threads() // CORES_FOR_EACH)
        with ThreadPoolExecutor(1) as thread, threadpool_limits(few):
            before = None
            for listings in _with_short_end(batches):
                items = [listing.item for listing in listings if listing.item is not None]
                draft = self._draft(items, tier, top)
                vectors = thread.submit(self.index.embed, [items[row].words.text() for row in draft.wait])
                if before:
                    yield before[0], beside(before[0], self._decided(before[1], before[2].result(), top, neighbors))
                before = listings, draft, vectors
            if before:
                yield before[0], beside(before[0], self._decided(before[1], before[2].result(), top, neighbors))

    def _draft(self, items: Sequence[Item], tier: str, top: int) -> Triage:
        words, fast_from = [item.words for item in items], self.model.settings.fast_from  # n
        if tier == FULL or (tier == AUTO and fast_from >= NEVER):
            return Triage(words, {}, np.arange(len(items)))
        counts = ngram_counts(words)  # (n, FEATURES)
        scores = self.score_ngrams(counts)  # (n, c)
        sure = np.full(len(items), True)
        if tier == AUTO:
            sure = scores.probabilities.max(axis=1, initial=0) >= fast_from
        said, wait = self.decide(words, scores, top), np.flatnonzero(~sure)
        return Triage(words, {row: said[row] for row in np.flatnonzero(sure).tolist()}, wait, counts[wait])

    def _decided(self, draft: Triage, vectors: Vectors, top: int, neighbors: int) -> list[Decision]:
        decided = dict(draft.decided)
        if len(draft.wait):
            found = self.index.search(vectors, max(K, neighbors))  # at once: it memory-maps large vectors
            for start in range(0, len(draft.wait), DECIDED_AT_A_TIME):
                part = slice(start, start + DECIDED_AT_A_TIME)
                rows = draft.wait[part].tolist()  # m
                words = [draft.words[row] for row in rows]
                counts = ngram_counts(words) if draft.counts is None else draft.counts[part]
                near = Neighbors(found.rows[part], found.similarities[part])
                scores = self.judge(Features(vectors[part], counts), near)  # (m, c)
                decided |= dict(zip(rows, self.decide(words, scores, top, neighbors), strict=True))
        return [decided[row] for row in range(len(draft.words))]

    def score_ngrams(self, counts: Counts) -> Scores:
        """Return the scores of m texts by n-grams alone; categories new to the head get 0."""
        settings = self.model.settings
        m, temperature = counts.shape[0], settings.temperatures[FAST_OPINION]
        features = Features(np.empty((m, 0), np.float32), counts)
        opinion = opinion_of(self.model.head, FAST_OPINION, features, self.labels, self.known, temperature)
        shares = opinion.shares  # (m, c)
        nobody = Neighbors(np.empty((m, 0), np.int64), np.empty((m, 0)))
        alone = Mixed(shares, shares, shares)
        return Scores(FAST, nobody, np.zeros(m, bool), alone, settings.fast.probabilities(shares))

    def score(self, features: Features, k: int = K) -> Scores:
        """Return the scores of m texts from their features: vote, head and their fusion."""
        return self.judge(features, self.index.search(features.vectors, k))

    def judge_without_duplicates(self, features: Features, own: NDArray[np.object_]) -> Scores:
        """Return the scores of m items; rows with an item's own key, `own` (m,), do not vote for it."""
        found = self.index.search(features.vectors, K + SPARE_DUPLICATES)
        return self.judge(features, found.without_duplicates(self.duplicate_keys, own, K))

    def judge(self, features: Features, found: Neighbors) -> Scores:
        """Return the scores of m texts from their features and their neighbours (m, k)."""
        settings = self.model.settings
        voters = Neighbors(found.rows[:, :K], found.similarities[:, :K])
        opinions = opinions_of(self.model.head, features, self.labels, self.known, settings.temperatures)
        evidence = Evidence(voters, self.category_of_row, self.counts, opinions, self.known)
        mixed = evidence.mixed(settings.mix)  # 3 x (m, c)
        calibrated = settings.full.probabilities(mixed.fused)  # (m, c)
        return Scores(FULL, found, found.best() < settings.far_below, mixed, calibrated)

    def decide(self, words: Sequence[Words], scores: Scores, top: int = 3, neighbors: int = 3) -> list[Decision]:
        """Return the decisions on m texts from their scores."""
        p, tier, version = scores.probabilities, scores.tier, self.index.snapshot.manifest.version
        calibration = self.model.settings.fast if tier == FAST else self.model.settings.full
        in_set_from = max(calibration.set_from, TINY)
        in_set = np.maximum((p >= in_set_from).sum(axis=1), 1)
        best = p.argmax(axis=1)
        levels = [(level.paths, level.sums(p)) for level in self.labels.levels]
        sure_level = np.full(len(p), -1)
        for depth, ((_, sums), sure_from) in enumerate(zip(levels, calibration.sure_from, strict=False)):
            sure_level[sums.max(axis=1) >= sure_from] = depth
        signals = Signals(
            confidence=p[np.arange(len(p)), best],
            sure_level=sure_level,
            empty=np.array([not any(said) for said in words], bool),
            far=scores.far,
            new=~self.known[best],
            disagree=scores.mixed.vote.argmax(axis=1) != scores.mixed.head.argmax(axis=1),
        )
        rows = zip(
            reasons(signals, calibration),
            ranked(p, top, in_set_from),
            zip(*(nodes(paths, sums) for paths, sums in levels), strict=True) if levels else repeat(()),
            sure_level.tolist(),
            in_set.tolist(),
            self.items(scores.neighbors, neighbors),
            strict=False,
        )
        paths, decisions = self.labels.paths, []
        for reason, (categories, shares), above, sure, many, shown in rows:
            if reason == "empty_text":
                decisions.append(Decision("", "", 0.0, REASONS[reason], reason, "", (), (), (), (), tier, version))
                continue
            named = [paths[category] for category in categories]
            sure_path = ""
            if REASONS[reason] == ACCEPT:
                sure_path = named[0]
            elif reason == "sure_above":
                sure_path = above[sure].category_path
            decisions.append(
                Decision(
                    category=self.labels.names[categories[0]],
                    category_path=named[0],
                    confidence=shares[0],
                    decision=REASONS[reason],
                    reason=reason,
                    sure_path=sure_path,
                    alternatives=tuple(map(Alternative, named[:top], shares)),
                    levels=above,
                    prediction_set=tuple(named[:many]),
                    evidence=shown,
                    tier=tier,
                    store_version=version,
                )
            )
        return decisions

    def similar(
        self,
        text: str | None = None,
        id_: str | None = None,
        k: int | None = None,
        where: str | Filter | None = None,
    ) -> tuple[SimilarItem, ...]:
        """Return the `k` stored items (10 by default) most like a text, or like the stored item `id_` (excluded).

        `where` is an SQL condition on the items' columns, or a Filter. Raise QueryError if the id or the condition is
        not valid, or if `k` exceeds the number of items in the store.
        """
        k = min(DEFAULT_SIMILAR, len(self.index)) if k is None else self.index.require_k(k, "k")
        vector = self.index.embed([text or ""]) if id_ is None else None
        return self.similar_to(vector, id_, k, where)

    def similar_to(
        self, vector: Vectors | None, id_: str | None, k: int, where: str | Filter | None = None
    ) -> tuple[SimilarItem, ...]:
        """Return the items most similar to a text's vector (1, d), or to the item `id_` if `vector` is None."""
        if vector is None:
            vector = self.index.vector_of(id_ or "")
        return self.items(self.index.search(vector, k, where, without=id_), k)[0]

    def items(self, found: Neighbors, limit: int) -> list[tuple[SimilarItem, ...]]:
        """Return the first `limit` neighbours of each query as items."""
        rows, similarities = found.rows[:, :limit], found.similarities[:, :limit]
        there = rows != NONE
        texts = self.index.segments.texts(("id", "title", "brand", "category_path"), rows[there])
        listed = (
            SimilarItem(id_, title, brand, path, round(float(similarity), DECIMALS))
            for (id_, title, brand, path), similarity in zip(texts, similarities[there], strict=True)
        )
        return [tuple(islice(listed, int(many))) for many in there.sum(axis=1)]
