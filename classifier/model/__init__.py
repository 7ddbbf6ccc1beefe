"""What was fitted, and the way of a listing through it to its decision."""
