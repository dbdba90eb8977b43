"""The archives in the real file format, small, and the real ones."""

import gzip
import os
import shutil
from pathlib import Path

import pytest
import torch

from fmnist_lightning.data import FashionMNISTData, archives

NAMES = list(archives.PUBLISHED_MD5)


def test_archives_are_downloaded_once_then_read_from_disk(server, tmp_path):
    root = tmp_path / "data"
    train_images, train_labels, test_images, test_labels = archives.load(root, [server.url])
    assert train_images.shape == (40, 28, 28)
    assert train_images.dtype == torch.uint8
    assert test_images.shape == (20, 28, 28)
    assert train_labels.tolist() == [i % 10 for i in range(40)]
    assert test_labels.dtype == torch.int64
    archives.load(root, [])  # no mirror is needed now
    assert server.asked == dict.fromkeys(NAMES, 1)
    assert sorted(p.name for p in (root / "FashionMNIST" / "raw").iterdir()) == sorted([".lock", *NAMES])


@pytest.mark.parametrize("scheme", ["{path}", "file://{path}"])
def test_directory_and_file_url_are_mirrors(scheme, mirror, tmp_path):
    images = archives.load(tmp_path / "data", [scheme.format(path=mirror)])[0]
    assert images.shape == (40, 28, 28)


def test_environment_mirror_is_tried_first(mirror, server, tmp_path, monkeypatch):
    monkeypatch.setenv(archives.MIRROR_VARIABLE, str(mirror))
    archives.load(tmp_path / "data", [server.url])
    assert not server.asked


def test_archives_in_data_root_itself_are_used(mirror):
    before = sorted(mirror.iterdir())
    assert archives.load(mirror, [])[0].shape == (40, 28, 28)
    assert sorted(mirror.iterdir()) == before


def test_mirror_with_other_files_is_skipped(mirror, server, tmp_path):
    login_page = tmp_path / "login"
    login_page.mkdir()
    for name in NAMES:
        (login_page / name).write_text("<html>please log in</html>")
    nothing = tmp_path / "nothing"
    assert archives.load(tmp_path / "data", [str(nothing), str(login_page), server.url])[0].shape == (40, 28, 28)
    assert server.asked == dict.fromkeys(NAMES, 1)


def test_error_without_any_source_names_the_alternatives(tmp_path, mirror):
    root, away = tmp_path / "data", tmp_path / "away"
    with pytest.raises(archives.UnreachableError) as error:
        archives.load(root, [str(away)])
    for words in (str(root), *NAMES, archives.MIRROR_VARIABLE, "data=synthetic", str(away)):
        assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_auto_uses_synthetic_images_only_if_the_dataset_is_unavailable(mirror, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ARCHIVE_BYTES", 2**20)
    near = FashionMNISTData("auto", root=str(tmp_path / "near"), mirrors=[str(mirror)])
    near.setup()
    assert near.dataset_info["data"] == "fashion_mnist"
    assert near.dataset_info["data_note"] is None
    far = FashionMNISTData("auto", root=str(tmp_path / "far"), mirrors=[], num_train=40, num_test=20)
    far.setup()
    assert far.dataset_info["data"] == "synthetic"
    assert "NOT Fashion-MNIST" in far.dataset_info["data_note"]
    assert "NOT FASHION-MNIST" in capsys.readouterr().out
    (tmp_path / "near" / "FashionMNIST" / "raw" / NAMES[0]).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="not the published archive"):  # never quietly replaced by drawings
        FashionMNISTData("auto", root=str(tmp_path / "near"), mirrors=[]).setup()


def unpack(mirror: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / name.removesuffix(".gz")).write_bytes(gzip.decompress((mirror / name).read_bytes()))


@pytest.mark.parametrize("place", ["data", "data/FashionMNIST/raw", "keras/datasets/fashion-mnist"])
@pytest.mark.parametrize("form", ["gzipped", "unpacked"])
def test_gzipped_and_unpacked_files_are_read_in_place(form, place, mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    folder = tmp_path / place
    shutil.copytree(mirror, folder) if form == "gzipped" else unpack(mirror, folder)
    before = sorted(tmp_path.rglob("*"))
    read = archives.load(tmp_path / "data", [])
    assert all(torch.equal(a, b) for a, b in zip(read, archives.load(mirror, []), strict=True))
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_unpacked_file_is_rejected_by_name(mirror, tmp_path):
    unpack(mirror, tmp_path / "data")
    path = tmp_path / "data" / NAMES[0].removesuffix(".gz")
    content = path.read_bytes()
    for damaged in (content[:-1], content[:99] + bytes([content[99] ^ 1]) + content[100:], b"", content + b"0"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{path} is not the published archive's content: it has SHA-256"):
            archives.load(tmp_path / "data", [])
        assert path.read_bytes() == damaged


def test_intact_copy_is_used_instead_of_a_damaged_one(mirror, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    unpack(mirror, tmp_path / "keras" / "datasets" / "fashion-mnist")
    damaged = tmp_path / "data" / NAMES[0]
    damaged.parent.mkdir()
    damaged.write_bytes(b"damaged")
    assert torch.equal(archives.load(tmp_path / "data", [])[0], archives.load(mirror, [])[0])
    (warning,) = caplog.messages
    assert warning.startswith(f"{damaged} is not the published archive")


@pytest.mark.real_data
def test_real_unpacked_files_are_verified_by_their_checksums(tmp_path):
    mirror = Path(os.environ[archives.MIRROR_VARIABLE])
    unpack(mirror, tmp_path / "raw")
    unpacked, packed = archives.load(tmp_path / "raw", []), archives.load(mirror, [])
    assert all(torch.equal(a, b) for a, b in zip(unpacked, packed, strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


@pytest.mark.real_data
def test_real_archives_are_accepted_and_a_flipped_bit_is_rejected(tmp_path):
    source = os.environ[archives.MIRROR_VARIABLE]  # a folder here
    data = FashionMNISTData(root=str(tmp_path), mirrors=[])
    data.setup()
    assert {stage: tuple(images.shape) for stage, images in data.images.items()} == {
        "train": (48000, 28, 28),
        "val": (12000, 28, 28),
        "test": (10000, 28, 28),
    }
    assert data.labels["train"].bincount().tolist() == [4800] * 10
    assert data.labels["val"].bincount().tolist() == [1200] * 10
    assert data.labels["test"].bincount().tolist() == [1000] * 10
    assert data.mean == pytest.approx(0.2860, abs=5e-4)  # as published widely for the 60,000
    assert data.std == pytest.approx(0.3530, abs=5e-4)
    broken = tmp_path / "broken"
    shutil.copytree(tmp_path / "FashionMNIST" / "raw", broken, copy_function=shutil.copyfile)
    path = broken / NAMES[2]
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)
    again = archives.load(broken, [])
    assert torch.equal(again[2], data.images["test"])
    assert (broken / "FashionMNIST" / "raw" / NAMES[2]).read_bytes() == (Path(source) / NAMES[2]).read_bytes()
