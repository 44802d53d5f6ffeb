"""Random changes of a frame that leave its modulation as it is.

Those that the suite's ClST-style networks are trained with; the published baselines take none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

AUGMENTATIONS = ("rotation", "reversal", "shift")


def augmented(
    frame: np.ndarray, rng: np.random.Generator, kinds: Sequence[str] = AUGMENTATIONS
) -> np.ndarray:
    """Return a randomly changed frame, float32 (n, 2), of the same magnitudes.

    Args:
        frame: I and Q, (n, 2).
        rng: The source of all randomness; what is drawn does not depend on the kinds.
        kinds: Of `AUGMENTATIONS`: "rotation" turns the phase by any angle, "reversal" takes half
            of the frames backwards in time and conjugated (one of both alone would mirror the
            spectrum and make a lower sideband of an upper one), "shift" moves the samples round by
            any number.
    """
    angle, backwards = rng.uniform(-np.pi, np.pi), rng.random() < 0.5
    steps = int(rng.integers(0, len(frame)))
    signal = frame[:, 0] + 1j * frame[:, 1]
    if "reversal" in kinds and backwards:
        signal = signal[::-1].conj()
    if "shift" in kinds:
        signal = np.roll(signal, steps)
    if "rotation" in kinds:
        signal = signal * np.exp(1j * angle)
    return np.stack([signal.real, signal.imag], axis=-1).astype(np.float32)
