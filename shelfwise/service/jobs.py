"""Uploaded files, classified in the background, and their results."""

import asyncio
import gzip
import logging
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import IO

from shelfwise.classifier.measuring.output import DecisionWriter
from shelfwise.classifier.model.decision import Decision
from shelfwise.indexer.errors import InputError, ShelfwiseError, StoreError
from shelfwise.indexer.item import Item
from shelfwise.indexer.reading.catalog import Listing, ReadOptions, read_listings
from shelfwise.indexer.reading.files import open_records
from shelfwise.indexer.reading.rejects import RejectFile
from shelfwise.service.batching import RETRY_AFTER, OverloadError

JOBS_KEPT = 20  # files; the oldest finished one is deleted for a new one
LISTINGS_PER_ASK = 256  # per call of the classifier
MOST_BYTES = 256 << 20  # per file, decompressed
MOST_ROWS = 200_000  # per file; the command line has no limit
DECIDED, REJECTS = "decided", "rejects.jsonl"
log = logging.getLogger("shelfwise")


@dataclass
class Job:
    """An uploaded file and its progress. `problem` says why it failed; `rows` estimates its number of rows."""

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

    def __init__(self) -> None:
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
        endings = [ending for ending in Path(name).suffixes[-2:] if ending.lower() in ENDINGS]
        file = job.folder / ("listings" + "".join(endings).lower())
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
            await _classify(classify, job, file)
        except ShelfwiseError as error:
            job.problem = str(error).replace(str(file), job.name).replace(str(job.rejects), "the rejected rows")
        except Exception:
            log.exception("cannot classify an uploaded file")
            job.problem = "internal error; see the service's log"
        finally:
            job.ended = True
            file.unlink(missing_ok=True)


ENDINGS = frozenset({".csv", ".tsv", ".jsonl", ".txt"})


async def _classify(classify: ClassifyListings, job: Job, file: Path) -> None:
    with (
        open_records(file) as records,
        RejectFile(job.rejects) as rejects,
        job.decided.open("w", encoding="utf-8" if records.format == "jsonl" else "utf-8-sig", newline="") as out,
    ):
        job.format, job.notices = records.format, records.notices
        writer = DecisionWriter(out, records.format, records.columns, records.delimiter)
        batches = read_listings(records, rejects, ReadOptions(), LISTINGS_PER_ASK)
        while listings := await asyncio.to_thread(next, batches, None):
            decisions = await _decided(classify, listings, job.review)
            await asyncio.to_thread(writer.write, listings, decisions)
            job.done += len(listings)
            job.rejected = rejects.count
            job.counts.update(said.decision for said in decisions)
            if job.done > MOST_ROWS:
                raise InputError(
                    "file_too_large",
                    f"{job.name} has more than {MOST_ROWS} rows",
                    f"at most {MOST_ROWS} rows",
                    "classify it on the command line",
                )
        job.rejected = rejects.count


async def _decided(classify: ClassifyListings, listings: Sequence[Listing], review: bool) -> Sequence[Decision]:
    items = [listing.item for listing in listings]
    while True:
        try:
            return await classify(items, review)
        except OverloadError:
            await asyncio.sleep(RETRY_AFTER)


def _copied(content: IO[bytes], file: Path) -> int:
    """Copy a file, decompressed, and return its approximate number of rows.

    Raise InputError when it is Parquet, damaged, empty or larger than MOST_BYTES: a small file can decompress to any
    size. Raise StoreError when it cannot be stored.
    """
    start = content.read(4)
    content.seek(0)
    if start == b"PAR1":
        raise InputError(
            "unsupported_upload", "the file is Parquet", "CSV, TSV or JSONL", "classify it on the command line"
        )
    rows = size = 0
    try:
        with file.open("wb") as out, gzip.open(content) if start[:2] == b"\x1f\x8b" else nullcontext(content) as plain:
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
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            "damaged_file", f"the file is damaged ({error})", "an intact file", "export it again"
        ) from None
    except OSError as error:
        raise StoreError(
            "upload_not_kept", f"cannot store an uploaded file ({error})", "free disk space", "free some space"
        ) from None
    if size == 0:
        raise InputError("empty_file", "the file is empty", "a header and rows", "choose another file")
    return rows
