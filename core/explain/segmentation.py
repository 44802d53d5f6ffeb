"""Super-pixels: a picture cut into regions that LIME takes away one by one.

LIME's own quick shift and a plain grid stand here. SLIC is scikit-image's, the extra `explain`: of
OpenCV only the contributed modules have it, which the headless package lacks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from core.errors import UserError, one_of

# IEC 61966-2-1 and CIE 1931, two degrees.
SRGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
WHITE = (0.95047, 1.0, 1.08883)

# Of SLIC: as many regions as squares, and colours without the noise that would fray them.
COUNT, COMPACTNESS, SMOOTHING = 64, 10.0, 1.0  # regions, weight, pixels

# A picture (H, W, C) → int (H, W) numbers of regions.
Segmentation = Callable[[np.ndarray], np.ndarray]


def quickshift(
    image: np.ndarray,
    *,
    kernel_size: float = 4,
    max_dist: float = 200,
    ratio: float = 0.2,
    seed: int = 0,
) -> np.ndarray:
    """Return regions by quick shift: every pixel moves to the nearest one of higher density.

    A. Vedaldi, S. Soatto, "Quick Shift and Kernel Methods for Mode Seeking", ECCV 2008, in the
    space of place and Lab colour, with the settings that lime 0.2.0.1 takes for pictures. The
    regions are those of scikit-image 0.26 with `rng=seed`, to the pixel.

    Args:
        image: (H, W, 1 or 3), uint8, or floats in [0, 1].
        kernel_size: Deviation of the density's Gaussian, in pixels; neighbours up to three times
            as far are looked at.
        max_dist: Longest way to a pixel of higher density; a pixel without one begins a region.
        ratio: Weight of colour against place.
        seed: Of the noise that tells equal densities apart.

    Returns:
        int (H, W): the numbers 0 to n - 1.
    """
    features = ratio * _lab(image)
    height, width = features.shape[:2]
    radius = math.ceil(3 * kernel_size)
    density = np.ones((height, width))  # every pixel's own
    for here, there, far in _neighbours(height, width, radius):
        density[here] += np.exp(_distance(features, here, there, far) * (-0.5 / kernel_size**2))
    density += np.random.default_rng(seed).normal(scale=1e-5, size=density.shape)
    number = np.arange(height * width).reshape(height, width)
    parent, closest = number.copy(), np.full((height, width), np.inf)
    for here, there, far in _neighbours(height, width, radius):
        away = _distance(features, here, there, far)
        nearer = (density[there] > density[here]) & (away < closest[here])
        closest[here] = np.where(nearer, away, closest[here])
        parent[here] = np.where(nearer, number[there], parent[here])
    roots = np.where(closest > max_dist**2, number, parent).ravel()
    while (roots[roots] != roots).any():
        roots = roots[roots]
    return np.unique(roots, return_inverse=True)[1].reshape(height, width)


def slic(image: np.ndarray, *, count: int = COUNT, compactness: float = COMPACTNESS) -> np.ndarray:
    """Return compact regions of like colour by SLIC: k-means in place and Lab colour.

    R. Achanta et al., "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods", PAMI
    2012, as scikit-image has it: each region is connected, and the range of the values is stretched
    first, so that dark pictures are cut as bright ones. There is no chance in it. The colours are
    smoothed by a Gaussian of `SMOOTHING`.

    Args:
        image: (H, W, 1 or 3), uint8 or floats.
        count: About how many regions; small ones are joined to their neighbours.
        compactness: Weight of place against colour: the more, the more like squares.

    Returns:
        int (H, W): the numbers 0 to n - 1.

    Raises:
        UserError: When the extra `explain` is not installed.
    """
    _check_colours(image)
    colours = np.broadcast_to(image, (*image.shape[:2], 3))  # grey would be cut like squares
    return _scikit_image().slic(colours, count, compactness, sigma=SMOOTHING, start_label=0)


def squares(image: np.ndarray, *, across: int = 8) -> np.ndarray:
    """Return a regular grid of regions, int (H, W).

    Args:
        image: (H, W, C).
        across: Regions along the shorter side, as nearly square as they can be.
    """
    if across < 1:
        raise ValueError(f"`across` must be a positive integer. Received: across={across}")
    height, width = image.shape[:2]
    side = min(height, width) / min(across, height, width)
    rows, columns = max(1, round(height / side)), max(1, round(width / side))
    row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
    return row[:, None] * columns + column


SEGMENTATIONS: dict[str, Segmentation] = {
    "quickshift": quickshift,
    "slic": slic,
    "squares": squares,
}


def named_segmentation(name: str) -> Segmentation:
    """Return one of `SEGMENTATIONS` by its name.

    Raises:
        UserError: When there is none of that name, or it needs what is not installed.
    """
    one_of(name, SEGMENTATIONS, "The segmentation")
    if name == "slic":
        _scikit_image()
    return SEGMENTATIONS[name]


def _scikit_image() -> Any:
    """Return scikit-image's module of segmentations."""
    try:
        from skimage import segmentation
    except ImportError as error:
        raise UserError(
            "Regions by slic need the extra 'explain', which is not installed: pip install "
            "'gossamer-keras[explain]', or choose quickshift or squares."
        ) from error
    return segmentation


def _check_colours(image: np.ndarray) -> None:
    if image.shape[-1] not in (1, 3):
        raise ValueError(f"`image` must be (H, W, 1 or 3). Received: shape {image.shape}")


def _lab(image: np.ndarray) -> np.ndarray:
    """Return a picture's colours (sRGB, white of D65) as L, a and b, float64 (H, W, 3).

    In full, as OpenCV's are off by up to 0.4.
    """
    _check_colours(image)
    values = np.asarray(image, np.float64) / (255 if image.dtype == np.uint8 else 1)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"`image` must be uint8, or floats in [0, 1]. Received: {image.dtype} from "
            f"{values.min():.4g} to {values.max():.4g}"
        )
    values = np.broadcast_to(values, (*values.shape[:2], 3))
    linear = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    xyz = linear @ np.transpose(SRGB_TO_XYZ) / WHITE
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _neighbours(height: int, width: int, radius: int) -> Iterator[tuple]:
    """Yield all offsets but none: where pixels with such a neighbour are, and where it is."""
    for down in range(-min(radius, height - 1), min(radius, height - 1) + 1):
        for right in range(-min(radius, width - 1), min(radius, width - 1) + 1):
            if not (down or right):
                continue
            (rows, rows_there), (columns, columns_there) = _overlap(down), _overlap(right)
            yield (rows, columns), (rows_there, columns_there), down**2 + right**2


def _overlap(offset: int) -> tuple[slice, slice]:
    """Return where an axis has a neighbour at an offset, and where that neighbour is."""
    if offset < 0:
        return slice(-offset, None), slice(None, offset)
    return slice(None, -offset or None), slice(offset, None)


def _distance(features: np.ndarray, here, there, far: int) -> np.ndarray:
    """Return squared distances in colour and place; `far` is that in place."""
    apart = features[here] - features[there]
    return np.einsum("hwk,hwk->hw", apart, apart) + far
