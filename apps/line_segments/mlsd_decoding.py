"""Segments from the maps of M-LSD: peaks of the centre map, and the displacements that they have.

G. Gu et al., AAAI 2022, arXiv:2106.00186, section 3.1. The published TFLite files hold this as
operators; here it is left to the host, because in integers a peak is often shared by neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.errors import UserError

STRIDE = 2  # pixels of the network's input to one of the map
# `official` is the paper's and the TFLite files', `port` what github.com/lhwcv/mlsd_pytorch is
# evaluated with. `window`: side of the neighbourhood that a centre is the highest of; `top`: how
# many centres; `score`, `length`: what a segment must have more of, the length in the map's pixels.
SETTINGS = {
    "official": {"window": 3, "top": 200, "score": 0.10, "length": 20.0},
    "port": {"window": 3, "top": 500, "score": 0.05, "length": 5.0},
}


def decode(
    centre: np.ndarray,
    displacement: np.ndarray,
    size: Sequence[int],
    *,
    window: int = 3,
    top: int = 200,
    score: float = 0.10,
    length: float = 20.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the segments of an image, the surest first.

    Args:
        centre: Logits (H, W) or (H, W, 1), of the network's input at half its size.
        displacement: (H, W, 4): dx and dy from the centre to one end and to the other.
        size: (height, width) of the image.
        window, top, score, length: As of `SETTINGS`; the defaults are the official ones.

    Returns:
        Segments, float32 (N, 4), x1, y1, x2, y2 in pixels of the image, and their scores, float32
        (N,) in 0..1. Neighbours of one height, as integers have them, are one centre.

    Raises:
        ValueError: When the maps do not belong together, or a setting makes no sense.
        UserError: When the maps hold NaN or infinite values.
    """
    centre = np.asarray(centre, np.float32)
    centre = centre[..., 0] if centre.ndim == 3 and centre.shape[-1] == 1 else centre
    displacement = np.asarray(displacement, np.float32)
    if centre.ndim != 2 or displacement.shape != (*centre.shape, 4):
        raise ValueError(
            f"expected maps (H, W) and (H, W, 4). Received: {centre.shape} and {displacement.shape}"
        )
    if window < 1 or window % 2 == 0 or top < 1:
        raise ValueError(
            f"`window` must be odd, `top` positive. Received: window={window}, top={top}"
        )
    if not (np.isfinite(centre).all() and np.isfinite(displacement).all()):
        raise UserError("M-LSD's maps hold NaN or infinite values; its weights are damaged.")
    rows, columns = peaks(centre, window, top)
    logits = centre[rows, columns]
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    offsets = displacement[rows, columns]
    lengths = np.hypot(offsets[:, 0] - offsets[:, 2], offsets[:, 1] - offsets[:, 3])
    kept = (scores > score) & (lengths > length)
    places = np.stack([columns, rows, columns, rows], axis=1)[kept]
    per_pixel = np.array([size[1] / centre.shape[1], size[0] / centre.shape[0]] * 2)
    segments = (places + offsets[kept]) * per_pixel
    return segments.astype(np.float32), scores[kept].astype(np.float32)


def peaks(values: np.ndarray, window: int, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the highest of all neighbourhoods, the highest first.

    Args:
        values: (H, W).
        window: Side of a neighbourhood, odd.
        top: How many at most.

    Returns:
        int rows and int columns. Of neighbours that share the height only the first is one, in
        the order of rows; equal ones apart keep that order too.
    """
    reach = window // 2
    padded = np.pad(values, reach, constant_values=-np.inf)
    height, width = values.shape
    found = np.ones(values.shape, bool)
    for down in range(window):
        for right in range(window):
            other = padded[down : down + height, right : right + width]
            before = (down, right) < (reach, reach)
            found &= values > other if before else values >= other
    rows, columns = np.nonzero(found)
    order = np.argsort(-values[rows, columns], kind="stable")[:top]
    return rows[order], columns[order]
