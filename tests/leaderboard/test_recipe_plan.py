from pathlib import Path

from fmnist_lightning.leaderboard.plan import LONG, NUM_TEACHERS, RECIPES, PlannedRun, plan, plan_teachers

SEEDS = range(100, 105)


def folder_of(run: PlannedRun) -> Path:
    return Path(run.name)


def test_each_recipe_is_trained_with_each_seed_once():
    runs = plan(RECIPES, SEEDS, "full", folder_of)
    assert sorted((run.recipe, run.seed) for run in runs) == sorted((name, seed) for name in RECIPES for seed in SEEDS)


def test_long_recipes_come_last_seed_by_seed():
    runs = [run for run in plan(RECIPES, SEEDS, "full", folder_of) if not run.teachers]
    is_long = [run.seconds("full") > LONG for run in runs]
    assert is_long == sorted(is_long)
    seeds = [run.seed for run in runs if run.seconds("full") > LONG]
    assert seeds == sorted(seeds)


def test_teachers_are_trained_before_their_students_which_read_their_directories():
    runs = plan(["distilled_ann"], [100, 103], "full", folder_of)
    teachers = plan_teachers("distilled_ann", "full")
    assert len(teachers) == NUM_TEACHERS
    assert runs[:NUM_TEACHERS] == teachers
    assert [(run.recipe, run.seed) for run in runs[NUM_TEACHERS:]] == [("distilled_ann", 100), ("distilled_ann", 103)]
    names = ",".join(f"'{run.name}'" for run in teachers)
    for run in runs[NUM_TEACHERS:]:
        assert f"callbacks.distillation.teachers=[{names}]" in run.overrides("full")


def test_full_runs_are_the_recipe_as_it_is_and_quick_ones_are_shorter():
    run = PlannedRun("fast_cnn", 100)
    assert run.overrides("full") == ["experiment=fast_cnn", "seed=100"]
    assert run.seconds("quick") < run.seconds("full")
