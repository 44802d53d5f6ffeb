"""Pixels of two maps matched one to one within a radius, as many as can be.

The published programs solve a minimum-cost assignment in which an unmatched pixel costs 100 radii:
that is a matching of maximum cardinality, but for a few outlier edges they draw at random. Here the
largest matching is exact, so counts can differ from theirs by a pixel or two.
"""

from __future__ import annotations

import numpy as np

RADIUS = 0.01  # of the image's diagonal


def radius_of(size: tuple[int, int], share: float = RADIUS) -> float:
    """Return the radius in pixels for an image of (height, width); the diagonal is float32."""
    height, width = size
    return share * float(np.sqrt(np.float32(height * height + width * width)))


class PixelMatcher:
    """The largest matching of a growing set of predicted pixels to fixed true ones.

    Pixels are added from the surest to the least sure; what was matched stays a matching, and only
    what a larger one needs is looked for.

    Args:
        truth: bool (H, W), the true pixels.
        radius: In pixels; two pixels may be a pair up to this distance, it included.

    Attributes:
        found: How many predicted pixels were added so far.
        pairs: How many of them are matched.
    """

    def __init__(self, truth: np.ndarray, radius: float):
        truth = np.asarray(truth, bool)
        if truth.ndim != 2 or radius < 0:
            raise ValueError(
                "expected a map (H, W) and a radius of 0 or more. "
                f"Received: shape {truth.shape}, radius={radius}"
            )
        self._pad = int(radius)
        self._shape = truth.shape
        padded = np.pad(truth, self._pad)
        self._width = padded.shape[1]
        self._live = padded.ravel()
        self._partner = np.full(padded.size, -1, np.int64)
        self._owner = np.full(padded.size, -1, np.int64)
        self._found = np.zeros(padded.size, bool)
        self._level, self._pointer = (np.full(padded.size, -1, np.int32) for _ in range(2))
        reach = np.arange(-self._pad, self._pad + 1)
        squared = reach[:, None] ** 2 + reach[None, :] ** 2
        rows, columns = np.nonzero(squared <= radius * radius)
        nearest = np.argsort(squared[rows, columns], kind="stable")
        self._steps = (reach[rows] * self._width + reach[columns])[nearest]
        self.pairs = self.found = 0

    def add(self, pixels: np.ndarray) -> int:
        """Add predicted pixels and return how many of all so far are matched.

        Args:
            pixels: int (N,), positions row * W + column in the map; repeats and pixels that were
                added before change nothing.
        """
        from apps.line_segments.metrics.matching_kernel import extend

        rows, columns = np.divmod(np.asarray(pixels, np.int64), self._shape[1])
        places = np.unique((rows + self._pad) * self._width + columns + self._pad)
        new = places[~self._found[places]]
        self._found[new] = True
        self.found += len(new)
        queue, path = np.empty((2, self.found), np.int64)
        self.pairs += int(
            extend(
                new, self._partner, self._live, self._owner, self._steps, self._level,
                self._pointer, queue, path,
            )
        )  # fmt: skip
        return self.pairs

    def matched(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which predicted and which true pixels are in a pair, both bool (H, W)."""
        height, width = self._shape
        inside = np.s_[self._pad : self._pad + height, self._pad : self._pad + width]
        maps = (one.reshape(-1, self._width)[inside] >= 0 for one in (self._partner, self._owner))
        found, truth = maps
        return found, truth


def match_pixels(found: np.ndarray, truth: np.ndarray, radius: float) -> int:
    """Return how many pixels of two maps, bool (H, W), can be matched one to one.

    Args:
        found: The predicted pixels.
        truth: The true ones.
        radius: In pixels, it included.
    """
    if np.shape(found) != np.shape(truth):
        raise ValueError(
            f"expected maps of one size. Received: found {np.shape(found)}, truth {np.shape(truth)}"
        )
    return PixelMatcher(truth, radius).add(np.flatnonzero(found))
