"""Publishes the leaderboard: python docs/scripts/leaderboard.py [FOLDER], outputs/recipes/full unless given.

Copies FOLDER/recipes.json and recipes.png to docs/results, and writes their numbers into docs/leaderboard.md and into
the header of each recipe in conf/experiment. tests/leaderboard/test_published.py checks that they agree.
"""

import json
import re
import shutil
import sys
from pathlib import Path

from fmnist_lightning.leaderboard.table import header_lines, markdown_table, notes

REPOSITORY = Path(__file__).resolve().parent.parent.parent
RESULTS = REPOSITORY / "docs/results"
TABLE = re.compile(r"(?<=<!-- table -->\n)(\|.*\n)*")
# from the last "# Measured:" before "by make recipes" on
MEASURED = re.compile(r"# Measured: .*\n(?:(?!# Measured: )# .*\n)*?# .*by make recipes.*\n")


def main() -> None:
    """Publishes, and names the files that were written."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else REPOSITORY / "outputs/recipes/full")
    results = json.loads((folder / "recipes.json").read_text(encoding="utf-8"))
    if restrictions := notes(results):
        sys.exit(f"error: {folder}: not the leaderboard: {'; '.join(restrictions)}")
    for name in ("recipes.json", "recipes.png"):
        shutil.copyfile(folder / name, RESULTS / name)
    page = REPOSITORY / "docs/leaderboard.md"
    page.write_text(TABLE.sub(markdown_table(results), page.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    print(f"written: {page}")
    for name in results["recipes"]:
        path = REPOSITORY / f"conf/experiment/{name}.yaml"
        text = MEASURED.sub("", path.read_text(encoding="utf-8"))
        header = re.match(r"(#.*\n)*", text)
        assert header is not None
        path.write_text(header[0] + header_lines(results, name) + text[header.end() :], encoding="utf-8")
        print(f"written: {path}")


if __name__ == "__main__":
    main()
