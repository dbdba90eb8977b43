"""The demo page: its command line, and with a real server and a real browser what people and forged requests get."""

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageDraw

from fmnist_lightning.demo import demo
from fmnist_lightning.training.run import train

if TYPE_CHECKING:
    from playwright.sync_api import Page

# in a program's path, it records each address outside this machine that the program connects to
CONNECTIONS = """
import os, sys
def record(event, arguments):
    if event == "socket.connect" and not str(arguments[1][0]).startswith(("127.", "/")):
        with open(os.environ["CONNECTIONS"], "a") as file:
            print(arguments[1], file=file)
sys.addaudithook(record)
"""


@pytest.fixture(scope="module")
def runs(composed, tmp_path_factory) -> list[Path]:
    """The folders of an ANN and of a CNN."""
    folder = tmp_path_factory.mktemp("runs")
    train(composed("model=ann", "model.hidden=[8]", "logger=none"), folder / "dense")
    train(composed("model=cnn", "model.filters=[4]", "model.head=[8]", "logger=none"), folder / "convolutional")
    return [folder / "dense", folder / "convolutional"]


def test_arguments_are_rejected_before_anything_is_loaded(runs, tmp_path, monkeypatch):
    run = f"run={runs[0]}"
    with pytest.raises(ValueError, match="run=DIR is missing"):
        demo([])
    with pytest.raises(ValueError, match=r"run=/nowhere: no run"):
        demo(["run=/nowhere"])
    with pytest.raises(ValueError, match="is listed twice"):
        demo([f"run=[{runs[0]},{runs[0]}/]"])
    with pytest.raises(ValueError, match="port=70000: must be an integer from 0 to 65535"):
        demo([run, "port=70000"])
    with pytest.raises(ValueError, match=r"host=8\.8\.8\.8: not an address of this machine"):
        demo([run, "host=8.8.8.8", "port=0"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"port={port}: in use by another program; choose another"):
            demo([run, f"port={port}"])
    unfinished = shutil.copytree(runs[0], tmp_path / "unfinished")
    summary = json.loads((unfinished / "summary.json").read_text())
    (unfinished / "summary.json").write_text(json.dumps({"status": "running", "overrides": summary["overrides"]}))
    with pytest.raises(ValueError, match="has no scores, its status is running"):
        demo([f"run={unfinished}"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs gradio: not installed; pip install 'fmnist_lightning\[demo\]'"):
        demo([run])


class Server:
    """The command with both runs, as a process.

    Args:
        runs: their folders.
        folder: for temporary files and the record of connections.
    """

    def __init__(self, runs: list[Path], folder: Path) -> None:
        (folder / "path").mkdir()
        (folder / "path" / "sitecustomize.py").write_text(CONNECTIONS)
        self.temporary, self.connections = folder / "tmp", folder / "connections"
        self.temporary.mkdir()
        search = os.pathsep.join([str(folder / "path"), str(Path(__file__).parent.parent)])
        # a proxy that is not there: only requests to this machine may work
        env = os.environ | {"PYTHONPATH": search, "CONNECTIONS": str(self.connections), "TMPDIR": str(self.temporary)}
        env |= {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
        typed = [f"run=[{','.join(map(str, runs))}]", "port=0", "accelerator=cpu"]
        command = [sys.executable, "-m", "fmnist_lightning.demo", *typed]
        self.errors = folder / "stderr"
        with self.errors.open("w") as file:
            self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=file, text=True)
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("demo: "):
                self.url = line.split()[1]
                return
        raise AssertionError("".join(lines) + self.errors.read_text())

    def stop(self, number: int = signal.SIGINT) -> int:
        """Its exit status."""
        self.process.send_signal(number)
        self.process.communicate(timeout=20)
        return self.process.returncode

    def uploads(self) -> Path:
        (folder,) = self.temporary.glob("fmnist_demo_*")
        return folder

    def post(self, path: str, data: Any) -> tuple[int, str]:
        """Status and text of the answer to JSON."""
        request = urllib.request.Request(
            f"{self.url}/gradio_api/{path}", json.dumps(data).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def show(self, source: Any, number: int = 0, session: str = "forged") -> str:
        """What the page receives if it asks for the results of a source, as the event of that number."""
        body = {"data": [source, [0]], "fn_index": number, "session_hash": session, "event_data": None}
        status, text = self.post("queue/join", body)
        if status != 200:
            return text
        with urllib.request.urlopen(f"{self.url}/gradio_api/queue/data?session_hash={session}", timeout=60) as answer:
            return answer.read().decode()


@pytest.fixture(scope="module")
def server(runs, tmp_path_factory) -> Iterator[Server]:
    server = Server(runs, tmp_path_factory.mktemp("demo"))
    yield server
    server.process.kill()
    server.process.communicate()


SECRET = "confidential"


@pytest.mark.slow
def test_no_file_outside_the_uploads_is_read(server, tmp_path):
    photo = tmp_path / f"{SECRET}.png"
    draw_shirt().save(photo)
    uploads = server.uploads()
    link = uploads / "link.png"
    link.symlink_to(photo)
    meta = {"meta": {"_type": "gradio.FileData"}}
    paths = [
        str(photo),
        f"{uploads}/../../{photo}",
        str(link),
        f"{uploads}/../{photo.name}",
        photo.as_uri(),
        "x" * 4000,
    ]
    for number in (0, 2):
        for path in [*paths, "http://127.0.0.1:1/shirt.png", str(uploads), ""]:
            for source in (
                {"path": path},
                {"path": path, **meta},
                {"path": path, "url": path, "is_stream": True, **meta},
            ):
                answer = server.show(source, number)
                assert "Preparation" not in answer
                assert "Traceback" not in answer
    for source in ("data:image/png;base64,AAAA", "data:image/svg+xml,<svg/>", 7, [str(photo)], str(photo)):
        assert "Preparation" not in server.show(source, 1)
    for path in (photo, link, "/etc/passwd", f"{uploads}/../{photo.name}", "http://192.0.2.1/", "%00", "x" * 4000):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{server.url}/gradio_api/file={path}")
    assert uploads.stat().st_mode & 0o077 == 0
    link.unlink()


@pytest.mark.slow
def test_only_what_the_page_needs_is_answered(server):
    for path in (
        "gradio_api/info",
        "gradio_api/openapi.json",
        "monitoring",
        "docs",
        "openapi.json",
        "gradio_api/proxy=x",
    ):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{server.url}/{path}")
    assert server.post("run/predict", {"data": []})[0] == 404
    assert server.post("process_recording", {})[0] == 404


@pytest.mark.slow
def test_large_upload_is_rejected_by_the_server(server):
    content = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + bytes(9 * 2**20)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"{server.url}/gradio_api/upload", content + b"\r\n--x--\r\n", headers)
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(request)


def draw_shirt() -> Image.Image:
    """A blue shirt on a gray background."""
    photo = Image.new("RGB", (600, 800), (180, 170, 160))
    sleeves = [(200, 150), (400, 150), (560, 250), (500, 350), (430, 300), (430, 680)]
    ImageDraw.Draw(photo).polygon([*sleeves, (170, 680), (170, 300), (100, 350), (40, 250)], (40, 60, 120))
    return photo


def to_png(image: Image.Image) -> bytes:
    """The image as a PNG file."""
    png = io.BytesIO()
    image.save(png, "PNG")
    return png.getvalue()


@pytest.fixture
def page(request, server, browser) -> "Iterator[Page]":
    """The page; the test fails if it asks another server for anything or has an error."""
    width, scheme = getattr(request, "param", (1300, "light"))
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.set_default_timeout(20_000)
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    own = (f"{server.url}/", "data:", "blob:")
    tab.on("request", lambda request: None if request.url.startswith(own) else problems.append(request.url))
    tab.goto(server.url)
    tab.get_by_text("Drop or paste a photo").wait_for()
    yield tab
    tab.close()
    assert problems == []


def upload(page: "Page", content: bytes | Image.Image, name: str = "photo.png") -> None:
    """Drops a file on the page, in place of the last one."""
    if isinstance(content, Image.Image):
        content = to_png(content)
    remove = page.get_by_label("Remove image")
    if remove.count():
        remove.click()
        page.get_by_text("Drop or paste a photo").wait_for()
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})


def results(page: "Page", num: int = 2) -> Any:
    """The results of each run, once all are there."""
    page.wait_for_function(f"document.querySelectorAll('.runs .nearest').length === {num}")
    return page.locator(".runs section")


@pytest.mark.slow
@pytest.mark.browser
def test_photo_is_shown_with_everything_the_runs_say_about_it(page):
    upload(page, draw_shirt())
    found = results(page)
    assert found.locator("h2").all_inner_texts() == ["ANN: dense", "CNN: convolutional"]
    assert "NOT Fashion-MNIST" in found.first.inner_text()
    for run in found.all():
        assert run.get_by_role("list", name="Probabilities").get_by_role("listitem").count() == 10
        assert run.locator(".nearest li").count() == 5
        assert run.locator(".like, .unlike").count() == 1
    images = page.locator(".results img")
    widths = images.evaluate_all("images => images.map(image => image.naturalWidth)")
    assert widths == [widths[0], *[28] * 13]
    assert 50 < widths[0] <= 256
    assert all(images.evaluate_all("images => images.map(image => image.alt)"))
    assert images.nth(1).evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    assert page.get_by_alt_text("The photo to classify").evaluate("image => image.naturalWidth") == 600
    before = found.first.inner_text()
    page.get_by_role("checkbox", name="CNN: convolutional").uncheck()
    assert results(page, 1).all_inner_texts() == [before]
    page.get_by_role("checkbox", name="ANN: dense").uncheck()
    page.get_by_text("Choose at least one run").wait_for()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("page", [(1300, "light"), (390, "dark")], indirect=True)
def test_drawing_is_classified_on_every_screen(page):
    width = page.viewport_size["width"]
    page.get_by_role("tab", name="Drawing").click()
    canvas = page.get_by_role("img", name="Drawing area")
    box = canvas.bounding_box()
    page.get_by_label("Brush").fill("40")
    for x in (0.4, 0.5, 0.6):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + 0.2 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + x * box["width"], box["y"] + 0.8 * box["height"], steps=4)
        page.mouse.up()
    results(page)
    page.wait_for_timeout(500)  # for the last stroke
    assert page.locator(".results img").first.evaluate("image => image.naturalWidth") > 28
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(json.loads(f"[{shade[4:-1]}]")) < 120) == (width == 390)
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("Drop or paste a photo").wait_for()


@pytest.mark.slow
@pytest.mark.browser
def test_photo_is_pasted_with_the_keyboard(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copy = """async (url) =>
        navigator.clipboard.write([new ClipboardItem({"image/png": (await fetch(url)).blob()})])"""
    page.evaluate(copy, "data:image/png;base64," + base64.b64encode(to_png(draw_shirt())).decode())
    page.wait_for_timeout(1000)  # Gradio runs the page's script once everything is drawn
    page.keyboard.press("Control+v")
    results(page)


def damaged_files() -> dict[str, bytes]:
    """Files that are no photos, by the message."""
    shirt = to_png(draw_shirt())
    return {
        "not an image": b"plain text",
        "no garment found": to_png(Image.new("RGB", (3, 1))),
        "damaged image": shirt[: len(shirt) // 2],
        "pixels": to_png(Image.new("1", (30_000, 30_000))),
        "maximum allowed size": bytes(9 * 2**20),
    }


@pytest.mark.slow
@pytest.mark.browser
def test_invalid_upload_gets_a_message_and_the_next_photo_works(page, server):
    before = server.errors.read_text()  # forged requests have left errors
    for message, content in damaged_files().items():
        upload(page, content, "photo.jpg")
        page.locator("[role=alert], .toast-body").filter(has_text=message).first.wait_for()
        assert page.locator(".runs").count() == 0
    upload(page, draw_shirt())
    results(page)
    assert server.errors.read_text() == before


@pytest.mark.slow
@pytest.mark.browser
def test_page_is_used_with_the_keyboard(page):
    page.wait_for_timeout(1000)  # Gradio replaces elements until everything is drawn
    names = []
    for _ in range(20):
        page.keyboard.press("Tab")
        names.append(page.evaluate("(e => e.ariaLabel || e.innerText || e.type || '')(document.activeElement)").strip())
    assert {"Photo", "Upload file", "Paste from clipboard", "checkbox"} <= set(names), names


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_server_connects_to_nothing_and_deletes_uploads_at_the_end(runs, tmp_path, number, status):
    server = Server(runs[:1], tmp_path)
    (server.uploads() / "photo.png").write_bytes(b"")
    urllib.request.urlopen(server.url).read()
    stream = urllib.request.urlopen(f"{server.url}/gradio_api/heartbeat/open")  # an open page
    assert server.stop(number) == status
    stream.close()
    assert server.errors.read_text() == ""
    assert list(server.temporary.glob("fmnist_demo_*")) == []
    assert not server.connections.exists()
