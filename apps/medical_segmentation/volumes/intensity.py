"""Windows: which intensities of a volume become black and white.

A network sees volumes as it sees pictures, in 256 grey levels, and the window in the model card is
all an application has to know to make them. CT windows are in Hounsfield units and the same for
every volume; MR has no unit, so its window follows from each volume.
"""

from __future__ import annotations

import math

import numpy as np

from core.errors import UserError, near_miss

AUTO, PERCENTILES, CT = "auto", "percentiles", "ct"
SHARES = (0.5, 99.5)  # of the voxels, in percent; nnU-Net clips at these (Isensee et al., 2021)
# Level and width in HU, as radiologists look at them: radiopaedia.org/articles/windowing-ct.
# "ct" is no window of theirs but what air to bone spans, 8 HU a level.
WINDOWS: dict[str, tuple[float, float]] = {
    CT: (0, 2000),
    "abdomen": (50, 400),
    "liver": (30, 150),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "bone": (400, 1800),
    "spine": (50, 250),
    "brain": (40, 80),
    "stroke": (40, 40),
    "head_soft_tissue": (40, 380),
    "temporal_bone": (600, 2800),
}
_LOOKED_AT = 2**22  # voxels: of more, percentiles of so many are exact to 0.01 %
_AIR = -500  # HU; no MR has values as low

Window = str | tuple[float, float] | list[float]


def check_window(window: object, *, auto: bool = False) -> None:
    """Raise a `UserError` unless a window is a known name or two numbers, the lower one first.

    Args:
        window: What was chosen.
        auto: Whether "auto" will do.
    """
    names = [*((AUTO,) if auto else ()), PERCENTILES, *WINDOWS]
    if isinstance(window, str) and window in names:
        return
    pair = list(window) if isinstance(window, list | tuple) and len(window) == 2 else []
    if pair and all(map(_is_number, pair)) and pair[0] < pair[1]:
        return
    hint = near_miss(window, names) if isinstance(window, str) else ""
    raise UserError(
        f"The window is {window!r}; choose one of {', '.join(names)}, or two intensities, the "
        f"lower one first, such as [-150, 250].{hint}"
    )


def chosen_for(values: np.ndarray) -> str:
    """Return what "auto" stands for with data of which these are a volume's values."""
    return CT if np.min(values) <= _AIR else PERCENTILES


def ends(window: Window, values: np.ndarray) -> tuple[float, float]:
    """Return the intensities that become black and white.

    Args:
        window: A name or (low, high).
        values: The volume, which only "percentiles" looks at.

    Returns:
        (low, high), low < high.
    """
    if not isinstance(window, str):
        low, high = window
        return float(low), float(high)
    if window in WINDOWS:
        level, width = WINDOWS[window]
        return level - width / 2, level + width / 2
    if window != PERCENTILES:
        raise ValueError(f"`window` must be settled. Received: window={window!r}")
    if values.size > _LOOKED_AT:
        places = np.random.default_rng(0).integers(values.size, size=_LOOKED_AT)
        values = values[np.unravel_index(places, values.shape)]
    low, high = np.percentile(values, SHARES)
    if low == high:  # nearly all are equal: what differs is what there is to see
        low, high = np.min(values), np.max(values)
    low, high = float(low), float(high)
    # All are equal; 1 more than a large number may be the same number.
    return low, high if high > low else low + max(1.0, abs(low))


def to_grey(values: np.ndarray, window: Window) -> np.ndarray:
    """Return a volume in grey levels: 0 up to the window's low end, 255 from its high end.

    Args:
        values: int16 or float32 (D, H, W), Hounsfield units of a CT.
        window: A name or (low, high).

    Returns:
        uint8 (D, H, W).
    """
    low, high = ends(window, values)
    grey = np.empty(values.shape, np.uint8)
    for plane, level in zip(values, grey, strict=True):  # no more floats than a slice has
        scaled = (plane.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
        np.clip(scaled, 0, 255, out=scaled)
        level[...] = np.rint(scaled, out=scaled)
    return grey


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
