"""The page of the last writes, with undo."""

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
    """Show the last writes with their authors, and buttons to undo them."""
    return render(request, "changes.html", "Changes", writes=state.log.last(), problem="")


@router.post("/changes/undo")
async def undo(request: Request, state: OneState, who: Writes, number: WriteNumber) -> Response:
    """Undo a write."""
    try:
        await state.undo(number, who)
    except QueryError as error:
        written = await to_thread(state.log.last)
        return render(request, "changes.html", "Changes", 409, writes=written, problem=str(error))
    return RedirectResponse("/changes", 303)
