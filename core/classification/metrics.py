"""How well classes were told apart: top-k, precision, recall, F1, ROC-AUC, with intervals.

scikit-learn computes what it has. Its `top_k_accuracy_score` gives a tie to the higher class;
here the lower index wins, as in `argmax`, so that top-1 is the accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.errors import UserError

LEVEL = 0.95  # of confidence intervals


@dataclass(frozen=True)
class PerClass:
    """Scores of every class, arrays of length K or (K, 2) for the ends of an interval.

    Attributes:
        precision: Share of a class's predictions that are right; 0 without predictions.
        recall: Share of a class's samples that are found; 0 without samples.
        f1: Harmonic mean of the two; 0 where both are.
        support: Samples of the class.
        predicted: Predictions of the class.
        precision_interval, recall_interval: Wilson's, NaN where nothing was counted.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    predicted: np.ndarray
    precision_interval: np.ndarray
    recall_interval: np.ndarray


def checked(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return logits as float64 (N, K) and labels as int64 (N,).

    Raises:
        ValueError: When the shapes do not fit, or a label is none of the K classes.
        UserError: When a logit is NaN or infinite, as of a training that diverged.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    enough = logits.ndim == 2 and len(logits) >= 1 and logits.shape[1] >= 2
    if not enough or labels.shape != logits.shape[:1]:
        raise ValueError(
            "`logits` must be (N, K) and `labels` (N,), N at least 1 and K at least 2. Received: "
            f"{logits.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"`labels` must be integers from 0 to {logits.shape[1] - 1}. Received: {labels.dtype} "
            f"from {labels.min()} to {labels.max()}"
        )
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if bad.size:
        raise UserError(
            f"The network's outputs for {bad.size} of {len(logits)} samples are NaN or infinite: "
            "its training diverged or its file is damaged; train with a lower learning rate or "
            "import the weights again."
        )
    return logits, labels.astype(np.int64)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits (N, K), float64: in float32 high ones would all be 1."""
    from scipy.special import softmax as probabilities

    return probabilities(np.asarray(logits, np.float64), axis=1)


def top_k_accuracy(logits: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """Return the share of samples whose class is among the k largest logits.

    Of equal logits the lower class comes first.

    Args:
        logits: (N, K).
        labels: Classes (N,), integers from 0.
        k: How many; from K on the share is 1.
    """
    if k < 1:
        raise ValueError(f"`k` must be 1 or more. Received: k={k}")
    logits, labels = checked(logits, labels)
    own = logits[np.arange(len(labels)), labels][:, None]
    lower = np.arange(logits.shape[1]) < labels[:, None]
    rank = ((logits > own) | ((logits == own) & lower)).sum(axis=1)
    return float((rank < k).mean())


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return how often each class was taken for each, int64 (K, K): rows true, columns predicted.

    Args:
        labels, predicted: Classes (N,), integers from 0.
        classes: K; classes may occur nowhere.
    """
    from sklearn.metrics import confusion_matrix as count

    return count(labels, predicted, labels=np.arange(classes))


def wilson_interval(found: int, among: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of a share (E. B. Wilson, JASA 22, 1927); NaN where `among` is 0."""
    from scipy.stats import binomtest

    if not among:
        return float("nan"), float("nan")
    interval = binomtest(int(found), int(among)).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def per_class(labels: np.ndarray, predicted: np.ndarray, classes: int) -> PerClass:
    """Return precision, recall, F1 and their counts of every class.

    Args:
        labels, predicted: Classes (N,), integers from 0.
        classes: K; one that occurs nowhere has zeros.
    """
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(classes), zero_division=0
    )
    matrix = confusion_matrix(labels, predicted, classes)
    right, guesses = matrix.diagonal(), matrix.sum(axis=0)

    def intervals(among: np.ndarray) -> np.ndarray:
        return np.array([wilson_interval(*pair) for pair in zip(right, among, strict=True)])

    return PerClass(precision, recall, f1, support, guesses, intervals(guesses), intervals(support))


def averages(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return the macro and the weighted precision, recall and F1, and the balanced accuracy.

    As in scikit-learn a macro average is over the classes that occur among labels or predictions,
    with 0 where a score divides by 0; "balanced_accuracy" is the mean recall of the classes that
    have samples.

    Args:
        labels, predicted: Classes (N,), integers from 0.
    """
    from sklearn.metrics import precision_recall_fscore_support, recall_score

    found = {}
    for average in ("macro", "weighted"):
        scores = precision_recall_fscore_support(
            labels, predicted, average=average, zero_division=0
        )
        for name, value in zip(("precision", "recall", "f1"), scores[:3], strict=True):
            found[f"{average}_{name}"] = float(value)
    present = np.unique(labels)
    recall = recall_score(labels, predicted, labels=present, average="macro", zero_division=0)
    return {**found, "balanced_accuracy": float(recall)}


def roc_auc(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of every class against all others, float64 (K,).

    The chance that a sample of the class has a higher probability of it than one of the others,
    ties counted half. NaN where the samples are all of the class, or none is.

    Args:
        probabilities: Softmax scores (N, K).
        labels: Classes (N,), integers from 0.
    """
    from sklearn.metrics import roc_auc_score

    areas = np.full(probabilities.shape[1], np.nan)
    for number in range(len(areas)):
        of_class = labels == number
        if 0 < of_class.sum() < len(labels):
            areas[number] = roc_auc_score(of_class, probabilities[:, number])
    return areas


def mean_roc_auc(areas: np.ndarray, support: np.ndarray | None = None) -> float:
    """Return the mean area of the classes that have one; NaN where none has.

    Args:
        areas: Of `roc_auc`.
        support: Samples by class, to weight by ("weighted"); None counts classes alike ("macro").
    """
    known = ~np.isnan(areas)
    if not known.any():
        return float("nan")
    return float(np.average(areas[known], weights=None if support is None else support[known]))
