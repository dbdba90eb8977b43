import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from fmnist_lightning.runs.run import Run

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_wheel_trains_in_an_empty_directory(tmp_path, tiny_overrides):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp_path), str(REPOSITORY)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    site, empty = tmp_path / "site", tmp_path / "empty"
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)], check=True)
    empty.mkdir()
    environment = os.environ | {"PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import fmnist_lightning.config.config_files as c; print(c.CONF)"]
    conf = subprocess.run(where, cwd=empty, env=environment, capture_output=True, text=True, check=True).stdout
    assert conf.strip() == str(site / "fmnist_lightning" / "conf")
    answer = subprocess.run(
        [sys.executable, str(site / "bin" / "fmnist"), "model=ann", *tiny_overrides],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert Run(answer.stdout.strip().splitlines()[-1].removeprefix("run: ")).report_html.exists()


def locked() -> dict[str, Version]:
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines]
    assert all(re.fullmatch(r"==[^*]+", str(pin.specifier)) for pin in pins)
    return {re.sub(r"[-_.]+", "-", pin.name).lower(): Version(str(pin.specifier)[2:]) for pin in pins}


def test_lock_pins_each_dependency_in_range_without_addresses():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    pins = locked()
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        needed = Requirement(line)
        assert needed.specifier.contains(pins[needed.name.lower()]), line
    text = (REPOSITORY / "requirements.lock").read_text()
    assert "://" not in text
    assert "@" not in text
    assert "--" not in text


def make(*arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    # as from a shell, also if these tests were started by make
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    return subprocess.run(["make", *arguments], cwd=cwd, env=own, capture_output=True, text=True)


def test_make_help_lists_every_target():
    targets = re.search(r"^\.PHONY: (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE).group(1).split()
    listed = [line.split()[0] for line in make("help").stdout.splitlines()]
    assert listed == targets
    assert {"help", "setup", "train", "test", "lint", "tensorboard", "clean"} <= set(targets)


def test_make_passes_on_overrides_and_failures(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").write_text('#!/bin/sh\necho "$@"\nexit 7\n')
    (binaries / "python").chmod(0o755)
    (tmp_path / ".venv" / "complete").touch()  # setup is complete: nothing is installed
    answer = make("train", "ARGS=model=ann trainer.max_epochs=3", cwd=tmp_path)
    assert "-m fmnist_lightning data=auto model=ann trainer.max_epochs=3" in answer.stdout.splitlines()
    assert "pip" not in answer.stdout
    assert answer.returncode != 0
    answer = make("train", "model=ann", "optimizer.lr=0.1", cwd=tmp_path)
    assert 'model=ann optimizer.lr=0.1: arguments are passed by ARGS="model=ann optimizer.lr=0.1"' in answer.stderr
    assert make("test", cwd=tmp_path).returncode != 0
    assert make("lint", cwd=tmp_path).returncode != 0


@pytest.mark.parametrize(
    ("says", "status", "passes", "words"),
    [
        ("No known vulnerabilities found", 0, True, "No known vulnerabilities found"),
        ("Found 2 known vulnerabilities in 1 package", 1, False, "Found 2"),
        ("Found 1 known vulnerability in 1 package\nconnection could not be audited", 1, False, "Found 1"),
        ("No known\ntorch could not be audited", 0, True, f"audit SKIPPED for 1 of {len(locked())} packages"),
        ("No known" + len(locked()) * "\nname could not be audited", 0, True, "audit SKIPPED: the advisory service"),
        ("requests.exceptions.ConnectionError: HTTPSConnectionPool", 1, True, "audit SKIPPED: the advisory service"),
        ("requests.exceptions.HTTPError: 503 Server Error", 1, True, "audit SKIPPED: the advisory service"),
        ("requests.exceptions.HTTPError: 403 Client Error", 1, False, "403"),
        (
            "ERROR:pip_audit._cli:Tip: your network may be blocking this service.",
            1,
            True,
            "audit SKIPPED: the advisory",
        ),
        ("ERROR:pip_audit._cli:cannot resolve the requirement connection", 1, False, "cannot resolve"),
        ("ModuleNotFoundError: No module named pip_audit", 1, False, "ModuleNotFoundError"),
    ],
)
def test_audit_fails_on_findings_and_reports_skips(says, status, passes, words, tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "pip-audit").write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    (binaries / "pip-audit").chmod(0o755)
    (tmp_path / ".venv" / "complete").touch()
    answer = make("audit", cwd=tmp_path)
    assert (answer.returncode == 0) == passes
    assert words in answer.stdout
    assert "No known" not in answer.stdout or "SKIPPED: " not in answer.stdout  # nothing looked up, nothing found


def test_make_names_the_required_python(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "old").write_text("#!/bin/sh\nexit 1\n")  # as a Python before 3.11
    (tmp_path / "old").chmod(0o755)
    for python in ("", "./old", "/nowhere/python"):
        answer = make("setup", f"PYTHON={python}", cwd=tmp_path)
        assert answer.returncode != 0
        assert f"error: '{python}' is no Python 3.11 or newer with venv and ensurepip" in answer.stdout
        assert not (tmp_path / ".venv").exists()
