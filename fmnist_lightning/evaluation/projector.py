"""TensorBoard's projector: test images by their features, with true class, predicted class and result.

The projector's config cannot choose a colour. So the images themselves have the colour of their true class, on a
transparent background, and misclassified ones have a red frame.
"""

import io
from collections.abc import Sequence

import numpy as np
from google.protobuf import text_format
from matplotlib import colormaps
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo, ProjectorConfig
from torch import Tensor

NUM_IMAGES = 1000  # of the test images, the first
NAME = "test images (last hidden layer)"
CONFIG, FOLDER = "projector_config.pbtxt", "projector"
COLUMNS = ("true class", "predicted class", "result", "index")
FRAME = (209, 36, 47, 255)  # red, RGBA
COLOURS = np.array([colormaps["tab10"](label)[:3] for label in range(10)])
COLOURS[3] = (0.6, 0.87, 0.54)  # light green instead of red, the colour of the frames
COLOURS = 0.35 + 0.65 * COLOURS  # pale: the projector multiplies them by a colour that is selected there


def projector_files(
    features: Tensor, images: Tensor, labels: Tensor, predicted: Tensor, class_names: Sequence[str]
) -> dict[str, str | bytes]:
    """The projector's files, by path in the run directory.

    Args:
        features: (N, units).
        images: (N, 28, 28) uint8.
        labels: (N,).
        predicted: predicted labels (N,).
        class_names: by label.
    """
    vectors = io.BytesIO()
    np.savetxt(vectors, features.numpy(), fmt="%.6g", delimiter="\t")
    rows = [
        (class_names[true], class_names[guess], "correct" if true == guess else "incorrect", str(index))
        for index, (true, guess) in enumerate(zip(labels.tolist(), predicted.tolist(), strict=True))
    ]
    height, width = images.shape[1:]
    info = EmbeddingInfo(
        tensor_name=NAME,
        tensor_path=f"{FOLDER}/features.tsv",
        metadata_path=f"{FOLDER}/metadata.tsv",
        sprite={"image_path": f"{FOLDER}/sprite.png", "single_image_dim": [width, height]},
    )
    return {
        info.tensor_path: vectors.getvalue(),
        info.metadata_path: "".join("\t".join(row) + "\n" for row in (COLUMNS, *rows)),
        info.sprite.image_path: _sprite(images.numpy(), labels.numpy(), (labels != predicted).numpy()),
        CONFIG: text_format.MessageToString(ProjectorConfig(embeddings=[info])),
    }


def _sprite(images: np.ndarray, labels: np.ndarray, wrong: np.ndarray) -> bytes:
    """All images in one PNG, a square grid."""
    shades = 0.4 + 0.6 * images[..., None] / 255  # (N, 28, 28, 1); a dark garment stays visible
    tiles = np.concatenate([255 * shades * COLOURS[labels, None, None], 255 * (images[..., None] > 0)], axis=-1)
    inside = np.pad(np.ones((images.shape[1] - 4, images.shape[2] - 4), bool), 2)
    tiles = np.where((wrong[:, None, None] & ~inside)[..., None], FRAME, tiles).astype(np.uint8)  # (N, 28, 28, 4)
    side = int(np.ceil(np.sqrt(len(tiles))))
    grid = np.zeros((side * side, *tiles.shape[1:]), np.uint8)
    grid[: len(tiles)] = tiles
    height, width = images.shape[1:]
    pixels = grid.reshape(side, side, height, width, 4).transpose(0, 2, 1, 3, 4)
    png = io.BytesIO()
    Image.fromarray(pixels.reshape(side * height, side * width, 4)).save(png, format="PNG")
    return png.getvalue()
