"""Classifies image files with trained runs: photos, or images of the dataset's format.

python -m fmnist_lightning.predict run=DIR images=PATH output=FILE.csv
    [KEY=VALUE]

run=DIR              a run's directory; several, [DIR,DIR2], form an ensemble
images=PATH          a file, a directory, a pattern such as images='photos/*.jpg',
                     a zip or tar archive, or - for paths on standard input
output=FILE.csv      a row per image: class, ten probabilities, whether it is
                     unlike the training images and why, or why it was not read
overwrite=BOOL       true replaces an existing file
save_inputs=DIR      saves the model's inputs, 28x28 pixels, as PNG
labels=FILE.csv      scores the predictions; columns file, labels (numbers with |
                     between several, empty for no class) and optionally kind
tta=BOOL             true averages over each image and its mirror image
accelerator=NAME     auto (the best available), cpu or gpu
data.root=DIR        the directory of the dataset; the run's unless given
--config-dir=DIR     as typed when the run was trained with your own code

Exits with 3 if some images could not be read. If it is interrupted, the same
command resumes.
"""

import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fmnist_lightning import __version__
from fmnist_lightning.config.arguments import argument, parse_arguments, run_command
from fmnist_lightning.config.config_files import config_dirs_of
from fmnist_lightning.config.constraints import one_of
from fmnist_lightning.config.devices import check_device
from fmnist_lightning.config.machine import check_writable
from fmnist_lightning.config.schema import SCHEMA
from fmnist_lightning.data.class_names import CLASS_NAMES
from fmnist_lightning.data.image_sources import count_files, find_sources
from fmnist_lightning.evaluation.labelled import LabelledScores
from fmnist_lightning.inference.files.prediction_csv import PredictionCsv
from fmnist_lightning.runs.files import sha256
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.scored import read_scored_runs
from fmnist_lightning.training.stages import clear_stage, draws_on_terminal, show_stage

EXIT_ERRORS = 3  # some images could not be read
INTERRUPTED = "interrupted: completed rows are kept, the same command resumes"


def main() -> None:
    """Runs the command."""
    run_command(predict, __doc__, INTERRUPTED)


@dataclass
class Arguments:
    """The arguments of the command."""

    run: str = argument("run=DIR", missing="the directory that a run prints as its last line, or several, [DIR,DIR2]")
    images: str = argument("images=PATH", missing="a file, a directory, a pattern, a zip or tar archive, or -")
    output: str = argument("output=FILE.csv", missing="the file to write")
    overwrite: bool = argument("overwrite=BOOL", False, one_of(True, False))
    save_inputs: str | None = argument("save_inputs=DIR", None)
    labels: str | None = argument("labels=FILE.csv", None)
    tta: bool = argument("tta=BOOL", False, one_of(True, False))
    accelerator: str = argument("accelerator=NAME", "auto", SCHEMA["trainer.accelerator"])
    data_root: str | None = argument("data.root=DIR", None)
    config_dir: str | None = argument("--config-dir=DIR", None)


def predict(argv: list[str]) -> int:
    """Writes the predictions; 0 if all images were read, 3 if some were not."""
    arguments = parse_arguments(Arguments, argv)
    check_device(arguments.accelerator, key="accelerator")
    runs, config_dirs = read_scored_runs(arguments.run), config_dirs_of(arguments.config_dir)
    save_inputs, labels = (Path(path) if path else None for path in (arguments.save_inputs, arguments.labels))
    if save_inputs:
        check_writable(save_inputs, f"save_inputs={save_inputs}")
    if labels and arguments.images == "-":
        raise ValueError("labels: cannot be used with images=-; name a directory, a pattern or an archive")
    scores = LabelledScores(labels, CLASS_NAMES) if labels else None
    output = PredictionCsv(Path(arguments.output), _settings(arguments, runs), arguments.overwrite)
    excluded = [*output.files, *filter(None, (save_inputs, labels))]
    find = partial(find_sources, arguments.images, sys.stdin.buffer, excluded)
    if arguments.images != "-":
        next(find())

    try:
        show_stage("loading PyTorch")
        from fmnist_lightning.inference.files.write_predictions import write_predictions
        from fmnist_lightning.inference.load import load_runs

        folders = [run.folder for run in runs]
        predictor = load_runs(folders, arguments.tta, config_dirs, arguments.accelerator, data_root=arguments.data_root)
    finally:
        clear_stage()
    warnings.filterwarnings("ignore", module="PIL")  # of damaged metadata
    total = count_files(arguments.images) if draws_on_terminal() else None
    speed = write_predictions(predictor, output, find, save_inputs, scores.add if scores else None, total)
    for line in scores.lines() if scores else ():
        print(line)
    _print_summary(runs, output, speed)
    return EXIT_ERRORS if output.num_errors else 0


def _settings(arguments: Arguments, runs: Iterable[Run]) -> dict[str, object]:
    """What the rows depend on."""
    typed = {key: getattr(arguments, key) for key in ("run", "images", "save_inputs", "tta", "accelerator")}
    return typed | {"checkpoints": [sha256(run.best_checkpoint) for run in runs], "version": __version__}


def _print_summary(runs: Iterable[Run], output: PredictionCsv, images_per_second: float) -> None:
    for run in runs:
        calibration = run.read_summary().get("calibration")
        if calibration:
            before, after = (calibration[f"calibration_error_{when}"] for when in ("before", "after"))
            print(f"calibration error on validation images: {before:.4f}, with temperature scaling {after:.4f}")
    if output.num_resumed:
        print(f"resumed after {output.num_resumed:,} images")
    images = f"{output.num_images:,} image{'s' * (output.num_images != 1)}"
    errors = f"{output.num_errors:,} not read" + (" (column error)" if output.num_errors else "")
    unlike = f"{output.num_unlike:,} unlike the training images"
    print(f"{images}, {errors}, {unlike}; {images_per_second:,.0f} per second")
    print(f"predictions: {output.path}")


if __name__ == "__main__":
    main()
