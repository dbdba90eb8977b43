"""A run directory as a function from images to probabilities."""
