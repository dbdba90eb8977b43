import lightning.pytorch as pl
import pytest
import torch
from torchvision.datasets import FashionMNIST

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.data.batches import BatchIndices
from fmnist_lightning.data.class_names import CLASS_NAMES
from fmnist_lightning.data.split import stratified_split
from fmnist_lightning.data.transforms import crop, erase, flip, mean_and_std


def test_class_names_are_those_of_torchvision():
    assert list(CLASS_NAMES) == FashionMNIST.classes


def test_split_is_stratified_disjoint_and_complete():
    labels = torch.arange(1000) % 10
    train, val = stratified_split(labels, val_fraction=0.2, seed=0)
    assert labels[train].bincount().tolist() == [80] * 10
    assert labels[val].bincount().tolist() == [20] * 10
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(1000))


def test_split_depends_on_split_seed_only():
    labels = torch.arange(100) % 10
    torch.manual_seed(1)
    train, _ = stratified_split(labels, 0.2, seed=0)
    torch.manual_seed(2)
    assert torch.equal(train, stratified_split(labels, 0.2, seed=0)[0])
    assert not torch.equal(train, stratified_split(labels, 0.2, seed=1)[0])


def test_class_too_small_to_split_is_rejected():
    with pytest.raises(ValueError, match="class 3 has 1 image"):
        stratified_split(torch.tensor([0, 0, 3]), 0.2, seed=0)


def test_dataset_info_distinguishes_images_and_splits(data_root):
    def dataset_info(**changes):
        settings = {"source": "synthetic", "root": str(data_root), "num_train": 400, "num_test": 100} | changes
        data = FashionMNISTData(**settings)
        data.setup()
        return data.dataset_info

    same, split, images = dataset_info(), dataset_info(split_seed=1), dataset_info(num_train=390)
    assert same == dataset_info()
    assert split["data_sha256"] == same["data_sha256"]
    assert split["split_sha256"] != same["split_sha256"]
    assert split["val_sha256"] != same["val_sha256"]
    half = dataset_info(train_fraction=0.5)
    assert (half["val_sha256"], half["split_sha256"] == same["split_sha256"]) == (same["val_sha256"], False)
    assert images["data_sha256"] != same["data_sha256"]
    assert same["split"] == {"train": 320, "val": 80, "test": 100}


def test_epoch_contains_each_training_image_once_with_one_gather_per_batch(tiny):
    gathers = []
    loader = tiny.train_dataloader()
    plain = loader.dataset.__class__.__getitem__

    class Counting(loader.dataset.__class__):
        def __getitem__(self, indices):
            gathers.append(indices)
            return plain(self, indices)

    loader.dataset.__class__ = Counting
    batches = list(loader)
    assert [len(labels) for _, labels in batches] == [64] * 5
    assert len(gathers) == len(loader) == 5
    assert sorted(torch.cat(gathers).tolist()) == list(range(320))
    assert batches[0][0].dtype == torch.uint8


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        indices = BatchIndices(100, 10, seed=seed)
        indices.set_epoch(epoch)
        return torch.cat(list(indices)).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert order(2, 3) != order(3, 2)
    assert order(0, 0) != order(4096, 0) != order(2**32 - 1, 0)


def test_single_remaining_image_joins_the_last_batch():
    def sizes(*arguments):
        indices = BatchIndices(*arguments)
        batches = list(indices)
        assert len(batches) == len(indices)
        assert sorted(torch.cat(batches).tolist()) == list(range(arguments[0]))
        return [len(batch) for batch in batches]

    assert sizes(9, 4, 0) == [4, 5]
    assert sizes(10, 4, 0) == [4, 4, 2]
    assert sizes(8, 4, 0) == [4, 4]
    assert sizes(1, 4, 0) == [1]
    assert sizes(3, 1, 0) == [1, 1, 1]
    assert sizes(9, 4, None) == [4, 4, 1]  # in the images' own order nothing is learned


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_images_are_distributed_over_processes(world_size):
    shuffled = [list(BatchIndices(100, 8, 0, rank, world_size)) for rank in range(world_size)]
    assert len({len(batches) for batches in shuffled}) == 1  # equal numbers of steps
    seen = [index for batches in shuffled for index in torch.cat(batches).tolist()]
    assert len(seen) == len(set(seen)) == 100 - 100 % world_size
    ordered = [list(BatchIndices(100, 8, None, rank, world_size)) for rank in range(world_size)]
    assert sorted(i for batches in ordered for i in torch.cat(batches).tolist()) == list(range(100))
    assert [len(b) for b in shuffled] == [len(BatchIndices(100, 8, 0, r, world_size)) for r in range(world_size)]


def test_mean_and_std_are_those_of_the_pixels():
    images = torch.randint(0, 256, (50, 28, 28), dtype=torch.uint8)
    mean, std = mean_and_std(images)
    assert mean == pytest.approx((images.double() / 255).mean().item())
    assert std == pytest.approx((images.double() / 255).std(unbiased=False).item())


def test_augmentation_flips_half_and_shifts_by_at_most_two_pixels():
    torch.manual_seed(0)
    image = torch.zeros(1, 28, 28, dtype=torch.uint8)
    image[0, 10, 5] = 200
    changed = crop(flip(image.expand(500, 28, 28)), padding=2)
    assert changed.shape == (500, 28, 28)
    assert changed.dtype == torch.uint8
    where = changed.nonzero()
    assert len(where) == 500  # the pixel is never lost, never doubled
    rows, columns = where[:, 1], where[:, 2]
    assert set(rows.tolist()) == {8, 9, 10, 11, 12}
    assert set(columns.tolist()) == {3, 4, 5, 6, 7, 20, 21, 22, 23, 24}
    assert 200 < (columns > 14).sum().item() < 300


def test_erasing_blackens_a_rectangle_of_its_own_in_a_fraction_of_the_images():
    torch.manual_seed(0)
    images = torch.full((2000, 28, 28), 9, dtype=torch.uint8)
    changed = erase(images, probability=0.25, area=(0.05, 0.3))
    assert changed.dtype == torch.uint8
    assert torch.all(images == 9)
    erased = changed == 0
    assert torch.equal(changed[~erased], images[~erased])
    heights, widths = erased.any(2).sum(1), erased.any(1).sum(1)
    assert torch.equal(erased.sum((1, 2)), heights * widths)  # one full rectangle
    chosen = heights > 0
    assert 400 < chosen.sum().item() < 600
    fractions = (heights * widths)[chosen] / 28**2
    assert 0.04 < fractions.min() < 0.07  # sides are rounded to pixels
    assert 0.27 < fractions.max() < 0.32
    ratios = (heights / widths)[chosen]
    assert 0.25 < ratios.min() < 0.4
    assert 2.5 < ratios.max() < 3.8
    assert 0.4 < (ratios > 1).float().mean() < 0.6
    assert erased.any((0, 1)).all()  # anywhere, edges included
    assert erased.any((0, 2)).all()
    assert len({tuple(image.nonzero()[0].tolist()) for image in erased[chosen]}) > 200


def test_erasing_keeps_the_area_of_rectangles_that_fill_the_image():
    images = torch.ones(200, 28, 28, dtype=torch.uint8)
    erased = erase(images, probability=1.0, area=(0.8, 0.8)) == 0
    fractions = erased.float().mean((1, 2))
    assert 0.76 < fractions.min() <= fractions.max() < 0.84
    assert torch.equal(erase(images, probability=0.0, area=(0.1, 0.2)), images)


@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_augmentation_true_flips_and_crops_as_a_list_of_both_does(tiny):
    batch = (tiny.images["train"], tiny.labels["train"])
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    tiny.trainer = pl.Trainer(accelerator="cpu", **silent)
    tiny.trainer.training = True

    def augmented(augment):
        torch.manual_seed(0)
        tiny.augment = augment
        return tiny.on_after_batch_transfer(batch, 0)[0]

    assert torch.equal(augmented(True), augmented(["flip", "crop"]))
    assert not torch.equal(augmented(True), augmented(["crop", "flip"]))
    assert torch.equal(augmented([]), batch[0])


@pytest.mark.filterwarnings("ignore:GPU available but not used")
@pytest.mark.parametrize("augment", [True, "photos", ["erase"]])
def test_only_training_batches_are_augmented(tiny, augment):
    tiny.augment = augment
    batch = (tiny.images["train"][:50], tiny.labels["train"][:50])
    tiny.trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    tiny.trainer.validating = True
    plain, _ = tiny.on_after_batch_transfer(batch, 0)
    tiny.trainer.training = True
    changed, _ = tiny.on_after_batch_transfer(batch, 0)
    assert torch.equal(plain, batch[0])
    assert changed.dtype == torch.uint8
    assert not torch.equal(plain, changed)
    tiny.trainer.testing = True
    assert torch.equal(plain, tiny.on_after_batch_transfer(batch, 0)[0])


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("batch_size", 0),
        ("val_fraction", 1.0),
        ("split_seed", -1),
        ("augment", 1),
        ("augment", ["flip", "flip"]),
        ("crop_padding", -1),
        ("erase_probability", 1.5),
        ("erase_area", [0.2, 0.1]),
        ("source", "mnist"),
        ("mirrors", "x"),
    ],
)
def test_invalid_arguments_are_rejected_by_override_name(argument, value):
    with pytest.raises(ValueError, match=rf"data\.{argument}="):
        FashionMNISTData(**{argument: value})
