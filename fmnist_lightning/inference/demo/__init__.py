"""The page of the demo command: its runs, its results, its server."""
