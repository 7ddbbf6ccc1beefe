"""Sample catalog, listings and examples, all of them invented."""
