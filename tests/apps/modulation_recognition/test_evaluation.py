"""Accuracy against the SNR label, in numbers small enough to count by hand."""

import numpy as np
import pytest

from apps.modulation_recognition.evaluation import PROTOCOL, row_shares, snr_scores
from apps.modulation_recognition.pictures import accuracy_picture
from core.errors import UserError

NAMES = ("BPSK", "QPSK", "WBFM")
LABELS = np.array([0, 1, 2, 0, 1, 2, 2, 2])
SNRS = np.array([-2, -2, -2, 18, 18, 18, 18, 18])
PREDICTED = np.array([0, 0, 0, 0, 1, 2, 2, 1])


def scores(predicted=PREDICTED):
    return snr_scores(np.eye(3)[predicted], LABELS, SNRS, NAMES)


def test_accuracy_by_label_and_its_means():
    found = scores()
    assert found.snrs == (-2, 18) and found.counts.tolist() == [3, 5]
    np.testing.assert_allclose(found.accuracy, [1 / 3, 4 / 5])
    assert found.summary() == pytest.approx(
        {
            "average_accuracy": (1 / 3 + 4 / 5) / 2,  # a label counts once, however many frames
            "high_snr_accuracy": 4 / 5,
            "highest_accuracy": 4 / 5,
            "highest_accuracy_snr": 18,
            "accuracy": 5 / 8,
            "samples": 8,
        }
    )
    assert np.isnan(found.mean_between(20)) and found.mean_between(-5, 0) == pytest.approx(1 / 3)
    assert "mean over the labels" in PROTOCOL


def test_confusion_by_label_and_of_all():
    found = scores()
    assert found.confusion_at(18).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 2]]
    assert found.confusion_at().tolist() == [[2, 0, 0], [1, 1, 0], [1, 1, 2]]
    np.testing.assert_allclose(row_shares(found.confusion_at(18))[2], [0, 1 / 3, 2 / 3])
    assert np.isnan(row_shares(np.array([[0, 0], [1, 1]]))[0]).all()
    with pytest.raises(ValueError, match="`snr` must be one of"):
        found.confusion_at(4)


def test_of_equal_outputs_the_lower_class_counts():
    found = snr_scores(np.zeros((8, 3)), LABELS, SNRS, NAMES)
    assert found.confusion_at()[:, 0].tolist() == [2, 2, 4]


def test_records_are_a_row_for_each_label():
    low, high = scores().records()
    assert (low["snr"], low["samples"], low["accuracy"]) == (-2, 3, pytest.approx(1 / 3))
    assert low["accuracy_low"] < 1 / 3 < low["accuracy_high"]
    assert high["snr"] == 18


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`snrs` must be integers of shape"):
        snr_scores(np.eye(3)[PREDICTED], LABELS, SNRS[:4], NAMES)
    with pytest.raises(ValueError, match="`names` must be 3"):
        snr_scores(np.eye(3)[PREDICTED], LABELS, SNRS, NAMES[:2])
    with pytest.raises(UserError, match="NaN or infinite"):
        snr_scores(np.full((8, 3), np.nan), LABELS, SNRS, NAMES)


def test_the_picture_shows_each_run_in_its_colour():
    one = accuracy_picture({"teacher": scores()})
    two = accuracy_picture({"teacher": scores(), "student": scores(LABELS)}, note="what it means")
    blue, orange = (0, 114, 178), (213, 94, 0)

    def drawn(picture, colour):
        return (picture == colour).all(axis=-1).sum()

    assert one.dtype == np.uint8 and drawn(one, blue) > 500 and not drawn(one, orange)
    assert drawn(two, blue) > 500 and drawn(two, orange) > 500
    assert two.shape[0] > one.shape[0]  # the note
    with pytest.raises(ValueError, match="`runs` must hold at least one"):
        accuracy_picture({})


def test_a_run_of_one_label_can_be_drawn():
    assert accuracy_picture({"a": snr_scores(np.eye(2), [0, 1], [10, 10], ("a", "b"))}).size
