"""Makes the pictures in docs/images: python docs/scripts/screenshots.py [DIRECTORY], or make screenshots.

Trains two ANNs on Fashion-MNIST in a temporary directory, the first one on a terminal of 80 columns, and takes pictures
of that terminal, of the run's report, of the comparison of both runs, and of the demo page with a drawn garment. Needs
Debian's chromium.
"""

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

IMAGES = Path(__file__).resolve().parent.parent / "images"
TRAIN = ["-m", "fmnist_lightning", "model=ann", "hydra.run.dir=outputs/ann"]
TRAIN_SMALL = ["-m", "fmnist_lightning", "model=ann", "model.hidden=[32]", "hydra.run.dir=outputs/small_ann"]
COMPARE = ["-m", "fmnist_lightning.compare", "runs=[outputs/ann,outputs/small_ann]"]
DEMO = ["-m", "fmnist_lightning.demo", "run=[outputs/ann,outputs/small_ann]", "port=0", "accelerator=cpu"]
# strokes of a shirt, from and to, as fractions of the drawing area's width and height
SHIRT = [((x, 0.2), (x, 0.85)) for x in (0.38, 0.46, 0.54, 0.62)]
SHIRT += [((0.38, 0.2), (0.2, 0.42)), ((0.62, 0.2), (0.8, 0.42))]
COLUMNS, WIDTH = 80, 1400  # of the terminal, and of the browser's window in pixels


def main() -> None:
    """Makes all pictures."""
    images = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else IMAGES
    images.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # as if .venv were activated
    os.environ["OMP_NUM_THREADS"] = "1"  # the scores do not depend on the machine's number of cores
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        output = run_on_terminal(TRAIN, folder).replace(str(folder), "/path/to")
        (images / "terminal.svg").write_text(terminal_svg(f"$ python {' '.join(TRAIN)}", final_screen(output)))
        for arguments in (TRAIN_SMALL, COMPARE):
            subprocess.run([sys.executable, *arguments], cwd=folder, check=True)
        screenshot(folder / "outputs/ann/report/report.html", images / "report.png", last="Training")
        screenshot(folder / "outputs/compare.html", images / "comparison.png", last="Validation")
        demo_screenshot(folder, images / "demo.png")


def run_on_terminal(arguments: list[str], folder: Path) -> str:
    """What Python with these arguments writes to a terminal of COLUMNS columns."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execve(sys.executable, [sys.executable, *arguments], os.environ | {"TERM": "xterm-256color"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    output = b""
    try:
        while part := os.read(terminal, 2**16):
            output += part
    except OSError:  # how Linux reports the end
        pass
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(output.decode())
    return output.decode()


def final_screen(output: str) -> str:
    """The lines that remain on the screen: without the stages and progress bars, which others replaced."""
    lines = [""]
    for part in re.split(r"(\n|\r|\x1b\[1A|\x1b\[2K)", output.replace("\r\n", "\n")):
        if part == "\n":
            lines.append("")
        elif part == "\x1b[1A":  # cursor up, from an empty line
            lines.pop()
        elif part in ("\r", "\x1b[2K"):  # start of the line, which is overwritten then; erase the line
            lines[-1] = ""
        else:
            lines[-1] += part
    return "\n".join(lines).rstrip()


def terminal_svg(prompt: str, screen: str) -> str:
    """A picture of a terminal as SVG, in a font of the viewer."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(prompt, "bold"), Text.from_ansi(screen), sep="\n")
    svg = console.export_svg(title="", theme=DIMMED_MONOKAI, unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # they would be downloaded


def screenshot(page: Path, image: Path, last: str) -> None:
    """The top of a page down to the section with the heading `last`, as a PNG with a palette."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": 900})
        tab.goto(page.as_uri())
        box = tab.locator("section", has=tab.get_by_role("heading", name=last, exact=True)).bounding_box()
        assert box is not None
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + 16}
        png = tab.screenshot(full_page=True, clip=clip)
        browser.close()
    save_small(png, image)


def demo_screenshot(folder: Path, image: Path) -> None:
    """The demo page of both runs with a drawn shirt."""
    command = [sys.executable, *DEMO]
    with (
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server,
        sync_playwright() as playwright,
    ):
        assert server.stdout is not None
        address = next(line.split()[1] for line in server.stdout if line.startswith("demo: "))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": 900})
        tab.goto(address)
        tab.get_by_role("tab", name="Drawing").click()
        box = tab.get_by_role("img", name="Drawing area").bounding_box()
        assert box is not None
        tab.get_by_label("Brush").fill("36")
        for stroke in SHIRT:
            (x, y), end = ((box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in stroke)
            tab.mouse.move(x, y)
            tab.mouse.down()
            tab.mouse.move(*end, steps=5)
            tab.mouse.up()
        tab.wait_for_timeout(5000)  # for the results of the last stroke
        png = tab.screenshot(full_page=True)
        browser.close()
        server.terminate()
    save_small(png, image)


def save_small(png: bytes, image: Path) -> None:
    """Saves a picture with a palette."""
    Image.open(io.BytesIO(png)).convert("RGB").quantize(128).save(image, optimize=True)


if __name__ == "__main__":
    main()
