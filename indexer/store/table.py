"""The LanceDB table with the rows of a store. Each change creates a table version, and each row has a unique row id."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.rows import TEXT_COLUMNS, Rows, text_fields, with_text_columns
from shelfwise.indexer.store.disk import remove
from shelfwise.indexer.store.lance_manifest import files_of_version, require_own_paths

VALUES_PER_LIST = 1000  # in SQL
ROW_ID = "_rowid"  # LanceDB's row id: an updated row gets a new one, and a table never reuses one

RowIds = NDArray[np.uint64]


class TableReader:
    """One version of a table in the store at `path`."""

    def __init__(self, path: Path, name: str, version: int) -> None:
        require_own_paths(path, name, version)
        with lance_errors(path):
            self._path, self._table = path, _connect(path).open_table(name)
            self._table.checkout(version)

    def rows(self) -> tuple[Rows, RowIds]:
        """Return all n rows and their row ids (n,)."""
        with lance_errors(self._path):
            return _rows(self._query().to_arrow())

    def row_ids(self) -> RowIds:
        """Return the row ids of all rows in ascending order."""
        with lance_errors(self._path):
            return np.sort(_row_ids(self._query().select([ROW_ID]).to_arrow()))

    def take(self, row_ids: RowIds) -> tuple[Rows, RowIds]:
        """Return the rows with these row ids, sorted by item id, and their row ids in that order."""
        with lance_errors(self._path):
            return _rows(self._table.take_row_ids(row_ids.tolist()).with_row_id().to_arrow())

    def with_digests(self, digests: set[str]) -> Rows:
        """Return the rows whose text digest is in `digests`."""
        with lance_errors(self._path):
            content = self._query().select(["text_digest", ROW_ID]).to_arrow()
            wanted = np.array([name in digests for name in content.column("text_digest").to_pylist()], bool)
            return self.take(_row_ids(content)[wanted])[0]

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one text column of all rows, in stored order."""
        with lance_errors(self._path):
            return self._query().select([name]).to_arrow().column(name)

    def _query(self) -> Any:
        return _numbered(self._table)


class TableWriter:
    """A table of a store, open for writing. Each change is a separate version, which is opened by its number only."""

    def __init__(self, path: Path, name: str, start: int | None = None) -> None:
        """Continue from version `start`, without later changes of a dead writer. If it is None, begin a new table."""
        self.name = name
        self._path, self._start, self._empty = path, start, start is None
        self._table: Any = None

    @property
    def version(self) -> int:
        """LanceDB's number of the latest table version."""
        return int(self._open(0).version)

    def count(self) -> int:
        """Return the current number of rows."""
        return int(self._open(0).count_rows())

    def row_ids(self) -> RowIds:
        """Return the row ids of all current rows, sorted by item id."""
        with lance_errors(self._path):
            return _row_ids(_numbered(self._open(0)).select(["id", ROW_ID]).to_arrow().sort_by("id"))

    def data_files(self) -> list[str]:
        """Return the files with rows and vectors of the latest table version, relative to the store."""
        needed = files_of_version(self._path, self.name, self.version)
        return [name for name in needed if name.startswith(f"{self.name}.lance/data/")]

    def upsert(self, rows: Rows) -> None:
        """Insert rows, and replace stored rows with the same id."""
        if not len(rows):
            return
        with lance_errors(self._path):
            table = self._open(rows.vectors.shape[1])
            if self._empty:
                table.add(_with_vectors(rows))
                self._empty = False
            else:
                merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(_with_vectors(rows))

    def replace_all(self, rows: Rows) -> None:
        """Replace all rows of the table with these."""
        with lance_errors(self._path):
            self._open(rows.vectors.shape[1]).add(_with_vectors(rows), mode="overwrite")
            self._empty = False

    def delete(self, ids: Sequence[str]) -> None:
        """Delete the rows with these ids."""
        with lance_errors(self._path):
            for where in _conditions(ids):
                self._open(0).delete(where)

    def _open(self, dimensions: int) -> Any:
        if self._table is None and self._start is None:
            remove(self._path / f"{self.name}.lance")
            self._table = _connect(self._path).create_table(self.name, schema=_schema(dimensions))
        elif self._table is None:
            require_own_paths(self._path, self.name, self._start or 0)
            self._table = _connect(self._path).open_table(self.name)
            if self._table.version != self._start:
                self._table.restore(self._start)
            absent = [name for name in TEXT_COLUMNS if name not in self._table.schema.names]
            if absent:  # a table of an earlier format
                self._table.add_columns(dict.fromkeys(absent, "''"))
        return self._table


@contextmanager
def lance_errors(path: Path) -> Iterator[None]:
    """Raise StoreError for LanceDB's own failures, such as a full disk or a missing file."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0].removeprefix("lance error: ").partition(", /")[0]
        raise StoreError(
            "store_io",
            f"store {path} cannot be read or written ({reason})",
            "a readable disk with free space",
            "check the disk and its permissions (nothing was changed)",
        ) from None


def cleared_away(path: Path) -> StoreError:
    """Return the error for a reader whose version of the store at `path` was removed."""
    return StoreError(
        "version_cleared_away",
        f"this version of store {path} was removed",
        "an existing version",
        "open the store again",
    )


def in_small_files(row_ids: RowIds, tier: int) -> RowIds:
    """Return the rows of small files that should be rewritten to one file when rows are added next.

    `tier` files of a size, from one power of `tier` to the next, become one file of the next size. A row is therefore
    rewritten about once for each size, as in a log-structured merge tree (O'Neil et al., 1996). The upper 32 bits of a
    row id identify its file.
    """
    files, sizes = np.unique(row_ids >> np.uint64(32), return_counts=True)
    chosen, least = np.zeros(len(files), bool), 1
    while least <= sizes.max(initial=0):
        alike = (least <= sizes) & (sizes < tier * least)
        if alike.sum() + chosen.any() >= tier:  # smaller ones that were chosen become one of these
            chosen |= alike
        least *= tier
    return row_ids[np.isin(row_ids >> np.uint64(32), files[chosen])]


def _conditions(ids: Sequence[str]) -> list[str]:
    """Return SQL conditions that together match some ids."""
    quoted = ["'" + id_.replace("'", "''") + "'" for id_ in ids]
    parts = [quoted[start : start + VALUES_PER_LIST] for start in range(0, len(quoted), VALUES_PER_LIST)]
    return [f"id IN ({', '.join(part)})" for part in parts]


def _numbered(table: Any) -> Any:
    """Return a query for all rows of a LanceDB table and their row ids."""
    return table.search().with_row_id(True).limit(max(table.count_rows(), 1))


def _rows(content: pa.Table) -> tuple[Rows, RowIds]:
    content = content.sort_by("id").combine_chunks()
    vectors = content.column("vector").combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    rows = Rows(with_text_columns(content), flat.reshape(len(vectors), vectors.type.list_size))
    return rows, _row_ids(content)


def _row_ids(content: pa.Table) -> RowIds:
    return np.asarray(content.column(ROW_ID).to_numpy(), np.uint64)


def _schema(dimensions: int) -> pa.Schema:
    return pa.schema([*text_fields(), pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False)])


def _with_vectors(rows: Rows) -> pa.Table:
    """Return rows as an Arrow table with their vectors, as LanceDB stores them."""
    dimensions = rows.vectors.shape[1]
    flat = pa.array(np.ascontiguousarray(rows.vectors, np.float32).ravel())
    columns = [*rows.table.select(TEXT_COLUMNS).columns, pa.FixedSizeListArray.from_arrays(flat, dimensions)]
    return pa.Table.from_arrays(columns, schema=_schema(dimensions))


def _connect(path: Path) -> Any:
    import lancedb

    return lancedb.connect(path.absolute())  # LanceDB would expand a leading ~, which no other part does
