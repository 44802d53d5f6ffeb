"""Segments found in an image, each with its score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.line_segments.geometry import as_segments, lengths, scaled


@dataclass(frozen=True)
class Detections:
    """What a detector found in one image; every score is kept, so any threshold can follow.

    Attributes:
        segments: float32 (N, 4), x1, y1, x2, y2 in pixels of the image, the surest first.
        scores: float32 (N,), falling.
        size: (height, width) of the image.
    """

    segments: np.ndarray
    scores: np.ndarray
    size: tuple[int, int]

    def __post_init__(self):
        segments, scores = as_segments(self.segments), np.asarray(self.scores, np.float32).ravel()
        if len(segments) != len(scores):
            raise ValueError(
                "expected as many scores as segments. "
                f"Received: {len(scores)} scores, {len(segments)} segments"
            )
        order = np.argsort(-scores, kind="stable")
        object.__setattr__(self, "segments", segments[order])
        object.__setattr__(self, "scores", scores[order])
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> Detections:
        """Return those whose score is above a threshold."""
        kept = self.scores > threshold
        return Detections(self.segments[kept], self.scores[kept], self.size)

    def longer(self, least: float) -> Detections:
        """Return those of at least so many pixels."""
        kept = lengths(self.segments) >= least
        return Detections(self.segments[kept], self.scores[kept], self.size)

    def resized(self, size: tuple[int, int]) -> Detections:
        """Return them as they lie in the image at another (height, width)."""
        return Detections(scaled(self.segments, self.size, size), self.scores, size)
