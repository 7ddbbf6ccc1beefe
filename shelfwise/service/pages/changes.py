"""What was written, and the undoing of it."""

from asyncio import to_thread

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shelfwise.indexer.errors import QueryError
from shelfwise.service.pages.parts import WriteNumber, page_router
from shelfwise.service.rendering import render
from shelfwise.service.state import OneState, Writes

router = page_router()


@router.get("/changes")
def changes(request: Request, state: OneState) -> Response:
    """What was written, by whom, and the undoing of it."""
    return render(request, "changes.html", "Changes", writes=state.log.last(), problem="")


@router.post("/changes/undo")
async def undo(request: Request, state: OneState, who: Writes, number: WriteNumber) -> Response:
    """Take a write back."""
    try:
        await state.undo(number, who)
    except QueryError as error:
        written = await to_thread(state.log.last)
        return render(request, "changes.html", "Changes", 409, writes=written, problem=str(error))
    return RedirectResponse("/changes", 303)
