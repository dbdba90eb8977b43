import re
from fractions import Fraction
from pathlib import Path

import pytest

from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.study.claims import judge
from fmnist_lightning.study.plan import (
    CHOICES,
    DEFAULT_SEEDS,
    FRACTIONS,
    NUM_SEEDS,
    Variant,
    ablation_variants,
    plan,
    with_early_stopping,
    without_early_stopping,
)
from fmnist_lightning.study.reported import CLAIMS, MODELS, REPORTED
from fmnist_lightning.study.training_claims import LOSS_TO_REACH
from tests.study.conftest import as_claimed, make_records


def test_each_variant_has_its_number_of_seeds():
    runs = plan(range(10, 20))
    assert len(runs) == len(set(runs)) == 189
    seeds = {run.variant: [other.seed for other in runs if other.variant == run.variant] for run in runs}
    for model, num in NUM_SEEDS.items():
        expected = {
            Variant(model): num.recipe,
            without_early_stopping(model): num.long,
            with_early_stopping(model): num.long,
        }
        expected |= dict.fromkeys(ablation_variants(model), num.ablation)
        expected |= {Variant(model, train_fraction=fraction): num.fractions for fraction in FRACTIONS}
        expected |= {Variant(model, train_fraction=0.5): num.half}
        expected |= {Variant(model, choice=choice): num.choices for choice in CHOICES[model]}
        of_model = {variant: listed for variant, listed in seeds.items() if variant.model == model}
        assert of_model == {variant: list(range(10, 10 + count)) for variant, count in expected.items()}


def test_plan_is_within_the_budget():
    """2.5 hours on two cores."""
    assert sum(run.seconds("full") for run in plan(range(10, 20))) < 0.9 * 2 * 2.5 * 3600
    quick = plan(range(10, 10 + DEFAULT_SEEDS["quick"]))
    assert sum(run.seconds("quick") for run in quick) / 2 < 5 * 60


def test_analysis_plan_is_that_of_the_code():
    page = (Path(__file__).resolve().parents[2] / "docs" / "analysis-plan.md").read_text()
    ann, cnn = NUM_SEEDS["ann"], NUM_SEEDS["cnn"]
    rows = ("recipe", "ablation", "long", "half", "fractions", "choices")
    table = [line.split(" | ")[1:3] for line in page.splitlines() if line.count(" | ") == 3 and "| why |" not in line]
    assert table[:6] == [[str(getattr(ann, row)), str(getattr(cnn, row))] for row in rows]
    seconds = sum(run.seconds("full") for run in plan(range(10, 20)))
    assert f"{len(plan(range(10, 20)))} runs and an estimated {round(seconds, -2):,.0f} core-seconds" in page


@pytest.mark.parametrize("model", MODELS)
def test_limits_are_those_of_the_analysis_plan(model):
    page = (Path(__file__).resolve().parents[2] / "docs" / "analysis-plan.md").read_text()
    found = re.findall(r"\| (both )?(above|below) ([\d./]+)", page[page.index("| claim | measure |") :])
    planned = [(way == "above", float(Fraction(limit))) for both, way, limit in found for _ in range(2 if both else 1)]
    evidence = [part for claim in judge(make_records(as_claimed, 2)) for part in claim["evidence"]]
    tested = [part for part in evidence if part["model"] in (None, model) and part["limit"] is not None]
    assert [(part["above"], part["limit"]) for part in tested] == planned
    reached = f"epochs until the validation loss is at most {LOSS_TO_REACH[model]:.2f},"
    assert any(reached in part["text"] for part in tested)
    assert f"is {LOSS_TO_REACH['ann']} (ANN), {LOSS_TO_REACH['cnn']} (CNN)," in page


def test_run_that_is_trained_further_follows_its_base():
    runs = plan([10, 11])
    for number, run in enumerate(runs):
        if run.base:
            assert run.base in runs[:number]
            allowed = ("trainer.max_epochs=", "callbacks.early_stopping.patience=")
            added = set(run.overrides("full")) ^ set(run.base.overrides("full"))
            assert all(override.startswith(allowed) for override in added)
    assert {run.variant for run in runs if run.base} == {
        variant
        for model in MODELS
        for variant in (ablation_variants(model)[0], with_early_stopping(model), without_early_stopping(model))
    }


def test_run_names_are_unique_and_valid_directory_names():
    names = [run.name for run in plan([0, 1])]
    assert len(set(names)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for name in names)


@pytest.mark.slow
def test_overrides_of_every_planned_run_are_valid():
    for variant in {run.variant for run in plan([0])}:
        for size in ("full", "quick"):
            validate_command_line([*variant.overrides(0, size), "data=synthetic"])


def test_smaller_training_sets_take_the_same_number_of_steps():
    half = Variant("cnn", train_fraction=0.5).overrides(0, "full")
    assert {"data.train_fraction=0.5", "data.batch_size=256"} <= set(half)


def test_reported_tables_are_consistent():
    for reported in REPORTED.values():
        for precision, recall, f1 in reported.per_class:
            assert abs(2 * precision * recall / (precision + recall) - f1) < 0.011  # each rounded to two digits
        for measure, average in enumerate(reported.average):
            assert abs(sum(row[measure] for row in reported.per_class) / 10 - average) < 0.011
        # with as many images of each class, accuracy is the mean recall
        assert abs(sum(recall for _, recall, _ in reported.per_class) / 10 - reported.accuracy) < 0.011
    assert len(CLAIMS) == 6
