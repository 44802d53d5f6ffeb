"""The whole of a classifier's scores, and the tables made of it."""

import json

import numpy as np
import pytest

from core.classification.report import (
    class_records,
    classification_report,
    confused_records,
)
from core.command_line.tables import csv_text, show_records

NAMES = ("coral", "crab", "diver", "eel")
# eel has no samples; diver is never predicted.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 0, 0, 0, 3])


@pytest.fixture(scope="module")
def report():
    return classification_report(3.0 * np.eye(4)[PREDICTED], LABELS, NAMES)


def test_the_summary_tells_every_metric(report):
    assert set(report.summary) == {
        "accuracy", "top_2", "top_3", "macro_precision", "macro_recall", "macro_f1",
        "weighted_precision", "weighted_recall", "weighted_f1", "balanced_accuracy",
        "macro_roc_auc", "weighted_roc_auc", "ece", "nll", "samples",
    }  # fmt: skip
    assert report.summary["accuracy"] == pytest.approx(4 / 9)
    assert report.summary["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 3 + 0) / 3)
    assert report.summary["samples"] == 9
    assert report.summary["top_3"] == pytest.approx(8 / 9)


def test_fewer_classes_have_fewer_top_k():
    summary = classification_report(np.eye(2), np.array([0, 1]), ("a", "b")).summary
    assert "top_2" not in summary and "top_3" not in summary


def test_what_was_not_counted_is_none_in_a_record(report):
    coral, _, diver, eel = class_records(report)
    assert (coral["samples"], coral["predictions"]) == (4, 6)
    assert (coral["precision"], coral["recall"]) == (0.5, 0.75)
    assert coral["recall_low"] < 0.75 < coral["recall_high"]
    assert diver["precision"] is None and diver["recall"] == 0 and diver["f1"] == 0
    assert eel["recall"] is None and eel["f1"] is None and eel["roc_auc"] is None
    assert eel["precision"] == 0
    json.dumps(class_records(report), allow_nan=False)
    assert csv_text(class_records(report)).startswith("class,samples,predictions,precision,")


def test_the_table_of_classes_is_printed_with_dashes_for_what_is_unknown(report, capsys):
    show_records(class_records(report))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["class", "samples", "predictions", "precision", "95%"]
    assert lines[2].split()[:5] == ["coral", "4", "6", "0.5000", "0.188–0.812"]
    assert lines[5].split() == ["eel", "0", "1", "0.0000", "0.000–0.793", "–", "–", "–", "–"]


def test_the_commonest_mistakes_come_first(report):
    assert confused_records(report, most=2) == [
        {"true": "crab", "predicted": "coral", "count": 2, "share": pytest.approx(2 / 3)},
        {"true": "coral", "predicted": "crab", "count": 1, "share": 0.25},
    ]
    assert len(confused_records(report)) == 4
    assert confused_records(classification_report(np.eye(4), np.arange(4), NAMES)) == []


def test_names_are_as_many_as_classes():
    with pytest.raises(ValueError, match="`names` must be 4"):
        classification_report(np.eye(4), np.arange(4), NAMES[:3])
