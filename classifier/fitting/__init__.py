"""Fitting a model and an encoder to labelled rows, and choosing settings on held-out ones."""
