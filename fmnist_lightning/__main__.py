"""Trains one run, or a sweep: python -m fmnist_lightning [-m] [GROUP=OPTION] [KEY=VALUE]. All options: --help."""

import signal
import sys
from argparse import Namespace
from contextlib import ExitStack

import hydra

from fmnist_lightning.config.arguments import run_command
from fmnist_lightning.config.command_line import parse_command_line
from fmnist_lightning.config.compose import CONFIG_NAME
from fmnist_lightning.config.config_files import CONF
from fmnist_lightning.config.errors import EXIT_SIGTERM
from fmnist_lightning.config.help import help_text
from fmnist_lightning.config.launch import Launch
from fmnist_lightning.config.processes import ignore_foreign_ranks, worker_overrides
from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.runs.folders import check_folder
from fmnist_lightning.runs.resume import resume_overrides
from fmnist_lightning.runs.sweep_text import JobLines
from fmnist_lightning.training.job import Jobs, finish_sweep


def main() -> None:
    """Runs the command; exits with 0 only if every run was completed."""
    run_command(start, lambda argv: help_text(parse_command_line(argv).config_dir))


def start(argv: list[str]) -> int:
    """Starts the run or sweep of a command line; 0 if every run was completed, else 1."""
    ignore_foreign_ranks()
    if hasattr(signal, "SIGUSR1"):  # a cluster's warning before SIGTERM; Python's own exit status differs
        signal.signal(signal.SIGUSR1, lambda number, frame: sys.exit(EXIT_SIGTERM))
    arguments = parse_command_line(argv)
    jobs, num_unfinished = Jobs(), 0
    # no decorator: Hydra composes, and a job imports torch, only once the command line is validated
    run_jobs = hydra.main(config_path=str(CONF), config_name=CONFIG_NAME, version_base="1.3")(jobs.run)
    if arguments.hydra_help or arguments.info or arguments.shell_completion:
        run_jobs()
        return 0
    with ExitStack() as exit_stack:
        launch = validate(arguments)
        overrides = launch.overrides if arguments.cfg else _hydra_overrides(launch, exit_stack)
        # Lightning starts the other processes of a run from sys.argv, and they have to use the same directory
        flags = [argument for argument in argv if argument not in arguments.overrides]
        sys.argv[1:] = [*flags, *overrides, *worker_overrides()]
        if launch.multirun and not arguments.cfg:
            launch.skip_validation_of_batches()
            jobs.lines = JobLines(launch)
            print(*jobs.lines.heading(), sep="\n", flush=True)
        try:
            run_jobs()
        finally:
            if jobs.lines:
                num_unfinished = finish_sweep(launch.sweep_dir, jobs.lines, launch.config_options(arguments.multirun))
    return int(jobs.failed or num_unfinished > 0)


def validate(arguments: Namespace) -> Launch:
    """Validates the command line and the directories that it names; raises ValueError or an error of Hydra's."""
    if arguments.config_path:
        raise ValueError("--config-path: conf/ is always searched; add your own config files with --config-dir DIR")
    config_name = arguments.config_name or CONFIG_NAME
    launch = validate_command_line(
        arguments.overrides, arguments.multirun, arguments.config_dir, not arguments.cfg, config_name
    )
    if not arguments.cfg:
        with launch.composer:
            check_folder(launch)
    return launch


def _hydra_overrides(launch: Launch, exit_stack: ExitStack) -> list[str]:
    if launch.multirun:
        return launch.multirun_overrides()
    with launch.composer:
        return resume_overrides(launch, exit_stack)


if __name__ == "__main__":
    main()
