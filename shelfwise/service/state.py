"""The state of one running service, and the operations of its routes."""

from asyncio import to_thread
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Annotated, cast

from fastapi import Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request

from shelfwise.classifier.model.decision import Decision
from shelfwise.indexer.errors import QueryError, listed
from shelfwise.indexer.item import Item, normal_path
from shelfwise.service.answers import Answer, Ask, Classify, Way
from shelfwise.service.batching import SMALL, Batcher, OverloadError
from shelfwise.service.intake import Intake
from shelfwise.service.jobs import Jobs
from shelfwise.service.metrics import Metrics
from shelfwise.service.overview import Overview
from shelfwise.service.recent import Recent
from shelfwise.service.reviews import ReviewQueue
from shelfwise.service.served import Served
from shelfwise.service.tokens import Tokens, Visitor
from shelfwise.service.writer import Writer
from shelfwise.service.writes import Write, WriteLog

ACKNOWLEDGE = 5.0  # seconds that a request waits for its write to be indexed
SEEN = Way()  # least detail of a decision for review, from which its value is computed
RENEW_ROUNDS = 3  # of classifying again: each can change the order of the queue


@dataclass(frozen=True)
class State:
    """The parts that answer requests. If `tokens` is None, every client is local."""

    served: Served
    log: WriteLog
    queue: ReviewQueue
    intake: Intake
    writer: Writer
    batcher: Batcher[Ask, Answer]
    metrics: Metrics
    recent: Recent
    jobs: Jobs
    overview: Overview
    tokens: Tokens | None

    @classmethod
    def from_request(cls, request: Request) -> "State":
        """Return the state of the service that received a request."""
        return cast(State, request.app.state.shelfwise)

    async def classify(self, way: Way, listings: Sequence[Item], review: bool) -> list[Decision]:
        """Return one decision per listing, and count them. With `review`, add doubtful ones to the review queue.

        Raise OverloadError when the server is busy.
        """
        told = Way(max(way.top, SEEN.top), max(way.neighbors, SEEN.neighbors), way.tier) if review else way
        answers = await self.batcher.submit([Classify(listing, told) for listing in listings])
        decisions = cast(list[Decision], answers)
        for decision in decisions:
            self.metrics.decisions.labels(decision.decision, decision.reason).inc()
        self.recent.add(decisions)
        if review:
            self.intake.put(listings, decisions)
        if told == way:
            return decisions
        return [
            replace(said, alternatives=said.alternatives[: way.top], evidence=said.evidence[: way.neighbors])
            for said in decisions
        ]

    def known_path(self, path: str, new: bool = False) -> str:
        """Return a normalised category path. Raise QueryError if it is empty, or neither in the store nor `new`."""
        wanted, there = normal_path(path), self.served.classifier.labels.paths
        if not wanted:
            raise QueryError("empty_category", f"category {path!r}", "a category path", "name a category")
        if not new and wanted not in self.served.classifier.labels.number_of:
            near = get_close_matches(wanted, there, n=3, cutoff=0.4)
            raise QueryError(
                "no_such_category",
                f"the store has no category {wanted!r}",
                "one of its categories",
                f"did you mean {listed(near)}?" if near else "confirm that it is a new category, or correct it",
            )
        return wanted

    async def answer_review(
        self, id_: str, action: str, path: str, who: Visitor, new: bool = False, seen: str = ""
    ) -> Write | None:
        """Accept, correct or skip a review. Return the write that stores the answer (None for a skip).

        `path` is the right category; to accept, the one shown, since the listing may have been classified again.
        Raise QueryError when the review is not open, its text is not that `seen`, or `path` is unknown and not `new`.
        """
        await self.intake.flush()
        review = await to_thread(self.queue.find, id_)
        if action == "skip":
            await to_thread(self.queue.skip, id_, who.name)
            return None
        if action == "accept":
            path = path or review.decision.category_path
        path = self.known_path(path, new)
        return await self._indexed(await to_thread(self.log.answer, id_, path, who.name, seen))

    async def write(self, who: Visitor, what: str, items: Sequence[Item] = (), removed: Sequence[str] = ()) -> Write:
        """Add or replace items, and remove others. The items answer the open reviews of listings with their ids."""
        await self.intake.flush()
        return await self._indexed(await to_thread(self.log.put, who.name, what, items, removed))

    async def renew_reviews(self) -> None:
        """Classify the first SMALL open reviews again if another version decided, to apply the corrections since.

        When the server is busy, leave them as they are.
        """
        await self.intake.flush()
        with suppress(OverloadError):
            for _ in range(RENEW_ROUNDS):
                version = self.served.classifier.index.snapshot.manifest.version
                first = await to_thread(self.queue.ranked, most=SMALL)
                stale = [review.listing for review in first if review.decision.store_version != version]
                if not stale:
                    return
                decisions = await self.batcher.submit([Classify(listing) for listing in stale])
                await to_thread(self.queue.renew, stale, cast(list[Decision], decisions))

    async def undo(self, number: int, who: Visitor) -> Write:
        """Undo a write. Return the write that does so. Raise QueryError when it cannot be undone."""
        return await self._indexed(await to_thread(self.log.undo, number, who.name))

    async def _indexed(self, number: int) -> Write:
        """Return a write once it is settled, or after ACKNOWLEDGE seconds. Do not wait if the writer has a problem."""
        return await self.writer.indexed(number, 0 if self.writer.problem else ACKNOWLEDGE)

    @property
    def problems(self) -> list[str]:
        """Reasons why newer versions or writes are not served, one line each."""
        return [problem for problem in (self.served.problem, self.writer.problem) if problem]


# Async, because FastAPI runs other functions in threads, which cost a sixth of the listings a second.
async def state_of(request: Request) -> State:
    """Return the state of the service that received a request."""
    return State.from_request(request)


async def writer(request: Request) -> Visitor:
    """Return the visitor, with role write. Raise HTTPException 403 for role read; the guard refuses all others."""
    visitor: Visitor = request.state.visitor
    if not visitor.writes:
        raise HTTPException(403, f"the token of {visitor.name} has role read; use a token of role write")
    return visitor


OneState = Annotated[State, Depends(state_of)]
Writes = Annotated[Visitor, Depends(writer)]
