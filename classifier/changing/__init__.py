"""Changes of a store: what they would do, what is refused, and the versions that they make."""
