"""Run directories: their layout, atomic files, checkpoints, untrusted input, resuming, sweeps."""
