"""Protocols against the golden file of the published test script."""

from pathlib import Path

import numpy as np
import pytest

from apps.medical_segmentation.metrics import segmentation_scores
from apps.medical_segmentation.protocols import (
    binary_prediction,
    check_threshold,
    class_prediction,
    prepare_truth,
    protocol_named,
    resize_logits,
)
from core.errors import UserError

GOLDEN = Path(__file__).parents[2] / "golden" / "mk-unet__protocol.npz"
COLUMNS = ("dice", "iou", "recall", "specificity", "precision", "hd95")


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name != "meta"}


def binarised(mask):
    """The adaptive binarisation of the published loader."""
    return mask > 20 if mask.max() > 127 else mask >= 1


@pytest.mark.parametrize("protocol", ["native", "official"])
def test_predictions_and_scores_equal_the_published_script(golden, protocol):
    for i, stored in enumerate(golden["gt_native"]):
        truth = prepare_truth(binarised(stored), (64, 64), protocol)
        prediction = binary_prediction(golden["logits"][i, 0], stored.shape, protocol)
        np.testing.assert_array_equal(prediction, golden[f"{protocol}_binary"][i].astype(bool))
        row = segmentation_scores(prediction, truth, protocol=protocol)
        values = [row[name] for name in COLUMNS]
        np.testing.assert_allclose(values, golden[f"{protocol}_metrics"][i], rtol=1e-9, atol=1e-15)


def test_official_grid_is_transposed_but_the_picture_is_not():
    logits = np.full((8, 8), -1.0, np.float32)
    logits[:4] = 1.0  # the upper half
    truth = np.zeros((4, 6), bool)
    truth[:2] = True
    assert binary_prediction(logits, (4, 6)).shape == (4, 6)
    official = binary_prediction(logits, (4, 6), "official")
    assert official.shape == (6, 4)
    np.testing.assert_array_equal(official, prepare_truth(truth, (8, 8), "official"))
    assert official[:3].all() and not official[3:].any()


def test_official_normalisation_finds_something_in_every_image():
    confident_background = np.linspace(-9, -5, 16, dtype=np.float32).reshape(4, 4)
    assert not binary_prediction(confident_background, (4, 4)).any()
    assert binary_prediction(confident_background, (4, 4), "official").any()
    # A constant image is the one exception: 0 / 1e-8 is 0 everywhere.
    assert not binary_prediction(np.zeros((4, 4), np.float32), (4, 4), "official").any()


def test_threshold_is_a_probability_of_one_half_inclusive():
    logits = np.array([[-1e-3, 0.0, 1e-3]], np.float32)
    assert binary_prediction(logits, (1, 3)).tolist() == [[False, True, True]]


def test_extreme_logits_do_not_warn(recwarn):
    logits = np.array([[-1e4], [1e4]], np.float32)
    assert binary_prediction(logits, (1, 2), "official").tolist() == [[False], [True]]
    assert not recwarn.list


def test_native_truth_is_the_stored_mask():
    truth = np.eye(5, dtype=bool)
    assert prepare_truth(truth, (64, 64)) is truth


@pytest.mark.parametrize(
    "values, length, expected",
    [
        ([0, 1], 4, [0, 0.25, 0.75, 1]),  # half-pixel centres, edges repeated
        ([0, 4, 8, 12], 2, [2, 10]),  # without antialiasing two neighbours count
        ([0, 3, 6, 9, 12, 15], 2, [3, 12]),  # a third as large: the middle pixel alone
        ([5], 3, [5, 5, 5]),
    ],
)
def test_resize_by_hand(values, length, expected):
    row = np.array([values], np.float32)
    np.testing.assert_allclose(resize_logits(row, (1, length)), [expected], rtol=1e-6)
    np.testing.assert_allclose(resize_logits(row.T, (length, 1))[:, 0], expected, rtol=1e-6)
    for channels in (1, 2, 21):
        layers = np.stack([row * (k + 1) for k in range(channels)], -1)
        resized = resize_logits(layers, (1, length))
        assert resized.shape == (1, length, channels)
        np.testing.assert_allclose(resized[0, :, -1], np.array(expected) * channels, rtol=1e-5)


def test_class_prediction_resizes_before_it_chooses():
    # Halfway between two confident pixels the third class, second everywhere, wins.
    logits = np.array([[[2.0, -2.0, 1.0], [-2.0, 2.0, 1.0]]], np.float32)
    prediction = class_prediction(logits, (1, 6))
    assert prediction.tolist() == [[0, 0, 2, 2, 1, 1]]
    assert prediction.dtype == np.uint8


def test_official_protocol_is_refused_for_classes():
    with pytest.raises(UserError, match=r"binary masks only and the network has 3 classes"):
        class_prediction(np.zeros((4, 4, 3), np.float32), (4, 4), "official")
    with pytest.raises(UserError, match="Did you mean 'official'"):
        protocol_named("oficial")


def test_wrong_ranks_are_refused():
    with pytest.raises(ValueError, match=r"`logits` must have shape \(rows, columns\)"):
        binary_prediction(np.zeros((4, 4, 1), np.float32), (4, 4))
    with pytest.raises(ValueError, match="2 to 128 classes"):
        class_prediction(np.zeros((4, 4, 1), np.float32), (4, 4))
    with pytest.raises(ValueError, match="must be boolean"):
        prepare_truth(np.zeros((4, 4), np.uint8), (4, 4), "official")


def test_the_threshold_is_a_probability():
    logits = np.array([[-1.0, 0.0], [1.0, 2.0]], np.float32)  # 0.27, 0.5, 0.73, 0.88
    assert binary_prediction(logits, (2, 2), threshold=0.25).tolist() == [[True] * 2] * 2
    assert binary_prediction(logits, (2, 2)).tolist() == [[False, True], [True, True]]
    assert binary_prediction(logits, (2, 2), threshold=0.8).tolist() == [[False] * 2, [False, True]]


@pytest.mark.parametrize(
    "threshold, protocol, classes, said",
    [
        (2, "native", 1, "is 2; pass a number between 0 and 1"),
        (0.0, "native", 1, "is 0; pass a number between 0 and 1"),
        (float("nan"), "native", 1, "is nan; pass a number between 0 and 1"),
        ("high", "native", 1, "is 'high'; pass a number between 0 and 1"),
        (0.3, "official", 1, "'official' is defined without one; leave it at 0.5"),
        (0.3, "native", 3, "several classes are told apart without one; leave it at 0.5"),
    ],
)
def test_thresholds_that_mean_nothing_are_refused(threshold, protocol, classes, said):
    with pytest.raises(UserError, match=said):
        check_threshold(threshold, protocol, classes=classes)
