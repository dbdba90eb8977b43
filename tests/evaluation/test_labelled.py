"""Which line of a file of labels belongs to an image."""

import pytest

from fmnist_lightning.evaluation.labelled import LabelledScores


@pytest.fixture
def scores(tmp_path, monkeypatch):
    """Labels of three files, one of them in a subdirectory, which is the working directory."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/a.png", "sub/b.png"):
        (folder / name).touch()
    (folder / "labels.csv").write_text("file,labels,kind\na.png,0,top\nsub/a.png,1,below\n")
    monkeypatch.chdir(folder / "sub")
    return LabelledScores(folder / "labels.csv", ["shirt", "trousers"])


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("../a.png", "a.png", "top"),
        ("a.png", "a.png", "below"),  # of images=. or images='*.png'
        ("../sub/a.png", "a.png", "below"),  # of images=../sub
        ("b.png", "b.png", None),
        ("sub/a.png", "sub/a.png", "below"),  # a member of an archive
        ("/elsewhere/sub/a.png", "sub/a.png", "below"),
        ("x" * 4000, "x" * 4000, None),
    ],
)
def test_image_is_found_by_its_file_or_by_its_name_elsewhere(scores, path, name, kind):
    scores.add(path, name, label=0, outlier_score=0.0, is_outlier=False)
    assert [kind for kind, counts in scores.predicted.items() if counts] == ([kind] if kind else [])
