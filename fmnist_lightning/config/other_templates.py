"""Options of other Lightning and Hydra templates, and their equivalent here."""

EVALUATE = "python -m fmnist_lightning.evaluate run=DIR scores a finished run"
EQUIVALENTS = {  # {} stands for the typed value
    "accelerator": "use trainer.accelerator={}",
    "batch_size": "use data.batch_size={}",
    "checkpoint": f"use resume=DIR to resume a run; {EVALUATE}",
    "ckpt_path": f"use resume=DIR to resume a run; {EVALUATE}",
    "data=mnist": "use data=fashion_mnist",
    "data.num_workers": "not needed: the images are in memory",
    "datamodule": "use data={}",
    "dataset": "use data={}",
    "debug": "use +trainer.fast_dev_run=true",
    "debug=limit": "use trainer.limit_train_batches=0.01 trainer.limit_val_batches=0.05",
    "debug=overfit": "use +trainer.overfit_batches=3",
    "debug=profiler": "use +trainer.profiler=simple",
    "devices": "use trainer.devices={}",
    "epochs": "use trainer.max_epochs={}",
    "eval": EVALUATE,
    "extras": "nothing to set: the configuration is printed by --cfg job",
    "gpus": "use trainer.accelerator=gpu trainer.devices={}",
    "hparams_search": "use -m with comma lists, such as -m optimizer.lr=1e-3,3e-3",
    "learning_rate": "use optimizer.lr={}",
    "logger=many_loggers": "use logger=[tensorboard,csv]",
    "lr": "use optimizer.lr={}",
    "max_epochs": "use trainer.max_epochs={}",
    "model.compile": "not supported",
    "model.lr": "use optimizer.lr={}",
    "model.optimizer": "use optimizer=NAME, optimizer.lr=...",
    "model.scheduler": "use scheduler=NAME",
    "num_workers": "not needed: the images are in memory",
    "optimized_metric": "a sweep is ordered by validation loss",
    "output_dir": "use hydra.run.dir={}",
    "paths": "use data.root=DIR for the dataset, hydra.run.dir=DIR for the run",
    "precision": "use trainer.precision={}",
    "run_name": "use hydra.run.dir=outputs/{}",
    "tags": "use hydra.run.dir=outputs/NAME",
    "task_name": "use hydra.run.dir=outputs/{}",
    "test": "every run is tested once, at its end; +trainer.fast_dev_run=true tries a run without scores",
    "train": f"every run trains; {EVALUATE}",
}


def equivalent(key: str, value: str) -> str | None:
    """The equivalent of an option of another template; None for an unknown option.

    Args:
        key: as typed, without + and ~.
        value: as typed.
    """
    group = key.partition(".")[0]
    hint = next((EQUIVALENTS[k] for k in (f"{key}={value}", key, group) if k in EQUIVALENTS), None)
    return hint and hint.format(value)
