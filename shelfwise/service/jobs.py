"""Uploaded files, classified in the background, and their results."""

import asyncio
import io
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import IO, cast

from shelfwise.classifier.measuring.output import Layout
from shelfwise.classifier.measuring.writers import layout_for, writer_for
from shelfwise.classifier.model.decision import Decision
from shelfwise.classifier.model.pipeline import beside
from shelfwise.indexer.errors import InputError, ShelfwiseError, StoreError
from shelfwise.indexer.item import Item
from shelfwise.indexer.reading.compression import UNREADABLE, decompressed
from shelfwise.indexer.reading.files import RecordFile, formats, open_records
from shelfwise.indexer.reading.listings import Listing, ListingReader
from shelfwise.indexer.reading.options import ReadOptions
from shelfwise.indexer.reading.rejects import RejectFile
from shelfwise.indexer.reading.report import ReadingReport
from shelfwise.indexer.store.memory import memory_of
from shelfwise.service.batching import RETRY_AFTER, OverloadError

JOBS_KEPT = 20  # files; the oldest finished one is deleted for a new one
LISTINGS_PER_ASK = 256  # per call of the classifier
MOST_BYTES = 256 << 20  # per file, decompressed
MOST_ROWS = 200_000  # per file; the command line has no limit
DECIDED, REJECTS = "decided", "rejects.jsonl"
log = logging.getLogger("shelfwise")


@dataclass
class Job:
    """An uploaded file and its progress.

    `problem` says why it failed, `rows` estimates its number of rows, and `reading` says what was understood of it.
    """

    name: str
    folder: Path
    review: bool
    id: str = field(default_factory=token_urlsafe)
    rows: int = 0
    done: int = 0
    rejected: int = 0
    format: str = "csv"
    ended: bool = False
    problem: str = ""
    notices: list[str] = field(default_factory=list)
    reading: ReadingReport | None = None
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def decided(self) -> Path:
        """The file of listings with their decisions."""
        return self.folder / DECIDED

    @property
    def rejects(self) -> Path:
        """The file of rejected rows."""
        return self.folder / REJECTS


# Called with listings, and whether to review their decisions.
ClassifyListings = Callable[[Sequence[Item], bool], Awaitable[Sequence[Decision]]]


class Jobs:
    """The uploaded files of one service. Their ids are secrets, so that only the uploader can read the results."""

    def __init__(self, store: Path) -> None:
        """Keep uploaded files for the service of `store`, whose remembered columns count."""
        self._store = store
        self._folder = Path(tempfile.mkdtemp(prefix="shelfwise-"))
        self._jobs, self._tasks = dict[str, Job](), set[asyncio.Task[None]]()

    def close(self) -> None:
        """Cancel running jobs and delete all files."""
        for task in self._tasks:
            task.cancel()
        shutil.rmtree(self._folder, ignore_errors=True)

    def find(self, id_: str) -> Job | None:
        """Return a job by its secret id (None if it is unknown)."""
        return self._jobs.get(id_)

    async def begin(self, classify: ClassifyListings, name: str, content: IO[bytes], review: bool) -> Job:
        """Store an uploaded file and start to classify it.

        Raise InputError when too many files are in progress or the file cannot be used, and StoreError when it cannot
        be stored.
        """
        while len(self._jobs) >= JOBS_KEPT:
            over = next((job for job in self._jobs.values() if job.ended), None)
            if over is None:
                raise InputError(
                    "too_many_files",
                    f"{JOBS_KEPT} files are being classified",
                    f"fewer than {JOBS_KEPT} files",
                    "upload the file when one of them is done",
                )
            shutil.rmtree(self._jobs.pop(over.id).folder, ignore_errors=True)
        job = Job(name, Path(tempfile.mkdtemp(dir=self._folder)), review)
        endings = [ending for ending in map(str.lower, Path(name).suffixes[-2:]) if ending in ENDINGS]
        file = job.folder / ("listings" + "".join(endings[-1:]))
        try:
            job.rows = await asyncio.to_thread(_copied, content, file)
        except BaseException:  # also a full disk, or a client that disconnects
            shutil.rmtree(job.folder, ignore_errors=True)
            raise
        self._jobs[job.id] = job
        task = asyncio.create_task(self._run(classify, job, file))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def _run(self, classify: ClassifyListings, job: Job, file: Path) -> None:
        try:
            await _classify(classify, job, file, memory_of(self._store).options(ReadOptions()))
        except ShelfwiseError as error:
            job.problem = str(error).replace(str(file), job.name).replace(str(job.rejects), "the rejected rows")
        except Exception:
            log.exception("cannot classify an uploaded file")
            job.problem = "internal error; see the service's log"
        finally:
            job.ended = True
            file.unlink(missing_ok=True)


ENDINGS = frozenset(suffix for one in formats().values() for suffix in one.SUFFIXES)


async def _classify(classify: ClassifyListings, job: Job, file: Path, options: ReadOptions) -> None:
    with (
        open_records(file) as records,
        RejectFile(job.rejects) as rejects,
        job.decided.open("w+b") as out,
        ExitStack() as stack,
    ):
        reader = await asyncio.to_thread(ListingReader.of_file, records, options)
        layout = _layout(records, reader.columns)
        writer = stack.enter_context(writer_for(out, layout))
        job.format, job.reading = layout.format, reader.report()
        batches = reader.batches(rejects, LISTINGS_PER_ASK)
        while listings := await asyncio.to_thread(next, batches, None):
            decisions = await _decided(classify, listings, job.review)
            await asyncio.to_thread(writer.write, listings, decisions)
            job.done += len(listings)
            job.rejected = rejects.count
            job.counts.update(said.decision for said in decisions if said)
            if job.done > MOST_ROWS:
                raise InputError(
                    "file_too_large",
                    f"{job.name} has more than {MOST_ROWS} rows",
                    f"at most {MOST_ROWS} rows",
                    "classify it on the command line",
                )
        job.rejected = rejects.count
        job.reading = reader.report()
        job.notices = list(writer.notices)


def _layout(records: RecordFile, columns: list[str]) -> Layout:
    """Return the layout of the decisions: a text with a byte order mark, so that spreadsheets show Chinese."""
    fmt = records.format if records.format in ("tsv", "jsonl") else "csv"
    return layout_for(records, columns, fmt, "utf-8" if fmt == "jsonl" else "utf-8-sig")


async def _decided(classify: ClassifyListings, listings: Sequence[Listing], review: bool) -> Sequence[Decision | None]:
    items = [listing.item for listing in listings if listing.item is not None]
    while True:
        try:
            return beside(listings, await classify(items, review))
        except OverloadError:
            await asyncio.sleep(RETRY_AFTER)


def _copied(content: IO[bytes], file: Path) -> int:
    """Copy a file, decompressed, and return its approximate number of rows.

    Raise InputError when it is damaged, empty or larger than MOST_BYTES: a small file can decompress to any size. Raise
    StoreError when it cannot be stored.
    """
    rows = size = 0
    try:
        plain, _ = decompressed(io.BufferedReader(cast(io.RawIOBase, content)))
        with file.open("wb") as out:
            while block := plain.read(1 << 20):
                size += len(block)
                if size > MOST_BYTES:
                    raise InputError(
                        "file_too_large",
                        f"the file has more than {MOST_BYTES >> 20} MiB",
                        f"at most {MOST_BYTES >> 20} MiB",
                        "classify it on the command line",
                    )
                rows += block.count(b"\n")
                out.write(block)
    except OSError as error:
        if error.errno is not None:  # of the disk; damaged data has no error number
            raise StoreError(
                "upload_not_kept", f"cannot store an uploaded file ({error})", "free disk space", "free some space"
            ) from None
        raise _damaged(error) from None
    except UNREADABLE as error:
        raise _damaged(error) from None
    if size == 0:
        raise InputError("empty_file", "the file is empty", "a header and rows", "choose another file")
    return rows


def _damaged(error: BaseException) -> InputError:
    return InputError("damaged_file", f"the file is damaged ({error})", "an intact file", "export it again")
