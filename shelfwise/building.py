"""Build a store from a catalog in one call."""

from typing import Literal, Unpack, overload

from shelfwise import arguments
from shelfwise.arguments import device_of, goal_overrides, release_limits, watched_by
from shelfwise.classifier.changing import release
from shelfwise.indexer.store.migration import migrate
from shelfwise.results import Preview, with_rows
from shelfwise.rows import options_of, read_labelled
from shelfwise.store import Store
from shelfwise.types import BuildOptions, Columns, Labelled, Name, Watch


@overload
def build(path: Name, catalog: Labelled, *, dry_run: Literal[True], **options: Unpack[BuildOptions]) -> Preview: ...
@overload
def build(
    path: Name, catalog: Labelled, *, dry_run: Literal[False] = False, **options: Unpack[BuildOptions]
) -> Store: ...
def build(
    path: Name,
    catalog: Labelled,
    *,
    encoder: str = "auto",
    device: str = "auto",
    columns: Columns | None = None,
    encoding: str | None = None,
    head: str | None = None,
    optimize: str | None = None,
    target_precision: float | None = None,
    max_removed: float = 0.2,
    max_flipped: float = 0.05,
    force: bool = False,
    dry_run: bool = False,
    progress: Watch = None,
) -> Store | Preview:
    """Build or update the store in the folder `path` from a catalog, and return the open store.

    `catalog` is one file or several (CSV, TSV, JSONL, Parquet), a DataFrame, or an iterable of dicts or Items. Unusable
    rows are skipped and listed in `store.report.rejects`. Items of the previous catalog that are not in this one are
    removed. Items added with `Store.add` stay. Only texts without a stored vector are embedded. A store of an earlier
    format is migrated first.

    Options:
        encoder: auto, minilm, e5, hashing, a folder or a hub name. An existing store keeps its encoder.
        device: auto, cpu or cuda.
        columns: source column by field, such as {"title": "name"}, or a list of columns for attributes. The fields are
            id, title, description, brand, attributes, category and category_path. Usual column names are recognised.
        encoding: encoding of the files, if it is not recognised.
        head: mlp, svm, logistic or closed-form; optimize: accuracy or macro-f1; target_precision: in (0.5, 1). None
            keeps the goal of the store.
        max_removed, max_flipped: largest shares in [0, 1] of items removed, and of 500 known items that would get
            another category. A build above one of them is refused, unless `force` is True.
        dry_run: return a Preview, and change nothing.
        progress: True for a bar (if stderr is a terminal), or a callable `(stage, done, total, note)`.

    Raise ShelfwiseError if an argument is wrong, no row is usable, the change is refused, or the store cannot be
    written. Nothing is changed then.

    >>> import shelfwise as sw
    >>> store = sw.build("new.store", [{"title": "Red mug", "category": "Mugs"}], encoder="hashing")
    >>> len(store), store.report.rejects
    (1, ())
    """
    folder = arguments.path("path", path)
    arguments.text("encoder", encoder)
    overrides = goal_overrides(head, optimize, target_precision)
    limits = release_limits(max_removed, max_flipped, force)
    arguments.flag("dry_run", dry_run)
    device_of(device)
    options, watched = options_of(columns, encoding), watched_by(progress)
    read, rejects = read_labelled(catalog, options)
    migrate(folder)
    with watched as watch:
        if dry_run:
            with release.releasing(folder, read.items, encoder, device, overrides, watch) as planned:
                return Preview(planned.difference, planned.flips(), rejects)
        report = release.build(folder, read.items, encoder, device, overrides, watch, limits)
    return Store(folder, device, with_rows(report, read, rejects))
