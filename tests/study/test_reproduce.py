"""The command that reproduces the study, on synthetic images: interrupted, resumed, with changed files."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fmnist_lightning.execution.manifest import verify_manifest
from fmnist_lightning.execution.worker import train_and_measure
from fmnist_lightning.reproduce import read_arguments
from fmnist_lightning.runs.run import Run
from fmnist_lightning.study.checkpoints import score_checkpoints
from fmnist_lightning.study.plan import plan

pytestmark = pytest.mark.slow
Start = Callable[..., "subprocess.Popen[str]"]
NUM_RUNS = len(plan([10]))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Starts the command, quick, on few synthetic images, in one directory for all tests of this module."""
    folder = tmp_path_factory.mktemp("reproduce")
    clean = {key: value for key, value in os.environ.items() if key not in ("FASHION_MNIST_MIRROR", "HYDRA_FULL_ERROR")}

    def begin(*arguments: str, **options: object) -> "subprocess.Popen[str]":
        quick = ["reproduce.size=quick", "reproduce.seeds=1", "reproduce.folder=study"]
        few_images = ["data=synthetic", "data.num_train=1000", "data.num_test=200", "trainer.accelerator=cpu"]
        return subprocess.Popen(
            [sys.executable, "-m", "fmnist_lightning.reproduce", *quick, *few_images, *arguments],
            cwd=folder,
            env=clean,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )

    begin.folder = folder / "study"  # type: ignore[attr-defined]
    return begin


@pytest.fixture(scope="module")
def made(start: Start) -> tuple[Path, str, set[Path]]:
    """Its directory, what it printed when it resumed, and the runs that were completed before it was interrupted."""
    process = start()
    wait_for_run(process, 1)
    process.kill()  # not even workers are told
    process.communicate()
    process = start()
    wait_for_run(process, 2)
    os.kill(process.pid, signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted: completed runs are kept" in rest
    before = {path.parent for path in start.folder.glob("runs/*/SHA256SUMS")}
    assert 3 <= len(before) < NUM_RUNS
    process = start()
    output, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    return start.folder, output, before


def wait_for_run(process: "subprocess.Popen[str]", number: int) -> None:
    """Waits until that many runs are completed."""
    next(line for line in process.stdout if line.lstrip().startswith(f"{number}/"))


def test_killed_and_interrupted_reproduction_resumes(made):
    folder, output, before = made
    assert f"{NUM_RUNS} runs, {len(before)} of them already completed" in output
    assert f"{NUM_RUNS - len(before)}/{NUM_RUNS - len(before)} " in output
    runs = list((folder / "runs").iterdir())
    assert len(runs) == NUM_RUNS
    for run in map(Run.existing, runs):
        assert run.read_summary()["status"] == "completed"
        assert run.report_html.exists()
        verify_manifest(run)


def test_results_contain_every_part(made):
    results = json.loads((made[0] / "results.json").read_text())
    assert results["size"] == "quick"
    for model in ("ann", "cnn"):
        result = results["models"][model]
        assert (result["n"], result["seeds"]) == (1, [10])
        assert set(result["accuracy"]) >= {"mean", "std", "values", "interval", "reported", "difference", "within"}
        assert len(result["per_class"]) == 10
        assert {"macro", "weighted", "confusion_matrix"} <= set(result)
        assert len(results["ablation"][model]["variants"]) == 4
        assert [row["images"] for row in results["training_size"][model]] == [10, 10, 20, 40, 80]
        assert results["early_stopping"][model]["max_epochs"] == 5
        assert results["reference"][model]["card"]["checkpoint_sha256"]
        assert results["reference"][model]["accuracy"] == result["accuracy"]["mean"]
    assert len(results["claims"]) == 6
    assert results["costs"]["runs"] == NUM_RUNS
    assert results["photos"] is None
    assert {claim["verdict"] for claim in results["claims"]} <= {"holds", "does not hold", "undecided"}
    assert results["environment"]["data"] == "synthetic"


def test_page_is_self_contained_and_labelled(made):
    page = (made[0] / "report.html").read_text()
    assert "QUICK size" in page
    assert "NOT Fashion-MNIST" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    figures = [f"Fig. {number}: " for number in range(1, 7)]
    for heading in (*figures, "The six claims", "Unspecified hyperparameters", "Model card"):
        assert heading in page


def test_page_is_written_again_without_training(made, start):
    folder = made[0]
    page = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    process = start("reproduce.train=false")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert (folder / "report.html").read_bytes() == page


def test_repeated_runs_have_the_same_digits_whatever_jobs_and_completed_ones_are_kept(made, start):
    folder = made[0]
    names = ("ann_seed-10", "cnn_seed-10", "ann_no-early-stopping_seed-10", "cnn_60-epochs_seed-10")
    again = [path for name in names for path in (folder / "runs").glob(f"{name}_*")]
    assert len(again) == len(names)
    numbers = {path / name: (path / name).read_text() for path in again for name in ("metrics.csv", "predictions.csv")}
    results = without_seconds(json.loads((folder / "results.json").read_text()))
    others = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/SHA256SUMS") if path.parent not in again}
    for path in again:
        shutil.rmtree(path)
    process = start("reproduce.jobs=1")
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    assert f"{NUM_RUNS - len(names)} of them already completed; 1 at a time, in " in output
    assert {path: path.read_text() for path in numbers} == numbers
    assert without_seconds(json.loads((folder / "results.json").read_text())) == results
    assert {path: path.stat().st_mtime_ns for path in others} == others


def without_seconds(value: Any) -> Any:
    """Results without durations and without checksums of checkpoints, which contain them."""
    if isinstance(value, dict):
        left_out = ("seconds", "jobs", "checkpoint_sha256")
        return {key: without_seconds(each) for key, each in value.items() if not key.endswith(left_out)}
    return [without_seconds(each) for each in value] if isinstance(value, list) else value


def test_photos_are_scored_without_training_again(made, start, tmp_path):
    for label in (1, 3):
        garment = np.full((28, 28), 200, np.uint8)
        Image.fromarray(garment).save(tmp_path / f"{label}.png")
    (tmp_path / "labels.csv").write_text("file,labels,kind\n1.png,1,trousers\n3.png,3|4,dress\n5.png,5,shoe\n")
    process = start(f"reproduce.photos={tmp_path}")
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert f"{NUM_RUNS} of them already completed" in output
    photos = json.loads((made[0] / "results.json").read_text())["photos"]
    assert (photos["n"], photos["unread"], photos["source"]) == (2, 1, tmp_path.name)  # 5.png does not exist
    for scores in photos["models"].values():
        assert scores["accuracy"] == scores["correct"] / 2
        assert scores["interval"][0] <= scores["accuracy"] <= scores["interval"][1]
        assert [kind["kind"] for kind in scores["kinds"]] == ["dress", "trousers"]


def test_directory_that_is_not_writable_is_rejected(start):
    process = start("reproduce.folder=/proc/study")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: reproduce.folder=/proc/study: cannot write there" in errors


def test_a_run_with_other_settings_is_not_reused(made, start):
    process = start("trainer.precision=32-true")
    line = process.stdout.readline()
    process.kill()
    process.communicate()
    # auto is another setting, even if it chooses the same precision
    assert f"{NUM_RUNS} runs, 0 of them already completed" in line


def test_a_changed_run_is_rejected_by_name(made, start):
    folder = made[0]
    summary = sorted((folder / "runs").glob("ann_seed-10*"))[0] / "summary.json"
    text = summary.read_text()
    summary.write_text(text.replace('"accuracy": 0.', '"accuracy": 0.9'))
    try:
        process = start()
        _, errors = process.communicate(timeout=60)
    finally:
        summary.write_text(text)
    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert re.search(r"error: .*summary\.json: changed since the run was completed; remove .* to repeat it", errors)


def test_photos_without_labels_are_rejected_before_anything_is_created(start, tmp_path):
    process = start(f"reproduce.photos={tmp_path}", "reproduce.folder=photos")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    assert f"error: reproduce.photos={tmp_path}: must be a directory with labels.csv" in errors
    assert not (start.folder.parent / "photos").exists()


def test_two_reproductions_do_not_share_a_directory(start):
    first = start("reproduce.folder=shared")
    first.stdout.readline()
    second = start("reproduce.folder=shared")
    _, errors = second.communicate(timeout=60)
    first.kill()
    first.communicate()
    assert "reproduce.folder=shared: locked by another process" in errors
    assert second.returncode == 1


def test_full_disk_is_a_one_line_error_and_completed_runs_are_kept(made, start):
    folder = made[0]
    again = sorted((folder / "runs").glob("cnn_seed-10*"))[0]
    (again / "SHA256SUMS").unlink()  # not completed
    limit = 300_000  # bytes of a file: a checkpoint of the CNN has more
    process = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    assert re.search(
        r"error: cnn_seed-10: .*(too large|space|write).*its directory is study/runs/cnn_seed-10", errors
    ), errors
    assert len(list(folder.glob("runs/*/SHA256SUMS"))) == NUM_RUNS - 1


def test_diverged_run_is_failed_and_not_interrupted(tiny_overrides, tmp_path):
    with pytest.raises(ValueError, match=r"optimizer\.lr=1e\+12: the .*loss is"):
        train_and_measure([*tiny_overrides, "model=ann", "optimizer.lr=1e12"], tmp_path / "run", score_checkpoints)
    assert not Run(tmp_path / "run").manifest.exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("reproduce.seeds=0", "must be how many seeds, at least 1"),
        ("reproduce.seeds=11", "11 seeds; the plan has at most 10 of a variant"),
        ("reproduce.seeds=[0,1,0]", "0 is listed twice"),
        ("reproduce.seeds=1,2,2", "2 is listed twice"),
        ("reproduce.seeds=few", "must be how many seeds"),
        ("reproduce.seeds=[]", "must be how many seeds"),
        ("reproduce.size=medium", "must be one of full, quick"),
        ("reproduce.jobs=0", "must be an integer from 1 to"),
        ("reproduce.seed=3", "did you mean reproduce.seeds=3"),
        ("model.dropout=0.5", "model.dropout=0.5: the plan of the runs fixes this; allowed are"),
        ("data.num_trian=5", "the plan of the runs fixes this"),
        ("data=fashion", "allowed are auto, fashion_mnist, synthetic"),
    ],
)
def test_invalid_arguments_are_rejected_by_name(argument, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_arguments([argument])


def test_seeds_are_a_number_or_a_list():
    assert read_arguments([])[2] == list(range(10, 20))
    assert read_arguments(["reproduce.size=quick"])[2] == [10, 11]
    assert read_arguments(["reproduce.seeds=3"])[2] == [10, 11, 12]
    assert read_arguments(["reproduce.seeds=[0,3,7]"])[2] == [0, 3, 7]
    assert read_arguments(["reproduce.seeds=[4]"])[2] == [4]
