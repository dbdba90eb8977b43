"""Serves a page that classifies photos and drawings, with one run or several side by side.

python -m fmnist_lightning.demo run=DIR [KEY=VALUE]

run=DIR              the run's directory, which it printed as its last line;
                     run=[DIR,DIR] shows several runs
port=N               7860 unless given; 0 is any free port
host=ADDRESS         127.0.0.1 unless given, which only this machine reaches
accelerator=NAME     auto (the best available), cpu or gpu
data.root=DIR        the directory of the dataset; the run's unless given
--config-dir=DIR     as typed when the runs were trained with your own code

Serves until Ctrl-C. Sends nothing to other servers; uploads are deleted at the end.
"""

from dataclasses import dataclass

from fmnist_lightning.config.arguments import argument, parse_arguments, run_command
from fmnist_lightning.config.config_files import config_dirs_of
from fmnist_lightning.config.constraints import integer
from fmnist_lightning.config.devices import check_device
from fmnist_lightning.config.extras import check_installed
from fmnist_lightning.config.schema import SCHEMA
from fmnist_lightning.inference.demo.server import address_of, listen, run_server, upload_directory
from fmnist_lightning.runs.scored import read_scored_runs
from fmnist_lightning.training.stages import clear_stage, show_stage


def main() -> None:
    """Runs the command."""
    run_command(demo, __doc__, interrupted="stopped")


@dataclass
class Arguments:
    """The arguments of the command."""

    run: str = argument("run=DIR", missing="the directory that a run prints as its last line")
    port: int = argument("port=N", 7860, integer(0, 65535))
    host: str = argument("host=ADDRESS", "127.0.0.1")
    accelerator: str = argument("accelerator=NAME", "auto", SCHEMA["trainer.accelerator"])
    data_root: str | None = argument("data.root=DIR", None)
    config_dir: str | None = argument("--config-dir=DIR", None)


def demo(argv: list[str]) -> None:
    """Serves the page until a signal ends it."""
    arguments = parse_arguments(Arguments, argv)
    for package in ("gradio", "cv2"):
        check_installed(package, f"the page needs {package}")
    check_device(arguments.accelerator, key="accelerator")
    runs = read_scored_runs(arguments.run)
    config_dirs = config_dirs_of(arguments.config_dir)
    with listen(arguments.host, arguments.port) as listener:
        try:
            show_stage("loading PyTorch")
            from fmnist_lightning.inference.demo.runs import load_shown_run

            show_stage("loading the runs")
            shown = [load_shown_run(run, config_dirs, arguments.accelerator, arguments.data_root) for run in runs]
            show_stage("loading Gradio")
            with upload_directory() as uploads:
                from fmnist_lightning.inference.demo.page import build_app

                app = build_app(shown, uploads)
                clear_stage()
                print(f"demo: {address_of(listener)} (Ctrl-C stops it)", flush=True)
                run_server(app, listener)
        finally:
            clear_stage()


if __name__ == "__main__":
    main()
