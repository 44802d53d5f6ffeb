"""Top-k, precision, recall, F1, ROC-AUC and intervals: golden, by hand, and as scikit-learn."""

import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as peer

from core.classification.metrics import (
    averages,
    checked,
    confusion_matrix,
    mean_roc_auc,
    per_class,
    roc_auc,
    softmax,
    top_k_accuracy,
    wilson_interval,
)
from core.errors import UserError


def test_golden_numbers_are_met(golden):
    logits, labels = golden["logits"], golden["labels"]
    predicted = logits.argmax(axis=1)
    top = [top_k_accuracy(logits, labels, k) for k in (1, 2, 3)]
    assert top == pytest.approx([float(golden[f"top{k}"]) for k in (1, 2, 3)], abs=1e-12)
    found = per_class(labels, predicted, 20)
    table = np.stack([found.precision, found.recall, found.f1, found.support], axis=1)
    np.testing.assert_allclose(table, golden["per_class"], atol=1e-12)
    assert (found.predicted == golden["confusion"].sum(axis=0)).all()
    means = averages(labels, predicted)
    for name in ("macro", "weighted"):
        values = [means[f"{name}_{score}"] for score in ("precision", "recall", "f1")]
        assert values == pytest.approx(golden[name].tolist(), abs=1e-12)
    np.testing.assert_allclose(roc_auc(softmax(logits), labels), golden["ovr_auc"], atol=1e-7)
    assert (confusion_matrix(labels, predicted, 20) == golden["confusion"]).all()


def test_the_accuracy_is_not_the_mean_of_the_batches_accuracies(golden):
    logits, labels = golden["logits"], golden["labels"]
    parts = [slice(n, n + 32) for n in range(0, len(labels), 32)]
    mean = np.mean([top_k_accuracy(logits[part], labels[part]) for part in parts])
    assert mean == pytest.approx(float(golden["batch_mean_top1"]), abs=1e-12)
    assert abs(mean - top_k_accuracy(logits, labels)) > 0.002


@pytest.mark.parametrize(
    "logits, label, ranks",
    [
        ([0.0, 0.0, 0.0], 0, [1, 1, 1]),
        ([0.0, 0.0, 0.0], 1, [0, 1, 1]),
        ([0.0, 0.0, 0.0], 2, [0, 0, 1]),
        ([1.0, 2.0, 1.0], 2, [0, 0, 1]),
        ([1.0, 2.0, 1.0], 0, [0, 1, 1]),
        ([3.0, 2.0, 1.0], 2, [0, 0, 1]),
    ],
)
def test_of_equal_logits_the_lower_class_comes_first(logits, label, ranks):
    found = [top_k_accuracy(np.array([logits]), np.array([label]), k) for k in (1, 2, 3)]
    assert found == ranks


def test_without_ties_top_k_is_scikit_learns():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((200, 7)), rng.integers(0, 7, 200)
    for k in (1, 2, 5):
        expected = peer.top_k_accuracy_score(labels, logits, k=k, labels=range(7))
        assert top_k_accuracy(logits, labels, k) == pytest.approx(expected)
    assert top_k_accuracy(logits, labels, 9) == 1


def test_macro_and_weighted_areas_are_scikit_learns_with_ties():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], (40, 15, 5))
    probabilities = softmax(np.round(rng.standard_normal((60, 3)) + 2 * np.eye(3)[labels]))
    areas, support = roc_auc(probabilities, labels), np.array([40, 15, 5])
    for average, weights in (("macro", None), ("weighted", support)):
        expected = peer.roc_auc_score(labels, probabilities, average=average, multi_class="ovr")
        assert mean_roc_auc(areas, weights) == pytest.approx(expected, abs=1e-12)


def test_a_tie_counts_half_in_the_area():
    labels = np.array([1, 0, 0])
    one = np.array([0.5, 0.5, 0.2])  # of the two pairs, one tied and one in order
    assert roc_auc(np.stack([1 - one, one], axis=1), labels)[1] == 0.75


def test_a_class_without_samples_has_no_area_and_spoils_no_average():
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    probabilities = np.eye(3)[predicted]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        areas, found = roc_auc(probabilities, labels), per_class(labels, predicted, 3)
        means = averages(labels, predicted)
    assert areas[:2].tolist() == [0.75, 0.75] and math.isnan(areas[2])
    assert mean_roc_auc(areas, found.support) == 0.75
    assert math.isnan(mean_roc_auc(np.array([math.nan])))
    assert found.support[2] == 0 and found.recall[2] == 0
    assert np.isnan(found.recall_interval[2]).all() and np.isnan(found.precision_interval[2]).all()
    assert means["macro_recall"] == means["balanced_accuracy"] == 0.75


def test_a_class_that_is_predicted_without_samples_counts_in_the_macro_averages():
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
    means = averages(labels, predicted)
    expected = peer.f1_score(labels, predicted, average="macro", zero_division=0)
    assert means["macro_f1"] == pytest.approx(expected)
    assert means["macro_recall"] == pytest.approx(0.5) and means["balanced_accuracy"] == 0.75


@pytest.mark.parametrize(
    "found, among, low, high",
    [
        (0, 10, 0, 0.277533),
        (5, 10, 0.236593, 0.763407),
        (10, 10, 0.722467, 1),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_intervals_are_as_published(found, among, low, high):
    """The last one is R. G. Newcombe's example (Statistics in Medicine 17, 1998)."""
    assert wilson_interval(found, among) == pytest.approx((low, high), abs=5e-5)


def test_outputs_that_are_no_numbers_are_told_to_the_user():
    logits = np.zeros((3, 2))
    logits[1, 0] = np.nan
    with pytest.raises(UserError, match="1 of 3 samples are NaN or infinite"):
        top_k_accuracy(logits, np.zeros(3, int))


@pytest.mark.parametrize(
    "logits, labels",
    [
        (np.zeros((0, 3)), np.zeros(0, int)),
        (np.zeros((2, 1)), np.zeros(2, int)),
        (np.zeros((2, 3)), np.zeros(3, int)),
        (np.zeros((2, 3)), np.array([0, 3])),
        (np.zeros((2, 3)), np.array([0, -1])),
        (np.zeros((2, 3)), np.array([0.0, 1.0])),
    ],
)
def test_labels_that_do_not_fit_are_refused(logits, labels):
    with pytest.raises(ValueError, match="`l"):
        checked(logits, labels)
