"""Whether a map points at what it should, where a mask says what that is.

J. Zhang, Z. Lin, J. Brandt, X. Shen, S. Sclaroff, "Top-Down Neural Attention by Excitation
Backprop", ECCV 2016, arXiv:1608.00507 (the pointing game). H. Wang et al., "Score-CAM", CVPRW 2020,
arXiv:1910.01279 (the share of the heat inside, "energy-based pointing game").
"""

from __future__ import annotations

import numpy as np

TOLERANCE = 15.0  # pixels, the paper's


def share_inside(heat: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a map's heat that lies where a mask holds, 0 to 1.

    Args:
        heat: (H, W); what is negative, and so speaks against the class, counts as none.
        mask: bool (H, W), such as an object, or the sector of an ultrasound picture.

    Returns:
        NaN for a map without any heat.
    """
    heat, mask = _checked(heat, mask)
    warm = np.maximum(heat, 0)
    total = warm.sum()
    return float(warm[mask].sum() / total) if total else float("nan")


def hits(heat: np.ndarray, mask: np.ndarray, tolerance: float = TOLERANCE) -> bool:
    """Return whether a map's hottest pixel lies where a mask holds, or nearly.

    Args:
        heat: (H, W); of equal pixels the first in rows counts.
        mask: bool (H, W).
        tolerance: How far from it will do, in pixels.
    """
    heat, mask = _checked(heat, mask)
    row, column = np.unravel_index(np.argmax(heat), heat.shape)
    rows, columns = np.nonzero(mask)
    return bool((np.hypot(rows - row, columns - column) <= tolerance).any())


def _checked(heat: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    heat, mask = np.asarray(heat, np.float64), np.asarray(mask)
    if heat.ndim != 2 or mask.shape != heat.shape or mask.dtype != bool:
        raise ValueError(
            f"`mask` must be bool and of the map's shape {heat.shape}. Received: {mask.dtype} of "
            f"shape {mask.shape}"
        )
    return heat, mask
