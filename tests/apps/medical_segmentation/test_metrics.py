"""Metrics against golden values, literal tables for empty masks, and a naive surface distance."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from apps.medical_segmentation import metrics
from apps.medical_segmentation.metrics import (
    Counts,
    assd,
    hd95,
    overlap,
    segmentation_scores,
    summarise,
    surface_distances,
)
from core.errors import UserError

GOLDEN = Path(__file__).parents[2] / "golden"
NAN = math.nan
TINY_DICE = 1e-6 / (3 + 1e-6)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "medseg__metrics.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name != "meta"}


def masks(golden, prefix=""):
    names = ("vol_pred", "vol_target") if prefix else ("pred", "target")
    return zip(*(golden[name].astype(bool) for name in names), strict=True)


def mask(rows):
    return np.array(rows, bool)


@pytest.mark.parametrize(
    "name, empty, key",
    [
        ("dice", "smooth", "dice_smooth"),
        ("iou", "smooth", "iou_smooth"),
        ("dice", "one", "dice_barlow"),
        ("iou", "one", "iou_barlow"),
        ("precision", "one", "precision_barlow"),
        ("recall", "one", "recall_barlow"),
        ("dice", "nan", "dice_nnunet"),
        ("iou", "nan", "iou_nnunet"),
    ],
)
def test_overlap_metrics_meet_the_golden_values(golden, name, empty, key):
    values = [getattr(metrics, name)(overlap(p, t), empty=empty) for p, t in masks(golden)]
    np.testing.assert_allclose(values, golden[key], rtol=1e-12, atol=0)


def test_surface_metrics_meet_the_golden_values(golden):
    for name, function in (("hd95", hd95), ("assd", assd)):
        values = [function(p, t, empty=NAN) for p, t in masks(golden)]
        np.testing.assert_allclose(values, golden[name], rtol=1e-12)


@pytest.mark.parametrize("key, spacing", [("iso", None), ("aniso", (2.5, 0.8, 0.7))])
def test_hd95_of_volumes_meets_the_golden_values(golden, key, spacing):
    values = [hd95(p, t, spacing) for p, t in masks(golden, "vol")]
    np.testing.assert_allclose(values, golden[f"vol_hd95_{key}"], rtol=1e-12)


def test_overlap_counts_every_outcome():
    counts = overlap(mask([[1, 1, 1], [0, 0, 0]]), mask([[1, 1, 0], [1, 0, 0]]))
    assert counts == Counts(tp=2, fp=1, fn=1, tn=2)


@pytest.mark.parametrize(
    "counts, empty, expected",
    [  # expected: Dice, IoU, precision, recall, specificity
        # Both masks empty.
        (Counts(0, 0, 0, 4), "smooth", (1, 1, 0, 0, 1)),
        (Counts(0, 0, 0, 4), "one", (1, 1, 1, 1, 1)),
        (Counts(0, 0, 0, 4), "nan", (NAN, NAN, NAN, NAN, 1)),
        # Nothing predicted, three pixels to find.
        (Counts(0, 0, 3, 1), "smooth", (TINY_DICE, TINY_DICE, 0, 0, 1)),
        (Counts(0, 0, 3, 1), "one", (0, 0, 1, 0, 1)),
        (Counts(0, 0, 3, 1), "nan", (0, 0, NAN, 0, 1)),
        # Three pixels predicted, nothing to find.
        (Counts(0, 3, 0, 1), "smooth", (TINY_DICE, TINY_DICE, 0, 0, 0.25)),
        (Counts(0, 3, 0, 1), "one", (0, 0, 0, 1, 0.25)),
        (Counts(0, 3, 0, 1), "nan", (0, 0, 0, NAN, 0.25)),
        # The truth fills the image: no negatives.
        (Counts(2, 0, 2, 0), "smooth", (2 / 3, 0.5, 1, 0.5, 0)),
        (Counts(2, 0, 2, 0), "one", (2 / 3, 0.5, 1, 0.5, 1)),
        (Counts(2, 0, 2, 0), "nan", (2 / 3, 0.5, 1, 0.5, NAN)),
        # Nothing special.
        (Counts(1, 1, 0, 2), "smooth", (2 / 3, 0.5, 0.5, 1, 2 / 3)),
        (Counts(1, 1, 0, 2), "nan", (2 / 3, 0.5, 0.5, 1, 2 / 3)),
    ],
)
def test_empty_conventions(counts, empty, expected):
    values = [getattr(metrics, name)(counts, empty=empty) for name in metrics.OVERLAPS]
    # The smoothing terms move ordinary ratios by up to 5e-7, but not the tiny ones.
    assert values == pytest.approx(expected, rel=1e-6, abs=1e-12, nan_ok=True)


def test_unknown_convention_is_refused():
    with pytest.raises(ValueError, match="Did you mean 'nan'"):
        metrics.dice(Counts(1, 0, 0, 0), empty="nann")


def test_zero_255_masks_are_refused_rather_than_scored():
    numbers = np.array([[0, 255]], np.uint8)
    with pytest.raises(ValueError, match=r"must be a boolean array.*uint8"):
        overlap(numbers, numbers)


def test_masks_of_different_shape_are_refused_rather_than_broadcast():
    with pytest.raises(ValueError, match=r"same shape.*\(2, 2\) and \(1, 2\)"):
        overlap(mask([[1, 1], [0, 0]]), mask([[1, 1]]))


@pytest.mark.parametrize(
    "prediction, truth, expected",
    [
        ([[0, 0, 0, 0]], [[0, 0, 0, 0]], 100.0),
        ([[1, 0, 0, 0]], [[0, 0, 0, 0]], 100.0),
        ([[0, 0, 0, 0]], [[1, 0, 0, 0]], 100.0),
        ([[1, 0, 0, 0]], [[1, 0, 0, 0]], 0.0),
        ([[1, 0, 0, 0]], [[0, 0, 0, 1]], 3.0),
    ],
)
def test_hd95_of_small_and_empty_masks(prediction, truth, expected):
    assert hd95(mask(prediction), mask(truth)) == expected


def test_pooling_changes_hd95():
    # One pixel against two, 1 and 11 away: distances [1] and [1, 11].
    prediction, truth = np.zeros((2, 1, 16), bool)
    prediction[0, 2] = True
    truth[0, [3, 13]] = True
    assert hd95(prediction, truth, pooling="pooled") == pytest.approx(1 + 0.9 * 10)
    assert hd95(prediction, truth, pooling="max") == pytest.approx(1 + 0.95 * 10)
    assert assd(prediction, truth) == pytest.approx((1 + 1 + 11) / 3)
    with pytest.raises(ValueError, match="Did you mean 'max'"):
        hd95(prediction, truth, pooling="maximum")


def test_mask_pixels_on_the_image_edge_are_surface():
    full = np.ones((5, 5), bool)
    centre = np.zeros((5, 5), bool)
    centre[2, 2] = True
    there, back = surface_distances(full, centre)
    assert len(there) == 16  # the rim only
    assert back.tolist() == [2.0]


def test_distances_of_an_empty_mask_and_a_bad_spacing_are_refused():
    empty, full = np.zeros((3, 3), bool), np.ones((3, 3), bool)
    with pytest.raises(ValueError, match="no surface"):
        surface_distances(full, empty)
    with pytest.raises(ValueError, match="2 positive numbers"):
        surface_distances(full, full, (1.0, 0.0))


def naive_distances(prediction, truth, spacing):
    """The definition, word by word, on the whole array and without any short cut."""

    def surface(mask):
        cross = ndimage.generate_binary_structure(mask.ndim, 1)
        return mask ^ ndimage.binary_erosion(mask, cross, border_value=0)

    a, b = (np.argwhere(surface(mask)) * np.asarray(spacing) for mask in (prediction, truth))
    distances = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return distances.min(1), distances.min(0)


shapes = st.one_of(arrays.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=9))


@st.composite
def mask_pairs(draw):
    """Two masks, and a canvas around them so that both search methods and all edges occur."""
    shape = draw(shapes)
    margins = [(draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in shape]
    pair = [np.pad(draw(arrays.arrays(bool, shape)), margins) for _ in range(2)]
    gap = draw(st.integers(0, 40))  # far apart: a large box with thin surfaces
    pair[0] = np.pad(pair[0], [(0, gap)] + [(0, 0)] * (len(shape) - 1))
    pair[1] = np.pad(pair[1], [(gap, 0)] + [(0, 0)] * (len(shape) - 1))
    spacing = [draw(st.sampled_from([0.5, 0.7, 1.0, 2.5])) for _ in shape]
    return *pair, spacing


@settings(max_examples=60, deadline=None, derandomize=True)
@given(mask_pairs())
def test_cropped_distances_equal_the_naive_ones(case):
    prediction, truth, spacing = case
    if not (prediction.any() and truth.any()):
        assert math.isnan(hd95(prediction, truth, spacing, empty=NAN))
        return
    there, back = naive_distances(prediction, truth, spacing)
    pooled = np.percentile(np.concatenate([there, back]), 95)
    larger = max(np.percentile(there, 95), np.percentile(back, 95))
    mean = np.concatenate([there, back]).mean()
    assert hd95(prediction, truth, spacing) == pytest.approx(pooled, rel=1e-12)
    assert hd95(prediction, truth, spacing, pooling="max") == pytest.approx(larger, rel=1e-12)
    assert assd(prediction, truth, spacing) == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("method", ["_distances_by_tree", "_distances_by_transform"])
def test_both_search_methods_give_the_same_distances(golden, method):
    rng = np.random.default_rng(0)
    source, goal = rng.random((2, 24, 31)) < 0.1
    spacing = np.array([0.8, 1.7])
    rows, columns = np.argwhere(source) * spacing, np.argwhere(goal) * spacing
    expected = np.linalg.norm(rows[:, None] - columns[None], axis=-1).min(1)
    values = getattr(metrics, method)(source, goal, spacing)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_binary_row_holds_scores_and_counts():
    row = segmentation_scores(mask([[1, 1], [0, 0]]), mask([[1, 0], [0, 0]]))
    assert row == pytest.approx(
        {
            "dice": 2 / 3,
            "iou": 1 / 2,
            "precision": 1 / 2,
            "recall": 1.0,
            "specificity": 2 / 3,
            "hd95": 0.9,  # distances 0, 1 and 0: the 95th percentile lies at position 1.9
            "tp": 1,
            "fp": 1,
            "fn": 0,
            "tn": 2,
        },
        abs=1e-6,
    )


def test_classes_absent_from_both_masks_leave_the_mean():
    prediction = np.array([[1, 1, 0, 0]])
    truth = np.array([[1, 0, 0, 2]])
    row = segmentation_scores(prediction, truth, classes=4)
    assert row["dice_1"] == pytest.approx(2 / 3)
    assert (row["dice_2"], row["iou_2"], row["hd95_2"]) == (0, 0, 100)
    assert all(math.isnan(row[key]) for key in ("dice_3", "iou_3", "recall_3", "hd95_3"))
    assert math.isnan(row["precision_2"])  # class 2 is predicted nowhere
    assert row["dice"] == pytest.approx((2 / 3 + 0) / 2)
    assert row["hd95"] == pytest.approx((0.9 + 100) / 2)
    assert (row["tp_1"], row["fp_1"], row["fn_2"], row["tn_3"]) == (1, 1, 1, 4)


def test_class_indices_outside_of_the_classes_are_named():
    truth = np.array([[0, 255]], np.uint8)
    with pytest.raises(
        UserError, match=r"truth has values 0\.\.255; expected class indices 0\.\.2"
    ):
        segmentation_scores(np.zeros((1, 2), np.uint8), truth, classes=3)


def test_unknown_protocol_is_a_user_error():
    with pytest.raises(UserError, match="Did you mean 'native'"):
        segmentation_scores(mask([[1]]), mask([[1]]), protocol="nativ")


def test_summary_keeps_mean_and_pooled_dice_apart():
    small = segmentation_scores(mask([[1, 1], [0, 0]]), mask([[1, 0], [0, 0]]))
    large = segmentation_scores(np.ones((10, 10), bool), np.ones((10, 10), bool))
    summary = summarise([{"id": "a", **small}, {"id": "b", **large}])
    assert summary["dice"] == pytest.approx((2 / 3 + 1) / 2)
    assert summary["dice_pooled"] == pytest.approx(2 * 101 / (2 * 101 + 1))
    assert summary["hd95"] == pytest.approx(0.45)
    assert summary["samples"] == 2
    assert set(summary) == {*metrics.OVERLAPS, "hd95", "dice_pooled", "samples"}


def test_summary_of_classes_leaves_nan_out_and_says_so():
    first = segmentation_scores(np.array([[1, 0]]), np.array([[1, 0]]), classes=4)
    second = segmentation_scores(np.array([[1, 2]]), np.array([[0, 2]]), classes=4)
    empty = segmentation_scores(np.array([[0, 0]]), np.array([[0, 0]]), classes=4)
    summary = summarise([first, second, empty])
    assert summary["samples"] == 3
    assert (summary["dice_1"], summary["samples_dice_1"]) == (0.5, 2)
    assert (summary["dice_2"], summary["samples_dice_2"]) == (1.0, 1)
    assert math.isnan(summary["dice_3"]) and summary["samples_dice_3"] == 0
    assert (summary["dice"], summary["samples_dice"]) == (0.75, 2)  # mean of 1 and (0 + 1) / 2
    assert summary["dice_pooled_1"] == pytest.approx(2 / 3)
    assert summary["dice_pooled"] == pytest.approx((2 / 3 + 1) / 2)
    assert math.isnan(summary["dice_pooled_3"])


def test_summary_of_empty_masks_only():
    row = segmentation_scores(mask([[0, 0]]), mask([[0, 0]]))
    summary = summarise([row])
    assert (summary["dice"], summary["recall"], summary["hd95"]) == (1, 0, 100)
    assert math.isnan(summary["dice_pooled"])
    with pytest.raises(ValueError, match="no rows"):
        summarise([])
