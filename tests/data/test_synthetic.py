import pytest
import torch
from PIL import Image

from fmnist_lightning.data import garments, synthetic
from fmnist_lightning.training.run import train


def test_synthetic_images_have_ten_balanced_classes():
    images, labels = garments.draw(100, seed=3)
    assert images.shape == (100, 28, 28)
    assert images.dtype == "uint8"
    assert (torch.from_numpy(labels).bincount() == 10).all()
    assert all(20 < (image > 0).sum() < 700 for image in images)  # none empty, none a full square
    assert Image.fromarray(images[0]).mode == "L"


def test_synthetic_images_are_a_function_of_the_seed():
    images, labels = garments.draw(30, seed=1)
    again, labels_again = garments.draw(30, seed=1)
    assert (images == again).all()
    assert (labels == labels_again).all()
    assert (images != garments.draw(30, seed=2)[0]).any()


def test_synthetic_images_are_drawn_once_per_size(tmp_path):
    first = synthetic.load(tmp_path, num_train=40, num_test=20)
    (kept,) = (tmp_path / "synthetic").glob("*.npz")
    written = kept.stat().st_mtime_ns
    second = synthetic.load(tmp_path, num_train=40, num_test=20)
    assert kept.stat().st_mtime_ns == written
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert [len(tensor) for tensor in first] == [40, 40, 20, 20]
    synthetic.load(tmp_path, num_train=50, num_test=20)
    assert len(list((tmp_path / "synthetic").glob("*.npz"))) == 2


@pytest.mark.parametrize("damage", ["truncated", "of another size", "not an archive"])
def test_damaged_cache_is_drawn_again(damage, tmp_path):
    good = synthetic.load(tmp_path, num_train=50, num_test=20)
    (kept,) = (tmp_path / "synthetic").glob("*.npz")
    if damage == "truncated":
        kept.write_bytes(kept.read_bytes()[:5000])
    elif damage == "of another size":
        synthetic.load(tmp_path / "other", num_train=40, num_test=20)
        (other,) = (tmp_path / "other" / "synthetic").glob("*.npz")
        kept.write_bytes(other.read_bytes())
    else:
        kept.write_text("garments")
    again = synthetic.load(tmp_path, num_train=50, num_test=20)
    assert all(torch.equal(a, b) for a, b in zip(good, again, strict=True))


def test_synthetic_splits_are_disjoint(tmp_path):
    train_images, _, test_images, _ = synthetic.load(tmp_path, num_train=200, num_test=100)
    train = {image.numpy().tobytes() for image in train_images}
    assert not train & {image.numpy().tobytes() for image in test_images}


@pytest.mark.slow
def test_cnn_is_more_accurate_than_ann_on_synthetic_images(composed, tmp_path):
    larger = [
        "data.num_train=6000",
        "data.num_test=1000",
        f"data.root={tmp_path}",
        "trainer.max_epochs=3",
        "logger=none",
    ]
    accuracy = {
        model: train(composed(f"model={model}", *larger), tmp_path / model, [])["test"]["accuracy"]
        for model in ("ann", "cnn")
    }
    assert 0.3 < accuracy["ann"] < accuracy["cnn"] - 0.05
    assert accuracy["cnn"] < 0.999
