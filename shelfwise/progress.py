"""The progress bar of long calls: items, rate and time left, on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shelfwise.indexer.types import Progress


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show a bar for each stage until the block ends. Yield the callback that updates the bars."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Display
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed or 0:.0f}/s")

    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Display(*shown, console=Console(stderr=True), transient=True) as display:
        tasks: dict[str, Any] = {}

        def update(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = display.add_task(stage, total=total or None)
            display.update(tasks[stage], completed=done, description=f"{stage} {note}".strip())

        yield update
