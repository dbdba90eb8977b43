"""Full disks, folders that go away, several runs at once, clocks that go back: the last good state is kept and told."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fmnist_lightning.runs.run import Run
from tests.faults.conftest import LONG, assert_same_result

SIZES = [2_000, 20_000, 60_000, 120_000, 200_000, 400_000] if LONG else [2_000, 120_000, 200_000]


def stop_in_training(serve, folder: Path, typed: list[str]) -> None:
    """Has a signal stop the run in its second epoch."""
    stopped = serve(folder, *typed, signal=signal.SIGTERM, operation=3, named="os.rename last.ckpt")
    assert stopped.status == 143, stopped.output
    assert len(Run(folder / "run").read_metrics()) == 1


def test_full_disk_error_names_the_path_and_the_run_resumes(undisturbed_ann, serve, empty, recovers):
    typed, expected, _ = undisturbed_ann
    told = set()
    for size in SIZES:
        folder = empty()
        full = serve(folder, *typed, largest_file=size)
        if full.status == 0:  # nothing of a run is as large
            continue
        with recovers():
            assert full.status == 1, full.output
            (line,) = [line for line in full.output.splitlines() if line.startswith("error: ")]
            assert "File too large" in line
            early = line.startswith("error: hydra.run.dir=run: cannot write there (File too large)")
            path = folder / "run" if early else Path(line.split("'")[1])
            assert path.is_relative_to(folder / "run"), line
            told.add(path.name)
            assert "Traceback" not in full.output
            assert [p for p in (folder / "run").rglob(".*") if p.is_file()] == []  # nothing half written
            again = serve(folder, *typed, "resume=auto")
            assert again.status == 0, again.output
            assert_same_result(Run(folder / "run"), expected)
    assert told == {"run", "last.ckpt"}  # the run directory stands for its event file, the largest one


def test_full_disk_in_tensorboard_is_a_one_line_error(undisturbed_ann, serve, empty, tmp_path, recovers):
    typed, _, _ = undisturbed_ann
    more = ["~callbacks.early_stopping", "callbacks.epoch_metrics.histograms=true", "trainer.max_epochs=60"]
    full = serve(empty(), *typed, *more, largest_file=190_000)  # its file alone grows beyond
    with recovers():
        assert full.status == 1
        lines = [line for line in full.output.splitlines() if "File too large" in line]
        assert lines == [f"error: [Errno 27] File too large: '{tmp_path / 'run'}'"]
        assert "Traceback" not in full.output


@pytest.mark.slow
def test_directory_removed_during_a_run_is_a_one_line_error(undisturbed_ann, data_root, tmp_path):
    typed, _, _ = undisturbed_ann
    endless = [typed_ for typed_ in typed if "max_epochs" not in typed_]
    arguments = [*endless, "trainer.max_epochs=100000", "~callbacks.early_stopping"]
    run = Run(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-m", "fmnist_lightning", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            while len(run.read_metrics()) < 2:
                assert process.poll() is None
                time.sleep(0.05)
            run.folder.rename(tmp_path / "elsewhere")
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    (line,) = stderr.splitlines()
    assert line.startswith("error: ")
    assert "No such file or directory" in line
    assert str(run.folder) in line
    assert len(Run(tmp_path / "elsewhere").read_metrics()) >= 2


def test_missing_log_file_does_not_end_a_run(undisturbed_ann, serve, empty):
    typed, expected, _ = undisturbed_ann
    folder = empty()
    stop_in_training(serve, folder, typed)
    (folder / "run" / "fmnist.log").unlink()
    again = serve(folder, "resume=run")
    assert again.status == 0, again.output
    assert_same_result(Run(folder / "run"), expected)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux has a folder where nobody may write")
def test_read_only_directory_is_rejected_before_anything_is_done(undisturbed_ann, serve, empty):
    typed, _, _ = undisturbed_ann
    answer = serve(empty(), *typed[:-1], "hydra.run.dir=/proc/run")
    assert answer.status == 1
    (line,) = answer.output.splitlines()
    assert line.startswith("error: hydra.run.dir=/proc/run: cannot write there")


@pytest.mark.slow
def test_eight_concurrent_runs_do_not_affect_each_other(undisturbed_ann, serve, tmp_path):
    typed, expected, _ = undisturbed_ann
    own = [typed_ for typed_ in typed if not typed_.startswith(("hydra.run.dir", "data.root"))]
    answer = serve(tmp_path, *own, "data.root=data", copies=8)
    assert answer.status == 0, answer.output
    folders = {line.removeprefix("run: ") for line in answer.output.splitlines() if line.startswith("run: ")}
    assert len(folders) == 8
    for folder in folders:
        assert_same_result(Run(folder), expected)


def test_two_processes_cannot_resume_one_run(undisturbed_ann, serve, empty):
    typed, expected, _ = undisturbed_ann
    folder = empty()
    stop_in_training(serve, folder, typed)
    pair = serve(folder, "resume=run", copies=2)
    assert pair.status in (0, 1)  # 0 if one was done before the other started
    refused = [line for line in pair.output.splitlines() if line.startswith("error: ")]
    assert len(refused) == pair.status
    assert all("locked by another process" in line for line in refused), pair.output
    assert_same_result(Run(folder / "run"), expected)


def test_clock_set_back_loses_nothing(undisturbed_ann, serve, empty):
    typed, expected, _ = undisturbed_ann
    folder = empty()
    stop_in_training(serve, folder, typed)
    ahead = time.time() + 10_000  # as if the first part had run when the clock was ahead
    for path in list((folder / "run").rglob("*")):
        os.utime(path, (ahead, ahead))
        if path.name.startswith("events.out.tfevents."):
            parts = path.name.split(".")
            parts[3] = str(int(ahead))
            path.rename(path.with_name(".".join(parts)))
    again = serve(folder, *typed, "resume=auto")
    assert again.status == 0, again.output
    assert_same_result(Run(folder / "run"), expected)


def test_out_of_memory_is_a_one_line_error(undisturbed_ann, tmp_path, data_root):
    typed, _, _ = undisturbed_ann
    program = (
        "import resource, sys\n"
        "import fmnist_lightning.evaluation.report, fmnist_lightning.training\n"
        "from fmnist_lightning.__main__ import main\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 300 * 2**20,) * 2)\n"
        f"sys.argv[1:] = {[*typed, 'model.hidden=[300000]']!r}\n"
        "main()\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert answer.returncode == 1
    (line,) = [line for line in answer.stderr.splitlines() if line]
    assert line.startswith("error: ")
    assert "memory" in line
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"
    shutil.rmtree(tmp_path / "run")


def test_damaged_metrics_csv_is_restored_from_the_checkpoint(undisturbed_ann, serve, empty):
    typed, expected, _ = undisturbed_ann
    folder = empty()
    stop_in_training(serve, folder, typed)
    (folder / "run" / "metrics.csv").write_text("a,b\n1\n")
    (folder / "run" / "summary.json").write_text('{"status": "run')
    again = serve(folder, "resume=run")
    assert again.status == 0, again.output
    assert_same_result(Run(folder / "run"), expected)
