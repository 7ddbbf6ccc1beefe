"""Shelfwise classifies shop listings by the labelled items most similar to them.

import shelfwise as sw

store = sw.build("my.store", "catalog.csv")
store.classify("wireless earbuds").category_path
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

__version__ = "0.7.0"

if find_spec("shelfwise.indexer") is None:
    _LINE = (
        "this checkout of shelfwise is not installed: run pip install -e '.[cpu,models]' in it, or leave the folder "
        "to use the installed shelfwise"
    )
    raise SystemExit(f"Error: {_LINE}") if sys.argv[:1] == ["-m"] else ImportError(_LINE)  # -m: python -m shelfwise

if TYPE_CHECKING:
    from shelfwise.building import build, inspect, restore
    from shelfwise.classifier.model.decision import Decision
    from shelfwise.indexer.errors import ShelfwiseError
    from shelfwise.indexer.item import Item
    from shelfwise.results import to_frame
    from shelfwise.store import Store
    from shelfwise.store import open_store as open

# Module and name of each public object, loaded at its first use: importing numpy and faiss is slow.
_PUBLIC = {
    "Decision": ("shelfwise.classifier.model.decision", "Decision"),
    "Item": ("shelfwise.indexer.item", "Item"),
    "ShelfwiseError": ("shelfwise.indexer.errors", "ShelfwiseError"),
    "Store": ("shelfwise.store", "Store"),
    "build": ("shelfwise.building", "build"),
    "inspect": ("shelfwise.building", "inspect"),
    "open": ("shelfwise.store", "open_store"),
    "restore": ("shelfwise.building", "restore"),
    "to_frame": ("shelfwise.results", "to_frame"),
}
__all__ = [
    "Decision",
    "Item",
    "ShelfwiseError",
    "Store",
    "__version__",
    "build",
    "inspect",
    "open",
    "restore",
    "to_frame",
]


def __getattr__(name: str) -> object:
    """Load a public object at its first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'shelfwise' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    found = getattr(import_module(module), attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
