"""Read, embed, store and search the rows of a catalog. Knows nothing about classification."""
