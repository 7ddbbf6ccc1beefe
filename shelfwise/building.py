"""Build a store from a catalog in one call."""

from typing import Literal, Unpack, overload

from shelfwise import arguments
from shelfwise.arguments import device_of, goal_overrides, release_limits, watched_by
from shelfwise.classifier.changing import release
from shelfwise.indexer.reading.catalog import survey_files, survey_rows
from shelfwise.indexer.reading.rejects import RejectList
from shelfwise.indexer.reading.report import ReadingReport
from shelfwise.indexer.store.backup import restore as put_back
from shelfwise.indexer.store.memory import memory_of
from shelfwise.indexer.store.migration import migrate
from shelfwise.results import Preview, with_rows
from shelfwise.rows import files_in, options_of, read_labelled, rows_of
from shelfwise.store import Store
from shelfwise.types import BuildOptions, Labelled, Name, ReadingOptions, Watch


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
    accept_report: bool = False,
    head: str | None = None,
    optimize: str | None = None,
    target_precision: float | None = None,
    max_removed: float = 0.2,
    max_flipped: float = 0.05,
    force: bool = False,
    dry_run: bool = False,
    progress: Watch = None,
    **reading: Unpack[ReadingOptions],
) -> Store | Preview:
    """Build or update the store in the folder `path` from a catalog, and return the open store.

    `catalog` is one file or several (CSV, TSV, JSON, Parquet, Excel, XML), a DataFrame, or an iterable of dicts or
    Items. Unusable rows are skipped and listed in `store.report.rejects`. Items of the previous catalog that are not in
    this one are removed. Items added with `Store.add` stay. Only texts without a stored vector are embedded.

    Options:
        encoder: auto, minilm, e5, hashing, a folder or a hub name. An existing store keeps its encoder.
        device: auto, cpu or cuda.
        reading: columns, encoding, profile, sheet and merge_spellings; see `shelfwise.types.ReadingOptions`.
        accept_report: build although the reading report has a finding that stops a build; see `shelfwise.inspect`.
        head: mlp, svm, logistic or closed-form; optimize: accuracy or macro-f1; target_precision: in (0.5, 1). None
            keeps the goal of the store.
        max_removed, max_flipped: largest shares in [0, 1] of items removed, and of 500 known items that would get
            another category. A build above one of them is refused, unless `force` is True.
        dry_run: return a Preview, and change nothing; progress: True for a bar, or a callable (see the documentation).

    Raise ShelfwiseError if an argument is wrong, no row is usable, or the change is refused. Nothing is changed then.

    >>> import shelfwise as sw
    >>> store = sw.build("new.store", [{"title": "Red mug", "category": "Mugs"}], encoder="hashing")
    >>> len(store), store.report.rejects
    (1, ())
    """
    folder = arguments.path("path", path)
    arguments.text("encoder", encoder)
    overrides = goal_overrides(head, optimize, target_precision)
    limits = release_limits(max_removed, max_flipped, force)
    for name, value in {"dry_run": dry_run, "accept_report": accept_report}.items():
        arguments.flag(name, value)
    device_of(device)
    options, watched = options_of(**reading), watched_by(progress)
    known = memory_of(folder)
    read, rejects = read_labelled(catalog, known.options(options))
    memory = read.report.remembered(known, options.columns, accept_report)
    migrate(folder)
    with watched as watch:
        if dry_run:
            with release.releasing(folder, read.items, encoder, device, overrides, watch, memory) as planned:
                return Preview(planned.difference, planned.flips(), rejects)
        report = release.build(folder, read.items, encoder, device, overrides, watch, limits, memory)
    return Store(folder, device, with_rows(report, read, rejects))


def restore(folder: Name, path: Name, at: int | None = None, device: str = "auto", progress: Watch = None) -> Store:
    """Make a store at `path`, a new or empty folder, from a folder of backups, and open it.

    `at` is the version to restore, by default the newest that was backed up. Raise ShelfwiseError if there is no such
    backup, if it is damaged, or if `path` holds files.

    >>> import shelfwise as sw
    >>> backup = sw.open("kitchen.store").backup("kitchen.backups")
    >>> sw.restore("kitchen.backups", "again.store").version
    1
    """
    source, target = arguments.path("folder", folder), arguments.path("path", path)
    version = None if at is None else arguments.whole("at", at, 1)
    device_of(device)
    with watched_by(progress) as watch:
        put_back(source, target, version, watch)
    return Store(target, device)


def inspect(source: Labelled, **reading: Unpack[ReadingOptions]) -> ReadingReport:
    """Return what would be understood of labelled files or rows, without building a store.

    `reading` says how to read them, as in `shelfwise.build`. The report has the columns that give each field, rows,
    rejects by code, categories, the largest ones, texts as they would be embedded, and `findings`: what looks wrong.
    Raise ShelfwiseError if a file cannot be read or no row is usable.

    >>> import shelfwise as sw
    >>> report = sw.inspect([{"name": "Red mug", "category": "Kitchen/Mugs"}])
    >>> [(use.field, use.columns) for use in report.files[0].columns], report.items
    ([('title', ('name',)), ('category', ('category',))], 1)
    """
    options, files = options_of(**reading), files_in(source)
    if files is None:
        return survey_rows(rows_of(source, "the catalog", labelled=True), RejectList(), options)
    return survey_files(files, RejectList(), options)
