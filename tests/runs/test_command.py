import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from fmnist_lightning.config.compose import compose_config, without_hydra
from fmnist_lightning.runs.command import repeat_command
from fmnist_lightning.runs.provenance import config_sha256
from fmnist_lightning.runs.run import Run


@pytest.fixture(autouse=True)
def without_config_dir(monkeypatch):
    """This process has no --config-dir, which a test before may have left."""
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)


def command_of(typed: list[str], *of_start_and_resumes: str) -> str | None:
    """The command of a run with the configuration of some overrides, whose summary names others."""
    summary = {
        "overrides": list(of_start_and_resumes),
        "config_sha256": config_sha256(without_hydra(compose_config(typed))),
    }
    return repeat_command(Run("run"), summary)


def test_command_is_quoted_for_a_shell():
    typed = ["model=ann", "model.hidden=[64,32]", "data.root='a b'"]
    command = "python -m fmnist_lightning model=ann 'model.hidden=[64,32]' 'data.root='\"'\"'a b'\"'\"''"
    assert command_of(typed, *typed) == command


def test_overrides_of_a_resume_replace_those_of_the_start():
    start = ["trainer.max_epochs=2", "resume=auto", "seed=1"]
    command = command_of(["trainer.max_epochs=5", "seed=1"], *start, "trainer.max_epochs=3", "trainer.max_epochs=5")
    assert command == "python -m fmnist_lightning trainer.max_epochs=5 seed=1"


def test_no_command_if_the_overrides_do_not_compose_the_configuration():
    assert command_of(["model=ann", "seed=1"], "model=ann") is None
    assert command_of(["model=ann"], "model=ann", "no.such.key=1") is None


@pytest.mark.slow
def test_command_in_the_report_of_a_resumed_run_repeats_it(data_root, tiny_overrides, tmp_path):
    project = tmp_path / "it's my project"
    (project / "experiment").mkdir(parents=True)
    (project / "experiment" / "mine.yaml").write_text("# @package _global_\nmodel:\n  dropout: 0.1\n")
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def shell(command: str) -> Run:
        answer = subprocess.run(command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240)
        assert answer.returncode == 0, answer.stderr
        return Run(tmp_path / answer.stdout.splitlines()[-1].removeprefix("run: "))

    options = f'--config-dir "{project.name}"'
    typed = ["model=ann", "experiment=mine", "'data.mirrors=[\"a b\"]'", *tiny_overrides, "hydra.run.dir=run"]
    started = shell(f"python -m fmnist_lightning {options} {' '.join(typed)}").read_summary()["started"]
    run = shell(f"python -m fmnist_lightning {options} resume=run trainer.max_epochs=3")
    found = re.search(r'<pre class="command"><code>(.*?)</code>', run.report_html.read_text())
    assert found is not None
    repeated = shell(html.unescape(found.group(1)))
    assert repeated.folder != run.folder
    assert run.read_summary()["started"] == started <= repeated.read_summary()["started"]
    assert repeated.predictions_csv.read_bytes() == run.predictions_csv.read_bytes()
    assert repeated.read_summary()["config_sha256"] == run.read_summary()["config_sha256"]
