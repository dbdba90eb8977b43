"""Imports go one way: a command imports subpackages, a subpackage those that are allowed here, nothing a command."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fmnist_lightning

PACKAGE = Path(fmnist_lightning.__file__).parent
BELOW_TRAINING = {"config", "runs", "models", "data", "inference", "evaluation"}
ALLOWED = {
    "config": set(),
    "evaluation": set(),
    "runs": {"config"},
    "models": {"config"},
    "data": {"config"},
    "inference": {"config", "runs", "models", "data"},
    "training": BELOW_TRAINING,
    "execution": {*BELOW_TRAINING, "training"},
    "study": {*BELOW_TRAINING, "training", "execution"},
    "leaderboard": {*BELOW_TRAINING, "training", "execution"},
    "tuning": {*BELOW_TRAINING, "training", "execution"},
    "benchmarking": {*BELOW_TRAINING, "training"},
}
EXCEPTIONS = {("data", "fmnist_lightning.runs.files")}  # atomic writes


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_what_its_package_may(path):
    package = path.relative_to(PACKAGE).parts[0]
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    if package == "config":
        assert not {name for name in imported if name.split(".")[0] in ("torch", "torchvision", "lightning")}
    own = {name for name in imported if name.startswith("fmnist_lightning.") and name.split(".")[1] != package}
    own = {name for name in own if (package, name.rpartition(".")[0]) not in EXCEPTIONS}
    assert {name.split(".")[1] for name in own} - {"__version__"} <= ALLOWED.get(package, ALLOWED.keys())


def test_importing_the_package_or_its_commands_imports_no_torch():
    commands = "__main__", "compare", "demo", "evaluate", "export", "predict", "search"
    program = f"import sys, {', '.join(f'fmnist_lightning.{name}' for name in commands)}\n"
    program += "print({'torch', 'gradio', 'cv2', 'onnx'} & set(sys.modules), fmnist_lightning.load_run.__name__)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "set() load_run\n"
