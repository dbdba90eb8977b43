"""A directory of labelled photos is validated before the runs are trained."""

import numpy as np
import pytest
from PIL import Image

from fmnist_lightning.study.photos import check_photos


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("name,labels\n", "has no column file"),
        ("file,labels\nhat.png,12\n", "12 must be labels from 0 to 9"),
        ("file,labels\nhat.png,\nother.png,3\n", "names no photo of one of the classes"),
    ],
)
def test_photos_without_usable_labels_are_rejected_by_name(tmp_path, labels, message):
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "hat.png")
    (tmp_path / "labels.csv").write_text(labels)
    with pytest.raises(ValueError, match=f"reproduce.photos={tmp_path}: .*{message}"):
        check_photos(tmp_path)


@pytest.mark.parametrize("name", [".", "missing"])
def test_directory_without_labels_is_rejected(tmp_path, name):
    with pytest.raises(ValueError, match=f"reproduce.photos={tmp_path / name}: must be a directory with labels.csv"):
        check_photos(tmp_path / name)


def test_labelled_photos_are_accepted(tmp_path):
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "dress.png")
    (tmp_path / "labels.csv").write_text("file,labels\ndress.png,3\n")
    check_photos(tmp_path)
