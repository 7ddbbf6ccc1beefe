"""Search for the neighbours of vectors in a store: exact, approximate and on a GPU."""
