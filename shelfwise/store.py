"""The public `Store`: a store, its encoder and its search in one object."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast, overload

from shelfwise import arguments
from shelfwise.arguments import device_of, filter_of, goal_overrides, version_of, watched_by
from shelfwise.classifier.changing import maintenance
from shelfwise.classifier.changing.maintenance import Report
from shelfwise.classifier.model.decision import FULL, Decision, SimilarItem
from shelfwise.classifier.model.pipeline import LISTINGS_AT_A_TIME, TIERS
from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import Item, words_of
from shelfwise.indexer.reading.rejects import RejectList
from shelfwise.indexer.searching import compaction
from shelfwise.indexer.searching.compaction import Cleared
from shelfwise.indexer.store import history
from shelfwise.indexer.store.manifest import read_manifest
from shelfwise.indexer.store.snapshot import read_snapshot
from shelfwise.indexer.store.sync import Difference, difference, state_of
from shelfwise.opened import OpenStore
from shelfwise.results import Version, beside, with_rows
from shelfwise.rows import Frame, is_frame, labelled_batches, options_of, read_items, read_labelled
from shelfwise.types import ClassifyOptions, Columns, Labelled, Listing, Name, ReadingOptions, Watch

if TYPE_CHECKING:
    import pandas as pd

    from shelfwise.classifier.changing.checking import Checked
    from shelfwise.classifier.changing.finetuning import Finetuned
    from shelfwise.classifier.measuring.evaluation import Evaluation
    from shelfwise.indexer.store.backup import BackedUp
    from shelfwise.indexer.store.tuning import Tuned


def open_store(path: Name, *, device: str = "auto") -> "Store":
    """Open the store in the folder `path`. `device` is auto, cpu or cuda.

    A store of an earlier format is migrated first. The first call that needs the encoder and the index loads them, from
    the newest version at that time. Raise ShelfwiseError if there is no store, or if it cannot be read.

    >>> import shelfwise as sw
    >>> sw.open("kitchen.store")
    <Store kitchen.store: version 1, 12 items, 3 categories, hashing>
    """
    folder = arguments.path("path", path)
    return Store(folder, device_of(device))


class Store(OpenStore):
    """An open store: classify listings, search it, change it, and return to earlier versions. See `shelfwise.open`.

    Changes by this object are visible at once, changes by another process after `refresh`. Several threads may use one
    Store: it makes their changes one at a time. Close it, or use it in a `with` block, to release its files. Every
    method raises ShelfwiseError if an argument is wrong, before it does any work, and if the store is closed or its
    folder is gone.
    """

    @overload
    def classify(  # type: ignore[overload-overlap]  # a str is an iterable of str, too
        self, listings: Listing, **options: Unpack[ClassifyOptions]
    ) -> Decision: ...
    @overload
    def classify(self, listings: Frame, **options: Unpack[ClassifyOptions]) -> "pd.DataFrame": ...
    @overload
    def classify(self, listings: "Iterable[Listing]", **options: Unpack[ClassifyOptions]) -> list[Decision]: ...
    def classify(
        self,
        listings: "Listing | Iterable[Listing] | Frame",
        *,
        top: int = 3,
        neighbors: int | None = None,
        tier: str = FULL,
        columns: Columns | None = None,
        progress: Watch = None,
    ) -> "Decision | list[Decision] | pd.DataFrame":
        """Decide the category of one listing, of several, or of each row of a DataFrame.

        A listing is a title (a str is never a file here), a dict of fields, or an Item. One listing gives one Decision,
        and an iterable a list of them. A DataFrame gives a DataFrame with the same index: its own columns, then those
        of `shelfwise.to_frame`. An input column with the name of one of those gets the prefix `"input_"`. A listing
        without text is decided as unknown (`empty_text`).

        `top` is the number of alternatives (1 or more). `neighbors` is the number of similar items shown as evidence (0
        or more; by default 3, or all of a smaller store). `tier` is full, auto or fast. `columns` is the source column
        by field, as in `shelfwise.build`. Raise ShelfwiseError if a listing is unusable, naming it, or if `neighbors`
        is larger than the store.

        >>> import shelfwise as sw
        >>> store = sw.open("kitchen.store")
        >>> store.classify("blue mug").category_path
        'Kitchen > Mugs'
        >>> [decision.category for decision in store.classify(["steel kettle", {"title": "frying pan"}])]
        ['Kettles', 'Pans']
        """
        top = arguments.whole("top", top, 1)
        arguments.choice("tier", tier, TIERS)
        shown = None if neighbors is None else arguments.whole("neighbors", neighbors, 0)
        options, watched = self._options(options_of(columns)), watched_by(progress)
        self._require_usable()
        items, single = read_items(listings, options)
        classifier = self.classifier
        index = classifier.index
        many = min(3, len(index)) if shown is None else index.require_k(shown, "neighbors")
        with watched as watch:
            decisions = classifier.classify(items, top, many, watch, tier)
        if single:
            return decisions[0]
        return beside(cast("pd.DataFrame", listings), decisions) if is_frame(listings) else decisions

    def similar(
        self,
        text: str | None = None,
        *,
        id: str | None = None,
        k: int | None = None,
        where: str | Mapping[str, str] | None = None,
    ) -> list[SimilarItem]:
        """Return the `k` stored items most similar to a text or to the stored item `id`, nearest first.

        The item `id` itself is left out. `k` is 10 by default, or all of a smaller store. `where` keeps only some
        items: a dict of `category` (a node of the category tree), `brand` and `attributes` (a part of them), or an SQL
        condition on the items' fields. Raise ShelfwiseError if there is no item `id`, `where` is invalid, or `k` is
        larger than the store.

        >>> import shelfwise as sw
        >>> [item.title for item in sw.open("kitchen.store").similar("red mug", k=1, where={"brand": "VELORO"})]
        ['Red mug']
        """
        if (text is None) == (id is None):
            given = "both text and id" if text is not None else "neither text nor id"
            raise InputError("text_or_id", given, "exactly one of them", "pass a text, or the id of a stored item")
        wanted = None if text is None else words_of(arguments.text("text", text)).text()
        if wanted == "":
            raise InputError("empty_text", f"text {text!r:.60}", "text with a word in it", "pass some words")
        like = None if id is None else arguments.text("id", id)
        many = None if k is None else arguments.whole("k", k, 1)
        chosen = filter_of(where)
        return list(self.classifier.similar(wanted, like, many, chosen))

    def get(self, id: str) -> Item:
        """Return the stored item with this id. Raise ShelfwiseError if there is none.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").get("mug-1").title
        'Red mug'
        """
        known = arguments.text("id", id)
        return self.classifier.index.item(known)

    def add(
        self,
        items: Labelled,
        *,
        progress: Watch = None,
        **reading: Unpack[ReadingOptions],
    ) -> Report:
        """Insert labelled items, or replace stored items with the same id. A new category works at once.

        `items` are files, a DataFrame, or an iterable of dicts or Items, and `reading` says how to read them, as for
        `shelfwise.build`. Unusable rows are skipped and listed in `report.rejects`. Of rows with the same id the last
        one counts (`report.conflicting`). Added items stay when the store is built again, until a catalog lists their
        ids. The report also has the counts added, updated and unchanged, new_categories, the version, and rows, the
        number of items now stored.

        >>> import shelfwise as sw
        >>> store = sw.open("kitchen.store")
        >>> report = store.add([{"title": "Air fryer 4 l", "category_path": "Kitchen > Air Fryers"}, {"title": ""}])
        >>> report.added, report.new_categories, [reject.code for reject in report.rejects]
        (1, ('Kitchen > Air Fryers',), ['empty_title'])
        """
        options, watched = self._options(options_of(**reading)), watched_by(progress)
        self._require_usable()
        read, rejects = read_labelled(items, options)
        with self._changing(), watched as watch:
            reuse = self._classifier.index if self._classifier else None
            report = maintenance.apply(self._path, maintenance.Edit(read.items), reuse, self._device, watch)
            return self._changed(with_rows(report, read, rejects))

    def remove(self, ids: str | Iterable[str] = (), *, category: str | None = None, added: bool = False) -> Report:
        """Remove items by id, all items of a category and those below it, or all `added` items not in a catalog.

        Raise ShelfwiseError if an id or the category does not exist, nothing was added, or no item would be left.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").remove("mug-1").removed
        1
        """
        chosen = arguments.texts("ids", ids)
        path = None if category is None else arguments.text("category", category)
        if bool(chosen) + (path is not None) + arguments.flag("added", added) != 1:
            raise InputError(
                "one_of", "none or several of ids, category and added", "exactly one of them", "pass one of the three"
            )
        with self._changing():
            return self._changed(maintenance.remove(self._path, chosen, path, added))

    def train(
        self,
        *,
        head: str | None = None,
        optimize: str | None = None,
        target_precision: float | None = None,
        progress: Watch = None,
    ) -> Report:
        """Fit the model again to the stored items. New goals, as in `shelfwise.build`, are stored.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").train(target_precision=0.9).settings.goals.target_precision
        0.9
        """
        overrides, watched = goal_overrides(head, optimize, target_precision), watched_by(progress)
        with self._changing(), watched as watch:
            return self._changed(maintenance.train(self._path, overrides, watch))

    def finetune(self, *, minutes: float = 20.0, epochs: int | None = None, progress: Watch = None) -> "Finetuned":
        """Fine-tune the store's encoder on its items for about `minutes` in all, and keep it if it is better.

        `epochs` is the largest number of passes over the items (4 to 8 by default). An interrupted run resumes at the
        next call. Raise ShelfwiseError if the encoder cannot be fine-tuned, or if items or minutes are too few.

        >>> import shelfwise as sw
        >>> try:
        ...     sw.open("kitchen.store").finetune(minutes=1)
        ... except sw.ShelfwiseError as error:
        ...     print(error.code)
        nothing_to_finetune
        """
        from shelfwise.classifier.changing.finetuning import finetune_store

        limit = arguments.number("minutes", minutes, 0, float("inf"), low_open=True)
        passes = None if epochs is None else arguments.whole("epochs", epochs, 1)
        watched = watched_by(progress)
        with self._changing(), watched as watch:
            done = finetune_store(self._path, passes, limit, self._device, watch)
            self._changed(done.report)
            return done

    def tune(self, *, progress: Watch = None) -> "Tuned":
        """Find the fastest settings for the store's encoder on this machine, and store them. This takes minutes.

        Raise ShelfwiseError if the encoder has no exported form.

        >>> import shelfwise as sw
        >>> try:
        ...     sw.open("kitchen.store").tune()
        ... except sw.ShelfwiseError as error:
        ...     print(error.code)
        nothing_to_tune
        """
        from shelfwise.indexer.store.tuning import tune

        watched = watched_by(progress)
        with self._changing(), watched as watch:
            found = tune(self._path, watch)
            with self._lock:
                self._classifier = None  # so that the encoder is loaded with its new settings
            return found

    def evaluate(
        self,
        labelled: Labelled,
        *,
        tier: str = FULL,
        baselines: bool = False,
        progress: Watch = None,
        **reading: Unpack[ReadingOptions],
    ) -> "Evaluation":
        """Classify labelled listings, and measure accuracy, coverage and calibration.

        The result has accuracy, accepted and accepted_accuracy, all `figures` by name with their `intervals`, levels,
        categories, confusions, and a risk_coverage curve. `labelled` are files, a DataFrame, or an iterable of dicts or
        Items; `reading` says how to read them. Unusable rows are skipped and listed in `result.rejects`. `tier` is
        full, auto or fast. With `baselines`, a linear SVM on n-grams and a logistic regression on the vectors are
        fitted to the same items and compared.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").evaluate([{"title": "white mug", "category_path": "Kitchen > Mugs"}]).accuracy
        1.0
        """
        from shelfwise.classifier.measuring.evaluation import evaluate

        arguments.choice("tier", tier, TIERS)
        arguments.flag("baselines", baselines)
        options, watched = self._options(options_of(**reading)), watched_by(progress)
        classifier, rejects = self.classifier, RejectList()
        with watched as watch:
            batches = labelled_batches(labelled, options, rejects, LISTINGS_AT_A_TIME[tier])
            return replace(evaluate(classifier, batches, baselines, tier, watch), rejects=tuple(rejects.rows))

    def versions(self) -> list[Version]:
        """Return the stored versions, the newest last.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").versions()
        [<Version 1: build, 12 items>]
        """
        return self._read(lambda folder: [Version.from_entry(entry) for entry in history.history(folder)])

    def diff(self, before: int | str, after: int | str) -> Difference:
        """Return the difference between two versions, each given by its number or a tag.

        The result has added, reworded, relabelled, moved and removed, each with a count and some examples.

        >>> import shelfwise as sw
        >>> store = sw.open("kitchen.store")
        >>> report = store.remove("mug-1")
        >>> store.diff(1, 2).removed.count
        1
        """
        named = [version_of("before", before), version_of("after", after)]

        def compared(folder: Path) -> Difference:
            numbers = [history.resolve_version(folder, name) for name in named]
            return difference(*(state_of(read_snapshot(folder, number).rows) for number in numbers))

        return self._read(compared)

    def tag(self, name: str, version: int | str | None = None, *, delete: bool = False) -> int | None:
        """Tag a version (the newest by default) with `name`, and return its number. `compact` keeps tagged versions.

        With `delete`, remove the tag and return None.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").tag("before-sale")
        1
        """
        arguments.text("name", name)
        named = None if version is None else version_of("version", version)
        if arguments.flag("delete", delete) and named is not None:
            raise InputError("one_of", "both a version and delete", "one of them", "name a version, or delete the tag")
        with self._changing():
            newest = str(read_manifest(self._path).version)
            return history.tag(self._path, name, None if delete else named or newest)

    def rollback(self, version: int | str) -> Version:
        """Create a new version with the content of an earlier `version` (a number or a tag), and return it.

        >>> import shelfwise as sw
        >>> store = sw.open("kitchen.store")
        >>> report = store.remove("mug-1")
        >>> store.rollback(1)
        <Version 3: rollback to 1, 12 items>
        """
        named = version_of("version", version)
        with self._changing():
            made = history.rollback(self._path, named)
            self._moved()
            return Version.from_entry(history.Entry(made, ()))

    def compact(self, keep: int = 5) -> Cleared:
        """Delete all versions except the last `keep` and the tagged ones.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").compact().kept
        (1,)
        """
        last = arguments.whole("keep", keep, 1)
        with self._changing():
            done = compaction.compact(self._path, last)
            self._moved()
            return done

    def backup(self, folder: Name, progress: Watch = None) -> "BackedUp":
        """Add the newest version and the desk to a folder of backups, for `shelfwise.restore`. Copy only what is new.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").backup("kitchen.backups").version
        1
        """
        from shelfwise.indexer.store.backup import back_up

        with watched_by(progress) as watch:
            return self._read(lambda store: back_up(store, arguments.path("folder", folder), watch))

    def check(self) -> "Checked":
        """Verify every byte of every version. `problems` of the result is empty if the store is intact.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").check().problems
        ()
        """
        from shelfwise.classifier.changing.checking import check

        return self._read(check)

    def info(self) -> dict[str, Any]:
        """Return facts about the store by name: version, created, rows, encoder, settings, categories and so on.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").info()["rows"]
        12
        """
        return self._read(lambda folder: dict(maintenance.describe(folder)) | {"store": str(self._path)})
