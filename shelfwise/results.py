"""Results of public calls other than decisions and reports: versions, previews and DataFrames."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from shelfwise.arguments import wrong_type
from shelfwise.classifier.changing.maintenance import Report
from shelfwise.classifier.changing.release import Flips
from shelfwise.classifier.measuring.output import DECISION_FIELDS, kept_names
from shelfwise.classifier.model.decision import Decision, SimilarItem
from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading.catalog import Catalog
from shelfwise.indexer.reading.rejects import Reject
from shelfwise.indexer.store.history import Entry
from shelfwise.indexer.store.sync import Difference

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class Version:
    """A version of a store: its `number`, its time `created` (ISO 8601, UTC), and the `command` that created it.

    `added`, `updated` and `removed` count the items that the command changed. `items` is the number of stored items,
    `encoder` the name of their encoder, and `tags` the tags of the version.
    """

    number: int
    created: str
    command: str
    added: int
    updated: int
    removed: int
    items: int
    encoder: str
    tags: tuple[str, ...] = ()

    @classmethod
    def from_entry(cls, entry: Entry) -> Self:
        """Return the version described by an entry of the store's history."""
        made, change = entry.manifest, entry.manifest.change
        counts = change.added, change.updated, change.removed
        return cls(made.version, made.created, change.command, *counts, made.rows, made.encoder.name, entry.tags)

    def __repr__(self) -> str:
        tags = f", {', '.join(self.tags)}" if self.tags else ""
        return f"<Version {self.number}: {self.command}, {self.items:,} items{tags}>"


@dataclass(frozen=True, repr=False)
class Preview:
    """The effect of a build that was not carried out (`dry_run`).

    `difference` compares the items before and after. `flips` counts the known items that would get another category.
    It is None for a first build, for no change, and for too few items to compare. `rejects` are the unusable rows.
    """

    difference: Difference
    flips: Flips | None
    rejects: tuple[Reject, ...] = ()

    def __repr__(self) -> str:
        counts = ", ".join(f"{kind.count:,} {name}" for name, kind in self.difference.kinds())
        flipped = f", {self.flips.flipped} of {self.flips.probes} flipped" if self.flips else ""
        return f"<Preview: {counts}{flipped}, {len(self.rejects)} rejected>"


def to_frame(results: Sequence[Any], index: "pd.Index[Any] | None" = None) -> "pd.DataFrame":
    """Return decisions, similar items, versions or rejects as a pandas DataFrame, one row each.

    Decisions have the columns of the command line: predicted_category, predicted_path, confidence, decision, reason and
    so on. Alternatives, levels and evidence are lists of dicts, and prediction_set is a list of paths. `to_json` writes
    these as JSON, `to_csv` as Python text. `index` is the index of the frame (0, 1, 2, ... by default). Raise
    ShelfwiseError if `results` has other or mixed types, or if `index` has another length.

    >>> from shelfwise import to_frame
    >>> to_frame([]).empty
    True
    """
    import pandas as pd

    if not isinstance(results, Iterable) or isinstance(results, str | bytes | Mapping):
        raise wrong_type("results", results, "a list of decisions, similar items, versions or rejects")
    found = list(results)
    kinds = (Decision, SimilarItem, Version, Reject)
    for place, one in enumerate(found):
        if not isinstance(one, kinds) or type(one) is not type(found[0]):
            first = type(found[0]).__name__ if place and isinstance(found[0], kinds) else ""
            raise wrong_type(f"results[{place}]", one, first or "a decision, similar item, version or reject")
    if index is not None and (not isinstance(index, Iterable) or isinstance(index, str | bytes | Mapping | set)):
        raise wrong_type("index", index, "a list or a pandas Index")
    if index is not None and len(list(index)) != len(found):
        expected = f"{len(found)} entries, one per result"
        raise InputError("out_of_range", f"index of {len(list(index))} entries", expected, "pass one entry per result")
    if not found or isinstance(found[0], Decision):
        rows = [[_plain(getattr(one, name)) for name in DECISION_FIELDS.values()] for one in found]
        return pd.DataFrame(rows, columns=list(DECISION_FIELDS), index=index)
    return pd.DataFrame([asdict(one) for one in found], columns=[field.name for field in fields(found[0])], index=index)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [one if isinstance(one, str) else asdict(one) for one in value]
    return value


def with_rows(report: Report, read: Catalog, rejects: tuple[Reject, ...]) -> Report:
    """Return a report with the rejects, the repeated and conflicting rows, and the report of the catalog read."""
    return replace(report, rejects=rejects, repeated=read.repeated, conflicting=read.conflicting, reading=read.report)


def beside(frame: "pd.DataFrame", decisions: Sequence[Decision]) -> "pd.DataFrame":
    """Return a frame with the decisions of its rows as further columns, in place of those of an earlier result."""
    import pandas as pd

    kept = kept_names(tuple(frame.columns))
    renamed = frame[list(kept)].rename(columns=kept)
    decided = to_frame(decisions, frame.index)
    return pd.concat([renamed.reset_index(drop=True), decided.reset_index(drop=True)], axis=1).set_index(frame.index)
