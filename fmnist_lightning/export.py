"""Exports a run's model as ONNX and torch.export files, verified against PyTorch.

python -m fmnist_lightning.export run=DIR [KEY=VALUE]

run=DIR              the run's directory, which it printed as its last line
format=NAME          onnx, torch or all
quantize=NAME        none, or int8, which adds a smaller ONNX file
labels=FILE.csv      photos and their labels, as for predict; their scores become
                     part of the model card
overwrite=BOOL       true replaces files of an earlier export
data.root=DIR        the directory of the dataset; the run's unless given
--config-dir=DIR     as typed when the run was trained with your own code

Writes model.onnx, model.pt2, model.int8.onnx and MODEL_CARD.md to DIR/export.
Exits with 1, and writes nothing, if a file does not compute what PyTorch does.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_lightning.config.arguments import argument, parse_arguments, run_command
from fmnist_lightning.config.config_files import add_to_path, config_dirs_of
from fmnist_lightning.config.constraints import one_of
from fmnist_lightning.config.extras import check_installed
from fmnist_lightning.config.machine import check_writable
from fmnist_lightning.data.class_names import CLASS_NAMES
from fmnist_lightning.data.image_sources import find_sources
from fmnist_lightning.evaluation.labelled import LabelledScores
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.scored import read_scored_summary
from fmnist_lightning.training.stages import clear_stage, show_stage

if TYPE_CHECKING:  # arguments are rejected before torch is imported
    from fmnist_lightning.inference import Predictor

FILES = {"onnx": ["model.onnx"], "torch": ["model.pt2"], "all": ["model.onnx", "model.pt2"]}  # by format
INT8, CARD = "model.int8.onnx", "MODEL_CARD.md"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def main() -> None:
    """Runs the command."""
    run_command(export, __doc__)


@dataclass
class Arguments:
    """The arguments of the command."""

    run: str = argument("run=DIR", missing="the directory that a run prints as its last line")
    format: str = argument("format=NAME", "onnx", one_of(*FILES))
    quantize: str = argument("quantize=NAME", "none", one_of("none", "int8"))
    labels: str | None = argument("labels=FILE.csv", None)
    overwrite: bool = argument("overwrite=BOOL", False, one_of(True, False))
    data_root: str | None = argument("data.root=DIR", None)
    config_dir: str | None = argument("--config-dir=DIR", None)


def export(argv: list[str]) -> None:
    """Writes the files and the model card, and prints how they compare with PyTorch."""
    arguments = parse_arguments(Arguments, argv)
    run = Run.existing(arguments.run)
    folder = run.folder / "export"
    names = _check(arguments, run, folder)
    scored_photos = LabelledScores(Path(arguments.labels), CLASS_NAMES) if arguments.labels else None
    config_dirs = config_dirs_of(arguments.config_dir)
    cfg = run.read_config(config_dirs=config_dirs)
    add_to_path(config_dirs)

    try:
        show_stage("loading PyTorch")
        from fmnist_lightning.evaluation.scores import score
        from fmnist_lightning.inference.export.export_run import export_model
        from fmnist_lightning.inference.export.model_card import describe, model_card
        from fmnist_lightning.inference.export.parity import table
        from fmnist_lightning.inference.load import load_model, load_run
        from fmnist_lightning.inference.run_data import load_data

        show_stage("loading the data")
        data = load_data(run, cfg, arguments.data_root)
        # in float32 on the CPU, whatever trained the run
        predictor = load_run(run.folder, config_dirs, "cpu", "32-true", arguments.data_root)
        metadata = describe(run, predictor)
        photos = _score_photos(predictor, scored_photos) if scored_photos else []
        files, parities, logits = export_model(load_model(run, cfg)[0], predictor, data, metadata, names, show_stage)
        scores = score(logits, data.labels["test"], data.class_names)
        card = model_card(run, cfg, metadata, scores, files, parities, photos)
        run.write_files({f"export/{name}": content for name, content in files.items()} | {f"export/{CARD}": card})
    finally:
        clear_stage()
    print(table({name: len(content) for name, content in files.items()}, parities, scores["accuracy"]))
    print(f"model card: {folder / CARD}")
    print(f"run: {run.folder}")


def _score_photos(predictor: "Predictor", scores: LabelledScores) -> list[str]:
    """The scores of the photos in the directory of the labels, as lines of text."""
    from fmnist_lightning.inference.files.predict_files import predict_files
    from fmnist_lightning.inference.files.write_predictions import score_batch

    show_stage("predicting the photos")
    photos = find_sources(str(scores.file.parent), sys.stdin.buffer, [scores.file])
    for batch in predict_files(predictor, photos):
        score_batch(batch, scores.add)
    return list(scores.lines())


def _check(arguments: Arguments, run: Run, folder: Path) -> list[str]:
    """The names of the files to write; ValueError if they cannot be."""
    names = FILES[arguments.format] + [INT8] * (arguments.quantize == "int8")
    if names == ["model.pt2", INT8]:
        raise ValueError("quantize=int8: needs format=onnx or format=all")
    if names != ["model.pt2"]:
        for package in PACKAGES:
            check_installed(package, f"format={arguments.format} needs {package}")
    read_scored_summary(run)
    existing = [name for name in (*names, CARD) if (folder / name).exists()]
    if existing and not arguments.overwrite:
        raise ValueError(f"{folder}: already contains {', '.join(existing)}; not overwritten. Add overwrite=true")
    check_writable(folder, f"run={run.folder}")
    return names


if __name__ == "__main__":
    main()
