"""The fitted model, and the pipeline from a listing to its decision."""
