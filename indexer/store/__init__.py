"""Catalog rows on disk: versions, writing them, and the files that belong to them."""
