"""The demo: the four main uses of Shelfwise on the sample catalog, described line by line."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import shelfwise
from shelfwise import Decision, Item
from shelfwise.classifier.model.decision import ACCEPT
from shelfwise.indexer.item import beyond_latin
from shelfwise.indexer.reading.catalog import read_catalog
from shelfwise.indexer.reading.rejects import RejectList
from shelfwise.indexer.types import Progress

DATA = files("shelfwise.data")
LISTINGS_SHOWN = 4  # listings printed in full
LOOK_UPS = ("保温杯 不锈钢 便携", "wireless earbuds for running")


def sample(name: str) -> list[Item]:
    """Return the items of a sample data file."""
    return list(read_catalog([str(DATA / name)], RejectList()).items.values())


def narrate(store: Path, device: str, progress: Progress | None = None) -> Iterator[str]:
    """Run the demo with a store in the folder `store`, and yield the lines to print."""
    catalog, listings = sample("catalog.csv"), sample("listings.csv")
    yield f"1. Build a store from a catalog of {len(catalog)} labelled items in Chinese and English:"
    opened = shelfwise.build(store, catalog, device=device, progress=progress)
    report = opened.report
    assert report  # a build always has one
    yield f"   {report.rows} items embedded with {report.encoder.name} ({report.encoder.reason})"
    yield f"   {report.settings.held_out['accuracy']:.0%} of the held-out items get the right category"

    yield f"\n2. Classify {len(listings)} new listings:"
    decisions = opened.classify(listings, progress=progress)
    yield from _shown(listings, decisions)
    yield from _scored(listings, decisions)

    examples, newcomers = sample("new_categories.csv"), sample("new_listings.csv")
    added = sorted({item.category_path for item in examples})
    yield f"\n3. Add {len(added)} categories with {len(examples)} examples, without retraining:"
    unaware = opened.classify(newcomers)
    opened.add(examples, progress=progress)
    for path in added:
        own = [item for item in newcomers if item.category_path == path]
        right = _right(own, opened.classify(own))
        yield f"   {path}: {right} of its {len(own)} listings found"
    was = sum(decision.decision == ACCEPT for decision in unaware)
    yield f"   (before that, {was} of these {len(newcomers)} listings were accepted into other categories)"
    changed = sum(
        old.category_path != new.category_path for old, new in zip(decisions, opened.classify(listings), strict=True)
    )
    yield f"   of the {len(listings)} listings of step 2, {changed} changed category"

    yield "\n4. Look up similar items, across languages:"
    for text in LOOK_UPS:
        yield f"   {text}"
        for found in opened.similar(text, k=3):
            yield f"     {found.similarity:.2f}  {found.title}  ({found.category_path})"


def _right(items: Sequence[Item], decisions: Sequence[Decision]) -> int:
    return sum(item.category_path == said.category_path for item, said in zip(items, decisions, strict=True))


def _shown(listings: Sequence[Item], decisions: Sequence[Decision]) -> Iterator[str]:
    step = max(1, len(listings) // LISTINGS_SHOWN)
    for item, said in list(zip(listings, decisions, strict=True))[::step][:LISTINGS_SHOWN]:
        yield f"   {item.title}"
        yield f"     -> {said.category_path}  {said.confidence:.0%}  {said.decision} ({said.reason})"
        if said.evidence:
            yield f"     like: {said.evidence[0].title}  ({said.evidence[0].similarity:.2f})"


def _scored(listings: Sequence[Item], decisions: Sequence[Decision]) -> Iterator[str]:
    pairs = list(zip(listings, decisions, strict=True))
    for name, chinese in (("Chinese", True), ("English", False)):
        own = [(item, said) for item, said in pairs if beyond_latin(item.title) == chinese]
        right = _right([item for item, _ in own], [said for _, said in own])
        yield f"   {name}: {right} of {len(own)} right ({right / len(own):.0%})"
    accepted = [(item, said) for item, said in pairs if said.decision == ACCEPT]
    right = _right([item for item, _ in accepted], [said for _, said in accepted])
    yield f"   accepted without review: {len(accepted)} of {len(pairs)}, {right} of them right"
