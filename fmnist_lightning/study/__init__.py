"""The reproduction of the study: its runs, their evidence, and how they compare with the reported values."""
