"""The command predict: rows, labels, resuming, and what is rejected, with a tiny run and real files."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image, ImageDraw

from fmnist_lightning.inference import load_runs
from fmnist_lightning.inference.files.prediction_csv import BLOCK_SIZE, COLUMNS
from fmnist_lightning.predict import predict
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.run import train


@pytest.fixture(scope="module")
def runs(composed, tmp_path_factory) -> list[Path]:
    """Two tiny runs."""
    folders = [tmp_path_factory.mktemp("predict") / name for name in ("a", "b")]
    for seed, folder in enumerate(folders):
        train(composed("model=ann", "model.hidden=[16]", "logger=none", f"seed={seed}", "trainer.max_epochs=1"), folder)
    return folders


@pytest.fixture
def cwd(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inputs(num: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num, 28, 28), dtype=np.uint8)


def write_inputs(folder: Path, num: int) -> np.ndarray:
    """Images of the dataset's format in files of a directory."""
    images = inputs(num)
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:04d}.png")
    return images


def write_photo(path: Path) -> None:
    photo = Image.new("RGB", (90, 120), (200, 180, 160))
    ImageDraw.Draw(photo).rectangle((25, 20, 60, 100), fill=(20, 40, 90))
    photo.save(path)


def read_rows(path: str | Path = "out.csv") -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.DictReader(file)
        result = list(rows)
    assert rows.fieldnames == COLUMNS
    return result


def probabilities(rows: list[dict[str, str]]) -> torch.Tensor:
    return torch.tensor([[float(row[f"p{label}"]) for label in range(10)] for row in rows])


def test_rows_agree_with_the_python_api(runs, cwd, capsys):
    images = torch.from_numpy(write_inputs(cwd / "images", 3))
    assert predict([f"run={runs[0]}", "images=images", "output=out.csv", "accelerator=cpu"]) == 0
    rows = read_rows()
    expected = load_runs([runs[0]], accelerator="cpu").classify(images)
    torch.testing.assert_close(probabilities(rows), expected.probabilities, rtol=1e-5, atol=1e-6)
    assert [row["path"] for row in rows] == ["images/0000.png", "images/0001.png", "images/0002.png"]
    for row, values, flag, reason in zip(
        rows, expected.probabilities, expected.is_outlier, expected.reasons, strict=True
    ):
        best = values.argsort(descending=True)[:3].tolist()
        names = load_runs([runs[0]]).class_names
        assert [row["class"], row["second"], row["third"]] == [names[label] for label in best]
        assert (int(row["label"]), float(row["probability"])) == (best[0], pytest.approx(values.max().item(), abs=1e-5))
        assert (row["unlike"], row["reason"], row["error"]) == (str(int(flag)), reason, "")
    output = capsys.readouterr().out
    assert "3 images, 0 not read" in output
    assert output.splitlines()[-1] == "predictions: out.csv"
    assert sorted(path.name for path in cwd.iterdir()) == ["images", "out.csv"]


def test_files_that_cannot_be_read_have_a_row_with_the_error(runs, cwd, capsys):
    write_inputs(cwd / "images", 1)
    write_photo(cwd / "images" / "photo.png")
    for name, content in {
        "empty.png": b"",
        "notes.txt": b"text",
        "x.jpg": b"<svg/>",
        "cut.png": b"\x89PNG\r\n",
    }.items():
        (cwd / "images" / name).write_bytes(content)
    (cwd / "images" / "self").symlink_to(cwd / "images")
    os.mkfifo(cwd / "images" / "pipe.png")
    command = ["images=images", "output=images/out.csv", "save_inputs=images/inputs", "accelerator=cpu"]
    assert predict([f"run={runs[0]}", *command]) == 3
    rows = {Path(row["path"]).name: row for row in read_rows("images/out.csv")}
    errors = {name: row["error"] for name, row in rows.items() if row["error"]}
    assert sorted(rows) == ["0000.png", "cut.png", "empty.png", "notes.txt", "photo.png", "pipe.png", "x.jpg"]
    assert {name: error.split(" of these formats")[0] for name, error in errors.items()} == {
        "empty.png": "empty file",
        "notes.txt": "not an image",
        "x.jpg": "not an image",
        "cut.png": "not an image",
        "pipe.png": "not a regular file",
    }
    assert all(rows[name][column] == "" for name in errors for column in COLUMNS[1:-1])
    assert "7 images, 5 not read (column error)" in capsys.readouterr().out
    saved = {path.name: np.asarray(Image.open(path)) for path in (cwd / "images" / "inputs").iterdir()}
    assert sorted(saved) == ["0000.png", "photo.png"]
    assert np.array_equal(saved["0000.png"], inputs(1)[0])
    assert (saved["photo.png"].shape, saved["photo.png"].dtype) == ((28, 28), np.uint8)


def test_file_names_survive_and_stay_inside(runs, cwd):
    names = [
        "../../outside.png",
        "../..",
        "/absolute.png",
        'a,"b".png',
        "new\nline.png",
        "return\r.png",
        "=1+1.png",
        "d/e.jpg",
    ]
    buffer = io.BytesIO()
    Image.fromarray(inputs(1)[0]).save(buffer, "png")
    with zipfile.ZipFile("x.zip", "w") as archive:
        for name in names:
            archive.writestr(name, buffer.getvalue())
        archive.writestr("n" * 4000, buffer.getvalue())
    (cwd / "work").mkdir()
    command = ["images=x.zip", "output=out.csv", "save_inputs=work/inputs", "accelerator=cpu"]
    assert predict([f"run={runs[0]}", *command]) == 3
    rows = read_rows()
    assert [row["path"] for row in rows] == [*names, "n" * 4000]
    assert [row["error"] for row in rows if row["error"]] == ["File name too long"]
    saved = sorted(str(path.relative_to(cwd)) for path in cwd.rglob("*.png"))
    inside = ["outside.png", "image.png", "absolute.png", *names[3:-1], "d/e.jpg.png"]
    assert saved == sorted(f"work/inputs/{name}" for name in inside)


def test_bytes_that_are_no_text_survive_in_names(runs, cwd):
    name = os.fsdecode(b"caf\xe9.png")
    write_photo(cwd / name)
    assert predict([f"run={runs[0]}", f"images={name}", "output=out.csv", "accelerator=cpu"]) == 0
    assert os.fsencode(read_rows()[0]["path"]) == b"caf\xe9.png"


def test_ensemble_and_mirror_images(runs, cwd):
    images = torch.from_numpy(write_inputs(cwd / "images", 2))
    both = f"run=[{runs[0]},{runs[1]}]"
    assert predict([both, "images=images/*.png", "output=out.csv", "tta=true", "accelerator=cpu"]) == 0
    expected = load_runs(runs, tta=True, accelerator="cpu").predict(images)
    torch.testing.assert_close(probabilities(read_rows()), expected, rtol=1e-5, atol=1e-6)


def test_labels_are_scored_by_kind(runs, cwd, capsys):
    write_inputs(cwd / "images", 6)
    predict([f"run={runs[0]}", "images=images", "output=out.csv", "accelerator=cpu"])
    rows = read_rows()
    label = int(rows[0]["label"])
    other = (label + 1) % 10
    lines = [
        f"0000.png,dress,{label}|{other}",
        f"0001.png,dress,{rows[1]['label']}",
        "0002.png,dress,",
        "0003.png,hat,",
    ]
    wrong = (int(rows[4]["label"]) + 1) % 10
    lines = ["file,kind,labels", *lines[:2], f"0004.png,coat,{wrong}", *lines[3:], "missing.png,coat,4"]
    (cwd / "images" / "labels.csv").write_text("\n".join(lines))
    capsys.readouterr()
    typed = [f"run={runs[0]}", "images=images", "output=scored.csv", "labels=images/labels.csv", "accelerator=cpu"]
    assert predict(typed) == 0
    output = capsys.readouterr().out
    table = [line.split() for line in output.splitlines()]
    assert "labelled images: 4 predicted, of 5 in the file" in output
    assert next(row for row in table if row[:1] == ["dress"])[:4] == ["dress", "2", "1.0000", "0.0000"]
    assert next(row for row in table if row[:1] == ["coat"])[:4] == ["coat", "1", "0.0000", "1.0000"]
    assert ["all", "with", "a", "class", "3", "0.6667"] in [row[:6] for row in table]
    assert "AUROC" in output
    assert max(map(len, output.splitlines())) <= 80


def test_resumed_file_is_identical_and_reads_no_image_twice(runs, cwd, capsys):
    images = write_inputs(cwd / "images", 2 * BLOCK_SIZE + 50)
    (cwd / "images" / "0003.png").write_bytes(b"")
    typed = [f"run={runs[0]}", "images=images", "output=out.csv", "accelerator=cpu"]
    assert predict(typed) == 3
    complete = Path("out.csv").read_bytes()
    lines = complete.splitlines(keepends=True)
    kept = b"".join(lines[: BLOCK_SIZE + 20]) + lines[BLOCK_SIZE + 20][:30]  # killed in the middle of a row
    settings = interrupted_settings(cwd, typed)
    for partial in (kept, b"", lines[0][:5], complete):
        Path("out.csv").unlink(missing_ok=True)
        Path("out.csv.partial").write_bytes(partial)
        Path("out.csv.partial.json").write_bytes(settings)
        if partial == kept:
            Image.fromarray(255 - images[0]).save(cwd / "images" / "0000.png")  # its row is kept
        assert predict(typed) == 3
        assert Path("out.csv").read_bytes() == complete
        if partial == kept:
            Image.fromarray(images[0]).save(cwd / "images" / "0000.png")
    assert sorted(path.name for path in cwd.iterdir()) == ["images", "out.csv"]


def test_resumed_command_scores_all_images(runs, cwd, capsys):
    write_inputs(cwd / "images", BLOCK_SIZE + 5)
    lines = ["file,labels", *(f"{i:04d}.png,{i % 10 if i % 3 else ''}" for i in range(BLOCK_SIZE + 5))]
    (cwd / "images" / "labels.csv").write_text("\n".join(lines))
    typed = [f"run={runs[0]}", "images=images", "output=out.csv", "labels=images/labels.csv", "accelerator=cpu"]
    settings = interrupted_settings(cwd, typed)
    capsys.readouterr()
    predict(typed)
    complete = capsys.readouterr().out.splitlines()
    Path("out.csv").rename("out.csv.partial")
    Path("out.csv.partial.json").write_bytes(settings)
    predict(typed)
    resumed = capsys.readouterr().out.splitlines()
    assert f"resumed after {BLOCK_SIZE} images" in resumed
    assert [line for line in resumed if "resumed" not in line][:-2] == complete[:-2]  # but the speed


def interrupted_settings(cwd: Path, typed: list[str]) -> bytes:
    """What a command that is interrupted leaves beside its rows."""
    output = "output=interrupted.csv"
    (cwd / "images" / "zzz").symlink_to("zzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fmnist_lightning.inference.files.write_predictions.to_rows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            predict([output if word.startswith("output=") else word for word in typed])
    (cwd / "images" / "zzz").unlink()
    settings = Path("interrupted.csv.partial.json").read_bytes()
    for path in cwd.glob("interrupted.csv*"):
        path.unlink()
    return settings


def test_rows_of_other_settings_or_images_are_not_resumed(runs, cwd):
    write_inputs(cwd / "images", BLOCK_SIZE + 1)
    typed = [f"run={runs[0]}", "images=images", "output=out.csv", "accelerator=cpu"]
    settings = interrupted_settings(cwd, typed)
    predict(typed)
    Path("out.csv").rename("out.csv.partial")
    Path("out.csv.partial.json").write_bytes(settings)
    with pytest.raises(ValueError, match=r"output=out.csv: out.csv.partial has rows .* other settings \(tta=False\)"):
        predict([*typed, "tta=true"])
    (cwd / "images" / "0000.png").unlink()
    with pytest.raises(ValueError, match=r"has a row of images/0000\.png, which is no longer at this place"):
        predict(typed)
    Path("out.csv.partial.json").unlink()
    with pytest.raises(ValueError, match=r"out.csv.partial.json is missing or damaged"):
        predict(typed)
    assert predict([*typed, "overwrite=true"]) == 0
    assert len(read_rows()) == BLOCK_SIZE


def test_two_processes_do_not_write_the_same_file(runs, cwd):
    write_inputs(cwd / "images", 1)
    with (
        FileLock("out.csv.partial.lock"),
        pytest.raises(ValueError, match=r"output=out.csv: another process is writing it"),
    ):
        predict([f"run={runs[0]}", "images=images", "output=out.csv", "accelerator=cpu"])
    assert not Path("out.csv").exists()


@pytest.mark.slow
def test_ctrl_c_keeps_rows_and_the_same_command_resumes(runs, cwd):
    write_inputs(cwd / "images", 1)
    paths = b"images/0000.png\n" * (60 * BLOCK_SIZE)
    command = [sys.executable, "-m", "fmnist_lightning.predict", f"run={runs[0]}", "images=-", "output=out.csv"]
    with subprocess.Popen([*command, "accelerator=cpu"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(paths)
        process.stdin.flush()
        end = time.monotonic() + 60
        while not (Path("out.csv.partial").exists() and Path("out.csv.partial").stat().st_size > 100_000):
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output.splitlines()[-1] == b"interrupted: completed rows are kept, the same command resumes"
    assert not Path("out.csv.partial.lock").exists()
    before = Path("out.csv.partial").read_bytes()
    resumed = subprocess.run([*command, "accelerator=cpu"], input=paths, capture_output=True)
    assert resumed.returncode == 0, resumed.stderr
    assert Path("out.csv").read_bytes().startswith(before)
    assert len(read_rows()) == 60 * BLOCK_SIZE


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["images=missing"], "images=missing: No such file or directory"),
        (["images=*.webp"], r"images=\*.webp: no images"),
        (["run=nowhere"], "run=nowhere: no run"),
        (["run=unfinished"], "run=unfinished: has no scores, its status is running; resume=unfinished resumes it"),
        (["run=[a,a]"], r"run=\[a,a\]: a run is listed twice"),
        (["output=no/out.csv"], "output=no/out.csv: the directory no does not exist"),
        (["output=images"], "output=images: is not a file; name a file to write"),
        (["output="], "output=.: is not a file"),
        (["output=pipe", "overwrite=true"], "output=pipe: is not a file"),
        (["output=existing.csv"], "output=existing.csv: already exists; not overwritten. Add overwrite=true"),
        (["save_inputs=existing.csv"], "save_inputs=existing.csv: existing.csv is not a directory"),
        (["labels=missing.csv"], "labels=missing.csv: No such file or directory"),
        (["labels=existing.csv"], "labels=existing.csv: has no column file"),
        (["labels=labels.csv"], "labels=labels.csv: line 3: 11 must be labels from 0 to 9"),
        (["labels=labels.csv", "images=-"], "labels: cannot be used with images=-"),
        (["tta=2"], "tta=2: must be one of true, false"),
        (["image=x"], "image=x: no such argument; did you mean images=x?"),
    ],
)
def test_invalid_command_is_rejected_and_writes_nothing(runs, cwd, typed, message):
    write_inputs(cwd / "images", 1)
    Path("a").symlink_to(runs[0])
    Path("existing.csv").write_text("kept")
    os.mkfifo("pipe")
    Path("labels.csv").write_text("file,labels\nx,1\ny,11\n")
    unfinished = Run(cwd / "unfinished")
    unfinished.config_file.parent.mkdir(parents=True)
    unfinished.config_file.write_text("")
    summary = Run(runs[0]).read_summary()
    unfinished.write_summary({key: summary[key] for key in summary if key != "test"} | {"status": "running"})
    before = sorted(cwd.rglob("*"))
    given = {word.partition("=")[0]: word for word in ["run=a", "images=images", "output=out.csv", *typed]}
    with pytest.raises(ValueError, match=message):
        predict([*given.values(), "accelerator=cpu"])
    assert sorted(cwd.rglob("*")) == before
    assert Path("existing.csv").read_text() == "kept"


def test_photos_without_opencv_name_the_extra(runs, cwd, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save("photo.png")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match=r"photos need OpenCV: pip install 'fmnist_lightning\[photos\]'"):
        predict([f"run={runs[0]}", "images=photo.png", "output=out.csv", "accelerator=cpu"])
