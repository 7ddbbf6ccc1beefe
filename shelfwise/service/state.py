"""What one running service has."""

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

ACKNOWLEDGE = 5.0  # seconds that a request waits for the index to have what it wrote
SEEN = Way()  # how much of a decision a reviewer sees, and its value rests on, at least
RENEW_ROUNDS = 3  # of deciding anew, since others may come first then


@dataclass(frozen=True)
class State:
    """The parts that answer requests; `tokens` is None where everybody is local."""

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
        """That of the service that a request came to."""
        return cast(State, request.app.state.shelfwise)

    async def classify(self, way: Way, listings: Sequence[Item], review: bool) -> list[Decision]:
        """Decisions on listings, counted; with `review`, doubtful ones are put into the queue. Raises OverloadError."""
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
        """A category path as it is written in the store, which has it unless it is `new`. Raises QueryError."""
        wanted, there = normal_path(path), self.served.classifier.labels.paths
        if not wanted:
            raise QueryError("empty_category", f"category {path!r}", "a category path", "name a category")
        if not new and wanted not in self.served.classifier.labels.number_of:
            near = get_close_matches(wanted, there, n=3, cutoff=0.4)
            raise QueryError(
                "no_such_category",
                f"the store has no category {wanted!r}",
                "one of its categories",
                f"did you mean {listed(near)}?" if near else "say that it is a new one, if it is",
            )
        return wanted

    async def answer_review(
        self, id_: str, action: str, path: str, who: Visitor, new: bool = False, seen: str = ""
    ) -> Write | None:
        """accept, correct with a category `path`, or skip a review; the write that the answer became, None for a skip.
        To accept, `path` is what was seen: it may be decided anew meanwhile; `seen` stands for the listing's words.

        Raises QueryError where there is no open review, or where the category is not there and not said to be `new`.
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
        """Put items into the index, which answers open reviews of listings with their ids, and take others out."""
        await self.intake.flush()
        return await self._indexed(await to_thread(self.log.put, who.name, what, items, removed))

    async def renew_reviews(self) -> None:
        """Decide anew on the first SMALL open reviews where another version decided: what was corrected meanwhile has
        taught the index. Where too much is being asked they stay as they are."""
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
        """Take a write back; the write that does. Raises QueryError."""
        return await self._indexed(await to_thread(self.log.undo, number, who.name))

    async def _indexed(self, number: int) -> Write:
        """A write, when the index has it or after ACKNOWLEDGE seconds; at once where writes cannot be made just now."""
        return await self.writer.indexed(number, 0 if self.writer.problem else ACKNOWLEDGE)

    @property
    def problems(self) -> list[str]:
        """What keeps newer versions or writes from being served."""
        return [problem for problem in (self.served.problem, self.writer.problem) if problem]


# Not in threads, as FastAPI runs what is not async: that cost a sixth of the listings a second.
async def state_of(request: Request) -> State:
    """The state of the service that a request came to."""
    return State.from_request(request)


async def writer(request: Request) -> Visitor:
    """Who asks, and may write. Whoever may not even read does not get past the guard."""
    visitor: Visitor = request.state.visitor
    if not visitor.writes:
        raise HTTPException(403, f"{visitor.name} may read and not write: a token of role write is needed")
    return visitor


OneState = Annotated[State, Depends(state_of)]
Writes = Annotated[Visitor, Depends(writer)]
