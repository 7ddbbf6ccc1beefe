"""Vectors to neighbours: exact, approximate and on GPU, over all that a store holds."""
