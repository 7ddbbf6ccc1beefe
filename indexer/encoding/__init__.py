"""Strings to numbers: unit vectors, hashed n-grams, and the space that vectors are compared in."""
