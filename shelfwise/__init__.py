"""Shelfwise puts shop listings into categories by the labelled items most like them."""

from importlib.util import find_spec

__version__ = "0.4.0"

if find_spec("shelfwise.indexer") is None:
    raise ImportError(
        "this is a checkout of shelfwise that is not installed: run pip install -e '.[cpu,models]' in it, or leave the "
        "folder to use the installed shelfwise"
    )
