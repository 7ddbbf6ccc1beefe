"""Fit a model and an encoder to labelled rows, and choose settings on held-out rows."""
