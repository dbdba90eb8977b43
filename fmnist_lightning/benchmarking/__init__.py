"""What the benchmark compares, and how it is timed."""
