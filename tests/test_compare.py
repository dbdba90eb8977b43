"""The command compare on a few small runs: tables, page, warnings, and what is rejected."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmnist_lightning.compare import compare
from fmnist_lightning.runs.run import Run
from tests.conftest import TINY
from tests.faults.conftest import Server

RUNS = {
    "seed0": [],
    "seed1": ["seed=1"],
    "lr": ["optimizer.lr=1e-4"],
    "split": ["data.split_seed=1"],
    "partial": ["trainer.limit_train_batches=2"],
}


@pytest.fixture(scope="module")
def trained(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The runs, each in a directory with its name."""
    folder, server = tmp_path_factory.mktemp("compared"), Server()
    for name, typed in RUNS.items():
        small = ["model=ann", *TINY, f"data.root={data_root}", "trainer.accelerator=cpu", f"hydra.run.dir={name}"]
        answer = server(folder, *small, *typed)
        assert answer.status == 0, answer.output
    with server.process:
        server.process.stdin.close()
        yield folder


@pytest.fixture
def cwd(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of the runs, the working directory."""
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "copy"


def told_by(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[str, str]:
    """The output, with single spaces, and the page."""
    compare(list(argv))
    output = capsys.readouterr().out
    assert output.startswith("loading PyTorch\nreading the predictions\n")
    assert max(map(len, output.splitlines())) <= 80
    return " ".join(output.split()), Path(output.splitlines()[-1].removeprefix("comparison: ")).read_text()


def change_summary(folder: Path, **entries) -> None:
    run = Run(folder)
    summary = run.read_summary() | entries
    run.write_summary({key: value for key, value in summary.items() if value is not None})


def test_command_compares_two_runs(command, trained, tmp_path):
    answer = command("runs=[seed0,lr]", f"output={tmp_path}/page.html", module="fmnist_lightning.compare", cwd=trained)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.splitlines()[-1] == f"comparison: {tmp_path}/page.html"
    assert "Test accuracy minus that of A, on the same 100 images" in answer.stdout


def test_page_is_self_contained_and_has_scores_differences_and_images(cwd, capsys):
    output, page = told_by(capsys, "runs=[seed0,lr]")
    summaries = [Run(cwd / name).read_summary() for name in ("seed0", "lr")]
    for summary in summaries:
        test = summary["test"]
        shown = (summary["val"]["loss"], summary["val"]["accuracy"], test["accuracy"], test["macro"]["f1"])
        assert all(f"{value:.4f}" in output and f"<td>{value:.4f}</td>" in page for value in shown)
    difference = summaries[1]["test"]["accuracy"] - summaries[0]["test"]["accuracy"]
    assert f"B {difference:+.4f}" in output
    assert "A seed0 reference: the first run optimizer.lr=0.003 B lr optimizer.lr=0.0001" in output
    assert '<th scope="row"><code>optimizer.lr</code></th><td>0.003</td><td>0.0001</td>' in page
    assert page.count("<code>optimizer") == page.count('<th scope="row"><code>')  # nothing else differs
    assert not re.findall(r"""(?:src|href|srcset)=["'](?!data:image/png;base64,)""", page)
    assert "<script" not in page
    tables, images = re.findall(r"<table.*?</table>", page, re.DOTALL), re.findall(r"<img[^>]*>", page)
    assert all('scope="col"' in table and 'scope="row"' in table for table in tables)
    assert all("alt=" in image for image in images)
    assert re.search(r'alt="Test image \d+: [\w/ -]+"', page)
    assert "python -m fmnist_lightning.compare &#39;runs=[seed0,lr]&#39;" in page


def test_pattern_warns_and_tests_only_what_compares(cwd, capsys):
    change_summary(cwd / "seed1", status="interrupted")
    shutil.copytree(cwd / "seed0", cwd / "without")
    change_summary(cwd / "without", status="failed", test=None)
    output, page = told_by(capsys, "runs=*")
    names = {name: letter for letter, name in re.findall(r"\b([A-F]) (\w+) (?:reference|\w+(?:\.\w+)*=)", output)}
    assert names == {"lr": "A", "partial": "B", "seed0": "C", "seed1": "D", "split": "E"}
    for warning in (
        "A, B, C, D, E: synthetic images, NOT Fashion-MNIST; the scores say nothing about Fashion-MNIST",
        "B is a partial run (trainer.limit_train_batches=2)",
        "D is not completed, its status is interrupted",
        "E has other images or another validation split than A (data_sha256, val_sha256): no difference",
        "left out: runs=without: has no scores, its status is failed",
    ):
        assert warning in output
        assert warning in page
    assert "3 comparisons" in output
    assert "D \u2212 A" in page
    assert "E \u2212 A" not in page
    assert "C, D: test accuracy" in output  # which differ in their seeds only


def test_best_run_by_validation_is_the_reference(cwd, capsys):
    losses = {name: Run(cwd / name).read_summary()["val"]["loss"] for name in ("lr", "seed0", "seed1")}
    change_summary(cwd / "lr", test=Run(cwd / "lr").read_summary()["test"] | {"loss": 0.0})  # chooses nothing
    output, _ = told_by(capsys, "runs=[lr,seed0,seed1]", "reference=best")
    best = min(losses, key=losses.get)
    assert f"{best} reference: lowest validation loss" in output
    with pytest.raises(ValueError, match="reference=best: these runs have different images"):
        compare(["runs=[seed0,split]", "reference=best"])


def test_directory_stands_for_its_runs_in_natural_order(cwd, capsys):
    for number, name in ((10, "lr"), (9, "seed0"), (1, "seed1")):
        shutil.copytree(cwd / name, cwd / "sweep" / f"{number}_{name}")
    output, _ = told_by(capsys, "runs=sweep")
    assert re.findall(r"sweep/(\w+)", output) == ["1_seed1", "9_seed0", "10_lr"]


def test_copies_of_a_run_do_not_count_as_seeds(cwd, capsys):
    shutil.copytree("seed0", "copy")
    output, _ = told_by(capsys, "runs=[seed0,copy,lr]")
    assert "±" not in output
    assert "B copy the settings of A" in output
    assert "B +0.0000 +0.0000 to +0.0000 1.000 0 0" in output
    output, _ = told_by(capsys, "runs=[seed0,copy,seed1]")
    assert "A, C: test accuracy" in output


def test_images_that_are_not_on_disk_are_not_made(cwd, capsys, tmp_path):
    config = Run("seed0").config_file
    config.write_text(re.sub(r"^  root: .*", "  root: nowhere", config.read_text(), flags=re.MULTILINE))
    output, page = told_by(capsys, "runs=[seed0,lr]")
    assert "data.root=nowhere" in output
    assert "The test images of A were not found, and nothing is downloaded." in page
    assert 'alt="Test image' not in page
    assert not Path("nowhere").exists()
    with pytest.raises(ValueError, match=r"data.root=elsewhere: the images of seed0 are not there"):
        compare(["runs=[seed0,lr]", "data.root=elsewhere"])


def test_other_files_are_not_overwritten(cwd, capsys):
    told_by(capsys, "runs=[seed0,lr]", "output=page.html")
    told_by(capsys, "runs=[seed0,seed1]", "output=page.html")
    report = str(Run("seed0").report_html)
    before = Path(report).read_bytes()
    for output in (report, "seed0"):
        with pytest.raises(ValueError, match=f"output={output}: exists and is not a comparison; not overwritten"):
            compare(["runs=[seed0,lr]", f"output={output}"])
    assert Path(report).read_bytes() == before


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "runs=[DIR,DIR,...] is missing: the directories that runs print as their last line"),
        (["runs=seed0"], "runs=seed0: at least two runs with scores are needed"),
        (["runs=[seed0,nowhere]"], "runs=nowhere: no run directory, and contains none"),
        (["runs=nothing*"], "runs=nothing*: matches no run directory"),
        (["runs=[seed0,./seed0]"], "runs=[seed0,./seed0]: seed0 is listed twice"),
        (["runs=[seed0,lr]", "reference=seed0"], "reference=seed0: must be one of first, best"),
        (["run=[seed0,lr]"], "run=[seed0,lr]: no such argument; did you mean runs=[seed0,lr]?"),
    ],
)
def test_wrong_arguments_are_rejected(cwd, argv, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        compare(argv)
    assert not Path("outputs").exists()


def test_damaged_runs_are_rejected(cwd):
    shutil.copytree("seed0", "copy")
    change_summary(Path("copy"), status="failed", test=None)
    with pytest.raises(ValueError, match="runs=copy: has no scores, its status is failed"):
        compare(["runs=[seed0,copy]"])
    shutil.copy("lr/predictions.csv", "seed1/predictions.csv")
    with pytest.raises(ValueError, match=r"seed1/predictions.csv: damaged, not the predictions"):
        compare(["runs=[seed0,seed1]"])
    Path("lr/metrics.csv").write_text("epoch,val/loss\n1,0.5\n")
    with pytest.raises(ValueError, match=r"lr/metrics.csv: damaged, has no validation scores"):
        compare(["runs=[seed0,lr]"])
    Path("split/summary.json").write_text(json.dumps({"status": "completed"}))
    with pytest.raises(ValueError, match=r"split/summary.json: damaged"):
        compare(["runs=[seed0,split]"])


def test_untrusted_text_is_escaped(cwd, capsys):
    config = Run("lr").config_file
    config.write_text(config.read_text().replace("lr: 0.0001", 'lr: "<b>\\e[2J"'))
    with pytest.raises(ValueError, match=r"optimizer.lr="):  # no number
        compare(["runs=[seed0,lr]"])
    config.write_text(config.read_text().replace('lr: "<b>\\e[2J"', "lr: 0.0001"))
    change_summary(Path("lr"), device="<script>", data_note="<script>")
    _, page = told_by(capsys, "runs=[seed0,lr]")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
