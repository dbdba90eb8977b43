"""The documentation: every command runs or has a reason why it does not run here, links exist, pages are short."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image, ImageDraw

from fmnist_lightning.training.run import train
from tests.conftest import REAL_DATA, TINY
from tests.faults.conftest import Server

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += sorted((REPOSITORY / "docs").glob("*.md"))
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PROGRAMS = "make|python|fmnist|pip|torchrun|srun|git|wandb|mlflow|eval|pytest|py|xcode-select"
PROGRAM = re.compile(rf"([A-Z_]+=\S+ )*(\.venv/bin/)?({PROGRAMS}) \S")

# the first pattern that a command matches: why it is not run here
NOT_RUN = {
    r"git clone|cd ": "there is no copy to clone",
    r"make train": "downloads the dataset and trains for minutes; tests/test_packaging.py runs it on a stub",
    r"make (help|setup|clean|lint|audit)": "tests/test_packaging.py, or .ci/run, runs it",
    r"make (test|faults)": "runs the tests",
    r"(\w+=\S+ )?make setup|.*(pip|PIP_CACHE_DIR|py -m venv).*": "installs packages",
    r"make reproduce": "an hour of training",
    r"make recipes": "hours of training",
    r"make screenshots": "needs the dataset and chromium",
    r"python docs/scripts/outlier_scores": "needs a trained run, the dataset and photos",
    r"python docs/scripts/enlarged_images": "needs a trained run and the dataset; minutes",
    r"make benchmark": "minutes; the commands that it runs are run here",
    r"python -m fmnist_lightning\.compare": "tests/test_compare.py runs it",
    r"(find .*\| )?python -m fmnist_lightning\.predict": "tests/test_predict.py runs it",
    r"python -m fmnist_lightning\.export": "tests/test_export.py runs it",
    r"python -m fmnist_lightning\.demo": "tests/test_demo.py runs it",
    r".*callbacks=distillation": "needs trained teachers; tests/training/test_distillation.py runs it",
    r"python -m fmnist_lightning\.search": "tests/tuning/test_search.py runs it",
    r"optuna-dashboard": "a server that does not end",
    r"python docs/scripts/search_(pruning|memory)": "minutes to an hour",
    r"make tensorboard|mlflow ui": "a server that does not end",
    r"python -m fmnist_lightning\.reproduce .*size=quick": "minutes; tests/study/test_reproduce.py runs it",
    r"python -m fmnist_lightning\.reproduce .*train=false": "needs a study; tests/study/test_reproduce.py runs it",
    r"python -m fmnist_lightning\.recipes": "minutes to hours; tests/leaderboard/test_recipes.py runs it",
    r"python docs/scripts/leaderboard": "needs results; tests/leaderboard/test_published.py checks what it writes",
    r"torchrun|srun|.*hydra/launcher=slurm": "needs a cluster",
    r".*launcher=(joblib|submitit_local)": "tests/runs/test_sweep.py runs it",
    r".*trainer\.accelerator=gpu|nvidia-smi": "needs a GPU",
    r".*--config-dir mycode": "tests/test_user_project.py runs it",
    r"wandb sync": "uploads to a service",
    r"eval .*fmnist -sc|fmnist .*fish": "needs an interactive shell",
    r".*torch\.cuda\.is_available": "needs no test",
    r"\.venv.Scripts|xcode-select": "needs Windows or macOS",
}
TRAIN = re.compile(r"(?:(?:[A-Z_]+=\S+ )*python -m fmnist_lightning|fmnist)(?: |$)")
OTHER = re.compile(r"python -m fmnist_lightning\.(evaluate|benchmark) ")

# keys whose documented values cost minutes, the dataset or another disk, and what replaces them
SMALL = [*TINY, "trainer.accelerator=cpu"]
COSTLY = {*(typed.partition("=")[0] for typed in SMALL), "data.root", "hydra.run.dir", "hydra.sweep.dir"}


def commands_of(page: Path) -> list[str]:
    """The commands in a page's shell blocks, inline code and tables with a column Command."""
    text = page.read_text().replace("\\\n", " ")
    lines = [line for kind, block in FENCE.findall(text) if kind in ("sh", "powershell") for line in block.splitlines()]
    lines = [part for line in lines for part in re.sub(r"\s+# .*", "", line).split(" && ")]
    prose = FENCE.sub("", text)
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose)
    tables = re.findall(r"^\|[^\n|]*\| Command \|\n\|[-|]+\|\n((?:\|.*\n)+)", prose, re.MULTILINE)
    cells = [re.split(r"(?<!\\)\|", row)[2] for table in tables for row in table.splitlines()]
    listed = [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]
    lines += [span for span in spans if PROGRAM.match(span) or span in listed]
    return [re.sub(r" +", " ", line.replace("\\|", "|")).strip() for line in lines if line.strip()]


def header_commands() -> list[str]:
    """The commands in the headers of the config files."""
    headers = "\n".join(path.read_text() for path in sorted((REPOSITORY / "conf").rglob("*.yaml")))
    found = re.findall(r"^# +(python -m fmnist_lightning .*?)(?: {2,}.*| ; .*)?$", headers, re.MULTILINE)
    return [line for line in found if line.startswith("python -m fmnist_lightning ")]


DOCUMENTED = sorted({command for page in PAGES for command in commands_of(page)})


def reason(command: str) -> str | None:
    """Why a command is not run here; None where it is."""
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, command)), None)


def words_of(command: str) -> tuple[list[str], dict[str, str]]:
    """The arguments after the module's name, and the environment variables set in front."""
    words = shlex.split(command)
    env = {}
    while "=" in words[0]:
        name, _, env[name] = words.pop(0).partition("=")
    return words[1 if words[0] == "fmnist" else 3 :], env


def executed(command: str) -> str:
    """The command as it is run here: on a few synthetic images, a sweep with two values of each key."""
    words, _ = words_of(command)
    asks = any(word in ("--help", "--cfg", "-sc") for word in words)
    module = found.group(1) if (found := OTHER.match(command)) else ""
    kept = [w for w in words if (w.lstrip("+~").partition("=")[0] not in COSTLY or "resume=" in command) or asks]
    if "-m" in words:
        kept = [w if "[" in w else ",".join(w.split(",")[:2]) for w in kept]
    if "resume=DIR" in words:
        more = ["trainer.max_epochs=3"] if "trainer.max_epochs=40" in kept else []
        kept = [w for w in kept if w != "trainer.max_epochs=40"]
    elif module == "benchmark":
        kept = [w for w in kept if w.partition("=")[0] not in ("repeats", "images")]
        more = ["repeats=1", "images=400", *SMALL]
    else:
        more = [] if asks else ["accelerator=cpu"] if module else SMALL
    return shlex.join([module or "train", *kept, *more])


RUNNABLE = [c for c in DOCUMENTED if reason(c) is None and (TRAIN.match(c) or OTHER.match(c))]


def test_every_command_runs_here_or_has_a_reason_why_not():
    unclassified = [c for c in DOCUMENTED if c not in RUNNABLE and reason(c) is None]
    assert unclassified == [], "add a pattern to NOT_RUN, or have it run"
    unused = [p for p in NOT_RUN if not any(re.match(p, c) for c in DOCUMENTED)]
    assert unused == []
    assert len(RUNNABLE) > 25


def test_make_commands_are_targets():
    targets = re.findall(r"^([a-z-]+):.*##", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    named = {target for c in DOCUMENTED for target in re.findall(r"\bmake ([a-z-]+)", c)}
    assert named - set(targets) == set()
    assert len(named) >= 8


@pytest.mark.parametrize("command", sorted({*filter(TRAIN.match, DOCUMENTED), *header_commands()}))
def test_training_command_composes(command):
    words, _ = words_of(command)
    if "-sc" in words:
        return
    typed = [w for w in words if not w.startswith("-") and re.match(r"[+~\w/.]+(=|$)", w)]
    if "-m" in words:
        typed = [w if "[" in w else w.split(",")[0] for w in typed]
    mine = "mycode" in words  # tests/test_user_project.py has its files
    typed = [w for w in typed if w not in ("job", "mycode") and not (mine and w.startswith("model"))]
    with initialize_config_dir(version_base="1.3", config_dir=str(REPOSITORY / "conf")):
        compose("config", typed)


@pytest.fixture(scope="module")
def serve() -> Iterator[Server]:
    server = Server()
    yield server
    with server.process:
        server.process.stdin.close()


@pytest.fixture(scope="module")
def finished(serve: Server, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a completed run and with one that early stopping ended; what resumes them works on a copy."""
    folder = tmp_path_factory.mktemp("finished")
    early = ["callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=100", "trainer.max_epochs=4"]
    for name, more in (("completed", []), ("stopped", early)):
        typed = ["model=ann", *SMALL, f"data.root={data_root}", f"hydra.run.dir={name}", *more]
        answer = serve(folder, *typed)
        assert answer.status == 0, answer.output
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("line", sorted({executed(c): c for c in RUNNABLE}.items()), ids=lambda pair: pair[1])
def test_documented_command_runs(line, serve, finished, data_root, tmp_path):
    module, *words = shlex.split(line[0])
    _, env = words_of(line[1])
    if any(word.endswith("=DIR") for word in words):
        shutil.copytree(finished / ("stopped" if "patience" in line[0] else "completed"), tmp_path / "DIR")
    elif "data=synthetic" in words:
        words.append(f"data.root={data_root}")
    if module == "train":
        answer = serve(tmp_path, *words, **env)
        status, output = answer.status, answer.output
    else:
        clean = {k: v for k, v in os.environ.items() if k != REAL_DATA} | env
        program = [sys.executable, "-m", f"fmnist_lightning.{module}", *words]
        process = subprocess.run(program, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=240)
        status, output = process.returncode, process.stdout + process.stderr
    assert status == 0, output
    assert output.strip()


@pytest.mark.slow
def test_python_example_runs(finished, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    for name in ("shirt.jpg", "trousers.png"):
        draw_photo(tmp_path / name)
    program = [sys.executable, "-c", example.replace("DIR", str(finished / "completed"))]
    process = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert process.returncode == 0, process.stderr
    assert re.fullmatch(r"\['[\w/ -]+', '[\w/ -]+'\]\n", process.stdout)


def draw_photo(path: Path) -> None:
    """A dark garment on a white background."""
    image = Image.new("RGB", (120, 160), "white")
    ImageDraw.Draw(image).polygon([(30, 30), (90, 30), (110, 70), (85, 70), (85, 140), (35, 140), (35, 70)], "navy")
    image.save(path)


@pytest.mark.slow
def test_python_page_runs(composed, data_root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train(composed("model=ann", "model.hidden=[16]", "logger=none"), tmp_path / "DIR")
    shutil.copytree("DIR", "DIR2")
    for name in ("shirt.jpg", "trousers.png"):
        draw_photo(tmp_path / name)
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/python.md").read_text(), re.DOTALL)
    here = [*SMALL, "logger=none", f"data.root={data_root}"]
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(block.replace("compose(", f"compose(*{here}, "), namespace)
    output = capsys.readouterr().out
    assert re.search(r"^\['[\w/ -]+', '[\w/ -]+'\]$", output, re.MULTILINE)
    assert "torch.Size([1, 10]) torch.Size([4, 10])\n" in output
    assert "True blank image\n" in output
    assert "    3/3 " in output
    assert namespace["result"].directory.parent == tmp_path / "outputs"


def slugs_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_internal_links_lead_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in slugs_of(file), target


def test_pictures_are_small_and_shown():
    shown = {Path(target).name for page in PAGES for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text())}
    for picture in (REPOSITORY / "docs/images").iterdir():
        assert picture.name in shown
        assert picture.stat().st_size < 150_000


def test_every_page_is_linked_from_the_readme():
    readme = (REPOSITORY / "README.md").read_text()
    assert [page.name for page in PAGES[3:] if not re.search(rf"\(docs/{page.name}[)#]", readme)] == []


def test_paths_named_in_pages_messages_and_config_files_exist():
    code = [*(REPOSITORY / "fmnist_lightning").rglob("*.py"), *(REPOSITORY / "conf").rglob("*.yaml")]
    named = {name for file in code for name in re.findall(r"docs/[\w/-]+\.md", file.read_text())}
    for page in PAGES:
        named |= set(re.findall(r"`((?:fmnist_lightning|conf|tests|docs)/[\w/.-]+)`", page.read_text()))
    mine = {f"{folder}/one_layer.{end}" for folder, end in (("fmnist_lightning/models", "py"), ("conf/model", "yaml"))}
    assert {name for name in named - mine if not (REPOSITORY / name).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_short(page):
    assert len(page.read_text().splitlines()) <= (50 if page.name == "CONTRIBUTING.md" else 150)
