"""Accuracy against the SNR label, as the field reports it.

The protocol of the RadioML benchmarks: the accuracy at a label pools its frames of all classes, the
average is the mean over the labels, of equal outputs the lower class counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.classification.metrics import checked, confusion_matrix, wilson_interval

PROTOCOL = (
    "accuracy per SNR label over the frames of all classes; average: mean over the labels; of "
    "equal outputs the lower class"
)
HIGH = 0  # labels from here on are averaged on their own


@dataclass(frozen=True)
class SnrScores:
    """The scores of a network by SNR label.

    Attributes:
        names: Of the K classes.
        snrs: The S labels that occur, ascending.
        counts: Frames by label, int64 (S,).
        accuracy: By label, float64 (S,).
        confusion: By label, int64 (S, K, K): rows true, columns predicted.
    """

    names: tuple[str, ...]
    snrs: tuple[int, ...]
    counts: np.ndarray
    accuracy: np.ndarray
    confusion: np.ndarray

    @property
    def average(self) -> float:
        """The mean accuracy over the labels, each counted once."""
        return float(self.accuracy.mean())

    @property
    def best(self) -> tuple[int, float]:
        """The label of the highest accuracy, the lowest of several, and that accuracy."""
        place = int(self.accuracy.argmax())
        return self.snrs[place], float(self.accuracy[place])

    def mean_between(self, low: float = HIGH, high: float = float("inf")) -> float:
        """Return the mean accuracy over the labels from `low` to `high`; NaN without any."""
        inside = [low <= snr <= high for snr in self.snrs]
        return float(self.accuracy[inside].mean()) if any(inside) else float("nan")

    def confusion_at(self, snr: int | None = None) -> np.ndarray:
        """Return the confusion matrix of a label, or of all frames: int64 (K, K)."""
        if snr is None:
            return self.confusion.sum(axis=0)
        if snr not in self.snrs:
            raise ValueError(f"`snr` must be one of {self.snrs}. Received: snr={snr}")
        return self.confusion[self.snrs.index(snr)]

    def summary(self) -> dict[str, float]:
        """Return the numbers that stand for the whole: metric name → value."""
        label, highest = self.best
        return {
            "average_accuracy": self.average,
            "high_snr_accuracy": self.mean_between(),
            "accuracy": float(self.confusion_at().trace() / self.counts.sum()),
            "highest_accuracy": highest,
            "highest_accuracy_snr": label,
            "samples": int(self.counts.sum()),
        }

    def records(self) -> list[dict[str, Any]]:
        """Return a row for each label, ready for JSON and CSV.

        Keys: snr, samples, accuracy, accuracy_low, accuracy_high; the last two are Wilson's
        interval.
        """
        rows = []
        for snr, count, accuracy, matrix in zip(
            self.snrs, self.counts, self.accuracy, self.confusion, strict=True
        ):
            low, high = wilson_interval(int(matrix.trace()), int(count))
            rows.append(
                {
                    "snr": snr,
                    "samples": int(count),
                    "accuracy": float(accuracy),
                    "accuracy_low": low,
                    "accuracy_high": high,
                }
            )
        return rows


def row_shares(matrix: np.ndarray) -> np.ndarray:
    """Return a confusion matrix (K, K) over its rows' sums, float64; rows of no sample are NaN."""
    with np.errstate(invalid="ignore"):
        return matrix / matrix.sum(axis=1, keepdims=True)


def snr_scores(
    logits: np.ndarray, labels: np.ndarray, snrs: np.ndarray, names: Sequence[str]
) -> SnrScores:
    """Return the scores of a network's outputs by SNR label.

    Args:
        logits: (N, K), or probabilities.
        labels: True classes (N,), integers from 0.
        snrs: SNR labels (N,), integers.
        names: Of the K classes.

    Raises:
        ValueError: When shapes, labels and names do not fit together.
        UserError: When an output is NaN or infinite.
    """
    logits, labels = checked(logits, labels)
    snrs, classes = np.asarray(snrs), logits.shape[1]
    if snrs.shape != labels.shape or snrs.dtype.kind not in "iu":
        raise ValueError(
            f"`snrs` must be integers of shape {labels.shape}. Received: {snrs.dtype} of shape "
            f"{snrs.shape}"
        )
    if len(names) != classes:
        raise ValueError(f"`names` must be {classes}, one for each class. Received: {len(names)}")
    predicted = logits.argmax(axis=1)
    known = np.unique(snrs)
    matrices = np.stack(
        [confusion_matrix(labels[snrs == snr], predicted[snrs == snr], classes) for snr in known]
    )
    counts = matrices.sum(axis=(1, 2))
    accuracy = np.trace(matrices, axis1=1, axis2=2) / counts
    return SnrScores(tuple(names), tuple(known.tolist()), counts, accuracy, matrices)
