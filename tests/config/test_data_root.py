"""An unusable data.root is rejected by its key, before a run directory exists."""

from pathlib import Path

import pytest

from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.data import FashionMNISTData


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("data", ["data=synthetic", "data=fashion_mnist", "data=auto"])
@pytest.mark.parametrize("root", ["/proc/nowhere", "/proc", "file", "file/below", "link"])
def test_unusable_data_root_is_rejected_by_its_key(data, root, tmp_path):
    Path("file").write_text("")
    Path("link").symlink_to("nowhere")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=f"^data.root={root}: .*choose another data.root$"):
        validate_command_line([data, f"data.root={root}"])
    assert sorted(tmp_path.iterdir()) == before


def test_data_root_that_is_missing_empty_or_read_only_with_data_is_accepted(tmp_path, data_root):
    (tmp_path / "empty").mkdir()
    for root in ("missing/below", "empty", data_root):
        validate_command_line(["data=synthetic", f"data.root={root}"])


def test_synthetic_images_are_read_from_a_read_only_data_root(data_root, monkeypatch):
    def refuse(*arguments, **options):  # as the system does where the reader is not root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    data = FashionMNISTData("synthetic", root=str(data_root), num_train=400, num_test=100)
    data.setup()
    assert len(data.labels["test"]) == 100
    with pytest.raises(OSError, match=f"data.root={data_root}: Permission denied"):
        FashionMNISTData("synthetic", root=str(data_root), num_train=300, num_test=100).setup()
