"""Rows of a catalog with their vectors, in memory."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfwise.indexer.text import Words, compose, words_of
from shelfwise.indexer.types import Vectors

TEXT_COLUMNS = (
    "id", "title", "description", "brand", "attributes", "category", "category_path", "origin",
    "text_digest", "twin_key",
)  # fmt: skip
CATALOG, ADDED = "catalog", "added"  # origin of a row: the catalog of a build, or added beside it
SAID = ("title", "brand", "attributes", "description")  # what `compose` and `words_of` take


@dataclass(frozen=True)
class Rows:
    """n rows with their vectors, in order of id whatever order they were written in.

    `table` has TEXT_COLUMNS; `vectors` is (n, d) float32, as the encoder made them. Equal catalogs give
    equal rows.
    """

    table: pa.Table
    vectors: Vectors

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[str]], vectors: Vectors) -> Self:
        """Rows from TEXT_COLUMNS, each of n values, and their vectors (n, d)."""
        texts = [pa.array(columns[name], pa.string()) for name in TEXT_COLUMNS]
        return cls(pa.Table.from_arrays(texts, schema=pa.schema(text_fields())), vectors)

    @classmethod
    def in_order(cls, table: pa.Table, vectors: Vectors) -> Self:
        """Rows in any order, brought into that of their ids."""
        placed = table.append_column("place", pa.array(np.arange(len(vectors)))).sort_by("id").combine_chunks()
        return cls(placed.drop_columns("place"), vectors[placed.column("place").to_numpy()])

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> NDArray[np.object_]:
        """One text column, (n,) Python strings."""
        return np.array(self.table.column(name).to_pylist(), dtype=object)

    def texts(self) -> list[str]:
        """The string of every row that its vector was made from."""
        return list(map(compose, *map(self.column, SAID)))

    def words(self) -> list[Words]:
        """The words of every row; see `Item.words`."""
        return list(map(words_of, *map(self.column, SAID)))

    def digest(self) -> str:
        """64 hexadecimal digits that stand for what the rows say, vectors aside (SHA-256)."""
        total = hashlib.sha256()
        for name in sorted(self.table.column_names):
            total.update("\0".join([name, *self.table.column(name).to_pylist()]).encode())
        return total.hexdigest()

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row number of every id."""
        return {id_: row for row, id_ in enumerate(self.column("id"))}


def text_fields() -> list[pa.Field]:
    """TEXT_COLUMNS as Arrow has them."""
    return [pa.field(name, pa.string(), nullable=False) for name in TEXT_COLUMNS]
