"""A run that is killed, at any instant, goes on to the bits that it would have reached undisturbed."""

import itertools
import random
import signal

import pytest

from fmnist_lightning.runs import Run
from tests.faults.conftest import LONG, assert_same_result, scalars


def test_a_run_killed_at_random_instants_goes_on_to_the_same_bits(undisturbed, serve, empty, recovers):
    typed, expected, seconds = undisturbed
    moments = random.Random(0)
    for _ in range(100 if LONG else 4):
        folder = empty()
        for _ in range(1 + moments.randrange(2)):  # sometimes killed again while it goes on
            serve(folder, *typed, "resume=auto", seconds=moments.uniform(0, seconds))
        again = serve(folder, *typed, "resume=auto")
        recovers(
            "SIGKILL at a random instant",
            lambda again=again, folder=folder: (
                assert_(again.status == 0, again.output),
                assert_same_result(Run(folder / "run"), expected),
            ),
        )


def test_a_run_killed_at_any_operation_on_its_files_goes_on_to_the_same_bits(undisturbed, serve, empty, recovers):
    typed, expected, _ = undisturbed
    # in the short version, those around the first epoch's checkpoints
    numbers = itertools.count(1) if LONG else range(12, 150, 27)
    for number in numbers:
        folder = empty()
        killed = serve(folder, *typed, "resume=auto", operation=number, inside=str(folder / "run"))
        if killed.status == 0:  # the run has fewer operations
            break
        assert killed.status == -signal.SIGKILL, killed.output
        operation = (folder / "operation.txt").read_text()
        again = serve(folder, *typed, "resume=auto")
        recovers(
            "SIGKILL at an operation on a run's files",
            lambda again=again, folder=folder, operation=operation: (
                assert_(again.status == 0, f"{operation}: {again.output}"),
                assert_same_result(Run(folder / "run"), expected),
            ),
        )
    assert not LONG or number > 100


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_clusters_signal_leaves_a_checkpoint_and_says_that_the_run_was_interrupted(
    name, serve, data_root, undisturbed, empty, recovers
):
    typed, expected, seconds = undisturbed
    for part in (0.4, 0.6) if LONG else (0.5,):
        folder = empty()
        stopped = serve(folder, *typed, seconds=part * seconds, signal=getattr(signal, name))
        run = Run(folder / "run")

        def check(stopped=stopped, run=run, part=part, folder=folder):
            assert stopped.status == 143, stopped.output
            assert "Traceback" not in stopped.output
            assert stopped.seconds < part * seconds + 10
            assert run.read_summary()["status"] == "interrupted"
            again = serve(folder, "resume=run")
            assert again.status == 0, again.output
            assert_same_result(run, expected)

        recovers(f"{name}, as a cluster sends it", check)


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "gone"])
def test_a_damaged_checkpoint_is_reported_and_an_older_one_used(name, damage, undisturbed_ann, serve, empty, recovers):
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
    if damage == "gone":
        path.unlink()
    again = serve(folder, "resume=run", "trainer.max_epochs=4")

    def check():
        assert again.status == 0, again.output
        assert damage == "gone" or f"{path} is damaged" in again.output
        assert_same_result(run, expected)

    recovers("a damaged checkpoint", check)


def test_a_run_resumed_at_the_end_of_an_epoch_and_for_longer_equals_an_undisturbed_one(undisturbed_ann, serve, empty):
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
    again = serve(folder, "resume=run")  # completed: nothing is left to do, which is no failure
    assert again.status == 0
    assert_same_result(run, expected)


def test_a_run_that_early_stopping_ended_stays_ended(serve, undisturbed_ann, empty):
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


def test_only_what_makes_no_other_run_may_change(undisturbed_ann, serve, empty):
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


def assert_(holds: bool, why: str) -> None:
    assert holds, why
