"""The study made again: which runs it takes, what they show, and how that compares with what was printed."""
