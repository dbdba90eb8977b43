import pytest
import torch
from torch.nn.functional import one_hot

from fmnist_lightning.data.photo_augmentation import OUTLIERS, UNCHANGED, augment_for_photos


@pytest.fixture
def batch(tiny):
    """320 images and labels, all classes in any part of the batch."""
    return tiny.images["train"], tiny.labels["train"]


def augmented(images, labels, seed=0):
    torch.manual_seed(seed)
    return augment_for_photos(images, labels)


@pytest.mark.parametrize("num", [1, 2, 5, 64])
def test_shape_and_type_are_those_of_a_batch(batch, num):
    images, targets = augmented(batch[0][:num], batch[1][:num])
    assert (images.shape, images.dtype) == ((num, 28, 28), torch.uint8)
    assert (targets.shape, targets.dtype) == ((num, 10), torch.float32)


def test_seed_determines_the_batch(batch):
    before = batch[0].clone()
    first, again, other = (augmented(*batch, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(batch[0], before)  # the images in memory remain as they are


def test_labels_remain_except_for_outliers_which_have_none(batch):
    _, targets = augmented(*batch)
    num_outliers = round(OUTLIERS * len(targets))
    assert torch.equal(targets[:-num_outliers], one_hot(batch[1], 10).float()[:-num_outliers])
    assert torch.allclose(targets[-num_outliers:], torch.tensor(0.1))


def test_a_part_of_the_batch_is_flipped_at_most(batch):
    images, _ = augmented(*batch)
    num = round(UNCHANGED * len(images))
    for image, before in zip(images[:num], batch[0][:num], strict=True):
        assert torch.equal(image, before) or torch.equal(image, before.flip(-1))


def test_garments_stay_in_the_image_on_black(batch):
    images, _ = augmented(*batch)
    garment = images > 0
    sizes = torch.stack([garment.any(dim).sum(1) for dim in (1, 2)]).amax(0)  # longest sides, in pixels
    assert sizes.float().median() >= 24
    assert (sizes >= 10).float().mean() > 0.95
    corners = garment[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.float().mean() < 0.2
    assert garment.float().mean((1, 2)).median() < 0.7


def test_black_images_stay_black_except_for_residue_of_a_background():
    images, _ = augmented(torch.zeros(100, 28, 28, dtype=torch.uint8), torch.arange(100) % 10)
    assert (images.amax((1, 2)) == 0).float().mean() > 0.7
