"""The confusion matrix and the reliability diagram as pictures."""

import numpy as np
import pytest

from core.classification import pictures
from core.classification.calibration import reliability_bins
from core.drawing import PALETTE, Sheet


@pytest.fixture
def written(monkeypatch):
    """What is written on any sheet."""
    texts, original = [], Sheet.write

    def recorded(self, text, place, **options):
        texts.append(text)
        return original(self, text, place, **options)

    monkeypatch.setattr(Sheet, "write", recorded)
    return texts


def bluish(picture):
    return (picture[..., 2].astype(int) - picture[..., 0] > 40).sum()


def reddish(picture):
    return (picture[..., 0].astype(int) - picture[..., 2] > 40).sum()


def test_a_matrix_shows_counts_names_and_recalls(written):
    matrix = np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]])
    picture = pictures.confusion_picture(matrix, ["coral", "crab", "a long name of a class indeed"])
    assert picture.dtype == np.uint8 and picture.ndim == 3
    assert {"8", "2", "5", "80.0%", "100.0%", "-", "coral", "samples", "recall"} <= set(written)
    assert written.count("0") == 1  # the samples of the class that has none
    assert "a long name..lass indeed" in written


def test_right_cells_are_blue_and_wrong_ones_orange():
    right = pictures.confusion_picture(np.diag([5, 5, 5]), list("abc"))
    wrong = pictures.confusion_picture(5 * np.roll(np.eye(3, dtype=int), 1, axis=1), list("abc"))
    assert bluish(right) > 3 * 40 * 40 and reddish(right) == 0
    assert reddish(wrong) > 3 * 40 * 40 and bluish(wrong) == 0


@pytest.mark.parametrize("classes", [1, 2, 20, 60, 300])
def test_any_number_of_classes_has_room(classes):
    picture = pictures.confusion_picture(
        np.eye(classes, dtype=int), [f"class {n}" for n in range(classes)]
    )
    assert max(picture.shape) < 1500
    edge = picture[:, -2:], picture[:2], picture[-2:], picture[:, :2]
    assert all((side == 255).all() for side in edge)


def test_a_matrix_has_a_name_for_each_class():
    with pytest.raises(ValueError, match=r"`matrix` must be \(K, K\) for K names"):
        pictures.confusion_picture(np.eye(3, dtype=int), ["a", "b"])


def test_dots_of_calibrated_probabilities_lie_on_the_diagonal(written):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 4000)
    labels = (rng.random(4000) >= confidence).astype(int)  # 0, the first class, is right
    bins = reliability_bins(np.stack([confidence, 1 - confidence], axis=1), labels)
    picture = pictures.reliability_picture(bins, "Validation")
    assert f"Validation: ECE {bins.expected_error:.3f}, 4,000 samples" in written
    rows, columns = np.nonzero((picture == PALETTE[5]).all(axis=-1))
    floor, left = rows.max(), columns.min()
    assert len(rows) > 300  # dots of the upper half
    assert np.corrcoef(columns - left, floor - rows)[0, 1] > 0.97
