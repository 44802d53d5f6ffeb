"""What LSDNet learns of an image: which pixels lie on a segment, and in which direction it runs.

The authors published no training code: these targets are *reconstructed* from the published
network's outputs, whose heat is calibrated for a band of two pixels on either side of a segment and
whose angles are those of the resized image.
"""

from __future__ import annotations

import numpy as np

from apps.line_segments.geometry import angles, as_segments

BAND = 2.0  # pixels of the network's input


def line_maps(
    segments: np.ndarray, size: tuple[int, int], *, doubled: bool = False, band: float = BAND
) -> np.ndarray:
    """Return the maps of an image's segments.

    A pixel is on a segment when its centre, (column + 0.5, row + 0.5), is within `band` of the
    nearest; its direction is the nearest one's. Segments should be in the frame of the network's
    input, where its angles are.

    Args:
        segments: float (N, 4), in pixels of an image of `size`.
        size: (height, width).
        doubled: Whether directions are (cos 2θ, sin 2θ), which do not jump as θ / π does at 1.
        band: In pixels.

    Returns:
        float32 (height, width, 2), heat 0 or 1 and θ / π in [0, 1), θ from x towards y; or
        (height, width, 3) with the two of the doubled angle. Directions off segments are 0.
    """
    from apps.line_segments.targets_kernel import nearest_segments

    segments = as_segments(segments)
    height, width = size
    nearest = nearest_segments(segments.astype(np.float64), height, width, float(band))
    turn = angles(segments.astype(np.float64))
    directions = [np.cos(2 * turn), np.sin(2 * turn)] if doubled else [turn / np.pi]
    values = np.stack([np.ones_like(turn), *directions], 1)
    values = np.concatenate([values, np.zeros((1, values.shape[1]))])  # -1 takes the last row
    return values.astype(np.float32).take(nearest, axis=0, mode="wrap")
