"""What a sweep prints: columns that fit the terminal, the remaining time, mean and std over seeds."""

import pytest

from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.runs.ranking import best, ranked
from fmnist_lightning.runs.sweep_text import JobLines, final_table
from fmnist_lightning.runs.text_table import key_columns, shorten


def row(number: int, value: float | None = 0.3, **changes):
    """A completed job."""
    typed = {"model": "ann", "optimizer.lr": "0.003", **changes.pop("overrides", {})}
    return {
        "job": str(number),
        "status": "completed",
        "monitored": "val/loss",
        "mode": "min",
        "value": value,
        "images": ("aa", "bb"),
        "partial": "",
        "overrides": typed,
        "val_loss": value,
        "val_accuracy": 0.9,
        "test_accuracy": 0.8,
        "best_epoch": 12,
        "epochs": 17,
        "seconds": 10.0,
        "written": float("inf"),
        "error": "",
    } | changes


def test_long_values_lose_their_middle():
    assert shorten("[512,256,128]", 20) == "[512,256,128]"
    assert shorten("[512,256,128]", 7) == "[51…28]"


@pytest.mark.parametrize(
    ("room", "columns"),
    [
        (80, [("callbacks.early_stopping.patience", 33), ("model.hidden", 12)]),
        (30, [("patience", 8), ("hidden", 12)]),
        (20, [("patience", 8), ("hidden", 8)]),
        (16, [("pat…ce", 6), ("hidden", 6)]),
        (9, [("pat…nce", 7)]),
    ],
)
def test_columns_of_keys_fit_the_room(room, columns):
    values = {"callbacks.early_stopping.patience": ["3", "5"], "model.hidden": ["[512,256,64]", "[64]"]}
    assert list(key_columns(values, room).values()) == columns


def test_keys_with_the_same_last_part_keep_their_names():
    values = {"callbacks.best_checkpoint.monitor": ["val/loss"], "callbacks.early_stopping.monitor": ["val/loss"]}
    titles = [title for title, _ in key_columns(values, 70).values()]
    assert titles == ["callbacks.best_checkpoint.monitor", "callbacks.early_stopping.monitor"]


@pytest.mark.parametrize("width", [80, 120])
def test_lines_of_jobs_fit_the_terminal(width):
    grid = ["model=ann", "callbacks.early_stopping.patience=3,5", "model.hidden=[512,256,128],[64]", "seed=0,1,2"]
    lines = JobLines(validate_command_line(grid, multirun=True), width)
    keys = {"callbacks.early_stopping.patience": "3", "model.hidden": "[512,256,128]", "seed": "2"}
    done = row(2, overrides=keys)
    text = [*lines.heading(), lines.line(2, done, [done])]
    assert text[0].startswith("sweep of 12 jobs: outputs")
    assert all(len(line) <= width for line in text[1:])
    assert text[2].split()[:3] == ["3", "of", "12"]
    assert "12 of 17" in text[2]
    assert ("[512,256,128]" in text[2]) == (width == 120)
    failed = lines.line(3, row(3, None, status="failed", error="it diverged", overrides=keys), [done])
    assert failed.endswith("failed: it diverged")


def remaining(grid: list[str], rows: list[dict]) -> str:
    """The remaining time in the line of the last row."""
    lines = JobLines(validate_command_line(grid, multirun=True), 80)
    lines.started -= sum(row["seconds"] for row in rows if row["written"] > lines.started)  # nothing but training
    return lines.line(0, rows[-1], rows)[-7:].strip()


def test_remaining_time_is_that_of_jobs_of_the_same_model():
    grid = ["model=ann,cnn", "optimizer.lr=0.1,0.2,0.3"]
    ann = [row(number, overrides={"model": "ann"}) for number in range(3)]
    cnn = row(3, seconds=300.0, overrides={"model": "cnn"})
    assert remaining(grid, ann) == "?"  # no CNN yet
    assert remaining(grid, [*ann, cnn]) == "10:00"
    assert remaining(["optimizer.lr=0.1,0.2,0.3"], ann[:1]) == "0:20"
    assert remaining(["optimizer.lr=0.1,0.2,0.3"], ann)[-3:] == "0.0"  # seconds are the last column


def test_remaining_time_counts_jobs_completed_before_and_not_those_that_will_run_again():
    grid = ["optimizer.lr=0.1,0.2,0.3,0.4"]
    before, failed = row(3, written=0.0), row(2, None, status="failed", written=0.0)
    assert remaining(grid, [before, failed, row(0)]) == "0:20"


@pytest.mark.parametrize("width", [80, 120])
def test_table_of_jobs_fits_the_terminal(width):
    keys = [{"model.hidden": "[512,256,128]", "callbacks.early_stopping.patience": str(n % 2)} for n in range(30)]
    rows = ranked([row(n, n / 100, overrides=key | {"data.batch_size": str(n)}) for n, key in enumerate(keys)])
    lines = final_table([*rows, row(30, None, status="failed")], width)
    assert lines[0] == "Sweep, by validation loss"
    assert all(len(line) <= width for line in lines)
    assert lines[2].endswith("best")
    assert lines[-1] == "... 11 more in sweep.csv"
    assert "val loss" in lines[1]
    assert "test acc." in lines[1]


def test_metric_that_is_monitored_has_its_column():
    rows = [row(n, 0.5, monitored="train/loss", val_loss=0.4, overrides={"optimizer.lr": str(n)}) for n in (1, 2)]
    assert "  train loss  val loss  " in final_table(rows, 100)[1]


def test_best_setting_has_the_best_mean_over_all_its_seeds():
    losses = {"0.1": [0.10, 0.50], "0.2": [0.20, 0.30], "0.3": [0.05, None]}
    rows = ranked(
        [
            row(int(lr[2]) * 10 + seed, loss, overrides={"optimizer.lr": lr, "seed": str(seed)})
            | ({} if loss else {"status": "failed"})
            for lr, pair in losses.items()
            for seed, loss in enumerate(pair)
        ]
    )
    lines = final_table(rows, 80)
    assert lines[0] == "Mean ± std over n seeds, by mean validation loss"
    assert [line.split()[0] for line in lines[2:]] == ["0.2", "0.1", "0.3"]
    assert "0.2500 ± 0.0707" in lines[2]
    assert lines[2].endswith("best")
    assert "1 of 2" in lines[4]
    assert "0.0500  " in lines[4]  # one seed has no std
    assert best(rows)["job"] == "20"
