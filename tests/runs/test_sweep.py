"""Sweeps as users start them: the table, failed jobs, resuming, concurrent jobs."""

import csv
import gc
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.nn import Parameter

from fmnist_lightning.evaluation.sweeps import draw_sweep
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.sweep import Sweep
from fmnist_lightning.training.run import train

GRID = ["model=ann", "optimizer.lr=1e30,3e-3", "seed=0,1"]
NUMBERS = ("val_loss", "val_accuracy", "test_accuracy", "best_epoch", "epochs")
SweepCommand = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def sweep(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepCommand:
    """Starts a sweep of four jobs, of which two fail, in the folder `grid` unless told otherwise."""
    folder = tmp_path_factory.mktemp("sweeps")
    few_images = ["data=synthetic", "data.num_train=400", "data.num_test=100", "data.batch_size=64"]

    def run(*arguments: str, into: str = "grid") -> "subprocess.CompletedProcess[str]":
        typed = [*few_images, f"data.root={data_root}", "trainer.max_epochs=2", "trainer.accelerator=cpu", *arguments]
        return subprocess.run(
            [sys.executable, "-m", "fmnist_lightning", "-m", *typed, f"hydra.sweep.dir={into}"],
            cwd=folder,
            env=os.environ | {"COLUMNS": "80"},
            capture_output=True,
            text=True,
            timeout=240,
        )

    run.folder = folder / "grid"  # type: ignore[attr-defined]
    return run


@pytest.fixture(scope="module")
def made(sweep: SweepCommand) -> "subprocess.CompletedProcess[str]":
    return sweep(*GRID)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def job(folder: Path, number: int | str) -> Path:
    (found,) = folder.glob(f"{number}_*")
    return found


def test_failed_job_does_not_stop_the_others(made, sweep):
    assert made.returncode == 1
    assert "Traceback" not in made.stderr
    rows = {row["job"]: row for row in table(sweep.folder)}
    assert [rows[job]["status"] for job in "0123"] == ["failed", "failed", "completed", "completed"]
    assert "optimizer.lr=1e+30: the loss is " in rows["0"]["error"]
    assert "Traceback" in (job(sweep.folder, 0) / "fmnist.log").read_text()


@pytest.mark.slow
def test_table_that_cannot_be_written_is_a_one_line_error_and_stops_no_job(sweep):
    folder = sweep.folder.with_name("unwritten")
    (folder / "sweep.csv").mkdir(parents=True)
    answer = sweep("model=ann", "seed=0,1", into="unwritten")
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line == f"error: [Errno 21] Is a directory: '{Path('unwritten') / 'sweep.csv'}'"
    assert [row["status"] for row in Sweep(folder).rows()] == ["completed"] * 2
    assert "best by mean validation loss: " in answer.stdout
    assert answer.stdout.splitlines()[-1] == "sweep: unwritten"


def test_table_is_ordered_by_validation_and_shows_the_swept_keys(made, sweep):
    rows = table(sweep.folder)
    losses = [float(row["val_loss"]) for row in rows[:2]]
    assert losses == sorted(losses)
    assert [row["status"] for row in rows[2:]] == ["failed", "failed"]
    for row in rows:
        summary = json.loads((job(sweep.folder, row["job"]) / "summary.json").read_text())
        assert f"optimizer.lr={row['optimizer.lr']}" in summary["overrides"]
        assert int(row["seed"]) == summary["seed"]
        if "test" in summary:
            assert float(row["test_accuracy"]) == summary["test"]["accuracy"]
            assert float(row["val_loss"]) == summary["val"]["loss"]
    markdown = (sweep.folder / "sweep.md").read_text().splitlines()
    assert [line for line in markdown if line.startswith("| best ")] == [markdown[4]]
    assert markdown[4].startswith(f"| best | {rows[0]['job']} |")
    assert (sweep.folder / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_output_is_a_line_per_job_and_a_table_in_80_columns(made):
    lines = made.stdout.splitlines()
    assert lines[0] == "sweep of 4 jobs: grid"
    assert lines[1].split("  ")[-1].strip() == "left"
    assert re.fullmatch(r"3 of 4 +0\.003 +0 +2 of 2( +[\d.]+){3} +\d+:\d\d", lines[2])
    assert re.fullmatch(r"4 of 4 +0\.003 +1 +2 of 2( +[\d.]+){3}", lines[3])
    failed = [line for line in made.stderr.splitlines() if line]
    assert len(failed) == 2
    for number, line in enumerate(failed):
        assert re.match(rf"{number + 1} of 4 +1e\+30 +{number}  failed: optimizer\.lr=1e\+30: the loss is ", line)
    assert lines[5] == "Mean ± std over n seeds, by mean validation loss"
    assert re.fullmatch(r" +0\.003 +2( +\d\.\d{4} ± \d\.\d{4}){3}  best", lines[7])
    assert lines[8].split() == ["1e+30", "0", "of", "2"]
    assert max(map(len, lines[:9])) <= 80
    assert len(lines) <= 15


def test_output_ends_with_the_best_run_and_how_to_continue(made, sweep):
    best = table(sweep.folder)[0]
    *_, command, run, report, again, last = made.stdout.strip().splitlines()
    assert command.startswith("best by mean validation loss: python -m fmnist_lightning data=synthetic")
    assert f"optimizer.lr={best['optimizer.lr']} seed={best['seed']}" in command
    assert run == f"best run: grid/{best['job']}_ann_lr0.003_seed{best['seed']}"
    assert report == "report: grid/sweep.html"
    assert again.startswith("2 of 4 jobs are completed; the same command with hydra.sweep.dir=grid continues")
    assert last == "sweep: grid"


def test_csv_has_mean_and_std_of_the_seeds(made, sweep):
    rows = table(sweep.folder)
    for name in ("val_loss", "val_accuracy", "test_accuracy", "monitored_value"):
        values = [float(row[name]) for row in rows[:2]]
        assert float(rows[0][f"{name}_mean"]) == pytest.approx(statistics.mean(values))
        assert float(rows[0][f"{name}_std"]) == pytest.approx(statistics.stdev(values))
    assert [row["completed_seeds"] for row in rows] == ["2", "2", "0", "0"]
    assert rows[2]["val_loss_mean"] == ""
    assert "| 0.003 |" in (sweep.folder / "sweep.md").read_text().partition("Mean ± standard deviation")[2]


def test_job_has_the_same_results_alone_and_last_in_a_sweep(made, sweep, composed, tmp_path):
    in_sweep = json.loads((job(sweep.folder, 3) / "summary.json").read_text())
    alone = train(composed("model=ann", "optimizer.lr=3e-3", "seed=1"), tmp_path / "alone", [])
    assert (in_sweep["val"], in_sweep["test"]) == (alone["val"], alone["test"])


@pytest.mark.slow
def test_repeated_sweep_trains_missing_jobs_only(made, sweep):
    (job(sweep.folder, 2) / "summary.json").write_text('{"status": "runn')
    kept = job(sweep.folder, 3) / "summary.json"
    before = kept.stat().st_mtime_ns
    rows = {row["job"]: row for row in table(sweep.folder)}
    again = sweep(*GRID)
    assert again.returncode == 1
    assert re.search(r"^4 of 4 +0\.003 +1  already completed$", again.stdout, re.MULTILINE)
    assert kept.stat().st_mtime_ns == before
    for row in table(sweep.folder):
        assert [row[name] for name in NUMBERS] == [rows[row["job"]][name] for name in NUMBERS]


def test_another_sweep_in_its_directory_is_rejected(made, sweep):
    answer = sweep("model=ann", "seed=0,1")
    assert answer.returncode == 1
    assert "hydra.sweep.dir=grid: already contains another sweep" in answer.stderr
    swapped = sweep(*GRID[::-1])  # would number the jobs otherwise
    assert "hydra.sweep.dir=grid: already contains another sweep" in swapped.stderr


def test_sweep_is_not_resumed_if_completed_jobs_would_have_other_results(made, sweep):
    summary = job(sweep.folder, 3) / "summary.json"
    text = summary.read_text()
    summary.write_text(text.replace('"code_sha256": "', '"code_sha256": "0'))
    answer = sweep(*GRID)
    summary.write_text(text)
    assert answer.returncode == 1
    assert "code or configuration changed since 3_ann_lr0.003_seed1 was completed" in answer.stderr


@pytest.mark.slow
def test_job_never_overwrites_a_run_of_another_configuration(made, sweep):
    other = job(sweep.folder, 0) / ".hydra" / "config.yaml"
    text = other.read_text()
    other.write_text(text.replace("seed: 0", "seed: 7"))
    answer = sweep(*GRID)
    assert "contains a run of another configuration; not overwritten. Choose another hydra.sweep.dir" in answer.stderr
    assert "seed: 7" in other.read_text()
    other.write_text(text)


@pytest.mark.slow
def test_job_locked_by_another_process_is_not_touched(made, sweep):
    unfinished = job(sweep.folder, 0)
    with Run(unfinished).locked():
        answer = sweep(*GRID)
    assert "locked by another process" in answer.stderr
    assert json.loads((unfinished / "summary.json").read_text())["status"] == "failed"


def test_damaged_summary_does_not_hide_the_others(made, sweep):
    summary = job(sweep.folder, 0) / "summary.json"
    text = summary.read_text()
    summary.write_text("")
    rows = Sweep(sweep.folder).rows()
    summary.write_text(text)
    assert sorted(row["status"] for row in rows) == ["completed", "completed", "damaged", "failed"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_concurrent_jobs_have_the_results_of_sequential_ones(launcher, made, sweep):
    answer = sweep(*GRID, f"hydra/launcher={launcher}", into=launcher)
    assert answer.returncode == 1, answer.stderr
    rows, others = table(sweep.folder), table(sweep.folder.parent / launcher)
    assert len(others) == 4
    for row, other in zip(rows, others, strict=True):
        assert [row[name] for name in ("status", *NUMBERS)] == [other[name] for name in ("status", *NUMBERS)]
    assert "sweep: " in answer.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # isinstance reads deprecated attributes
def test_objects_of_a_job_are_freed_after_it(composed, tmp_path):
    def live() -> tuple[int, int]:
        """Trainers and models that exist, and bytes of tensors."""
        gc.collect()  # as the command does after each job
        objects = gc.get_objects()
        num_owners = sum(isinstance(each, Trainer | LightningModule) for each in objects)
        return num_owners, sum(each.nbytes for each in objects if type(each) in (Tensor, Parameter))

    counts = []
    for number in range(3):
        train(composed("model=ann", f"seed={number}"), tmp_path / str(number), [])
        counts.append(live())
    assert counts[1] == counts[2]


def rows_of(**values: list[str]) -> list[dict[str, object]]:
    num = len(next(iter(values.values())))
    return [
        {
            "overrides": {key.replace("__", "."): value[i] for key, value in values.items()},
            "val_loss": 0.1 * (i + 1),
            "val_accuracy": 0.9,
        }
        for i in range(num)
    ]


@pytest.mark.parametrize(
    ("values", "swept_keys"),
    [
        ({"optimizer__lr": ["1e-4", "1e-3", "1e-2"]}, ["optimizer.lr"]),
        ({"optimizer__lr": ["1e-4", "1e-3"], "data__batch_size": ["64", "128"]}, ["optimizer.lr", "data.batch_size"]),
        ({"model": ["ann", "cnn"], "seed": ["0", "1"]}, ["model", "seed"]),
        ({"seed": ["0", "1"]}, ["seed"]),
        ({"model__hidden": ["[1,2]", "[3]"], "model": ["ann", "ann"]}, ["model.hidden"]),
    ],
)
def test_every_kind_of_sweep_has_a_figure(values, swept_keys):
    assert draw_sweep(rows_of(**values), swept_keys).startswith(b"\x89PNG")


def test_sweep_without_swept_keys_has_no_figure(tmp_path):
    assert draw_sweep(rows_of(seed=["0"]), []) is None
    assert Sweep(tmp_path).rows() == []


def test_table_is_written_even_if_the_figure_cannot_be_drawn(tmp_path):
    def fail(*arguments: object) -> dict[str, str | bytes]:
        raise ValueError("cannot be drawn")

    (tmp_path / "0_ann").mkdir()
    (tmp_path / "0_ann" / "summary.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be drawn"):
        Sweep(tmp_path).update(fail)
    assert [row["status"] for row in table(tmp_path)] == ["damaged"]
    assert (tmp_path / "sweep.md").is_file()
