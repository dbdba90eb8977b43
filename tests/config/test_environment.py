"""Settings that a shell, a notebook or a home folder holds for other programs change no result and lose none."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest

from fmnist_lightning.config.environment import command_environment
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.run import train

HOSTILE_RC = """
backend: module://nowhere
image.lut: 4
image.cmap: jet
image.interpolation: bilinear
lines.linewidth: 9
lines.marker: s
axes.grid: True
axes.prop_cycle: cycler("color", "rgb")
axes.formatter.use_locale: True
axes.labelsize: 30
figure.figsize: 1, 1
figure.dpi: 30
figure.constrained_layout.w_pad: 1
font.family: monospace
legend.fontsize: 30
savefig.bbox: tight
savefig.transparent: True
text.usetex: True
text.antialiased: False
xtick.labelsize: 20
ytick.direction: in
path.sketch: 5, 100, 2
"""
HOSTILE_VARIABLES = {
    "MPLBACKEND": "module://matplotlib_inline.backend_nowhere",
    "PL_TRAINER_VAL_CHECK_INTERVAL": "0.5",
    "PL_TRAINER_LIMIT_VAL_BATCHES": "1",
    "PL_TRAINER_FAST_DEV_RUN": "1",
    "NVIDIA_TF32_OVERRIDE": "0",
    "PYTORCH_JIT": "0",
    "PYTHONIOENCODING": "ascii",
    "GIT_DIR": "/nowhere",
    "HOME": "/proc/nowhere",
    "XDG_CONFIG_HOME": "/proc/nowhere",
    "XDG_CACHE_HOME": "/proc/nowhere",
    "TMPDIR": "/proc/nowhere",
    "TERM": "dumb",
    "FORCE_COLOR": "1",
}


@pytest.fixture(scope="module")
def reference(composed, tmp_path_factory) -> Run:
    """A run in this process."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    train(composed("model=ann"), folder, [])
    return Run(folder)


def results(run: Run) -> dict[str, bytes]:
    figures = {path.name: path.read_bytes() for path in run.report.glob("*.png")}
    assert len(figures) == 4
    return figures | {path.name: path.read_bytes() for path in (run.metrics_csv, run.predictions_csv)}


def test_hostile_environment_changes_no_result(command, tiny_overrides, reference, tmp_path):
    folder = tmp_path / "日本"
    folder.mkdir()
    (folder / "matplotlibrc").write_text(HOSTILE_RC)
    answer = command("model=ann", *tiny_overrides, "hydra.run.dir=run", cwd=folder, **HOSTILE_VARIABLES)
    assert answer.returncode == 0, answer.stderr
    ignored = (
        "NVIDIA_TF32_OVERRIDE, PL_TRAINER_FAST_DEV_RUN, PL_TRAINER_LIMIT_VAL_BATCHES, PL_TRAINER_VAL_CHECK_INTERVAL"
    )
    assert (
        f"ignored environment variables: {ignored}; trainer arguments are overrides: trainer.KEY=VALUE" in answer.stderr
    )
    assert "Traceback" not in answer.stderr
    assert answer.stdout.splitlines()[-1] == f"run: {tmp_path}/\\u65e5\\u672c/run"
    assert results(Run(folder / "run")) == results(reference)
    assert Run(folder / "run").read_summary()["git_commit"] == reference.read_summary()["git_commit"]


def test_no_trainer_argument_is_read_from_the_environment(composed, reference, tmp_path, monkeypatch):
    for name in inspect.signature(pl.Trainer).parameters:
        monkeypatch.setenv(f"PL_TRAINER_{name.upper()}", "1")
    train(composed("model=ann"), tmp_path / "run", [])
    assert results(Run(tmp_path / "run")) == results(reference)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_unwritable_standard_output_is_reported_and_loses_no_run(tiny_overrides, reference, tmp_path):
    sweep = ["-m", "seed=0", "hydra/launcher=joblib", "hydra.sweep.dir=.", "hydra.sweep.subdir=run"]
    typed = [sys.executable, "-m", "fmnist_lightning", "model=ann", *tiny_overrides, *sweep]
    with Path("/dev/full").open("w") as full:  # also of the process that the launcher starts
        answer = subprocess.run(typed, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: standard output: cannot be written (No space left on device)")
    assert results(Run(tmp_path / "run")) == results(reference)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "completed"


def test_exit_status_of_a_command_is_kept(monkeypatch):
    for name in ("MPLBACKEND", "PYTHONIOENCODING"):
        monkeypatch.setenv(name, "")

    @command_environment()
    def command(status):
        sys.exit(status)

    command(0)
    for status in (3, "error: message"):
        with pytest.raises(SystemExit) as caught:
            command(status)
        assert caught.value.code == status
