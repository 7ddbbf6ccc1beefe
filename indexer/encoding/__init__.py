"""Turn strings into numbers: unit vectors, hashed n-grams, and the space in which vectors are compared."""
