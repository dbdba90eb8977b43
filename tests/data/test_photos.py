"""Photos are drawn: an image of the dataset's format, enlarged and composited on a background."""

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_lightning.data import garments
from fmnist_lightning.data.photos import prepare_photo

ENLARGED = 280
WHITE, RED, DARK = (255, 255, 255), (200, 30, 40), (25, 28, 35)


@pytest.fixture(scope="module")
def images():
    """Six garments (6, 28, 28), centred, of the dataset's size and intensity range."""
    drawn, _ = garments.draw(6, seed=0)
    return np.stack([prepare_photo(Image.fromarray(255 - image).resize((56, 56), 0)).image for image in drawn])


def on_background(image, background, garment=(0, 0, 0), resample=Image.Resampling.BILINEAR, offset=(23, 71)):
    """A photo (340, 400) whose pixels are the background's color mixed with the garment's, by the image's intensity."""
    share = np.zeros((340, 400, 1))
    enlarged = np.asarray(Image.fromarray(image).resize((ENLARGED, ENLARGED), resample)) / 255
    share[offset[0] : offset[0] + ENLARGED, offset[1] : offset[1] + ENLARGED, 0] = enlarged
    photo = np.array(background) * (1 - share) + np.array(garment) * share
    return Image.fromarray(photo.round().astype(np.uint8))


def reopened(photo, file_format):
    file = io.BytesIO()
    photo.save(file, file_format)
    file.seek(0)
    return Image.open(file)


def difference(image, expected):
    return np.abs(image.astype(float) - expected).mean()


def textured(color, rng, size=(300, 240)):
    """A floor (H, W, 3) uint8 with stripes and noise, which is not plain."""
    stripes = 18 * np.sin(np.arange(size[1]) / 5)[None, :, None]
    return (np.array(color) + stripes + rng.normal(0, 12, (*size, 3))).clip(0, 255).astype(np.uint8)


def shirt_on_floor(garment, floor):
    rng = np.random.default_rng(0)
    pixels = textured(floor, rng)
    pixels[60:240, 70:170] = np.array(garment) + rng.normal(0, 4, (180, 100, 1)).clip(-20, 0)
    pixels[60:110, 30:210] = garment
    return Image.fromarray(pixels)


def test_image_in_the_datasets_format_is_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    for photo in (
        Image.fromarray(image),
        Image.fromarray(image).convert("RGB"),
        reopened(Image.fromarray(image), "PNG"),
    ):
        prepared = prepare_photo(photo)
        assert np.array_equal(prepared.image, image)
        assert prepared.method == "unchanged" and prepared.mask is None


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("resample", [Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize(("background", "garment"), [(WHITE, (0, 0, 0)), (RED, (0, 0, 0)), (DARK, (240, 200, 210))])
def test_enlarged_image_on_a_plain_background_is_restored(images, background, garment, resample, file_format):
    differences = []
    for image in images:
        photo = on_background(image, background, garment, resample)
        prepared = prepare_photo(reopened(photo, file_format))
        assert prepared.method == "plain background"
        differences.append(difference(prepared.image, image))
    assert np.median(differences) < 12  # of 255


@pytest.mark.parametrize("is_negated", [True, False])
@pytest.mark.parametrize("background", [RED, DARK])
def test_cut_out_on_a_plain_background_has_the_polarity_of_the_dataset(images, background, is_negated):
    differences = []
    for image in images:
        large = np.asarray(Image.fromarray(image).resize((ENLARGED, ENLARGED), Image.Resampling.NEAREST))
        photo = np.full((340, 400, 3), background, np.uint8)
        part = photo[23 : 23 + ENLARGED, 71 : 71 + ENLARGED]
        part[large > 10] = (255 - large if is_negated else large)[large > 10, None]
        differences.append(difference(prepare_photo(Image.fromarray(photo)).image, image))
    assert np.median(differences) < 25  # of 255; inverted images would differ by more than 50


@pytest.mark.parametrize(("garment", "floor"), [((250, 250, 250), (60, 50, 40)), ((20, 20, 25), (215, 210, 200))])
def test_light_and_dark_garments_on_any_floor_become_bright_on_black(garment, floor):
    prepared = prepare_photo(shirt_on_floor(garment, floor))
    assert prepared.method == "segmentation"
    expected = np.zeros((300, 240), bool)
    expected[60:240, 70:170] = expected[60:110, 30:210] = True
    assert (prepared.mask & expected).sum() / (prepared.mask | expected).sum() > 0.9
    assert prepared.image[14, 14] >= 100 and prepared.image[:8].mean() < prepared.image[12:16, 10:18].mean()
    assert prepared.image[27, 0] == prepared.image[27, 27] == 0


def test_white_garment_without_background_is_bright():
    pixels = np.zeros((200, 200, 4), np.uint8)
    pixels[50:150, 60:140] = 255
    prepared = prepare_photo(Image.fromarray(pixels))
    assert prepared.method == "transparency"
    assert np.array_equal(prepared.mask, pixels[:, :, 3] == 255)
    assert prepared.image[14, 14] >= 100 and prepared.image[14, 0] == 0


def test_orientation_of_the_camera_is_applied(images):
    photo = on_background(images[2], RED)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise
    file = io.BytesIO()
    photo.transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif)
    assert np.array_equal(prepare_photo(Image.open(file)).image, prepare_photo(photo).image)


def test_every_mode_is_converted(images):
    photo = on_background(images[0], WHITE)
    expected = prepare_photo(photo).image
    gray = np.asarray(photo.convert("L"))
    variants = {
        "L": photo.convert("L"),
        "LA": photo.convert("LA"),
        "P": photo.convert("L").convert("P"),
        "RGBA": photo.convert("RGBA"),
        "CMYK": photo.convert("CMYK"),
        "I;16": Image.fromarray(gray.astype(np.uint16) * 257),
        "I": Image.fromarray(gray.astype(np.int32) * 257),
        "F": Image.fromarray(gray.astype(np.float32) / 255),
    }
    for mode, variant in variants.items():
        assert variant.mode == mode
        assert difference(prepare_photo(variant).image, expected) < 1.5, mode
    black_and_white = prepare_photo(photo.convert("L").point(lambda value: 255 * (value > 200)).convert("1"))
    assert set(np.unique(black_and_white.image)) >= {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_the_outline(images, mode):
    alpha = Image.fromarray(images[0]).resize((ENLARGED, ENLARGED), 0).point(lambda value: 255 * (value > 0))
    photo = Image.fromarray(255 - images[0]).resize((ENLARGED, ENLARGED), 0).convert("LA" if mode == "LA" else "RGBA")
    photo.putalpha(alpha)
    if mode == "P":
        photo = reopened(photo.quantize(256), "PNG")
    assert photo.mode == mode
    prepared = prepare_photo(photo)
    assert prepared.method == "transparency"
    assert np.array_equal(prepared.mask, np.asarray(alpha) > 0)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 10_000), (10_000, 1), (28, 28), (400, 300)])
def test_photo_of_one_color_has_no_garment(size):
    with pytest.raises(ValueError, match="no garment found"):
        prepare_photo(Image.new("RGB", size, RED))


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1), (2, 2), (3, 500), (7, 7), (20, 20), (2000, 31)])
def test_noise_of_any_shape_gives_an_input_or_an_error(size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    try:
        assert prepare_photo(Image.fromarray(pixels)).image.shape == (28, 28)
    except ValueError as error:
        assert "no garment found" in str(error)


def test_large_photo_equals_its_reduction(images):
    photo = on_background(images[3], RED)
    large = photo.resize((1600, 1360), Image.Resampling.NEAREST)
    opened = reopened(large, "JPEG")
    assert difference(prepare_photo(opened).image, prepare_photo(photo).image) < 6
    assert opened.size == large.size  # Image.draft would change the caller's image


def test_documented_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shirt_on_floor((250, 250, 250), (60, 50, 40)).save("photo.jpg")
    page = Path(__file__).parents[2] / "docs/photos.md"
    exec(re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL).group(1), {})
    assert capsys.readouterr().out == "segmentation (28, 28)\n"


def test_missing_opencv_is_reported_with_the_extra(tmp_path):
    shirt_on_floor((250, 250, 250), (60, 50, 40)).save(tmp_path / "photo.png")
    code = (
        "import sys; sys.modules['cv2'] = None\n"
        "from PIL import Image; from fmnist_lightning.data.photos import prepare_photo\n"
        "try: prepare_photo(Image.open(sys.argv[1]))\n"
        "except ImportError as error: print(error)"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "photo.png")], capture_output=True, text=True, check=True
    )
    assert completed.stdout.count("\n") == 1 and "pip install 'fmnist_lightning[photos]'" in completed.stdout
