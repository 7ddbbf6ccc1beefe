"""The LanceDB table that holds the rows of a store: each change is a version, each row has a number of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfwise.indexer.errors import QueryError, StoreError, first_line
from shelfwise.indexer.rows import TEXT_COLUMNS, Rows, text_fields
from shelfwise.indexer.store.disk import remove

TABLE = "items"
VALUES_PER_LIST = 1000  # values in one SQL list
LONGEST_FILTER = 10_000  # characters: the planner overflows its stack on conditions of hundreds of thousands
ROW_ID = "_rowid"  # LanceDB's number of a row: an updated row gets a new one, none is used again in a table

LAST = 2**64 - 1  # LanceDB counts the names of its versions down from here

RowIds = NDArray[np.uint64]


class TableReader:
    """One version of a table in the store at `path`."""

    def __init__(self, path: Path, name: str, version: int) -> None:
        with lance_errors(path):
            self._path, self._table = path, _connect(path).open_table(name)
            self._table.checkout(version)

    def rows(self) -> tuple[Rows, RowIds]:
        """All n rows and their numbers (n,)."""
        with lance_errors(self._path):
            return _rows(self._query().to_arrow())

    def row_ids(self) -> RowIds:
        """The numbers of all rows, in ascending order."""
        with lance_errors(self._path):
            return np.sort(_row_ids(self._query().select([ROW_ID]).to_arrow()))

    def take(self, row_ids: RowIds) -> tuple[Rows, RowIds]:
        """The rows with these numbers, in order of their ids, and their numbers in that order."""
        with lance_errors(self._path):
            return _rows(self._table.take_row_ids(row_ids.tolist()).with_row_id().to_arrow())

    def with_ids(self, ids: Sequence[str]) -> Rows:
        """Those rows that are there of `ids`."""
        with lance_errors(self._path):
            parts = [self._query().where(where).to_arrow() for where in _among("id", ids) or ["false"]]
            return _rows(pa.concat_tables(parts))[0]

    def with_digests(self, digests: set[str]) -> Rows:
        """The rows whose text has one of these digests."""
        with lance_errors(self._path):
            content = self._query().select(["text_digest", ROW_ID]).to_arrow()
            wanted = np.array([name in digests for name in content.column("text_digest").to_pylist()], bool)
            return self.take(_row_ids(content)[wanted])[0]

    def values_among(self, column: str, values: Sequence[str]) -> set[str]:
        """Those of some values of a text column that a row has."""
        found = set[str]()
        with lance_errors(self._path):
            for where in _among(column, values):
                found |= set(self._query().where(where).select([column]).to_arrow().column(column).to_pylist())
        return found

    def column(self, name: str) -> pa.ChunkedArray:
        """One text column of all rows, in the order in which they lie."""
        with lance_errors(self._path):
            return self._query().select([name]).to_arrow().column(name)

    def matching(self, where: str) -> RowIds:
        """The numbers of the rows for which the SQL condition holds. Raises QueryError."""
        try:
            if len(where) > LONGEST_FILTER:
                raise ValueError(f"{len(where)} characters, at most {LONGEST_FILTER} are read")
            return _row_ids(self._query().where(where).select([ROW_ID]).to_arrow())
        except Exception as error:  # of the query planner's kinds, of which one says that it gave up
            if isinstance(error, OSError | RuntimeError) and "Not found" in str(error):
                raise cleared_away(self._path) from None
            reason = first_line(error).partition("Invalid input, ")[2] or first_line(error)
            raise QueryError(
                "bad_filter",
                f"the filter {where[:200]!r} is not valid ({reason[:200]})",
                f"SQL such as \"brand = 'X'\" on {', '.join(TEXT_COLUMNS[:8])}",
                "correct the filter",
            ) from None

    def _query(self) -> Any:
        return _numbered(self._table)


class TableWriter:
    """A table in a store, being written. Each change is a version of its own, seen by its number alone."""

    def __init__(self, path: Path, name: str, start: int | None = None) -> None:
        """Go on from the version `start`, even where a dead writer had gone further; None begins a new table."""
        self.name = name
        self._path, self._start, self._empty = path, start, start is None
        self._table: Any = None

    @property
    def version(self) -> int:
        """LanceDB's number of what was written last."""
        return int(self._open(0).version)

    def count(self) -> int:
        """Rows that are there now."""
        return int(self._open(0).count_rows())

    def row_ids(self) -> RowIds:
        """The numbers of all rows that are there now, in order of their ids."""
        with lance_errors(self._path):
            return _row_ids(_numbered(self._open(0)).select(["id", ROW_ID]).to_arrow().sort_by("id"))

    def data_files(self) -> list[str]:
        """The files that hold rows and vectors, relative to the store."""
        folder = self._path / f"{self.name}.lance" / "data"
        return [file.relative_to(self._path).as_posix() for file in folder.iterdir()]

    def upsert(self, rows: Rows) -> None:
        """Insert rows, or replace those with the same id."""
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
        """Have these rows and no others."""
        with lance_errors(self._path):
            self._open(rows.vectors.shape[1]).add(_with_vectors(rows), mode="overwrite")
            self._empty = False

    def delete(self, ids: Sequence[str]) -> None:
        """Delete the rows with these ids."""
        with lance_errors(self._path):
            for where in _among("id", ids):
                self._open(0).delete(where)

    def _open(self, dimensions: int) -> Any:
        if self._table is None and self._start is None:
            remove(self._path / f"{self.name}.lance")
            self._table = _connect(self._path).create_table(self.name, schema=_schema(dimensions))
        elif self._table is None:
            self._table = _connect(self._path).open_table(self.name)
            if self._table.version != self._start:
                self._table.restore(self._start)
        return self._table


@contextmanager
def lance_errors(path: Path) -> Iterator[None]:
    """LanceDB's own failures (a full disk, a file that went away) as StoreError."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0].removeprefix("lance error: ").partition(", /")[0]
        raise StoreError(
            "store_io",
            f"store {path} cannot be read or written ({reason})",
            "a disk with room that can be read",
            "check disk and permissions: nothing was changed",
        ) from None


def cleared_away(path: Path) -> StoreError:
    """Return the error of a reader whose version of the store at `path` is gone."""
    return StoreError(
        "version_cleared_away",
        f"this version of store {path} was cleared away",
        "a version that is kept",
        "open the store again",
    )


def table_files(name: str, version: int) -> list[str]:
    """What a version of a table needs of the folder of its store: files, and folders of files."""
    folder = f"{name}.lance"
    return [f"{folder}/data", f"{folder}/_deletions", f"{folder}/_versions/{LAST - version:020}.manifest"]


def files_of(row_ids: RowIds) -> int:
    """How many files hold some rows: the upper half of a row's number is that of its file."""
    return len(np.unique(row_ids >> np.uint64(32)))


def _among(column: str, values: Sequence[str]) -> list[str]:
    """SQL conditions that together hold for `values` of a column."""
    quoted = ["'" + value.replace("'", "''") + "'" for value in values]
    parts = [quoted[start : start + VALUES_PER_LIST] for start in range(0, len(quoted), VALUES_PER_LIST)]
    return [f"{column} IN ({', '.join(part)})" for part in parts]


def _numbered(table: Any) -> Any:
    """A query for all rows of a LanceDB table and their numbers."""
    return table.search().with_row_id(True).limit(max(table.count_rows(), 1))


def _rows(content: pa.Table) -> tuple[Rows, RowIds]:
    content = content.sort_by("id").combine_chunks()
    vectors = content.column("vector").combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    rows = Rows(content.select(list(TEXT_COLUMNS)), flat.reshape(len(vectors), vectors.type.list_size))
    return rows, _row_ids(content)


def _row_ids(content: pa.Table) -> RowIds:
    return np.asarray(content.column(ROW_ID).to_numpy(), np.uint64)


def _schema(dimensions: int) -> pa.Schema:
    return pa.schema([*text_fields(), pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False)])


def _with_vectors(rows: Rows) -> pa.Table:
    """Rows as they are stored."""
    dimensions = rows.vectors.shape[1]
    flat = pa.array(np.ascontiguousarray(rows.vectors, np.float32).ravel())
    columns = [*rows.table.select(TEXT_COLUMNS).columns, pa.FixedSizeListArray.from_arrays(flat, dimensions)]
    return pa.Table.from_arrays(columns, schema=_schema(dimensions))


def _connect(path: Path) -> Any:
    import lancedb

    return lancedb.connect(path)
