"""Confidence intervals of mean scores: the percentile bootstrap over cases.

B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, Ch. 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and the interval it lies in with probability `LEVEL`; NaN where nothing is defined."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Draws cases anew, with replacement, the same ones for every score and every network.

    Differences of two networks are thereby paired: what makes a case hard for both cancels.

    Args:
        cases: The case that each image belongs to; the images of a patient or a sequence are one
            case, for they are alike.
        rounds: How often as many cases as there are are drawn.
        seed: Another seed, other draws.
    """

    def __init__(self, cases: Sequence[str], *, rounds: int = 2000, seed: int = 0):
        if not cases or rounds < 1:
            raise ValueError(
                "`cases` must hold one or more, `rounds` must be 1 or more. Received: "
                f"{len(cases)} cases, rounds={rounds}"
            )
        names, self._case = np.unique(list(cases), return_inverse=True)
        self.cases = len(names)
        rng = np.random.default_rng(seed)
        even = np.full(self.cases, 1 / self.cases)
        self._times = rng.multinomial(self.cases, even, size=rounds).astype(float)

    def interval(self, values: Sequence[float]) -> Interval:
        """Return the mean of the images' values and its interval; NaN values are left out.

        Args:
            values: One for each image, in the order of `cases`.
        """
        found = np.asarray(values, float)
        known = ~np.isnan(found)
        if not known.any():
            return Interval(*[float("nan")] * 3)
        sums, counts = (
            np.bincount(self._case, weights, self.cases)
            for weights in (np.where(known, found, 0.0), known.astype(float))
        )
        drawn = self._times @ counts
        means = (self._times @ sums)[drawn > 0] / drawn[drawn > 0]
        low, high = np.percentile(means, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
        return Interval(float(found[known].mean()), float(low), float(high))
