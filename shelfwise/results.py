"""What public calls return beside decisions and reports: versions, previews, data frames."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from shelfwise.arguments import wrong_type
from shelfwise.classifier.changing.maintenance import Report
from shelfwise.classifier.changing.release import Flips
from shelfwise.classifier.measuring.output import DECISION_FIELDS
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
    """A version of a store: its `number`, when it was `created` (ISO 8601, UTC), the `command` that made it, how many
    items that `added`, `updated` and `removed`, how many `items` it holds, their `encoder`, and its `tags`."""

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
        """Return the version that an entry of a store's history describes."""
        made, change = entry.manifest, entry.manifest.change
        counts = change.added, change.updated, change.removed
        return cls(made.version, made.created, change.command, *counts, made.rows, made.encoder.name, entry.tags)

    def __repr__(self) -> str:
        tags = f", {', '.join(self.tags)}" if self.tags else ""
        return f"<Version {self.number}: {self.command}, {self.items:,} items{tags}>"


@dataclass(frozen=True, repr=False)
class Preview:
    """What a build would do: the `difference` of the catalogs, how many known items would get another category
    (`flips`, None for a first build), and the rows that cannot be used (`rejects`)."""

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
    so on; alternatives, levels and evidence are lists of dicts, prediction_set is a list of paths (`to_json` writes
    them as they are, `to_csv` as Python's text). `index` is the index of the frame (by default 0, 1, 2, ...). Raises
    ShelfwiseError for anything else.

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
        raise wrong_type("index", index, "a list or an index of pandas")
    if index is not None and len(list(index)) != len(found):
        expected = f"{len(found)}, as many as results"
        raise InputError("out_of_range", f"index of {len(list(index))} entries", expected, "pass one for each")
    if not found or isinstance(found[0], Decision):
        rows = [[_plain(getattr(one, name)) for name in DECISION_FIELDS.values()] for one in found]
        return pd.DataFrame(rows, columns=list(DECISION_FIELDS), index=index)
    return pd.DataFrame([asdict(one) for one in found], columns=[field.name for field in fields(found[0])], index=index)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [one if isinstance(one, str) else asdict(one) for one in value]
    return value


def with_rows(report: Report, read: Catalog, rejects: tuple[Reject, ...]) -> Report:
    """Return a report with what became of the rows that were read."""
    return replace(report, rejects=rejects, repeated=read.repeated, conflicting=read.conflicting)
