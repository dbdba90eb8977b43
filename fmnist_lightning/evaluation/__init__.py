"""Predictions in; scores, tables and pictures out. Knows no Lightning, no Hydra, no trainer and no file system."""

from fmnist_lightning.evaluation.report import build_report, data_url, templates
from fmnist_lightning.evaluation.scores import confused_pairs, report_text, score, worst_mistakes

__all__ = [
    "build_report",
    "confused_pairs",
    "data_url",
    "report_text",
    "score",
    "templates",
    "worst_mistakes",
]
