"""The command as its users meet it: real processes, their output, exit status and folders."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.metrics import classification_report
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fmnist_lightning import __version__
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.runs.run import Run

ARTEFACTS = {
    ".hydra/config.yaml",
    ".hydra/hydra.yaml",
    ".hydra/overrides.yaml",
    "checkpoints/best.ckpt",
    "checkpoints/best.ckpt.sha256",
    "checkpoints/last.ckpt",
    "checkpoints/last.ckpt.sha256",
    "fmnist.log",
    "hparams.yaml",
    "metrics.csv",
    "predictions.csv",
    "projector_config.pbtxt",
    "projector/features.tsv",
    "projector/metadata.tsv",
    "projector/sprite.png",
    "report/accuracy.png",
    "report/classification_report.txt",
    "report/confusion_matrix.png",
    "report/loss.png",
    "report/mistakes.png",
    "report/report.html",
    "summary.json",
}
SUMMARY = {
    "status", "started", "model", "data", "seed", "parameters", "epochs", "best_epoch", "fit_seconds", "device",
    "precision", "val", "test", "overrides", "versions", "git_commit", "data_sha256", "split_sha256",
}  # fmt: skip


def folder_of(answer: subprocess.CompletedProcess[str]) -> Path:
    """The run folder that the last line names."""
    last = answer.stdout.strip().splitlines()[-1]
    assert last.startswith("run: "), answer.stdout + answer.stderr
    return Path(last.removeprefix("run: "))


def test_run_directory_has_the_files_of_the_contract(command, tiny_overrides):
    answer = command("model=ann", *tiny_overrides, PYTHONWARNINGS="default")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""  # no warning, no chatter
    for words in ("Classification report", "Most confused", "T-shirt/top", "NOT Fashion-MNIST", "report: "):
        assert words in answer.stdout
    run = Run(folder_of(answer))
    files = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    events = {name for name in files if name.startswith("events.out.tfevents.")}
    assert events
    assert files - events == ARTEFACTS

    summary = run.read_summary()
    assert set(summary) >= SUMMARY
    assert summary["status"] == "completed"
    assert summary["model"] == "ann"
    assert summary["data"] == "synthetic"
    assert "model=ann" in summary["overrides"]
    assert {"python", "torch", "lightning"} <= set(summary["versions"])
    assert [row["support"] for row in summary["test"]["per_class"]] == [10] * 10
    assert len(run.read_metrics()) == summary["epochs"] == 2

    labels, probabilities = run.read_predictions()
    assert run.predictions_csv.read_text().splitlines()[0] == "index,label,predicted,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9"
    assert len(labels) == 100
    predicted = probabilities.argmax(1)
    assert (predicted == labels).float().mean().item() == pytest.approx(summary["test"]["accuracy"])
    names = FashionMNISTData.class_names
    text = classification_report(labels, predicted, digits=4, target_names=names, zero_division=0)
    assert (run.report / "classification_report.txt").read_text() == text

    shown = EventAccumulator(str(run.folder)).Reload()
    tags = shown.Tags()
    scalars = {"train/loss", "val/loss", "train/accuracy", "val/accuracy", "train/lr", "whole_run/test/accuracy"}
    assert scalars <= set(tags["scalars"])
    assert [event.step for event in shown.Scalars("val/loss")] == [1, 2]
    assert set(tags["images"]) == {"whole_run/confusion_matrix", "whole_run/mistakes"}
    assert {"config/text_summary", "report/text_summary", "precision_recall/Shirt"} <= set(tags["tensors"])
    assert tags["graph"]

    # evaluation again agrees, and touches nothing
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    again = command(f"run={run.folder}", "tta=true", module="fmnist_lightning.evaluate")
    assert again.returncode == 0, again.stderr
    assert "agrees with its summary" in again.stdout
    assert re.search(r"^test accuracy with flip averaging 0\.\d{4}, loss \d\.\d{4}$", again.stdout, re.MULTILINE)
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before
    summary["test"]["accuracy"] += 0.01
    run.write_summary(summary)
    lying = command(f"run={run.folder}", module="fmnist_lightning.evaluate")
    assert lying.returncode == 1
    assert "DOES NOT AGREE" in lying.stdout
    assert "Traceback" not in lying.stderr


@pytest.mark.parametrize("typed", ["modle=cnn", "optimizer.lr=fast", "trainer.max_epochs=0", "seed=1,2", "+a.b=1"])
def test_rejected_command_is_a_one_line_error_and_creates_nothing(typed, command, tmp_path):
    answer = command(typed)
    assert answer.returncode == 1
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"error: {typed}")
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" in command(typed, HYDRA_FULL_ERROR="1").stderr


def test_help_version_and_cfg_import_no_torch(tmp_path):
    program = (
        "import runpy, sys\n"
        "try: runpy.run_module('fmnist_lightning', run_name='__main__')\n"
        "except SystemExit as end: assert end.code in (0, None), end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    for arguments, words in (
        (["--help"], "data.batch_size=512 "),
        (["-h"], "fmnist_lightning.evaluate "),
        (["--version"], f"fmnist_lightning {__version__}"),
        (["--cfg", "job"], "batch_size: 512"),
    ):
        answer = subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert words in answer.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shell", "typed", "words"),
    [
        ("bash", "fmnist model=", {"model=ann", "model=cnn"}),
        ("zsh", "fmnist optimizer=s", {"optimizer=sgd"}),
        ("fish", "fmnist trainer.acc", {"trainer.accelerator=", "trainer.accumulate_grad_batches="}),
        ("bash", "fmnist data.batch", {"data.batch_size="}),
    ],
)
def test_shell_completion_of_groups_options_and_keys_imports_no_torch(shell, typed, words, tmp_path):
    program = (
        "import sys; sys.argv = ['fmnist', '-sc', 'query=' + sys.argv[1]]\n"
        "from fmnist_lightning.__main__ import main\n"
        "main()\n"
        "assert 'torch' not in sys.modules\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, shell],
        cwd=tmp_path,
        env=os.environ | {"COMP_LINE": typed, "COMP_POINT": str(len(typed))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert words <= set(answer.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_installed_by_the_printed_command(shell, command):
    answer = command("-sc", f"install={shell}")
    assert answer.returncode == 0
    assert "query=" in answer.stdout


def test_missing_dataset_without_network_is_a_one_line_error(command):
    answer = command("data.mirrors=[]", "trainer.accelerator=cpu")
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    for words in ("data/FashionMNIST/raw", "t10k-labels-idx1-ubyte.gz", "FASHION_MNIST_MIRROR", "data=synthetic"):
        assert words in line
    assert Run(folder_of(answer)).read_summary()["status"] == "failed"


@pytest.mark.slow
def test_runs_started_in_the_same_second_have_two_directories(command, tiny_overrides, tmp_path):
    arguments = [sys.executable, "-m", "fmnist_lightning", "model=ann", *tiny_overrides]
    pair = [subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    folders = {output.strip().splitlines()[-1] for output in outputs}
    assert len(folders) == 2
    for folder in folders:
        assert re.search(r"/outputs/ann_lr0\.003_seed0_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{6}$", folder)


def interrupted(arguments: list[str], cwd: Path, when: Callable[[], bool]) -> tuple[int, str, str]:
    """Starts a run, sends it Ctrl-C as soon as `when` holds; its exit status, output and errors."""
    with subprocess.Popen(
        [sys.executable, "-m", "fmnist_lightning", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            while not when():
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=120)
        finally:
            process.kill()
    return process.returncode, stdout, stderr


ENDLESS = ["model=ann", "trainer.max_epochs=100000", "~callbacks.early_stopping", "hydra.run.dir=run"]


def test_ctrl_c_reports_the_best_epoch_so_far(tiny_overrides, tmp_path):
    run = Run(tmp_path / "run")
    status, stdout, stderr = interrupted([*tiny_overrides, *ENDLESS], tmp_path, lambda: len(run.read_metrics()) >= 3)
    assert status == 130
    assert stderr == ""
    summary = run.read_summary()
    assert summary["status"] == "interrupted"
    assert summary["epochs"] >= 3
    assert summary["test"]["accuracy"] > 0.1
    assert "interrupted: its best epoch so far is reported" in stdout
    assert "interrupted after epoch" in run.report_html.read_text()
    assert stdout.strip().splitlines()[-1] == f"run: {run.folder}"


@pytest.mark.slow
def test_ctrl_c_before_the_first_epoch_reports_nothing(tiny_overrides, tmp_path):
    run = Run(tmp_path / "run")
    slow = ["data.num_train=20000", "data.batch_size=1", "model.batch_norm=false"]  # an epoch of minutes
    begun = lambda: bool(list(run.folder.glob("hparams.yaml")))  # noqa: E731 - written as the training begins
    status, stdout, stderr = interrupted([*tiny_overrides, *ENDLESS, *slow], tmp_path, begun)
    assert status == 130
    assert stderr == ""
    assert "interrupted" in stdout
    assert run.read_summary()["status"] == "interrupted"
    assert "test" not in run.read_summary()
    assert stdout.strip().splitlines()[-1] == f"run: {run.folder}"


# imported by every Python process whose PYTHONPATH holds it: records the images that each rank trains on and scores
RECORDER = """
import os, sys

def record(name, epoch, images):
    rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK", "0")
    with open(f"{name}_{rank}.txt", "a") as file:
        file.writelines(f"{epoch} {zlib.crc32(image.numpy())}\\n" for image in images)

if "torch.distributed.run" not in sys.orig_argv:
    import zlib
    from fmnist_lightning.inference.predictor import Predictor
    from fmnist_lightning.models import Classifier

    step, logits = Classifier.training_step, Predictor.logits

    def recorded_step(self, batch, batch_idx):
        record("train", self.current_epoch, batch[0])
        return step(self, batch, batch_idx)

    def recorded_logits(self, images, after_batch=None):
        record("score", 0, images)
        return logits(self, images, after_batch)

    Classifier.training_step, Predictor.logits = recorded_step, recorded_logits
"""


@pytest.fixture
def recorder(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that records."""
    (tmp_path / "recorder").mkdir()
    (tmp_path / "recorder" / "sitecustomize.py").write_text(RECORDER)
    paths = [str(tmp_path / "recorder"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def assert_two_processes_made_one_run(run: Run, data: FashionMNISTData) -> None:
    """Whatever started the two in the folder beside the run: what they left there."""
    # each training image once an epoch, half of them on either process; each other image once, on the first
    import torch

    expected, seen = {}, {}
    for name, stages in (("train", ["train"]), ("score", ["val", "test"])):
        images = torch.cat([data.images[stage] for stage in stages])
        expected[name] = sorted(str(zlib.crc32(image.numpy())) for image in images)
        assert len(set(expected[name])) == len(images)
        for path in run.folder.parent.glob(f"{name}_*.txt"):
            seen[path.stem] = [line.split() for line in path.read_text().splitlines()]
    assert set(seen) == {"train_0", "train_1", "score_0"}
    for epoch in "01":
        shares = [[image for at, image in seen[f"train_{rank}"] if at == epoch] for rank in (0, 1)]
        assert [len(share) for share in shares] == [160, 160]
        assert sorted(shares[0] + shares[1]) == expected["train"]
    assert sorted(image for _, image in seen["score_0"]) == expected["score"]
    assert run.read_predictions()[0].equal(data.labels["test"])

    files = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith("events.out.tfevents.")} == ARTEFACTS
    assert run.read_summary()["status"] == "completed"
    assert [row["step"] for row in run.read_metrics()] == [3, 6]  # 160 images each, in batches of 64


@pytest.mark.slow
def test_two_ddp_processes_train_one_model_and_rank_zero_scores(command, tiny_overrides, tiny, recorder, tmp_path):
    (tmp_path / "mine").mkdir()  # flags may stand anywhere, also where Lightning adds the second process's overrides
    ddp = ["trainer=ddp", "trainer.devices=2", "hydra.run.dir=run", "--config-dir", "mine"]
    answer = command("model=ann", *tiny_overrides, *ddp, **recorder)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert_two_processes_made_one_run(Run(tmp_path / "run"), tiny)
    assert len(re.findall(r"^run: ", answer.stdout, flags=re.MULTILINE)) == 1
    again = command("run=run", module="fmnist_lightning.evaluate")
    assert "agrees with its summary" in again.stdout


def two_machines(overrides: list[str], second: list[str], cwd: Path, env: dict[str, str]) -> list[tuple[int, str, str]]:
    """Trains on this machine as if it were two; exit status, output and errors of both.

    Args:
        overrides: of both.
        second: further ones of the second machine.
        cwd: of both.
        env: what is added to the environment.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    torchrun += ["--master-addr=127.0.0.1", f"--master-port={port}"]
    typed = ["-m", "fmnist_lightning", "trainer=ddp", "trainer.devices=1", "trainer.num_nodes=2", *overrides]
    machines = [
        subprocess.Popen(
            [*torchrun, f"--node-rank={rank}", *typed, *further],
            cwd=cwd,
            env=os.environ | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, further in enumerate(([], second))
    ]
    try:
        outputs = [machine.communicate(timeout=120) for machine in machines]
    finally:
        for machine in machines:
            machine.terminate()  # torchrun ends its processes; nothing where it has ended
    return [(machine.returncode, *output) for machine, output in zip(machines, outputs, strict=True)]


@pytest.mark.slow
def test_two_torchrun_nodes_train_one_model_and_rank_zero_scores(tiny_overrides, tiny, recorder, tmp_path):
    overrides = ["model=ann", *tiny_overrides, "hydra.run.dir=run"]
    (status, stdout, stderr), later = two_machines(overrides, [], tmp_path, recorder)
    assert status == 0, stderr
    assert stderr == ""
    assert later == (0, "", "")
    assert_two_processes_made_one_run(Run(tmp_path / "run"), tiny)
    assert re.findall(r"^run: .*", stdout, flags=re.MULTILINE) == [f"run: {tmp_path / 'run'}"]


def test_torchrun_worker_does_not_touch_an_existing_run(command, tmp_path):
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    older = {tmp_path / "run" / name: name for name in ("summary.json", ".hydra/config.yaml", "fmnist.log")}
    for path, text in older.items():
        path.write_text(text)
    ranks = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "LOCAL_RANK": "0"}
    sizes = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "GROUP_WORLD_SIZE": "2"}
    ends = ["trainer.accelerator=cpu", "trainer.num_nodes=2", "hydra.run.dir=run", "data.mirrors=[]"]
    answer = command(*ends, **ranks, **sizes)
    assert "error: " in answer.stderr  # no dataset
    assert answer.stdout == ""
    assert {path: path.read_text() for path in older} == older


@pytest.mark.slow
def test_torchrun_nodes_with_different_images_are_rejected(tiny_overrides, tmp_path):
    overrides = ["model=ann", *tiny_overrides, "hydra.run.dir=run"]
    answers = two_machines(overrides, ["data.split_seed=1"], tmp_path, {})
    for status, _, stderr in answers:
        assert status == 1
        assert "error: data.source=synthetic: the processes of this run found different images" in stderr
    assert [stdout.count("run: ") for _, stdout, _ in answers] == [1, 0]
    assert Run(tmp_path / "run").read_summary()["status"] == "failed"


@pytest.mark.slow
def test_callback_in_a_config_dir_is_called(command, tiny_overrides, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from lightning.pytorch.callbacks import Callback\n"
        "class Greet(Callback):\n"
        "    def on_train_end(self, trainer, pl_module): print('greetings')\n"
    )
    (tmp_path / "conf" / "callbacks").mkdir(parents=True)
    lines = ["defaults:", "  - default", "  - _self_", "greet:", "  _target_: mine.Greet", ""]
    (tmp_path / "conf" / "callbacks" / "mine.yaml").write_text("\n".join(lines))
    small = ["model=ann", *tiny_overrides, "trainer.max_epochs=1", "logger=none"]
    answer = command("--config-dir", "conf", "callbacks=mine", *small, PYTHONPATH=str(tmp_path))
    assert answer.returncode == 0, answer.stderr
    assert "greetings" in answer.stdout
    assert "Classification report" in answer.stdout


@pytest.mark.real_data
def test_two_epochs_of_the_ann_on_the_real_images_reach_84_percent(command, tmp_path):
    mirror = os.environ["FASHION_MNIST_MIRROR"]
    answer = command("model=ann", "trainer.max_epochs=2", "trainer.accelerator=cpu", FASHION_MNIST_MIRROR=mirror)
    assert answer.returncode == 0, answer.stderr
    assert "NOT Fashion-MNIST" not in answer.stdout
    run = Run(folder_of(answer))
    summary = run.read_summary()
    assert summary["data"] == "fashion_mnist"
    assert summary["data_note"] is None
    assert summary["split"] == {"train": 48000, "val": 12000, "test": 10000}
    assert summary["test"]["accuracy"] >= 0.84
    labels, probabilities = run.read_predictions()
    assert len(labels) == 10_000
    theirs = classification_report(labels, probabilities.argmax(1), digits=4, target_names=FashionMNISTData.class_names)
    assert (run.report / "classification_report.txt").read_text() == theirs
    theirs = classification_report(labels, probabilities.argmax(1), output_dict=True)
    for row in summary["test"]["per_class"]:
        for ours, name in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert row[ours] == pytest.approx(theirs[str(row["label"])][name], abs=1e-6)
