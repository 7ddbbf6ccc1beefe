"""The page of the store's health and of the last listings."""

from starlette.requests import Request
from starlette.responses import Response

from shelfwise.service.overview import drift_of, facts_of
from shelfwise.service.pages.parts import page_router
from shelfwise.service.rendering import render
from shelfwise.service.state import OneState

router = page_router()


@router.get("/health")
def health(request: Request, state: OneState) -> Response:
    """Show the health of the store, and statistics of the last listings."""
    classifier = state.served.classifier
    accepted = state.recent.accepted()
    return render(
        request,
        "health.html",
        "Health",
        problems=state.problems,
        facts=facts_of(classifier, len(state.log.waiting_numbers()), state.queue.count()),
        accepted=accepted,
        accepted_labels=[f"{share:.0%}" for share in accepted],
        seen=len(state.recent),
        drift=drift_of(state.overview.survey(classifier), state.recent.similarities()),
    )
