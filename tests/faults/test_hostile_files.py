"""Nothing on disk makes the program run code or report a wrong number: canaries that must never fire."""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from fmnist_lightning.evaluate import evaluate
from fmnist_lightning.evaluation.sweep_page import sweep_files
from fmnist_lightning.runs.files import checksum_path
from fmnist_lightning.runs.resume import find_run
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.state import rng_states


class Bomb:
    """Unpickled with pickle's usual trust, writes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.write_text, (self.canary, "fired")


@pytest.fixture
def victim(undisturbed_ann, tmp_path: Path) -> Run:
    """A copy of a finished run, to spoil; its checkpoints come from elsewhere and have no checksum."""
    _, run, _ = undisturbed_ann
    copy = Run(shutil.copytree(run.folder, tmp_path / "run"))
    for path in (copy.best_checkpoint, copy.last_checkpoint):
        checksum_path(path).unlink()
    return copy


def saved(checkpoint: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def spoiled(run: Run, canary: Path) -> dict[str, Callable[[], bytes]]:
    """Hostile or broken contents of a checkpoint, by what they are."""
    good = torch.load(run.best_checkpoint, weights_only=True)
    name = next(iter(good["state_dict"]))

    def with_weights(**changes: object) -> bytes:
        weights = {key: value for key, value in (good["state_dict"] | changes).items() if value is not None}
        return saved(good | {"state_dict": weights})

    def zip_bomb() -> bytes:
        buffer = io.BytesIO(saved(good))
        with (
            zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive,
            archive.open("archive/data/999", "w") as file,
        ):
            for _ in range(400):
                file.write(bytes(2**20))
        return buffer.getvalue()

    return {
        "a pickle that runs code": lambda: pickle.dumps({"state_dict": Bomb(canary)}),
        "a checkpoint with code among its values": lambda: saved(good | {"hyper_parameters": Bomb(canary)}),
        "a checkpoint with code in its weights": lambda: with_weights(**{name: Bomb(canary)}),
        "a whole module": lambda: saved(torch.nn.Linear(2, 2)),
        "a zip bomb": zip_bomb,
        "other shapes": lambda: with_weights(**{name: torch.zeros(3, 3)}),
        "a missing key": lambda: with_weights(**{name: None}),
        "an additional key": lambda: with_weights(more=torch.zeros(1)),
        "text for weights": lambda: with_weights(**{name: "text"}),
        "no weights": lambda: saved({"epoch": 1}),
        "a list": lambda: saved([1, 2]),
        "truncated": lambda: saved(good)[:-1000],
        "empty": lambda: b"",
        "a page": lambda: b"<html>please log in</html>",
    }


def test_hostile_checkpoint_is_a_one_line_error_and_runs_no_code(victim, serve, tmp_path, recovers):
    canary = tmp_path / "canary"
    for what, content in spoiled(victim, canary).items():
        victim.best_checkpoint.write_bytes(content())
        with pytest.raises(ValueError, match=r"best\.ckpt: ") as told:
            evaluate([f"run={victim.folder}", "accelerator=cpu"])
        assert "\n" not in str(told.value), what
        shutil.copy(victim.best_checkpoint, victim.last_checkpoint)
        answer = serve(tmp_path, "resume=run", "trainer.max_epochs=5")
        with recovers():
            assert answer.status == 1, f"{what}: {answer.output}"
            assert "error: " in answer.output
            assert "Traceback" not in answer.output
            assert not canary.exists(), what


def test_class_names_in_hyperparameters_are_never_imported(victim, serve, tmp_path):
    canary = tmp_path / "canary"  # CVE-2026-58659: Lightning before 2.6.6 imported and called what stands there
    for path in (victim.best_checkpoint, victim.last_checkpoint):
        checkpoint = torch.load(path, weights_only=True)
        evil = {"_instantiator": "os.system", "_class_path": "os.system", "command": f"touch {canary}"}
        checkpoint["hyper_parameters"] = evil
        checkpoint |= {"hparams_name": "kwargs", "hparams_type": "os.system", "datamodule_hyper_parameters": evil}
        torch.save(checkpoint, path)
    assert evaluate([f"run={victim.folder}", "accelerator=cpu"]) == 0
    answer = serve(tmp_path, "resume=run", "trainer.max_epochs=5")
    assert answer.status == 0, answer.output
    assert not canary.exists()


def test_checkpoint_that_names_another_directory_changes_nothing_there(victim, serve, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "best.ckpt").write_text("precious")
    checkpoint = torch.load(victim.last_checkpoint, weights_only=True)
    for state in checkpoint["callbacks"].values():
        if "best_k_models" in state:
            path = str(elsewhere / "best.ckpt")
            state |= {"dirpath": str(elsewhere), "best_model_path": path, "kth_best_model_path": path}
            state["best_k_models"] = {path: torch.tensor(100.0)}
    torch.save(checkpoint, victim.last_checkpoint)
    serve(tmp_path, "resume=run", "trainer.max_epochs=5")
    assert [path.name for path in elsewhere.iterdir()] == ["best.ckpt"]
    assert (elsewhere / "best.ckpt").read_text() == "precious"


GENERATORS = rng_states()
PROCESS = {"generators": GENERATORS, "epoch_totals": {}, "loader": {}, "seconds": 0.0}
HOSTILE_STATES = {
    "no optimizer": {"optimizer_states": []},
    "an empty optimizer": {"optimizer_states": [{}]},
    "a list of callbacks": {"callbacks": []},
    "no loops": {"loops": {}},
    "no generators": {"processes": [{}]},
    "generators of other sizes": {
        "processes": [PROCESS | {"generators": GENERATORS | {"torch": torch.zeros(3, dtype=torch.uint8)}}]
    },
    "generators that are text": {"processes": [PROCESS | {"generators": "text"}]},
    "loops that are none": {"loops": {"fit_loop": 5}},
    "an optimizer of another model": {"optimizer_states": [{"state": {}, "param_groups": []}]},
    "rows that are none": {"callbacks": {"EpochMetrics": {"rows": [5]}}},
}


@pytest.mark.parametrize("what", HOSTILE_STATES)
def test_checkpoint_without_training_state_is_a_one_line_error(what, victim, serve, tmp_path):
    checkpoint = torch.load(victim.last_checkpoint, weights_only=True)
    torch.save(checkpoint | HOSTILE_STATES[what], victim.last_checkpoint)
    answer = serve(tmp_path, "resume=run", "trainer.max_epochs=5")
    assert answer.status == 1
    errors = [line for line in answer.output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, answer.output
    assert str(victim.last_checkpoint) in errors[0]


@pytest.mark.parametrize("linked", ["checkpoints", "fmnist.log", "report/loss.png"])
def test_run_resumes_in_its_own_directory_only(linked, victim, serve, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    inside = victim.folder / linked
    inside.rename(elsewhere)
    inside.symlink_to(elsewhere)
    answer = serve(tmp_path, "resume=run", "trainer.max_epochs=5")
    assert answer.status == 1
    (line,) = answer.output.splitlines()
    assert line.startswith(f"error: resume=run: {inside} is a link")


@pytest.mark.parametrize(("name", "typed"), [("a${b}", "a\\${b}"), ("a\\b", "a\\b"), ("a\\", "a\\\\")])
def test_directory_name_that_hydra_would_interpret_is_rejected(name, typed, victim, serve, tmp_path):
    victim.folder.rename(tmp_path / name)
    answer = serve(tmp_path, f"resume='{typed}'")
    assert answer.status == 1
    (line,) = answer.output.splitlines()
    assert "rename the directory" in line


@pytest.mark.parametrize("resume", ["http://127.0.0.1:1/last.ckpt", "https://example.com/run"])
def test_url_is_rejected_as_a_run_directory(resume, serve, tmp_path):
    answer = serve(tmp_path, f"resume='{resume}'")
    assert answer.status == 1
    assert "no run" in answer.output
    with pytest.raises(ValueError, match="no run"):
        evaluate([f"run={resume}"])


HOSTILE_CONFIGS = {
    "callbacks.epoch_metrics._target_=os.system": "no config file names it",
    "optimizer._target_=builtins.exec": "no config file names it",
    "optimizer._target_=torch.optim.lr_scheduler.partial": "no config file names it",
    "model._target_=${data.root}": "no config file names it",
    "logger.tensorboard._target_=lightning.pytorch.loggers.CSVLogger": "no config file names it",
    "logger.tensorboard._target_=lightning.pytorch.loggers.WandbLogger": "no config file names it",
    "data.root=${oc.env:SECRET}": "data.root=${oc.env:SECRET} uses a resolver",
    "data.root=${oc.decode:${oc.env:SECRET}}": "uses a resolver",
    "data.root=x${hydra:job.name}": "uses a resolver",
    "model.dropout=7": "model.dropout=7: must be",
    "model.dropout=${model.dropout}": "model.dropout",
    "model=null": "model is missing",
    "trainer.max_epochs=null": "trainer.max_epochs=null: must be",
    "trainer.accelerator=null": "trainer.accelerator=null: must be",
    "logger.tensorboard.name=../../victim": "logger.tensorboard.name=../../victim: must be empty",
    "callbacks.best_checkpoint.filename=../../evil": "callbacks.best_checkpoint.filename",
}
UNFIT_TO_GO_ON = {  # a run is scored with a part of its config only
    "logger.tensorboard._target_=torch.optim.Adam": "no config file names it",
    "logger.more._target_=lightning.pytorch.loggers.TensorBoardLogger": "no config file names it",
    "trainer.plugins=evil": "trainer.plugins is not a key",
    "trainer.num_nodes=2": "trainer.num_nodes=2: several machines are launched by torchrun",
    "callbacks.best_checkpoint=null": "callbacks.best_checkpoint._target_ is missing",
    "callbacks.best_checkpoint.dirpath=/tmp": "callbacks.best_checkpoint.dirpath is not a key",
}


@pytest.mark.parametrize("hostile", HOSTILE_CONFIGS | UNFIT_TO_GO_ON)
def test_hostile_config_is_rejected_before_anything_of_it_is_used(hostile, victim, serve, tmp_path):
    key, _, value = hostile.partition("=")
    config = OmegaConf.load(victim.config_file)
    OmegaConf.update(config, key, {"null": None}.get(value, int(value) if value.isdecimal() else value), force_add=True)
    OmegaConf.save(config, victim.config_file)
    longer = [] if key == "trainer.max_epochs" else ["trainer.max_epochs=5"]
    answer = serve(tmp_path, "resume=run", *longer, SECRET="hush")
    assert answer.status == 1
    (line,) = answer.output.splitlines()
    assert (HOSTILE_CONFIGS | UNFIT_TO_GO_ON)[hostile] in line
    assert "hush" not in line
    if hostile in HOSTILE_CONFIGS:
        with pytest.raises(ValueError, match=r"config\.yaml"):
            evaluate([f"run={victim.folder}", "accelerator=cpu"])


def test_huge_file_or_pipe_is_a_one_line_error_and_not_read(victim):
    arguments = [f"run={victim.folder}", "accelerator=cpu"]
    sums = checksum_path(victim.best_checkpoint)
    sums.touch()
    for path in (victim.config_file, victim.summary_json, sums):
        kept = path.read_bytes()
        path.unlink()
        os.mkfifo(path)  # whoever reads it waits forever
        with pytest.raises(ValueError, match=path.name):
            evaluate(arguments)
        with pytest.raises(ValueError, match=path.name):
            find_run(str(victim.folder))
        path.unlink()
        path.touch()
        os.truncate(path, 10**12)  # bytes, none of which takes room on the disk
        too_large = rf"{path.name}: .*more than 1,048,576 bytes|differs from the one in {path.name}"
        with pytest.raises(ValueError, match=too_large):
            evaluate(arguments)
        path.write_bytes(kept)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{",
        "&a [*a, *a]",
        "a: &a [x, x]\nb: &b [*a, *a]\n"
        + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in pairwise("bcdefghijklmnopqrst")),
        "!!python/object/apply:os.system [touch canary]",
        "a: " + "[" * 5000,
        "\x00",
    ],
)
def test_broken_config_or_summary_is_a_one_line_error(content, victim, serve, tmp_path):
    for path in (victim.config_file, victim.summary_json):
        kept = path.read_bytes()
        path.write_text(content)
        with pytest.raises(ValueError, match=path.name) as told:
            evaluate([f"run={victim.folder}", "accelerator=cpu"])
        assert "\n" not in str(told.value)
        path.write_bytes(kept)
    assert not (tmp_path / "canary").exists()


def test_sweep_tolerates_untrusted_summaries(victim, tmp_path):
    from fmnist_lightning.runs.sweep import Sweep

    done = {"status": "completed", "overrides": []}
    for summary in (
        {},
        {"status": "<script>", "overrides": []},
        {"status": "completed", "overrides": [3]},
        done | {"val": None},
        done | {"val": {"loss": "x", "accuracy": 1}},
        done | {"val": {"loss": float("nan"), "accuracy": 1}},
        done | {"test": {"loss": 1, "accuracy": 1}},
        done | {"epochs": "many"},
        done | {"resumed": [5]},
        done | {"precision": "auto"},
    ):
        victim.summary_json.write_text(json.dumps(summary))
        (row,) = Sweep(tmp_path).rows()
        assert row["status"] == "damaged"
    evil = {
        "status": "failed",
        "overrides": ["seed=<script>alert(1)</script>"],
        "error": "<img src=x onerror=alert(1)>",
    }
    victim.summary_json.write_text(json.dumps(evil))
    Sweep(tmp_path).update(sweep_files)
    table = (tmp_path / "sweep.md").read_text()
    assert "<script>" not in table
    assert "<img" not in table
    assert "&lt;script&gt;" in table


def test_untrusted_sweep_files_are_reported_and_run_nothing(victim, serve, command, tmp_path):
    overrides = victim.read_summary()["overrides"]
    sweep = ["-m", "hydra.sweep.dir=sweep", *[typed for typed in overrides if not typed.startswith("hydra.")]]
    folder = tmp_path / "sweep"
    shutil.copytree(victim.folder, folder / "0_ann")
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text("open('canary', 'w')")
    for content in ("{", "[]", "hydra: 3", "\x00"):
        (folder / "multirun.yaml").write_text(content)
        answer = serve(tmp_path, *sweep)
        assert answer.status == 1
        (line,) = answer.output.splitlines()
        assert line.startswith("error: hydra.sweep.dir=sweep: already contains another sweep or runs; not overwritten")
    (folder / "multirun.yaml").write_text(json.dumps({"hydra": {"overrides": {"task": sweep[2:]}}}))
    run = Run(folder / "0_ann")
    run.write_summary(run.read_summary() | {"overrides": ["hydra.searchpath=[pkg://evil]"]})
    answer = command(*sweep)  # in the folder that Python looks for modules in
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"error: {Path('sweep') / '0_ann' / 'summary.json'}: damaged, contains overrides of hydra")
    assert not (tmp_path / "canary").exists()
