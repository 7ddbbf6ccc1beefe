"""The rows of a catalog on disk: versions, the writing of them, and what they take along."""
