"""The pages that classify pasted titles and uploaded files."""

from asyncio import to_thread
from functools import partial
from typing import Annotated

from fastapi import Form, UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from shelfwise.indexer.errors import QueryError, ShelfwiseError
from shelfwise.service.answers import Way
from shelfwise.service.batching import SERVER_BUSY, OverloadError
from shelfwise.service.guard import UPLOAD, UPLOAD_BYTES
from shelfwise.service.jobs import Job
from shelfwise.service.pages.parts import Card, TitleLines, cards_of, items_from, lines_of, page_router, part_of
from shelfwise.service.rendering import render
from shelfwise.service.state import OneState, State

router = page_router()


@router.get("/classify")
def classify(request: Request) -> Response:
    """Show the form for pasted titles or a file."""
    return render(request, "classify.html", "Classify", titles="", cards=[], problem="")


@router.post("/classify")
async def classify_titles(
    request: Request,
    state: OneState,
    titles: TitleLines,
    review: Annotated[str, Form()] = "",
) -> Response:
    """Classify the pasted titles and show the decisions."""
    cards, problem, status = list[Card](), "", 200
    try:
        listings = items_from(lines_of(titles))
        decisions = await state.classify(Way(), listings, bool(review))
        cards = await to_thread(cards_of, state, listings, decisions)
    except ShelfwiseError as error:
        problem, status = str(error), 422
    except OverloadError:
        problem, status = SERVER_BUSY, 503
    template = part_of(request, "classify.html", "decided.html")
    return render(request, template, "Classify", status, titles=titles, cards=cards, problem=problem)


@router.post(UPLOAD, max_body_size=UPLOAD_BYTES)
async def classify_file(
    request: Request, state: OneState, file: UploadFile, review: Annotated[str, Form()] = ""
) -> Response:
    """Start to classify an uploaded file, and redirect to its progress."""
    classify = partial(state.classify, Way())
    job = await state.jobs.begin(classify, file.filename or "listings.csv", file.file, bool(review))
    return RedirectResponse(f"/classify/files/{job.id}", 303)


@router.get("/classify/files/{id}")
def job(request: Request, id: str, state: OneState) -> Response:
    """Show the progress of a file."""
    template = part_of(request, "job.html", "progress.html")
    return render(request, template, "Classify", job=_job(state, id))


@router.get("/classify/files/{id}/decided")
def decided(id: str, state: OneState) -> Response:
    """Return the decisions on a file. Raise QueryError when it is not done or has failed."""
    job = _job(state, id)
    if not job.ended or job.problem:
        raise QueryError(
            "file_not_done", "the file is not classified yet", "a file that is done", "wait until it is done"
        )
    ending = {"jsonl": "jsonl", "tsv": "tsv"}.get(job.format, "csv")
    return FileResponse(job.decided, filename=f"decided.{ending}", media_type="application/octet-stream")


@router.get("/classify/files/{id}/rejects")
def rejects(id: str, state: OneState) -> Response:
    """Return the rejected rows of a file. Raise QueryError when there are none."""
    job = _job(state, id)
    if not job.rejected:
        raise QueryError("nothing_rejected", "no row was rejected", "rejected rows", "download the decisions")
    return FileResponse(job.rejects, filename="rejects.jsonl", media_type="application/octet-stream")


def _job(state: State, id_: str) -> Job:
    job = state.jobs.find(id_)
    if job is None:
        raise QueryError(
            "no_such_file",
            "there is no such file",
            "an uploaded file",
            "upload it again; it may have been deleted",
        )
    return job
