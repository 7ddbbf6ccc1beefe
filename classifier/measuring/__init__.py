"""Measuring a classifier on labelled listings, and its decisions as a file."""
