"""Evaluation of a classifier on labelled listings, and output of decisions to files."""
