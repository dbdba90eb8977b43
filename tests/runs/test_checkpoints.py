import torch

from fmnist_lightning.runs.checkpoints import AtomicCheckpointIO
from fmnist_lightning.runs.files import checksum_path, is_intact, sha256


def save(folder, number):
    path = folder / "last.ckpt"
    AtomicCheckpointIO(folder).save_checkpoint({"state_dict": {"weight": torch.tensor(number)}}, path)
    return path


def test_checksum_is_valid_for_the_checkpoint_and_the_one_it_replaces(tmp_path):
    first, second, third = (save(tmp_path, number).read_bytes() for number in (1, 2, 3))
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


def test_checksum_file_is_in_the_format_of_sha256sum(tmp_path):
    path = save(tmp_path, 1)
    save(tmp_path, 2)
    line, comment = checksum_path(path).read_text().splitlines()
    assert line == f"{sha256(path)}  last.ckpt"
    assert comment.startswith("#")
