"""The test images of a run, from where the run found them."""

from omegaconf import DictConfig
from torch import Tensor

from fmnist_lightning.runs.run import Run


def read_test_images(run: Run, cfg: DictConfig, root: str | None = None) -> Tensor | None:
    """The images (N, 28, 28) uint8, or None if they are not on disk: nothing is downloaded.

    Raises ValueError if they are not in `root`, which replaces data.root.
    """
    from hydra.utils import instantiate

    summary = run.read_summary()
    # the data source that the run used, also if its config says auto
    data = instantiate(cfg.data, source=summary["data"], root=root or cfg.data.root, _convert_="all")
    if data.is_on_disk():
        data.setup()
        if data.dataset_info["data_sha256"] == summary["data_sha256"]:
            return data.images["test"]  # type: ignore[no-any-return]
    if root:
        raise ValueError(f"data.root={root}: the images of {run.folder} are not there")
    return None
