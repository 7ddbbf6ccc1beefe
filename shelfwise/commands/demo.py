"""The demo: the four main uses of Shelfwise on the sample catalog, described line by line."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import shelfwise
from shelfwise import Decision, Item
from shelfwise.classifier.model.decision import ACCEPT
from shelfwise.indexer.reading.catalog import read_catalog
from shelfwise.indexer.reading.rejects import RejectList
from shelfwise.indexer.types import Progress

DATA = files("shelfwise.data")
SHOWN = ("L-103", "L-176", "L-166")  # ids of listings printed in full: their decisions are not borderline on any CPU
LOOK_UPS = ("保温杯 不锈钢 便携", "wireless earbuds for running")


def sample(name: str) -> list[Item]:
    """Return the items of a sample data file."""
    return list(read_catalog([str(DATA / name)], RejectList()).items.values())


def narrate(store: Path, device: str, progress: Progress | None = None) -> Iterator[str]:
    """Run the demo with a store in the folder `store`, and yield the lines to print.

    Counts differ by one or two between CPUs, so they are rounded until they no longer do.
    """
    catalog, listings = sample("catalog.csv"), sample("listings.csv")
    yield f"1. Build a store from a catalog of {len(catalog)} labelled items in Chinese and English:"
    opened = shelfwise.build(store, catalog, device=device, progress=progress)
    report = opened.report
    assert report  # a build always has one
    yield f"   {report.rows} items embedded with {report.encoder.name} ({report.encoder.reason})"
    yield f"   {_about(report.settings.held_out['accuracy'] or 0)} of the held-out items get the right category"

    yield f"\n2. Classify {len(listings)} new listings:"
    decisions = opened.classify(listings, progress=progress)
    yield from _shown(listings, decisions)
    yield from _scored(listings, decisions)

    examples, newcomers = sample("new_categories.csv"), sample("new_listings.csv")
    added = sorted({item.category_path for item in examples})
    yield f"\n3. Add {len(added)} categories with {len(examples)} examples, without retraining:"
    opened.add(examples, progress=progress)
    for path in added:
        own = [item for item in newcomers if item.category_path == path]
        found = _right(own, opened.classify(own))
        yield f"   {path}: {'most' if found > len(own) / 2 else 'few'} of its {len(own)} listings are found"
    again = opened.classify(listings[::4])
    kept = sum(old.category_path == new.category_path for old, new in zip(decisions[::4], again, strict=True))
    yield f"   {_about(kept / len(again))} of {len(again)} listings of step 2 keep their category"

    yield "\n4. Look up similar items, across languages:"
    for text in LOOK_UPS:
        yield f"   {text}"
        for item in opened.similar(text, k=3):
            yield f"     {item.title}  ({item.category_path})"


def _right(items: Sequence[Item], decisions: Sequence[Decision]) -> int:
    return sum(item.category_path == said.category_path for item, said in zip(items, decisions, strict=True))


def _about(share: float) -> str:
    """Return a share rounded to 5%.

    >>> _about(0.912)
    'about 90%'
    """
    return f"about {5 * round(20 * share)}%"


def _shown(listings: Sequence[Item], decisions: Sequence[Decision]) -> Iterator[str]:
    for item, said in zip(listings, decisions, strict=True):
        if item.id in SHOWN:
            yield f"   {item.title}"
            yield f"     -> {said.category_path}: {said.decision}"
            yield f"     most similar: {said.evidence[0].title}"


def _scored(listings: Sequence[Item], decisions: Sequence[Decision]) -> Iterator[str]:
    accepted = [pair for pair in zip(listings, decisions, strict=True) if pair[1].decision == ACCEPT]
    right = sum(item.category_path == said.category_path for item, said in accepted)
    yield f"   {_about(_right(listings, decisions) / len(listings))} of the listings get the right category"
    yield (
        f"   {_about(len(accepted) / len(listings))} are accepted without review, "
        f"{_about(right / max(1, len(accepted)))} of these are right"
    )
