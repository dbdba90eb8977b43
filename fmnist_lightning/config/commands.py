"""The commands beside training, as the first line of their modules describes them: nothing is imported."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
COMMAND = f"python -m {PACKAGE.name}"


def other_commands() -> dict[str, str]:
    """The name and description of every module at the top level of the package but training."""
    return {path.stem: _description(path) for path in sorted(PACKAGE.glob("[a-z]*.py"))}


def _description(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].partition(f": {COMMAND}")[0].rstrip(".")
