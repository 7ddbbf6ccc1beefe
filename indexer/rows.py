"""Rows of a catalog with their vectors, in memory."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfwise.indexer.item import FIELDS, Words, words_of
from shelfwise.indexer.types import Vectors

TEXT_COLUMNS = (*FIELDS, "origin", "text_digest", "twin_key")
CATALOG, ADDED = "catalog", "added"  # origin of a row: the catalog of a build, or added separately


@dataclass(frozen=True)
class Rows:
    """n rows with their vectors, in order of id, regardless of the order in which they were written.

    `table` has TEXT_COLUMNS. `vectors` is (n, d) float32, as the encoder computed them. `cleaned` (n,) caches the
    cleaned words of requested rows (None for rows not requested yet). Equal catalogs give equal rows.
    """

    table: pa.Table
    vectors: Vectors
    cleaned: list[Words | None] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.cleaned.extend([None] * (len(self.vectors) - len(self.cleaned)))

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, Sequence[str]], vectors: Vectors, cleaned: Sequence[Words | None] = ()
    ) -> Self:
        """Return rows from TEXT_COLUMNS (n values each), vectors (n, d) and the words known so far."""
        texts = [pa.array(columns[name], pa.string()) for name in TEXT_COLUMNS]
        return cls(pa.Table.from_arrays(texts, schema=pa.schema(text_fields())), vectors, list(cleaned))

    @classmethod
    def in_order(cls, table: pa.Table, vectors: Vectors, cleaned: Sequence[Words | None] = ()) -> Self:
        """Return the given rows, sorted by id."""
        placed = table.append_column("place", pa.array(np.arange(len(vectors)))).sort_by("id").combine_chunks()
        places = placed.column("place").to_numpy()
        return cls(
            placed.drop_columns("place"), vectors[places], [cleaned[place] for place in places] if cleaned else []
        )

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> NDArray[np.object_]:
        """Return one text column as (n,) Python strings."""
        return np.array(self.table.column(name).to_pylist(), dtype=object)

    def texts(self) -> list[str]:
        """Return the embedded string of each row."""
        return [words.text() for words in self.words()]

    def words(self, rows: Sequence[int] | None = None) -> list[Words]:
        """Return the cleaned words of some rows (all by default). Each row is cleaned once."""
        wanted = range(len(self.cleaned)) if rows is None else rows
        missing = [row for row in wanted if self.cleaned[row] is None]
        if missing:
            said = self.table.select(Words._fields).take(pa.array(missing, pa.int64())).to_pydict()
            for row, texts in zip(missing, zip(*said.values(), strict=True), strict=True):
                self.cleaned[row] = words_of(*texts)
        return [words for words in map(self.cleaned.__getitem__, wanted) if words is not None]

    def digest(self) -> str:
        """Return the SHA-256 of all text columns as 64 hexadecimal digits. Vectors are left out."""
        total = hashlib.sha256()
        for name in sorted(self.table.column_names):
            total.update("\0".join([name, *self.table.column(name).to_pylist()]).encode())
        return total.hexdigest()

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row number of each id."""
        return {id_: row for row, id_ in enumerate(self.column("id"))}


def with_text_columns(table: pa.Table) -> pa.Table:
    """Return the TEXT_COLUMNS of a table. A column that an earlier format does not have is empty."""
    for name in TEXT_COLUMNS:
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat("", len(table)))
    return table.select(list(TEXT_COLUMNS)).cast(pa.schema(text_fields()))


def text_fields() -> list[pa.Field]:
    """Return TEXT_COLUMNS as Arrow fields."""
    return [pa.field(name, pa.string(), nullable=False) for name in TEXT_COLUMNS]
