"""A run that is killed at any moment resumes bit-for-bit identical to an uninterrupted run."""

import itertools
import random
import signal

import pytest

from fmnist_lightning.runs.files import checksum_path
from fmnist_lightning.runs.run import Run
from tests.faults.conftest import LONG, assert_same_result, scalars

PARTS = range(8) if LONG else [0]  # for test processes that run at the same time


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_run_killed_at_random_moments_resumes_bit_identically(part, undisturbed, serve, empty, recovers):
    typed, expected, seconds = undisturbed
    moments = random.Random(part)
    for _ in range(13 if LONG else 4):
        folder = empty()
        for _ in range(1 + moments.randrange(2)):  # sometimes killed again while it is resumed
            serve(folder, *typed, "resume=auto", seconds=moments.uniform(0, seconds))
        again = serve(folder, *typed, "resume=auto")
        with recovers():
            assert again.status == 0, again.output
            assert_same_result(Run(folder / "run"), expected)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_run_killed_at_any_file_operation_resumes_bit_identically(part, undisturbed, serve, empty, recovers):
    typed, expected, _ = undisturbed
    # in the short version, around the first checkpoints
    numbers = itertools.count(1 + part, len(PARTS)) if LONG else range(12, 150, 27)
    for number in numbers:
        folder = empty()
        killed = serve(folder, *typed, "resume=auto", operation=number, inside=str(folder / "run"))
        if killed.status == 0:  # the run has fewer operations
            break
        assert killed.status == -signal.SIGKILL, killed.output
        operation = (folder / "operation.txt").read_text()
        again = serve(folder, *typed, "resume=auto")
        with recovers():
            assert again.status == 0, f"{operation}: {again.output}"
            assert_same_result(Run(folder / "run"), expected)
    assert not LONG or number > 400


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_cluster_signal_saves_a_checkpoint_and_marks_the_run_interrupted(
    name, serve, data_root, undisturbed, empty, recovers
):
    typed, expected, _ = undisturbed
    slurm = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    env = slurm if name == "SIGUSR1" else {}  # where Lightning would put its own handlers in place
    for number in range(20, 520, 18) if LONG else (250,):
        folder = empty()
        at = {"operation": number, "inside": str(folder / "run"), "signal": getattr(signal, name)}
        stopped = serve(folder, *typed, **at, **env)
        run = Run(folder / "run")
        with recovers():
            assert stopped.status == 143, stopped.output
            assert "Traceback" not in stopped.output
            # right before the signal one file is written, at the end of the run the other
            assert run.summary_json.stat().st_mtime < (folder / "operation.txt").stat().st_mtime + 10
            assert run.read_summary()["status"] == "interrupted"
            again = serve(folder, "resume=run")
            assert again.status == 0, again.output
            assert_same_result(run, expected)


def test_second_ctrl_c_terminates_at_once_and_the_run_resumes(undisturbed_ann, serve, empty, recovers):
    typed, expected, _ = undisturbed_ann
    folder = empty()
    run = Run(folder / "run")
    # the second one while the checkpoint at which the first one stops the run is saved
    stopped = serve(folder, *typed, signal=signal.SIGINT, operation=(3, 4), named="os.rename last.ckpt")
    with recovers():
        assert stopped.status == 130, stopped.output
        assert "Traceback" not in stopped.output
        assert run.read_summary()["status"] == "running"  # nothing was written after the second
        again = serve(folder, "resume=run")
        assert again.status == 0, again.output
        assert_same_result(run, expected)


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "missing", "other sum"])
def test_damaged_checkpoint_is_reported_and_an_older_one_used(name, damage, undisturbed_ann, serve, empty, recovers):
    typed, expected, _ = undisturbed_ann
    folder = empty()
    serve(folder, *typed, "trainer.max_epochs=3")
    run = Run(folder / "run")
    path = run.checkpoints / name
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "truncated":
        del content[len(content) // 2 :]
    elif damage == "empty":
        content.clear()
    path.write_bytes(content)
    if damage == "missing":
        path.unlink()
    if damage == "other sum":
        checksum_path(path).write_bytes(b"\xff\xfe\0")
    again = serve(folder, "resume=run", "trainer.max_epochs=4")
    with recovers():
        assert again.status == 0, again.output
        assert damage == "missing" or f"{path} is damaged" in again.output
        assert_same_result(run, expected)


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_run_without_its_best_checkpoint_restarts_from_scratch(damage, undisturbed_ann, serve, tmp_path):
    typed, _, _ = undisturbed_ann
    spoils = [*typed, "optimizer=sgd", "optimizer.lr=2"]  # the first epoch has the lowest validation loss
    for name in ("expected", "other"):
        (tmp_path / name).mkdir()
    serve(tmp_path / "expected", *spoils)
    expected = Run(tmp_path / "expected" / "run")
    assert expected.read_summary()["best_epoch"] == 1
    serve(tmp_path / "other", *spoils, "trainer.max_epochs=3")
    run = Run(tmp_path / "other" / "run")
    content = bytearray(run.best_checkpoint.read_bytes())
    content[1000] ^= 1
    run.best_checkpoint.write_bytes(content)
    if damage == "missing":
        run.best_checkpoint.unlink()
    again = serve(tmp_path / "other", "resume=run", "trainer.max_epochs=4")
    assert again.status == 0, again.output
    assert f"{run.best_checkpoint} is {'missing' if damage == 'missing' else 'damaged'}" in again.output
    assert "restarting from scratch" in again.output
    assert_same_result(run, expected)


@pytest.mark.slow
def test_two_processes_resume_together_bit_identically(undisturbed_ann, serve, tmp_path):
    typed, _, _ = undisturbed_ann
    own = [override for override in typed if not override.startswith(("hydra.run.dir", "callbacks.checkpoint"))]
    ddp = [
        *own,
        "callbacks.checkpoint.every_n_train_steps=3",
        "trainer=ddp",
        "trainer.devices=2",
        "trainer.accelerator=cpu",
    ]
    undisturbed = serve(tmp_path, *ddp, "hydra.run.dir=expected")
    assert undisturbed.status == 0, undisturbed.output
    saves = {"signal": signal.SIGTERM, "operation": 3, "named": "os.rename last.ckpt"}  # within the second epoch
    interrupted = serve(tmp_path, *ddp, "hydra.run.dir=stopped", **saves)
    stopped = Run(tmp_path / "stopped")
    assert interrupted.status == 143, interrupted.output
    assert stopped.read_summary()["status"] == "interrupted"
    assert len(stopped.read_metrics()) == 1
    again = serve(tmp_path, "resume=stopped")
    assert again.status == 0, again.output
    for answer in (undisturbed, interrupted, again):
        assert "rror" not in answer.output
        assert "Warning" not in answer.output
    assert_same_result(stopped, Run(tmp_path / "expected"))


def test_resume_auto_ignores_runs_of_other_configurations(undisturbed_ann, serve, empty):
    typed, _, _ = undisturbed_ann
    folder = empty()
    serve(folder, *typed, "trainer.max_epochs=2")
    files = {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()}
    refused = serve(folder, *typed, "seed=1", "resume=auto")
    assert refused.status == 1
    (line,) = refused.output.splitlines()
    assert line.startswith("error: hydra.run.dir=run: already contains a run; not overwritten")
    assert {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()} == files


@pytest.mark.slow
def test_run_resumed_for_more_epochs_is_identical_to_an_uninterrupted_one(undisturbed_ann, serve, empty):
    typed, expected, _ = undisturbed_ann
    folder = empty()
    serve(folder, *typed, "trainer.max_epochs=2")
    longer = serve(folder, "resume=run", "trainer.max_epochs=4")
    assert longer.status == 0, longer.output
    run = Run(folder / "run")
    assert_same_result(run, expected)
    assert run.read_config().trainer.max_epochs == 4
    summary = run.read_summary()
    assert summary["overrides"][-1] == "trainer.max_epochs=4"
    assert [part["after_epoch"] for part in summary["resumed"]] == [2]
    steps = [step for step, _ in scalars(run.folder)["val/loss"]]
    assert steps == [1, 2, 3, 4]
    files = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file() and path.suffix != ".log"}
    again = serve(folder, "resume=run")
    assert again.status == 0
    assert again.output.startswith("already completed")
    assert {path: path.read_bytes() for path in files} == files
    assert "warning" not in longer.output
    run.best_checkpoint.write_bytes(run.best_checkpoint.read_bytes()[:-1])
    mended = serve(folder, "resume=run")
    assert "is damaged" in mended.output
    assert_same_result(run, expected)
    assert_same_result(run, expected)


@pytest.mark.slow
def test_run_resumes_by_any_path_to_its_directory_and_once_at_a_time(undisturbed_ann, serve, empty):
    typed, expected, _ = undisturbed_ann
    folder = empty()
    serve(folder, *typed, "trainer.max_epochs=2")
    (folder / "link").symlink_to("run")
    (folder / "below").mkdir()
    with Run(folder / "run").locked():
        for name in ("run", "link", "below/../run", str(folder / "link")):
            refused = serve(folder, f"resume={name}", "trainer.max_epochs=4")
            assert refused.output == f"error: {(folder / 'run').resolve()}: locked by another process\n"
    again = serve(folder / "below", "resume=../link", "trainer.max_epochs=3")
    assert again.status == 0, again.output
    longer = [typed_ for typed_ in typed if not typed_.startswith(("trainer.max_epochs", "hydra.run.dir"))]
    auto = serve(folder / "below", *longer, "trainer.max_epochs=3", "hydra.run.dir=../run", "resume=auto")
    assert auto.output.startswith("already completed"), auto.output
    assert serve(folder, "resume=link", "trainer.max_epochs=4").status == 0
    assert_same_result(Run(folder / "run"), expected)


def test_resumed_run_keeps_the_provenance_of_its_first_part(undisturbed_ann, serve, empty):
    typed, _, _ = undisturbed_ann
    folder = empty()
    serve(folder, *typed, "trainer.max_epochs=2")
    run = Run(folder / "run")
    now = run.read_summary()
    elsewhere = {"code_sha256": "another", "device": "another", "git_commit": "another"}
    run.write_summary(now | elsewhere)
    serve(folder, "resume=run", "trainer.max_epochs=4")
    summary = run.read_summary()
    assert {name: summary[name] for name in elsewhere} == elsewhere
    assert {name: summary["resumed"][0][name] for name in elsewhere} == {name: now[name] for name in elsewhere}


def test_resume_auto_compares_resolved_values_and_rejects_times(undisturbed_ann, serve, empty):
    typed, _, _ = undisturbed_ann
    folder = empty()
    from_shell = [*typed, "data.root=${oc.env:ROOT}", "trainer.max_epochs=1", "resume=auto"]
    assert serve(folder, *from_shell, ROOT="data").status == 0
    again = serve(folder, *from_shell, ROOT="data")
    assert again.output.startswith("already completed"), again.output
    other = serve(folder, *from_shell, ROOT="elsewhere")
    assert other.output.startswith("error: hydra.run.dir=run: already contains a run; not overwritten")
    clock = serve(folder, *typed, "data.root=${now:%S}", "resume=auto")
    (line,) = clock.output.splitlines()
    assert line.startswith("error: resume=auto: data.root=${now:%S} has another value each time")


def test_run_that_early_stopping_ended_is_completed(serve, undisturbed_ann, empty):
    typed, _, _ = undisturbed_ann
    folder = empty()
    stops = ["optimizer.lr=0.5", "trainer.max_epochs=20", "callbacks.early_stopping.patience=1"]
    serve(folder, *typed, *stops)
    run = Run(folder / "run")
    before = run.metrics_csv.read_bytes()
    assert len(run.read_metrics()) < 20
    (folder / "run" / "summary.json").write_text("")  # as a kill would leave it
    again = serve(folder, "resume=run")
    assert again.status == 0, again.output
    assert run.metrics_csv.read_bytes() == before
    assert run.read_summary()["status"] == "completed"


def test_resume_rejects_overrides_that_change_results(undisturbed_ann, serve, empty):
    typed, _, _ = undisturbed_ann
    folder = empty()
    serve(folder, *typed, "trainer.max_epochs=2")
    before = (folder / "run" / "summary.json").read_bytes()
    for change in ("model=ann", "optimizer.lr=0.1", "seed=1", "data.batch_size=8", "trainer.max_epochs=1"):
        refused = serve(folder, "resume=run", change)
        assert refused.status == 1
        (line,) = refused.output.splitlines()
        assert line.startswith(f"error: {change}: ")
    nothing = serve(folder, "resume=nowhere")
    assert nothing.output.startswith("error: resume=nowhere: no run")
    assert (folder / "run" / "summary.json").read_bytes() == before
