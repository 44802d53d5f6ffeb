"""Precision, recall, and what is read off their curve."""

from __future__ import annotations

import numpy as np


def average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """Return the area under the envelope of a curve, over all of its points.

    The curve begins at recall 0 and ends at recall 1, both with precision 0; the precision is made
    non-increasing from the right.

    Args:
        recall: float (N,), in 0..1, ascending.
        precision: float (N,), in 0..1.
    """
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


def f_measure(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Return the harmonic means of recalls and precisions; 0 where both are 0."""
    total = recall + precision
    return np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total > 0)


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole as float64; 0 where there is nothing."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), whole)
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
