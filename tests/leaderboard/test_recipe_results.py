import copy
import io

import pytest
from matplotlib.figure import Figure
from PIL import Image

from fmnist_lightning.leaderboard.figure import draw
from fmnist_lightning.leaderboard.labels import LabelPlacer
from fmnist_lightning.leaderboard.plan import PlannedRun
from fmnist_lightning.leaderboard.results import SAME, environment
from fmnist_lightning.leaderboard.table import header_lines, interval, markdown_table, mean_std, seeds, terminal_table
from fmnist_lightning.runs.run import Run
from tests.leaderboard.conftest import EXPECTED, make_results


def test_recipe_has_mean_std_and_students_interval(results):
    accuracy = results["recipes"]["fast_cnn"]["accuracy"]
    assert (accuracy["n"], accuracy["mean"], accuracy["std"]) == (5, 0.923, 0.001581)
    assert accuracy["interval"] == pytest.approx([0.923 - 0.001963, 0.923 + 0.001963], abs=2e-6)  # t of 4: 2.7764


def test_seconds_of_a_distilled_recipe_are_given_with_and_without_its_teachers(results):
    recipe = results["recipes"]["distilled_ann"]
    assert recipe["fit_seconds"]["mean"] == 60
    assert recipe["seconds_with_teachers"] == 60 + 3 * 95
    assert "distilled_ann: 345 s with the training of its 3 teachers (cnn_20_epochs)" in terminal_table(results)
    assert "60 ± 0 (345 with cnn_20_epochs)" in markdown_table(results)


def test_table_has_a_row_for_each_recipe_and_fits_80_columns(results):
    lines = terminal_table(results).splitlines()
    assert [line.split()[0] for line in lines[1:9]] == list(EXPECTED)
    assert max(map(len, lines)) <= 80
    assert lines[3].split() == ["fast_cnn", "0.9260", "0.9230", "±", "0.0016", "0.9210-0.9250", "0.9240", "5", "22"]


def test_results_that_are_not_the_leaderboard_say_so(results):
    results["note"] = "QUICK size"
    results["environment"] = {**results["environment"], "data_note": "synthetic images"}
    assert terminal_table(results).endswith("*** QUICK size ***\n*** synthetic images ***")


def test_header_states_accuracy_n_seconds_hardware_and_command(results):
    lines = header_lines(results, "fast_cnn")
    assert lines.splitlines() == [
        "# Measured: test accuracy 0.9230 ± 0.0016 (mean ± std, n = 5, seeds 100-104), with flip averaging "
        "0.9240 ± 0.0016;",
        "# 22 ± 0 s of training, AMD EPYC, 2 threads; by make recipes (docs/leaderboard.md).",
    ]


def test_single_seed_has_neither_std_nor_interval():
    accuracy = make_results(num=1)["recipes"]["fast_cnn"]["accuracy"]
    assert (mean_std(accuracy), interval(accuracy, " to ")) == ("0.9210", "-")


def test_seeds_are_shortened_to_a_range():
    assert (seeds([100, 101, 102]), seeds([100, 102]), seeds([100])) == ("100-102", "100, 102", "100")


def test_runs_that_differ_in_more_than_recipe_and_seed_are_rejected():
    summaries = {
        PlannedRun("fast_cnn", seed): dict.fromkeys((*SAME, "openmp"), "same")
        | {"git_commit": "0123", "git_dirty": False}
        for seed in (100, 101)
    }
    runs = {planned: Run(planned.name) for planned in summaries}
    assert environment(runs, summaries)["git_commits"] == ["0123"]
    summaries[PlannedRun("fast_cnn", 101)]["device"] = "another"
    with pytest.raises(ValueError, match="fast_cnn_seed-101: device differs from the other runs"):
        environment(runs, summaries)


@pytest.mark.parametrize("num", [1, 5])
def test_figure_is_a_small_picture_as_wide_as_readme(num):
    results = make_results(num)
    before = copy.deepcopy(results)
    png = draw(results)
    assert results == before
    assert len(png) < 150_000
    assert Image.open(io.BytesIO(png)).width in range(780, 830)


def test_labels_cover_neither_points_nor_each_other():
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    placer = LabelPlacer(axes)
    points = [(5 + 0.3 * i, 5 + 0.2 * i) for i in range(8)]
    for point in points:
        placer.occupy(point, point, margin=4)
    for i, point in enumerate(points):
        placer.beside(f"recipe number {i}", point, "black")
    boxes = placer.taken
    assert len(boxes) == 16
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[max(i + 1, 8) :])
