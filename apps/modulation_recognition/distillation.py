"""How far a student follows its teacher at each SNR label.

Below the noise a teacher finds all classes about equally probable: its soft targets then say no
more than that, and only flatten what the student learns. What is not followed there leaves the
label's own loss as it is (`Task.teacher_weights`).
"""

from __future__ import annotations

import numpy as np

# How the weight of the soft term depends on the SNR label: it does not; nothing below a label and
# all from it on; a smooth rise, half at the label.
WEIGHTS = ("uniform", "threshold", "rise")
STEEPNESS = 2  # labels: the rise goes from 0.27 to 0.73 within twice as many


def teacher_weight(snrs: np.ndarray, rule: str, middle: float) -> np.ndarray | None:
    """Return the weight of the soft term for frames, float32 (N,) from 0 to 1.

    Args:
        snrs: SNR labels (N,).
        rule: One of `WEIGHTS`.
        middle: The label at which "threshold" begins and "rise" is at its half.

    Returns:
        The weights; None where all are followed alike.
    """
    distance = np.asarray(snrs, np.float32) - np.float32(middle)
    if rule == "threshold":
        return (distance >= 0).astype(np.float32)
    if rule == "rise":
        return 1 / (1 + np.exp(-distance / STEEPNESS))
    if rule != "uniform":
        raise ValueError(f"`rule` must be one of {WEIGHTS}. Received: {rule!r}")
    return None
