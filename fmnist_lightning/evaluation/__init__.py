"""Predictions in; scores, tables and figures out. Knows no Lightning, no Hydra, no trainer and no run."""
