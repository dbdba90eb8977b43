"""Image files that users have: formats, modes and orientations, and those that are damaged or hostile."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fmnist_lightning.data import image_files
from fmnist_lightning.data.image_files import decode_input, read_file, read_image
from fmnist_lightning.data.image_modes import to_rgb


def photo(mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Dark, with a bright upper left quarter."""
    image = Image.new("RGB", size, (20, 20, 20))
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 2 - 1, size[1] // 2 - 1), fill=(250, 250, 250))
    return image.convert(mode)


def encode(image: Image.Image, kind: str = "png", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def prepared() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"])
def test_every_mode_of_a_format_gives_8_bit_pixels(kind):
    tried = 0
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"):
        try:
            data = encode(photo("L").convert(mode) if mode == "I;16" else photo(mode), kind)
        except (OSError, ValueError):  # the format has no such mode
            continue
        image = read_image(data)
        assert (to_rgb(image)[0].mode, image.size) == ("RGB", (60, 40))
        tried += 1
    assert tried >= 4


def test_16_bit_pixels_are_scaled_not_clipped():
    values = np.array([[0, 256, 32768, 65535]], np.uint16)
    image, _ = to_rgb(read_image(encode(Image.fromarray(values))))
    assert np.asarray(image.convert("L")).tolist() == [[0, 1, 128, 255]]


def test_orientation_is_applied_once():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    for kind in ("jpeg", "png", "tiff", "webp"):
        image = read_image(encode(photo(), kind, exif=exif))
        assert image.size == (40, 60)
        assert np.asarray(image.convert("L"))[:25, 25:].mean() > 200
        assert not image.getexif()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_metadata_does_not_hide_the_pixels():
    damaged = encode(photo(), "jpeg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x12\x01")
    assert read_image(damaged).size == (60, 40)


def test_transparency_is_kept():
    gray = encode(photo("L"), transparency=250)
    assert to_rgb(read_image(gray))[1].getextrema() == (0, 255)
    palette = encode(photo("P"), "gif", transparency=0)
    assert to_rgb(read_image(palette))[1].getextrema() == (0, 255)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (20, 20), color) for color in ((250, 0, 0), (0, 250, 0))]
    for kind in ("gif", "webp", "png", "tiff"):
        image = read_image(encode(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert image.convert("RGB").getpixel((5, 5))[0] > 200


def test_large_jpeg_is_decoded_at_a_reduced_size():
    assert read_image(encode(photo(size=(4000, 1000)), "jpeg")).size == (1000, 250)
    assert read_image(encode(photo(size=(700, 500)), "jpeg")).size == (700, 500)
    assert read_image(encode(photo(size=(3000, 2)), "jpeg")).size[0] >= 560


def test_paths_bytes_and_open_files_give_the_same_image(tmp_path):
    data = encode(photo())
    path = tmp_path / "not.jpg"  # a PNG
    path.write_bytes(data)
    with path.open("rb") as file:
        images = [read_image(source) for source in (path, str(path), data, file)]
    assert len({image.tobytes() for image in images}) == 1


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes with so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    parts = [struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"label,name\n0,shirt\n", "not an image of these formats: JPEG, PNG"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>', "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (encode(photo("RGB", (200, 200)), "jpeg")[:700], "damaged image: .*truncated"),
        (encode(photo("RGB", (200, 200)), "png")[:150], "damaged image"),
        (bomb(9000, 9000), "9000 x 9000 pixels; at most 64,000,000"),
        (bomb(12_000, 9000), "pixels"),
        (bomb(60_000, 60_000), "more than 64,000,000 pixels"),
    ],
)
def test_what_is_no_image_or_too_large_is_rejected(data, message):
    with pytest.raises(ValueError, match=message):
        read_image(data)


def test_too_many_bytes_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_BYTES", 2**20)
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(2**40)
    with path.open("rb") as file:
        for source in (path, file, bytes(2**20 + 1)):
            with pytest.raises(ValueError, match="larger than 1 MiB"):
                read_image(source)


def test_pipes_and_directories_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, message in (("pipe.jpg", "not a regular file"), (".", "a directory")):
        with pytest.raises(ValueError, match=message):
            read_file(tmp_path / name)
    with pytest.raises(OSError, match="too long"):
        read_file("x" * 4000)


def test_prepared_image_is_decoded_bit_for_bit():
    pixels = prepared()
    data = encode(Image.fromarray(pixels))
    assert np.array_equal(decode_input(data), pixels)
    assert np.array_equal(np.asarray(read_image(data)), pixels)


def test_only_intact_plain_inputs_take_the_fast_path():
    data = encode(Image.fromarray(prepared()))
    flipped = data[:100] + bytes([data[100] ^ 1]) + data[101:]
    short = zlib.compress(bytes(100))
    chunk = struct.pack(">I", len(short)) + b"IDAT" + short + struct.pack(">I", zlib.crc32(b"IDAT" + short))
    for other in (
        flipped,
        data[:-1],
        data[:33] + chunk + data[-12:],
        encode(photo("L")),
        encode(photo("L"), "bmp"),
        b"",
    ):
        assert decode_input(other) is None
