"""Catalog rows to neighbours: reading, text, vectors, the store and the search. Knows no classes."""
