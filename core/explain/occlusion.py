"""Occlusion: how far a class falls when a patch of the picture is hidden.

M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
arXiv:1311.2901, section 4.2. Needs nothing but probabilities, so it explains .tflite files too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import UserError
from core.explain.classes import BATCH, Predict, check_class, checked_picture, probabilities_of
from core.tiling import overlap_starts


@dataclass(frozen=True)
class Occlusion:
    """What hiding costs.

    Attributes:
        map: float32 (H, W): how far the class's probability falls when a pixel is hidden, the mean
            over the patches that hide it; negative where it rises.
        label: The class.
        probability: Of the whole picture.
    """

    map: np.ndarray
    label: int
    probability: float


def occlusion(
    image: np.ndarray,
    predict: Predict,
    *,
    label: int | None = None,
    patch: int | None = None,
    stride: int | None = None,
    fill: float | Sequence[float] | None = None,
    batch: int = BATCH,
    advance: Callable[[int], None] | None = None,
) -> Occlusion:
    """Hide a square at every place of a grid and ask the network each time.

    Args:
        image: (H, W, C) stored values at the network's size.
        predict: The network, such as of `core.explain.classes.class_probabilities`.
        label: The class; None takes the most probable one.
        patch: Side of the square in pixels; None takes an eighth of the shorter side.
        stride: Pixels between squares; None takes half a square.
        fill: Colour of the square; None takes the picture's mean.
        batch: Pictures a call of `predict`.
        advance: Called with the number of pictures done, for a progress bar.

    Raises:
        UserError: When there is no such class, or the square is not smaller than the picture, or
            squares would leave gaps.
    """
    picture = checked_picture(image)
    height, width = picture.shape[:2]
    patch = max(1, min(height, width) // 8) if patch is None else patch
    stride = max(1, patch // 2) if stride is None else stride
    if not 1 <= patch <= min(height, width) or not 1 <= stride <= patch:
        raise UserError(
            f"A patch of {patch} at every {stride} pixels does not cover a picture of "
            f"{height}x{width}; take a patch of 1 to {min(height, width)}, and no longer steps."
        )
    rows = _covered(height, patch, stride)
    columns = _covered(width, patch, stride)
    colour = picture.mean(axis=(0, 1)) if fill is None else np.asarray(fill, np.float32)

    def hidden(part: slice) -> np.ndarray:
        """Return the pictures of places, which are numbered in rows; number 0 is the whole one."""
        places = np.arange(part.start, part.stop) - 1
        down, right = np.divmod(places, len(columns))
        covered = rows[down][:, :, None] & columns[right][:, None, :]
        covered[places < 0] = False
        return np.where(covered[..., None], colour, picture)

    count = 1 + len(rows) * len(columns)
    found = probabilities_of(predict, hidden, count, batch=batch, advance=advance)
    chosen = int(found[0].argmax()) if label is None else check_class(label, found.shape[1])
    fall = (found[0, chosen] - found[1:, chosen]).reshape(len(rows), len(columns))
    total = rows.T.astype(np.float64) @ fall @ columns
    times = rows.sum(axis=0)[:, None] * columns.sum(axis=0)
    return Occlusion((total / times).astype(np.float32), chosen, float(found[0, chosen]))


def _covered(length: int, patch: int, stride: int) -> np.ndarray:
    """Return which positions of an axis the square at each place hides, bool (places, length)."""
    starts = np.array(overlap_starts(length, patch, patch - stride))[:, None]
    position = np.arange(length)
    return (position >= starts) & (position < starts + patch)
