"""How far a completed run has trained, and which overrides let it train longer. Imports no torch."""

from collections.abc import Collection

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.runs.run import Run

MAX_EPOCHS, PATIENCE = "trainer.max_epochs", "callbacks.early_stopping.patience"


def explain_end(run: Run, stored: DictConfig) -> str:
    """Why a completed run with this stored config ended, and which override resumes it."""
    epochs, patience = len(run.read_metrics()), OmegaConf.select(stored, PATIENCE)
    if _early_stopping_ended(stored, epochs):
        return f"early stopping ended it after epoch {epochs}; {PATIENCE}=N, above {patience}, resumes it"
    if epochs < stored.trainer.max_epochs:
        return f"it ended after epoch {epochs}"
    return f"all {epochs} epochs are done; {MAX_EPOCHS}=N, above {epochs}, trains longer"


def check_training_length(run: Run, stored: DictConfig, cfg: DictConfig, changed: Collection[str]) -> None:
    """Validates the overrides of a resumed run that say how long it trains.

    Args:
        run: the resumed run.
        stored: the run's own configuration.
        cfg: the configuration with the overrides.
        changed: the keys of the overrides.
    """
    if not {MAX_EPOCHS, PATIENCE} & set(changed):
        return
    if PATIENCE in changed and OmegaConf.select(stored, PATIENCE) is None:
        raise ValueError(f"{PATIENCE}={OmegaConf.select(cfg, PATIENCE)}: the run has no early stopping")
    max_epochs, epochs = cfg.trainer.max_epochs, len(run.read_metrics())
    if MAX_EPOCHS in changed and cfg.scheduler:
        raise ValueError(
            f"{MAX_EPOCHS}={max_epochs}: the run's scheduler depends on its number of epochs, which cannot change"
        )
    if max_epochs < epochs:
        raise ValueError(f"{MAX_EPOCHS}={max_epochs}: must be at least {epochs}, which are done")
    if run.read_status() != "completed":
        return
    if _early_stopping_ended(stored, epochs):
        has_effect = OmegaConf.select(cfg, PATIENCE) > OmegaConf.select(stored, PATIENCE)
    else:
        has_effect = max_epochs > epochs or MAX_EPOCHS in changed
    if not has_effect:
        typed = ", ".join(f"{key}={OmegaConf.select(cfg, key)}" for key in changed)
        raise ValueError(f"{typed}: no effect on the completed run in {run.folder}: {explain_end(run, stored)}")


def trains_longer(stored: DictConfig, cfg: DictConfig, epochs: int) -> bool:
    """Whether a completed run of that many epochs trains further if it resumes with another length or patience."""
    if _early_stopping_ended(stored, epochs):
        return bool(OmegaConf.select(cfg, PATIENCE) > OmegaConf.select(stored, PATIENCE))
    return bool(cfg.trainer.max_epochs > epochs)


def _early_stopping_ended(stored: DictConfig, epochs: int) -> bool:
    others = {"max_steps", "max_time"} & set(stored.trainer)
    return OmegaConf.select(stored, PATIENCE) is not None and epochs < stored.trainer.max_epochs and not others
