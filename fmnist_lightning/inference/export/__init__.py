"""Export of a run to files that work without this package, verified against PyTorch."""
