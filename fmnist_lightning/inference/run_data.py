"""The images of a run, from where the run found them."""

from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.runs.run import Run


def run_datamodule(run: Run, cfg: DictConfig, root: str | None = None) -> FashionMNISTData:
    """The datamodule of a run, not set up yet; `root` replaces data.root."""
    # the data source that the run used, also if its config says auto
    source = run.read_summary()["data"]
    datamodule: FashionMNISTData = instantiate(cfg.data, source=source, root=root or cfg.data.root, _convert_="all")
    return datamodule


def load_data(run: Run, cfg: DictConfig, root: str | None = None) -> FashionMNISTData:
    """The datamodule of a run, set up; images that are missing are downloaded.

    Raises:
        ValueError: the images or their split are not those of the run.
    """
    data = run_datamodule(run, cfg, root)
    data.setup()
    data.check_images(run.read_summary(), f"run={run.folder}")
    return data


def read_test_images(run: Run, cfg: DictConfig, root: str | None = None) -> Tensor | None:
    """The images (N, 28, 28) uint8, by `read_images`."""
    data = read_images(run, cfg, root)
    return None if data is None else data.images["test"]


def read_images(run: Run, cfg: DictConfig, root: str | None = None) -> FashionMNISTData | None:
    """The datamodule with the run's images, or None if they are not on disk: nothing is downloaded.

    Raises ValueError if they are not in `root`, which replaces data.root.
    """
    data = run_datamodule(run, cfg, root)
    if data.is_on_disk():
        data.setup()
        if data.dataset_info["data_sha256"] == run.read_summary()["data_sha256"]:
            return data
    if root:
        raise ValueError(f"data.root={root}: the images of {run.folder} are not there")
    return None
