"""A stored config may name only what the config files at hand name."""

import json
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.compose import compose_config as compose_command
from fmnist_lightning.config.config_files import scan_config_files, user_config_dirs
from fmnist_lightning.runs.provenance import config_sha256
from fmnist_lightning.runs.resume import config_to_resume, find_unfinished_runs
from fmnist_lightning.runs.run import Run

WRITER = "_target_: my_loggers.Writer\nfolder: /var/log/runs\nname: a\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder of config files; nothing in them is imported here."""
    files = {
        "model/small/tiny.yaml": "_target_: my_models.Tiny\nblocks:\n  - _target_: my_models.Block\n    width: 8\n",
        "logger/writer.yaml": "writer:\n  " + WRITER.replace("\n", "\n  ").rstrip(),
        "experiment/mine.yaml": "# @package _global_\ntrainer:\n  min_epochs: 2\n"
        "callbacks:\n  swa: {_target_: my.Swa}\n",
        "outputs/evil/.hydra/config.yaml": "model: {_target_: os.system}\n",
        "outputs/evil/model/evil.yaml": "_target_: os.system\n",
        "model/broken.yaml": "{",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def stored(folder: Path, cfg: DictConfig) -> Run:
    """A run folder that holds the configuration and no checkpoint."""
    run = Run(folder)
    run.config_file.parent.mkdir(parents=True)
    run.config_file.write_text(OmegaConf.to_yaml(OmegaConf.masked_copy(cfg, [k for k in cfg if k != "hydra"])))
    run.summary_json.write_text(
        json.dumps({"status": "interrupted", "overrides": [], "config_sha256": config_sha256(cfg)})
    )
    return run


def test_files_are_read_at_their_package_and_run_folders_are_not(project):
    files = scan_config_files([project])
    assert ("model._target_", "my_models.Tiny") in files.values
    assert ("model.blocks.[]._target_", "my_models.Block") in files.values
    assert ("logger.writer._target_", "my_loggers.Writer") in files.values
    assert ("callbacks.swa._target_", "my.Swa") in files.values
    assert {"trainer.min_epochs", "logger", "logger.writer", "seed"} <= files.keys
    assert "os.system" not in {value for _, value in files.values}


@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("model=small/tiny", "model._target_=my_models.Tiny"),
        ("logger=writer", "logger.writer._target_=my_loggers.Writer"),
        ("experiment=mine", "callbacks.swa._target_=my.Swa"),
    ],
)
def test_own_code_needs_the_config_dir_again(group, target, project):
    run = stored(project / "run", compose_command([group, "optimizer=sgd"], str(project)))
    for read in (run.read_config, lambda config_dirs=(): config_to_resume(run, [], config_dirs)):
        read([project])
        with pytest.raises(ValueError, match=rf"{target}: no config file names it; .* add --config-dir DIR"):
            read()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.path", "x", "model.path is not a key of the config files"),
        ("model.blocks", [{"_target_": "os.system"}], r"model.blocks.\[\]._target_=os.system: no config file"),
        ("callbacks.swa._target_", "my_loggers.Writer", "no config file names it"),  # elsewhere than in its file
        ("callbacks.best_checkpoint._args_", ["x"], "_args_ is not a key"),
        ("logger.writer.folder", "/home/victim", "logger.writer.folder=/home/victim: a path or URL"),
        ("logger.writer.name", "../../victim", "logger.writer.name=../../victim: a path or URL"),
        ("logger.writer.name", "https://example.org", "a path or URL that no config file has"),
    ],
)
def test_stored_config_with_own_code_cannot_name_more_than_its_files(key, value, words, project):
    run = stored(project / "run", compose_command(["model=small/tiny", "logger=writer", "optimizer=sgd"], str(project)))
    config_to_resume(run, [], [project])
    config = OmegaConf.load(run.config_file)
    OmegaConf.update(config, key, value, force_add=True)
    OmegaConf.save(config, run.config_file)
    with pytest.raises(ValueError, match=words):
        config_to_resume(run, [], [project])


def test_logger_settings_may_change_on_resume(project):
    run = stored(project / "run", compose_command(["logger=writer"], str(project)))
    cfg = config_to_resume(run, ["logger.writer.folder=/mnt/runs"], [project])
    assert cfg.logger.writer.folder == "/mnt/runs"


def test_auto_finds_a_run_with_own_code_and_reports_one_that_it_cannot_read(project):
    typed = ["model=small/tiny", "optimizer=sgd", f"hydra.run.dir={project}/run"]
    cfg = compose_command(typed, str(project))
    assert user_config_dirs(cfg.hydra) == [project]
    run = stored(project / "run", cfg)
    assert [found.folder for found in find_unfinished_runs(cfg, user_config_dirs(cfg.hydra))] == [run.folder]
    with pytest.raises(ValueError, match="add --config-dir DIR"):
        list(find_unfinished_runs(cfg))
