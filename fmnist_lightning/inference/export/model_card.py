"""What an exported model is: the metadata in its files, and MODEL_CARD.md next to them."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning import __version__
from fmnist_lightning.inference.export.parity import TOLERANCE, Parity
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.runs.files import sha256
from fmnist_lightning.runs.run import Run

LICENSE = "MIT"  # of this project and of Fashion-MNIST
EXPORTERS = ("torch", "onnx", "onnxscript", "onnxruntime")
TRAINING_GROUPS = ("model", "optimizer", "scheduler")


def describe(run: Run, predictor: Predictor) -> dict[str, Any]:
    """The metadata of the exported files: input, output, classes, and where the model comes from; no local paths."""
    summary = run.read_summary()
    commit = summary.get("git_commit")
    return {
        "input": "images: float32 (N, 1, 28, 28) in [0, 1], grayscale, 0 is the background",
        "output": "probabilities: float32 (N, 10), of softmax(logits / temperature)",
        "class_names": list(predictor.class_names),
        "temperature": predictor.calibration.temperature,
        "run": run.folder.resolve().name,
        "model": str(summary.get("model")),
        "epoch": predictor.epoch,
        "checkpoint_sha256": sha256(run.best_checkpoint),
        "data": summary.get("data_note") or summary["data"],
        "data_sha256": summary["data_sha256"],
        "git_commit": f"{commit}{' and uncommitted changes' * bool(summary.get('git_dirty'))}" if commit else "unknown",
        "versions": summary.get("versions", {}),
        "exported_with": {"fmnist_lightning": __version__, **_installed(EXPORTERS)},
        "license": LICENSE,
    }


def _installed(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # format=torch needs no extra
            continue
    return found


def model_card(
    run: Run,
    cfg: DictConfig,
    metadata: Mapping[str, Any],
    scores: Mapping[str, Any],
    files: Mapping[str, bytes],
    parities: Mapping[str, Parity],
    photos: Sequence[str],
) -> str:
    """The model card.

    Args:
        run: the exported run.
        cfg: its configuration.
        metadata: of `describe`.
        scores: of PyTorch on the test images, by `evaluation.scores.score`.
        files: contents of the exported files, by name.
        parities: their comparison with PyTorch, by name.
        photos: lines of `evaluation.labelled.LabelledScores`; empty if no photos were scored.
    """
    environment = Environment(
        loader=PackageLoader("fmnist_lightning.inference.export", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    augment = cfg.data.get("augment", False)
    training = OmegaConf.create({group: cfg[group] for group in TRAINING_GROUPS if cfg.get(group)})
    return environment.get_template("model_card.md.j2").render(
        summary=run.read_summary(),
        metadata=metadata,
        metadata_json=json.dumps(metadata, indent=2),
        training=OmegaConf.to_yaml(training, resolve=True).strip(),
        augment=", ".join(augment) if OmegaConf.is_list(augment) else augment,
        scores=scores,
        sizes={name: len(content) for name, content in files.items()},
        parities=parities,
        tolerance=TOLERANCE,
        photos="\n".join(photos),
    )
