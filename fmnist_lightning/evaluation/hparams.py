"""What TensorBoard receives when a run starts: its row of the HParams table, and the layout of the charts.

TensorBoard takes the columns from a single run, whichever it reads first: all runs must have the same, of the same
types. It sorts them by name, those marked as differing before the others, and shows the first five.
"""

from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import DataType, Experiment, HParamInfo, MetricInfo, MetricName, Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from torch.utils.tensorboard import SummaryWriter

from fmnist_lightning.evaluation.run_values import GROUP, METRICS

NUM_SHOWN = 5
FIRST = ("model", "optimizer.lr", "seed")  # beside the keys that vary, if there is room
NUMBERS = (
    *("optimizer.lr", "optimizer.weight_decay", "model.dropout", "data.batch_size", "data.train_fraction"),
    *("trainer.max_epochs", "seed"),
)


def begin_run(writer: SummaryWriter, cfg: DictConfig, summary: Mapping[str, Any], varied: Collection[str] = ()) -> None:
    """Writes the run's row, without scores, and the layout of the charts.

    Args:
        writer: of the run directory.
        cfg: the run's.
        summary: with its model, data and precision.
        varied: keys that vary in the multirun or search of which the run is a part; their columns come first.
    """
    for part in _start(columns(cfg, summary, varied), varied):
        writer._get_file_writer().add_summary(part)
    writer.add_custom_scalars(
        {"training and validation": {m: ["Multiline", [f"train/{m}", f"val/{m}"]] for m in ("loss", "accuracy")}}
    )
    writer.flush()


def end_run(writer: SummaryWriter, failed: bool = False) -> None:
    """Marks the run's row as successful or failed; TensorBoard keeps what is written first."""
    end = SessionEndInfo(status=Status.STATUS_FAILURE if failed else Status.STATUS_SUCCESS)
    writer._get_file_writer().add_summary(_summary(metadata.SESSION_END_INFO_TAG, session_end_info=end))


def columns(cfg: DictConfig, summary: Mapping[str, Any], varied: Collection[str] = ()) -> dict[str, str | float]:
    """The values of the columns, which are named as their overrides: the same for every model and optimizer.

    Args:
        cfg: the run's.
        summary: with its model, data and precision.
        varied: keys that vary in the multirun or search of the run; those that are no columns are added.
    """
    texts = {
        "model": str(summary["model"]),
        "data": str(summary["data"]),
        "optimizer": _class_name(cfg.optimizer),
        "scheduler": _class_name(cfg.scheduler) or "none",
        "trainer.precision": str(summary["precision"]),
        "model.batch_norm": str(_select(cfg, "model.batch_norm") or ""),
        "data.augment": str(_select(cfg, "data.augment") or ""),
        "monitor": str(_select(cfg, "callbacks.best_checkpoint.monitor") or ""),
        "layers": "-".join(str(_select(cfg, f"model.{key}") or "") for key in ("hidden", "filters", "head")).strip("-"),
    }
    numbers = {key: float(_select(cfg, key) or 0) for key in NUMBERS}
    patience = float(_select(cfg, "callbacks.early_stopping.patience") or 0)
    values: dict[str, str | float] = {**texts, **numbers, "patience": patience}
    added = {key: _select(cfg, key) for key in varied if key not in values}
    return values | {key: value for key, value in added.items() if value is not None}


def _class_name(node: Any) -> str:
    return str(node.get("_target_") or "").rpartition(".")[2] if node else ""


def _select(cfg: DictConfig, key: str) -> str | float | None:
    """A value as TensorBoard takes it; None if there is none, or for a config group."""
    value = OmegaConf.select(cfg, key)
    if value is None or isinstance(value, DictConfig):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return float(value) if isinstance(value, int | float) else str(value)


def _start(values: Mapping[str, str | float], varied: Collection[str]) -> list[Summary]:
    """The columns, and the run's row without scores."""
    first = {*varied, *FIRST[: max(0, NUM_SHOWN - len(varied))]}
    infos = [
        HParamInfo(
            name=name,
            type=DataType.DATA_TYPE_STRING if isinstance(value, str) else DataType.DATA_TYPE_FLOAT64,
            differs=name in first,
        )
        for name, value in values.items()
    ]
    metrics = [MetricInfo(name=MetricName(tag=f"{GROUP}/{name}"), display_name=name) for name in METRICS]
    row = SessionStartInfo()
    for name, value in values.items():
        if isinstance(value, str):
            row.hparams[name].string_value = value
        else:
            row.hparams[name].number_value = value
    experiment = Experiment(hparam_infos=infos, metric_infos=metrics)
    return [
        _summary(metadata.EXPERIMENT_TAG, experiment=experiment),
        _summary(metadata.SESSION_START_INFO_TAG, session_start_info=row),
    ]


def _summary(tag: str, **content: Any) -> Summary:
    data = metadata.create_summary_metadata(HParamsPluginData(**content))
    return Summary(value=[Summary.Value(tag=tag, metadata=data)])
