"""What metrics compare: the segments found in an image and those that are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """One image's segments; checked when made.

    Attributes:
        found: float (N, 4), x1, y1, x2, y2 in pixels of the image; in any order.
        scores: float (N,), the higher the surer.
        truth: float (M, 4).
        size: (height, width) of the image in pixels.
    """

    found: np.ndarray
    scores: np.ndarray
    truth: np.ndarray
    size: tuple[int, int]

    def __post_init__(self):
        found = np.asarray(self.found, np.float64).reshape(-1, 4)
        truth = np.asarray(self.truth, np.float64).reshape(-1, 4)
        scores = np.asarray(self.scores, np.float64).reshape(-1)
        if len(scores) != len(found):
            raise ValueError(
                "expected as many scores as segments. "
                f"Received: {len(scores)} scores, {len(found)} segments"
            )
        for what, values in (("found", found), ("scores", scores), ("truth", truth)):
            if not np.isfinite(values).all():
                raise ValueError(f"`{what}` must be finite. Received: NaN or infinity")
        height, width = (int(side) for side in self.size)
        if min(height, width) < 1:
            raise ValueError(f"`size` must be positive. Received: size={self.size}")
        for name, value in (
            ("found", found), ("truth", truth), ("scores", scores), ("size", (height, width)),
        ):  # fmt: skip
            object.__setattr__(self, name, value)
