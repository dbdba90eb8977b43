"""Two small trained runs, which tests of several modules only read."""

from pathlib import Path

import pytest

from fmnist_lightning.runs.run import Run
from tests.conftest import TINY


@pytest.fixture(scope="session")
def runs(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """An ANN trained on the tiny synthetic images with two seeds."""
    from fmnist_lightning.config.compose import compose_config, without_hydra
    from fmnist_lightning.training.run import train

    folder = tmp_path_factory.mktemp("runs")
    small = [
        *TINY,
        f"data.root={data_root}",
        "model=ann",
        "model.hidden=[16]",
        "logger=none",
        "trainer.accelerator=cpu",
    ]
    for seed in (0, 1):
        cfg = compose_config([*small, "~callbacks.progress", f"seed={seed}"])
        train(without_hydra(cfg), folder / str(seed))
    return [Run(folder / "0"), Run(folder / "1")]
