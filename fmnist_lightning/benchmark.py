"""Times training: this project, Lightning's defaults and a plain PyTorch loop.

python -m fmnist_lightning.benchmark [KEY=VALUE] [OVERRIDES]

repeats=5              of each variant, each in a process of its own, taking
                       turns, after a warm-up
images=60000           training images per epoch
load=0                 busy processes at the same time, as on a machine that is
                       not idle
variants=NAME,NAME     project, lightning_default, plain_loop, compiled,
                       openmp_default: project without its settings of OpenMP
output=FILE.json       outputs/benchmark-MODEL.json unless given
OVERRIDES              of a run: model=ann, data.batch_size=512 (256 here unless
                       given), trainer.precision=32-true

Prints one table.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmnist_lightning.benchmarking.load import busy_processes
from fmnist_lightning.benchmarking.measure import choose_variants, compare_variants
from fmnist_lightning.benchmarking.table import print_table
from fmnist_lightning.config.arguments import argument, parse_arguments, run_command
from fmnist_lightning.config.compose import compose_config
from fmnist_lightning.config.constraints import integer
from fmnist_lightning.config.machine import check_writable
from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.runs.files import atomic_write


@dataclass
class Arguments:
    """What may be typed."""

    repeats: int = argument("repeats=N", 5, integer(1))
    images: int = argument("images=N", 60000, integer(100))
    load: int = argument("load=N", 0, integer(0))
    output: str | None = argument("output=FILE.json", None)
    variants: str | None = argument("variants=NAME,NAME", None)
    overrides: list[str] = field(default_factory=list)


def main() -> None:
    """Runs the command."""
    run_command(benchmark, __doc__)


def benchmark(argv: Sequence[str]) -> dict[str, Any]:
    """Measures, prints the table and writes the JSON file.

    Args:
        argv: as typed.

    Returns:
        The content of the file: as `compare_variants` returns it, and settings.

    Raises:
        ValueError: an argument or override that is not allowed, or a variant that cannot run.
    """
    given = parse_arguments(Arguments, argv)
    names = choose_variants(given.variants)
    overrides = ["data.batch_size=256", *given.overrides]
    validate_command_line(overrides)
    if compose_config(overrides).trainer.precision == "16-mixed":
        raise ValueError("trainer.precision=16-mixed: steps are timed without scaled gradients; type another precision")
    check_writable(Path(given.output or "outputs/_").parent, f"output={given.output or 'FILE.json'}")
    with busy_processes(given.load):
        result = compare_variants(names, overrides, given.images, given.repeats)
    result["settings"] = {"overrides": overrides, "repeats": given.repeats, "load": given.load}
    output = Path(given.output or f"outputs/benchmark-{result['machine']['model']}.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(output, json.dumps(result, indent=2) + "\n")
    print_table(result)
    print(f"written: {output}")
    return result


if __name__ == "__main__":
    main()
