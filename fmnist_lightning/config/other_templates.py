"""Options of other Lightning and Hydra templates, and their equivalent here."""

EVALUATE = "python -m fmnist_lightning.evaluate run=DIR scores a finished run"
EQUIVALENTS = {  # {} stands for the typed value
    "accelerator": "use trainer.accelerator={}",
    "amp": "use trainer.precision=bf16-mixed, or 16-mixed on a GPU",
    "batch_size": "use data.batch_size={}",
    "bs": "use data.batch_size={}",
    "checkpoint": f"use resume=DIR to resume a run; {EVALUATE}",
    "ckpt_path": f"use resume=DIR to resume a run; {EVALUATE}",
    "cpu": "use trainer.accelerator=cpu",
    "cuda": "use trainer.accelerator=gpu",
    "data.num_workers": "not needed: the images are in memory",
    "data=mnist": "use data=fashion_mnist",
    "data_dir": "use data.root={}",
    "data_path": "use data.root={}",
    "datamodule": "use data={}",
    "dataset": "use data={}",
    "debug": "use +trainer.fast_dev_run=true",
    "debug=limit": "use trainer.limit_train_batches=0.01 trainer.limit_val_batches=0.05",
    "debug=overfit": "use +trainer.overfit_batches=3",
    "debug=profiler": "use +trainer.profiler=simple",
    "device": "use trainer.accelerator={}",
    "device=cuda": "use trainer.accelerator=gpu",
    "device=cuda:0": "use trainer.accelerator=gpu trainer.devices=[0]",
    "devices": "use trainer.devices={}",
    "early_stopping": "use callbacks.early_stopping.patience=N, or '~callbacks.early_stopping' for none",
    "epochs": "use trainer.max_epochs={}",
    "eval": EVALUATE,
    "extras": "nothing to set: the configuration is printed by --cfg job",
    "fp16": "use trainer.precision=16-mixed",
    "gpu": "use trainer.accelerator=gpu",
    "gpus": "use trainer.accelerator=gpu trainer.devices={}",
    "gpus=0": "use trainer.accelerator=cpu",
    "hparams_search": "use -m with comma lists, such as -m optimizer.lr=1e-3,3e-3",
    "learning_rate": "use optimizer.lr={}",
    "log_dir": "use hydra.run.dir={}",
    "logger=many_loggers": "use logger=[tensorboard,csv]",
    "lr": "use optimizer.lr={}",
    "max_epochs": "use trainer.max_epochs={}",
    "model.compile": "not supported",
    "model.lr": "use optimizer.lr={}",
    "model.optimizer": "use optimizer=NAME, optimizer.lr=...",
    "model.scheduler": "use scheduler=NAME",
    "model=mlp": "use model=ann",
    "n_epochs": "use trainer.max_epochs={}",
    "name": "use hydra.run.dir=outputs/{}",
    "no_cuda": "use trainer.accelerator=cpu",
    "num_epochs": "use trainer.max_epochs={}",
    "num_workers": "not needed: the images are in memory",
    "optimized_metric": "a sweep is ordered by validation loss",
    "output": "use hydra.run.dir={}",
    "output_dir": "use hydra.run.dir={}",
    "paths": "use data.root=DIR for the dataset, hydra.run.dir=DIR for the run",
    "precision": "use trainer.precision={}",
    "run_name": "use hydra.run.dir=outputs/{}",
    "save_dir": "use hydra.run.dir={}",
    "tags": "use hydra.run.dir=outputs/NAME",
    "task_name": "use hydra.run.dir=outputs/{}",
    "test": "every run is tested once, at its end; +trainer.fast_dev_run=true tries a run without scores",
    "train": f"every run trains; {EVALUATE}",
    "val_split": "use data.val_fraction={}",
    "wd": "use optimizer.weight_decay={}",
    "workers": "not needed: the images are in memory",
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
