import pytest

from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.study.plan import CHOICES, FRACTIONS, Variant, plan
from fmnist_lightning.study.reported import CLAIMS, MODELS, REPORTED


def test_run_that_several_tables_need_is_planned_once():
    runs = plan([0, 1, 2, 3, 4])
    assert len(runs) == len(set(runs))
    for model in MODELS:
        seeds = {
            variant: [run.seed for run in runs if run.variant == variant] for variant in {run.variant for run in runs}
        }
        assert seeds[Variant(model)] == [0, 1, 2, 3, 4]
        for dropout, batch_norm in ((True, False), (False, True), (False, False)):
            assert seeds[Variant(model, dropout, batch_norm)] == [0, 1, 2]
        for fraction in FRACTIONS:
            assert seeds[Variant(model, train_fraction=fraction)] == [0, 1, 2]
        for choice in CHOICES[model]:
            assert seeds[Variant(model, choice=choice)] == [0]


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
