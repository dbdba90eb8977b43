"""Every option of Hydra's logging groups is a complete configuration of Python's logging."""

import logging.config

import pytest
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from fmnist_lightning.config.compose import CONFIG_NAME


@pytest.mark.parametrize("group", ["job_logging", "hydra_logging"])
def test_every_logging_option_is_complete(group, composed):
    options = GlobalHydra.instance().config_loader().get_group_options(f"hydra/{group}")
    assert {"default", "disabled", "none"} < set(options)
    for option in [None, *options]:
        typed = [] if option is None else [f"hydra/{group}={option}"]
        cfg = compose(CONFIG_NAME, typed, return_hydra_config=True)
        settings = OmegaConf.to_container(cfg.hydra[group], resolve=False)
        for handler in settings.get("handlers", {}).values():
            assert handler["class"], option
            assert handler["formatter"] in settings["formatters"], option
        logging.config.DictConfigurator(settings)  # of logging's own schema
