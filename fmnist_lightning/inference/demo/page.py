"""The demo page: a photo or a drawing in, the results of the chosen runs out. Gradio draws the page and receives files.

The server answers what this page asks for and nothing else: Gradio has many more routes, some of which start programs
or fetch addresses. Files are read only in the directory of the uploads.
"""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import gradio as gr
from fastapi import FastAPI
from gradio import processing_utils
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fmnist_lightning.data.image_files import read_image
from fmnist_lightning.data.photos import prepare_photo
from fmnist_lightning.inference.demo.results import show_error, show_hint, show_results
from fmnist_lightning.inference.demo.runs import ShownRun

MAX_UPLOAD = 8 * 2**20  # bytes
ROUTES = ("/", "/config", "/theme.css", "/favicon.ico")
API = ("upload", "queue/", "heartbeat/", "cancel", "reset")
ROUTES_BELOW = ("/assets/", "/static/", *(f"/gradio_api/{name}" for name in API))
FILE = "/gradio_api/file="
PNG = "data:image/png;base64,"
HINT = "Drop or paste a photo of one garment, or draw one; the results appear here."
PASTE = """() => document.addEventListener("paste", () =>
  document.querySelector('[aria-label="Paste from clipboard"]')?.click())"""
NARROW = "<style>@media (max-width: 40rem) { .main.app { padding: .4rem !important; } }</style>"  # on phones
FONT = ["system-ui", "sans-serif"]  # no font files
FOLDER = Path(__file__).parent
CANVAS = """<canvas width="280" height="280" role="img" aria-label="Drawing area"></canvas>
<p><label>Brush <input type="range" min="4" max="60" value="24"></label> <button type="button">Clear</button></p>"""


def build_app(runs: Sequence[ShownRun], uploads: Path) -> ASGIApp:
    """The page and its server.

    Args:
        runs: to choose from.
        uploads: the directory that GRADIO_TEMP_DIR named when Gradio was imported.
    """
    uploads = uploads.resolve()
    page = _build_page(runs, uploads)
    # neither is a public API of Gradio. Only after launch() does it check that a request names an upload as its upload
    assert hasattr(page, "has_launched")
    assert hasattr(processing_utils, "async_ssrf_protected_download")
    page.has_launched, processing_utils.async_ssrf_protected_download = True, _refuse_download
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page,
        path="/",
        theme=gr.themes.Default(primary_hue="blue", font=FONT, font_mono=FONT),
        js=PASTE,
        head=NARROW,
        css_paths=FOLDER / "page.css",
        max_file_size=MAX_UPLOAD,
        allowed_paths=[],
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        show_error=False,
    )

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_answered(scope["path"], uploads):
            await PlainTextResponse("not found", 404)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return answer


def _is_answered(path: str, uploads: Path) -> bool:
    """Whether the page needs what is at this path of the server; Gradio would also fetch an address after FILE."""
    if path.startswith(FILE):
        return _find_upload(path.removeprefix(FILE), uploads) is not None
    return path in ROUTES or path.startswith(ROUTES_BELOW)


def _refuse_download(url: str, cache_dir: str) -> NoReturn:
    """In place of Gradio's download of an address that is sent instead of an upload."""
    raise gr.Error("addresses are not opened; upload the photo", print_exception=False)


def _build_page(runs: Sequence[ShownRun], uploads: Path) -> gr.Blocks:
    numbers = list(range(len(runs)))

    def show(source: Any, chosen: list[int]) -> Iterator[tuple[str, Any]]:
        for html in _show(source, [runs[number] for number in numbers if number in chosen], uploads):
            yield html, source

    page: gr.Blocks
    with gr.Blocks(
        title="Fashion-MNIST demo", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)
    ) as page:
        gr.HTML("<h1>Which garment is this?</h1>")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                with gr.Tab("Photo"):
                    photo = gr.Image(
                        label="Photo, up to 8 MB",
                        sources=["upload", "clipboard"],
                        type="filepath",
                        image_mode=None,
                        buttons=[],
                        height=300,
                        alt_text="The photo to classify",
                    )
                with gr.Tab("Drawing"):
                    script = (FOLDER / "drawing.js").read_text(encoding="utf-8")
                    drawing = gr.HTML("", html_template=CANVAS, js_on_load=script, elem_classes="drawing")
                names = [(run.name, number) for number, run in enumerate(runs)]
                chosen = gr.CheckboxGroup(names, value=numbers, label="Runs", visible=len(runs) > 1)
            with gr.Column(scale=2, min_width=300):
                results = gr.HTML(show_hint(HINT))
        source = gr.State()  # what is shown, for other runs
        for event, shown in ((photo.change, photo), (drawing.input, drawing), (chosen.change, source)):
            # without preprocessing a photo is where its upload is; one at a time, as all use the same models
            event(
                show,
                [shown, chosen],
                [results, source],
                preprocess=False,
                concurrency_id="models",
                api_visibility="private",
                show_progress="hidden",
                trigger_mode="always_last",
            )
    return page


def _show(source: Any, runs: Sequence[ShownRun], uploads: Path) -> Iterator[str]:
    """The results of a photo or a drawing as HTML, step by step; a message if there are none."""
    if not source or not runs:
        yield show_hint(HINT if runs else "Choose at least one run.")
        return
    try:
        prepared = prepare_photo(read_image(_content(source, uploads)))
    except (ValueError, OSError) as error:
        yield show_error(f"Cannot be classified: {error}")
        return
    yield from show_results(prepared, runs)


def _content(source: Any, uploads: Path) -> Path | bytes:
    """The path of an upload, or the PNG of a drawing. The request may be forged; ValueError if it is."""
    if isinstance(source, str) and source.startswith(PNG) and len(source) < MAX_UPLOAD:
        return base64.b64decode(source.removeprefix(PNG), validate=True)
    path = source.get("path") if isinstance(source, dict) else None
    if isinstance(path, str) and (upload := _find_upload(path, uploads)):
        return upload
    raise ValueError("no photo was uploaded")


def _find_upload(path: str, uploads: Path) -> Path | None:
    """The file at a path that a request names, if it is an upload."""
    try:
        found = Path(path).resolve(strict=True)
    except (ValueError, OSError, RuntimeError):  # a NUL character, no file, a link to itself
        return None
    return found if found.is_relative_to(uploads) and found.is_file() else None
