"""Two small digits on one canvas, in plain NumPy."""

from __future__ import annotations

import numpy as np
from keras import ops

Corner = tuple[int, int]

HEIGHT = 20
WIDTH = 28
SIDE = 16

_JITTER = 4


def upscale(images: np.ndarray) -> np.ndarray:
    """Doubles height and width, `(number, height, width)`, by bilinear interpolation."""
    height, width = images.shape[1:]
    larger = ops.image.resize(images[..., np.newaxis], (2 * height, 2 * width), interpolation="bilinear")
    return ops.convert_to_numpy(larger)[..., 0]


def draw_corners(random: np.random.RandomState) -> tuple[Corner, Corner]:
    """Where the left and the right digit begin: row and column of the canvas, each within a jitter of 4 pixels.

    The boxes of the two digits share 4 to 12 columns. The strokes, which seldom fill their box, share 3 on average, and
    none in one image out of seven: a small network gets nine digits in ten right, and the last one is hard.
    """
    top_left, left, top_right, right = (int(shift) for shift in random.randint(_JITTER + 1, size=4))
    return (top_left, left), (top_right, WIDTH - SIDE - right)


def compose(left: np.ndarray, right: np.ndarray, left_corner: Corner, right_corner: Corner) -> np.ndarray:
    """The image of two digits; where both have ink, the stronger stroke wins.

    Args:
        left: the digit on the left, float `(16, 16)`, ink from 0 to 1.
        right: the digit on the right, likewise.
        left_corner: row and column of the canvas where the left digit begins.
        right_corner: the same for the right digit.

    Returns:
        uint8 `(20, 28, 1)`, ink from 0 to 255.
    """
    canvas = np.zeros((HEIGHT, WIDTH))
    for digit, (row, column) in ((left, left_corner), (right, right_corner)):
        box = canvas[row : row + SIDE, column : column + SIDE]
        np.maximum(box, digit, out=box)
    return np.rint(255 * canvas).astype(np.uint8)[..., np.newaxis]
