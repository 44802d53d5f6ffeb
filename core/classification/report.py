"""Everything that is told of a classifier on a set of samples, and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.classification.calibration import (
    BINS,
    ReliabilityBins,
    negative_log_likelihood,
    reliability_bins,
)
from core.classification.metrics import (
    PerClass,
    averages,
    checked,
    confusion_matrix,
    mean_roc_auc,
    per_class,
    roc_auc,
    softmax,
    top_k_accuracy,
)

TOP = (2, 3)
PROTOCOL = (
    "top-k: of equal logits the lower class first; macro: mean of the classes that occur, 0 where "
    "a score divides by 0; ROC-AUC: one class against the others, on softmax scores; "
    f"ECE: {BINS} bins of equal width"
)


@dataclass(frozen=True)
class ClassificationReport:
    """The scores of a classifier.

    Attributes:
        names: Of the K classes.
        summary: Metric name → value: accuracy, top_2, top_3 (where there are more classes),
            macro_ and weighted_ precision, recall, f1 and roc_auc, balanced_accuracy, ece, nll (in
            nats), samples.
        per_class: Precision, recall, F1 and counts.
        roc_auc: Of every class against the others, float64 (K,), NaN where it is not defined.
        confusion: int64 (K, K), rows true, columns predicted.
        bins: Samples by confidence.
        logits: (N, K), and labels: (N,), which these are the scores of.
    """

    names: tuple[str, ...]
    summary: dict[str, float]
    per_class: PerClass
    roc_auc: np.ndarray
    confusion: np.ndarray
    bins: ReliabilityBins
    logits: np.ndarray
    labels: np.ndarray


def classification_report(
    logits: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> ClassificationReport:
    """Return the scores of logits.

    Args:
        logits: (N, K), before the softmax.
        labels: Classes (N,), integers from 0.
        names: Of the K classes.

    Raises:
        ValueError: When shapes, labels and names do not fit together.
        UserError: When a logit is NaN or infinite.
    """
    logits, labels = checked(logits, labels)
    classes = logits.shape[1]
    if len(names) != classes:
        raise ValueError(f"`names` must be {classes}, one for each class. Received: {len(names)}")
    probabilities, predicted = softmax(logits), logits.argmax(axis=1)
    areas = roc_auc(probabilities, labels)
    by_class = per_class(labels, predicted, classes)
    bins = reliability_bins(probabilities, labels)
    summary = {
        "accuracy": top_k_accuracy(logits, labels),
        **{f"top_{k}": top_k_accuracy(logits, labels, k) for k in TOP if k < classes},
        **averages(labels, predicted),
        "macro_roc_auc": mean_roc_auc(areas),
        "weighted_roc_auc": mean_roc_auc(areas, by_class.support),
        "ece": bins.expected_error,
        "nll": negative_log_likelihood(logits, labels),
        "samples": len(labels),
    }
    confusion = confusion_matrix(labels, predicted, classes)
    return ClassificationReport(
        tuple(names), summary, by_class, areas, confusion, bins, logits, labels
    )


def class_records(report: ClassificationReport) -> list[dict[str, Any]]:
    """Return a row for each class, ready for JSON and CSV; None where nothing was counted.

    Keys: class, samples, predictions, precision, precision_low, precision_high, recall, recall_low,
    recall_high, f1, roc_auc.
    """
    found = report.per_class
    records = []
    for number, name in enumerate(report.names):
        samples, predicted = int(found.support[number]), int(found.predicted[number])
        record: dict[str, Any] = {"class": name, "samples": samples, "predictions": predicted}
        for kind, values, interval, counted in (
            ("precision", found.precision, found.precision_interval, predicted),
            ("recall", found.recall, found.recall_interval, samples),
        ):
            shown = (values[number], *interval[number]) if counted else (None,) * 3
            keys = (kind, f"{kind}_low", f"{kind}_high")
            record |= {k: _number(v) for k, v in zip(keys, shown, strict=True)}
        record["f1"] = _number(found.f1[number]) if samples else None
        record["roc_auc"] = _number(report.roc_auc[number])
        records.append(record)
    return records


def confused_records(report: ClassificationReport, most: int = 10) -> list[dict[str, Any]]:
    """Return the commonest mistakes, most frequent first: true, predicted, count, share.

    Args:
        report: The scores.
        most: Rows at most.

    Returns:
        "share" is of the true class's samples. Ties come in class order.
    """
    wrong = report.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(wrong)) for place in order]
    return [
        {
            "true": report.names[true],
            "predicted": report.names[predicted],
            "count": int(wrong[true, predicted]),
            "share": float(wrong[true, predicted] / report.per_class.support[true]),
        }
        for true, predicted in pairs
        if wrong[true, predicted]
    ]


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
