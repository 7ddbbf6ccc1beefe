"""Changes of a store: previews, limits, and the versions they create."""
