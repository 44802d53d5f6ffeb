"""Random changes of a frame that leave its modulation as it is.

Those that the suite's ClST-style networks are trained with; the published baselines take none.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence

import numpy as np

AUGMENTATIONS = ("rotation", "reversal", "shift")


def augmented(
    frame: np.ndarray, rng: np.random.Generator, kinds: Sequence[str] = AUGMENTATIONS
) -> np.ndarray:
    """Return a randomly changed frame, float32 (n, 2), of the same magnitudes.

    Args:
        frame: I and Q, float32 (n, 2).
        rng: The source of all randomness; what is drawn does not depend on the kinds.
        kinds: Of `AUGMENTATIONS`: "rotation" turns the phase by any angle, "reversal" takes half
            of the frames backwards in time and conjugated (one of both alone would mirror the
            spectrum and make a lower sideband of an upper one), "shift" moves the samples round by
            any number.
    """
    angle, backwards, steps = rng.random(3).tolist()
    signal = np.ascontiguousarray(frame, np.float32).view(np.complex64)[:, 0]
    if "reversal" in kinds and backwards < 0.5:
        signal = signal[::-1].conj()
    if "shift" in kinds:
        first = int(steps * len(signal))
        signal = np.concatenate((signal[first:], signal[:first]))
    if "rotation" in kinds:
        signal = signal * np.complex64(cmath.rect(1, 2 * math.pi * angle))
    return np.ascontiguousarray(signal).view(np.float32).reshape(-1, 2)
