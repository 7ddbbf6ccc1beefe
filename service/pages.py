"""The pages: looking up, classifying, reviewing, the categories, and how things are."""

import csv
import io
from asyncio import to_thread
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from classifier.decision import Decision, SimilarItem
from classifier.explanation import Piece, explain
from classifier.output import guarded
from classifier.proposal import propose
from indexer.catalog import Item, item_of
from indexer.errors import InputError, QueryError, ShelfwiseError
from indexer.text import clean, compose
from service.answers import Look, Way
from service.api import OneState, Reads, Writes
from service.batching import FULL, OverloadError
from service.guard import BODY_BYTES, SESSION, UPLOAD, UPLOAD_BYTES
from service.jobs import Job
from service.overview import drift_of, facts_of, tree_of
from service.rendering import language_of, render, translated
from service.schemas import MOST, MOST_SIMILAR, WhereIn
from service.state import State
from service.tokens import LOCAL

OPTIONS = 50  # categories that are offered while one is typed
PENDING = 500  # listings of the review queue that a dry run looks at
EXPORTED = ("id", "title", "brand", "category_path", "similarity")

router = APIRouter(include_in_schema=False, max_body_size=BODY_BYTES)


@dataclass(frozen=True)
class Search:
    """What is looked for: `q` is a title, or the id of an item."""

    q: Annotated[str, Query(max_length=2000)] = ""
    category: Annotated[str, Query(max_length=2000)] = ""
    brand: Annotated[str, Query(max_length=2000)] = ""
    attributes: Annotated[str, Query(max_length=2000)] = ""
    k: Annotated[int, Query(ge=1, le=MOST_SIMILAR)] = 10


WriteNumber = Annotated[int, Form(ge=1, le=2**63 - 1)]
Asked = Annotated[Search, Depends()]


@dataclass(frozen=True)
class Card:
    """A listing with its decision, and with the words marked that speak for it: its own, and the neighbours'."""

    listing: Item
    decision: Decision
    pieces: list[Piece]
    neighbors: list[tuple[SimilarItem, list[Piece]]]


@router.get("/")
async def look(request: Request, state: OneState, _: Reads, asked: Asked) -> Response:
    """Look up similar items."""
    paths = list(state.served.classifier.labels.paths)[:OPTIONS]
    return render(request, "look.html", "Look up", paths=paths, **await _found(state, asked))


@router.get("/found")
async def found(request: Request, state: OneState, _: Reads, asked: Asked) -> Response:
    """The part of the page that changes as somebody types."""
    return render(request, "found.html", "Look up", **await _found(state, asked))


@router.get("/found.csv")
async def found_csv(state: OneState, _: Reads, asked: Asked) -> Response:
    """The same as a file; what a spreadsheet would run as a formula gets an apostrophe before it."""
    content = await _found(state, asked)
    if content["problem"]:
        raise QueryError(str(content["problem"]))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(EXPORTED)
    for item in content["found"]:
        table.writerow([guarded(str(getattr(item, name))) for name in EXPORTED])
    headers = {"content-disposition": 'attachment; filename="similar.csv"'}
    return Response(out.getvalue().encode("utf-8-sig"), media_type="text/csv", headers=headers)


async def _found(state: State, asked: Search) -> dict[str, Any]:
    text, where = compose(asked.q), WhereIn(category=asked.category, brand=asked.brand, attributes=asked.attributes)
    content: dict[str, Any] = {
        "q": asked,
        "query": urlencode({name: value for name, value in asdict(asked).items() if value}),
        "found": (),
        "problem": "",
    }
    if not text:
        return content
    id_ = asked.q.strip()
    is_id = state.served.classifier.index.has(id_)
    try:
        (answer,) = await state.batcher.submit(
            [Look(None if is_id else text, id_ if is_id else None, asked.k, where.filter())]
        )
    except OverloadError:
        return content | {"problem": FULL}
    return content | ({"problem": str(answer)} if isinstance(answer, ShelfwiseError) else {"found": answer})


@router.get("/items/{id:path}")
def item(request: Request, id: str, state: OneState, _: Reads) -> Response:
    """One item, whole."""
    items = [state.served.classifier.index.item(id)]
    return render(request, "compare.html", "Item", items=items, similarity=None, problem="")


@router.get("/compare")
def compare(request: Request, state: OneState, _: Reads, id: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006
    """Two items beside each other."""
    if len(id) != 2:
        problem = translated(language_of(request))("Choose two items to compare.")
        return render(request, "compare.html", "Compare", 422, items=[], similarity=None, problem=problem)
    index = state.served.classifier.index
    items = [index.item(one) for one in id]
    one, other = (index.vector_of(one)[0] for one in id)
    return render(request, "compare.html", "Compare", items=items, similarity=float(one @ other), problem="")


@router.get("/classify")
def classify(request: Request, _: Reads) -> Response:
    """Paste listings, or choose a file."""
    return render(request, "classify.html", "Classify", titles="", cards=[], problem="")


@router.post("/classify")
async def classify_titles(
    request: Request,
    state: OneState,
    _: Reads,
    titles: Annotated[str, Form(max_length=400_000)],
    review: Annotated[str, Form()] = "",
) -> Response:
    """Decisions on what was pasted."""
    cards, problem = list[Card](), ""
    try:
        listings = _lines(titles)
        decisions = await state.classify(Way(), listings, bool(review))
        cards = await to_thread(_cards, state, listings, decisions)
    except ShelfwiseError as error:
        problem = str(error)
    except OverloadError:
        problem = FULL
    template = "decided.html" if "hx-request" in request.headers else "classify.html"
    return render(request, template, "Classify", 422 if problem else 200, titles=titles, cards=cards, problem=problem)


@router.post(UPLOAD, max_body_size=UPLOAD_BYTES)
async def classify_file(
    request: Request, state: OneState, _: Reads, file: UploadFile, review: Annotated[str, Form()] = ""
) -> Response:
    """Take in a file, and show how far it is."""
    classify = partial(state.classify, Way())
    job = await state.jobs.begin(classify, file.filename or "listings.csv", file.file, bool(review))
    return RedirectResponse(f"/classify/files/{job.id}", 303)


@router.get("/classify/files/{id}")
def job(request: Request, id: str, state: OneState, _: Reads) -> Response:
    """How far a file is."""
    template = "progress.html" if "hx-request" in request.headers else "job.html"
    return render(request, template, "Classify", job=_job(state, id))


@router.get("/classify/files/{id}/decided")
def decided(id: str, state: OneState, _: Reads) -> Response:
    """What came of a file."""
    job = _job(state, id)
    if not job.ended or job.problem:
        raise QueryError("the file is not done")
    ending = {"jsonl": "jsonl", "tsv": "tsv"}.get(job.format, "csv")
    return FileResponse(job.decided, filename=f"decided.{ending}", media_type="application/octet-stream")


@router.get("/classify/files/{id}/rejects")
def rejects(id: str, state: OneState, _: Reads) -> Response:
    """The rows of a file that could not be used."""
    job = _job(state, id)
    if not job.rejected:
        raise QueryError("no row was rejected")
    return FileResponse(job.rejects, filename="rejects.jsonl", media_type="application/octet-stream")


@router.get("/review")
async def review(request: Request, state: OneState, _: Reads) -> Response:
    """The most valuable doubtful decision."""
    await state.intake.flush()
    return await to_thread(_reviewed, request, state, "review.html")


@router.post("/review")
async def answer(
    request: Request,
    state: OneState,
    who: Writes,
    id: Annotated[str, Form()],
    action: Annotated[str, Form(pattern="^(accept|correct|skip)$")],
    category_path: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """Accept, correct or skip, and go on to the next."""
    problem, write = "", None
    try:
        write = await state.answer_review(id, action, category_path, who)
    except QueryError as error:
        problem = str(error)
    return await to_thread(_reviewed, request, state, _part(request, "review"), problem, write)


@router.post("/review/undo")
async def undo_review(request: Request, state: OneState, who: Writes, number: WriteNumber) -> Response:
    """Take an answer back."""
    problem, write = "", None
    try:
        write = await state.undo(number, who)
    except QueryError as error:
        problem = str(error)
    return await to_thread(_reviewed, request, state, _part(request, "review"), problem, write)


def _reviewed(request: Request, state: State, template: str, problem: str = "", write: object = None) -> Response:
    first = state.desk.reviews(most=1)
    cards = _cards(state, [review.listing for review in first], [review.decision for review in first])
    return render(
        request,
        template,
        "Review",
        422 if problem else 200,
        counts=state.desk.count_reviews(),
        card=cards[0] if cards else None,
        problem=problem,
        write=write,
    )


@router.get("/categories")
def categories(request: Request, state: OneState, _: Reads) -> Response:
    """The tree, with counts and quality."""
    survey = state.overview.survey(state.served.classifier)
    classifier = state.served.classifier
    return render(
        request,
        "categories.html",
        "Categories",
        tree=tree_of(classifier, survey),
        total=len(classifier.index),
        many=len(classifier.labels),
        measured=survey is not None,
    )


@router.get("/categories/options")
def options(
    request: Request, state: OneState, _: Reads, category_path: Annotated[str, Query(max_length=2000)] = ""
) -> Response:
    """Categories whose path has what was typed so far."""
    typed = category_path.casefold()
    paths = [path for path in state.served.classifier.labels.paths if typed in path.casefold()]
    return render(request, "options.html", "Categories", paths=paths[:OPTIONS])


@router.get("/categories/new")
def new_category(request: Request, _: Writes) -> Response:
    """Name it, and give examples."""
    form = {"category_path": "", "examples": ""}
    return render(request, "new_category.html", "New category", form=form, proposal=None, problem="")


CategoryPath = Annotated[str, Form(max_length=2000)]
Examples = Annotated[str, Form(max_length=400_000)]


@router.post("/categories/dry-run")
async def dry_run(
    request: Request, state: OneState, _: Writes, category_path: CategoryPath, examples: Examples
) -> Response:
    """What a new category would do."""
    proposal, problem = None, ""
    try:
        items, classifier = _lines(examples, category_path), state.served.classifier
        pending = [review.listing for review in await to_thread(state.desk.reviews, most=PENDING)]
        proposal = await to_thread(propose, classifier, items, pending)
    except ShelfwiseError as error:
        problem = str(error)
    template = "proposal.html" if "hx-request" in request.headers else "new_category.html"
    form = {"category_path": category_path, "examples": examples}
    return render(
        request, template, "New category", 422 if problem else 200, form=form, proposal=proposal, problem=problem
    )


@router.post("/categories")
async def insert_category(state: OneState, who: Writes, category_path: CategoryPath, examples: Examples) -> Response:
    """Put the examples of a category into the index."""
    items = _lines(examples, category_path)
    what = f"category {items[0].category_path}: {len(items)} examples"
    await state.indexed(await to_thread(state.desk.write, who.name, what, items))
    return RedirectResponse("/changes", 303)


@router.get("/changes")
def changes(request: Request, state: OneState, _: Reads) -> Response:
    """What was written, by whom, and the undoing of it."""
    return render(request, "changes.html", "Changes", writes=state.desk.writes(), problem="")


@router.post("/changes/undo")
async def undo(request: Request, state: OneState, who: Writes, number: WriteNumber) -> Response:
    """Take a write back."""
    try:
        await state.undo(number, who)
    except QueryError as error:
        written = await to_thread(state.desk.writes)
        return render(request, "changes.html", "Changes", 409, writes=written, problem=str(error))
    return RedirectResponse("/changes", 303)


@router.get("/health")
def health(request: Request, state: OneState, _: Reads) -> Response:
    """How the store is, and how the last listings are."""
    classifier = state.served.classifier
    accepted = state.recent.accepted()
    return render(
        request,
        "health.html",
        "Health",
        problems=state.problems,
        facts=facts_of(classifier, len(state.desk.waiting_numbers()), state.desk.count_reviews()),
        accepted=accepted,
        accepted_labels=[f"{share:.0%}" for share in accepted],
        seen=len(state.recent),
        drift=drift_of(state.overview.survey(classifier), state.recent.similarities()),
    )


@router.get("/login")
def login(request: Request) -> Response:
    """Ask for a token."""
    return render(request, "login.html", "Log in", problem="")


@router.post("/login")
def log_in(request: Request, state: OneState, token: Annotated[str, Form(max_length=500)]) -> Response:
    """Know the browser from now on."""
    visitor = LOCAL if state.tokens is None else state.tokens.visitor(token.strip())
    if visitor is None:
        return render(request, "login.html", "Log in", 401, problem="This token is not known.")
    response = RedirectResponse("/", 303)
    if state.tokens is not None:
        secure = request.url.scheme == "https"
        session = state.tokens.begin_session(visitor)
        response.set_cookie(SESSION, session, httponly=True, samesite="strict", secure=secure)
    return response


@router.post("/logout")
def log_out(request: Request, state: OneState) -> Response:
    """Know the browser no more."""
    if state.tokens is not None:
        state.tokens.end_session(request.cookies.get(SESSION, ""))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION)
    return response


def _lines(text: str, category_path: str = "") -> list[Item]:
    """A listing or, in a category, an example on each line. Raises InputError."""
    titles = [line.strip() for line in text.splitlines() if line.strip()]
    if not 0 < len(titles) <= MOST:
        raise InputError(f"{len(titles)} lines with a title: expected 1 to {MOST}")
    labelled = category_path != ""
    found = dict[str, Item]()
    for number, title in enumerate(titles, 1):
        try:
            made = item_of({"title": title, "category_path": category_path}, labelled)
        except InputError as error:
            raise InputError(f"line {number}: {error}") from None
        found[made.id] = made
    return list(found.values())


def _cards(state: State, listings: Sequence[Item], decisions: Sequence[Decision]) -> list[Card]:
    head = state.served.classifier.model.head
    cards = []
    for listing, said in zip(listings, decisions, strict=True):
        title = clean(listing.title)
        agreeing = [item.title for item in said.evidence if item.category_path == said.category_path]
        neighbors = [(item, explain(item.title, None, "", [title])) for item in said.evidence]
        cards.append(Card(listing, said, explain(title, head, said.category_path, agreeing), neighbors))
    return cards


def _part(request: Request, name: str) -> str:
    """The part of a page that changes, or all of it for a browser without scripts."""
    return f"{name}ed.html" if "hx-request" in request.headers else f"{name}.html"


def _job(state: State, id_: str) -> Job:
    job = state.jobs.find(id_)
    if job is None:
        raise QueryError("there is no such file: it may have been cleared away")
    return job
