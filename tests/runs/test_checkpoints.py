import pytest
import torch

from fmnist_lightning.runs import checkpoints
from fmnist_lightning.runs.checkpoints import AtomicCheckpointIO
from fmnist_lightning.runs.files import checksum_path, is_intact, sha256


def save(folder, number, writer=None):
    path = folder / "last.ckpt"
    (writer or AtomicCheckpointIO(folder)).save_checkpoint({"state_dict": {"weight": torch.tensor(number)}}, path)
    return path


@pytest.mark.parametrize("resumed", [False, True])
def test_checksum_is_valid_for_the_checkpoint_and_the_one_it_replaces(resumed, tmp_path):
    writer = None if resumed else AtomicCheckpointIO(tmp_path)  # a resumed run has not written the file on disk
    first, second, third = (save(tmp_path, number, writer).read_bytes() for number in (1, 2, 3))
    path = tmp_path / "last.ckpt"
    for content, expected in ((third, True), (second, True), (first, False), (third[:-1], False)):
        path.write_bytes(content)
        assert is_intact(path) == expected


def test_checkpoint_whose_replacement_was_lost_stays_intact(tmp_path):
    first = save(tmp_path, 1).read_bytes()
    path = save(tmp_path, 2)
    path.write_bytes(first)  # a power failure between checksum and checkpoint
    save(tmp_path, 3)
    path.write_bytes(first)  # and another one
    assert is_intact(path)


def test_checkpoint_whose_replacement_cannot_be_written_stays_intact(tmp_path, monkeypatch):
    writer = AtomicCheckpointIO(tmp_path)
    path = save(tmp_path, 1, writer)
    first, atomic_write = path.read_bytes(), checkpoints.atomic_write

    def fail_at_checkpoint(target, content):
        if target == path:
            raise OSError("the disk is full")
        atomic_write(target, content)

    monkeypatch.setattr(checkpoints, "atomic_write", fail_at_checkpoint)
    for number in (2, 3):
        with pytest.raises(OSError, match="full"):
            save(tmp_path, number, writer)
        assert path.read_bytes() == first
        assert is_intact(path)
    monkeypatch.undo()
    save(tmp_path, 4, writer)
    assert is_intact(path)
    path.write_bytes(first)
    assert is_intact(path)


def test_damaged_checkpoint_is_not_declared_intact_by_a_later_one(tmp_path):
    path = save(tmp_path, 1)
    damaged = path.read_bytes()[:-1]
    path.write_bytes(damaged)
    save(tmp_path, 2)
    path.write_bytes(damaged)  # a power failure between checksum and checkpoint
    assert not is_intact(path)


def test_checksum_file_is_in_the_format_of_sha256sum(tmp_path):
    path = save(tmp_path, 1)
    save(tmp_path, 2)
    line, comment = checksum_path(path).read_text().splitlines()
    assert line == f"{sha256(path)}  last.ckpt"
    assert comment.startswith("#")
