"""Heat-map metrics: published maps, counts and numbers; rasterisers at their corners."""

import math
from pathlib import Path

import numpy as np
import pytest

from apps.line_segments.metrics.cases import Case
from apps.line_segments.metrics.heatmap import (
    LCNN_THRESHOLDS,
    drawn,
    heat_counts,
    heat_curve,
    heat_scores,
    summarised,
)

GOLDEN = Path(__file__).resolve().parents[2] / "golden/lsdnet__metrics.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as data:
        return dict(data)


@pytest.fixture(scope="module")
def cases(golden):
    found = [golden[f"pred{i}"] for i in range(3)]
    return [
        Case(p[:, :4], p[:, 4], golden[f"gt{i}"], tuple(golden[f"size{i}"]))
        for i, p in enumerate(found)
    ]


def test_the_published_maps(golden, cases):
    for number, case in enumerate(cases):
        count = math.prod(case.size)
        truth = np.unpackbits(golden[f"gt_map{number}"])[:count].reshape(case.size)
        found = np.unpackbits(golden[f"pred_map{number}"])[:count].reshape(case.size)
        assert (drawn(case.truth, case.size) == truth).all()
        assert (drawn(case.found[case.scores > 0.3], case.size, truth=False) == found).all()


def test_the_published_counts_and_numbers(golden, cases):
    thresholds = golden["heat_thresholds"].tolist()
    counts = np.array([heat_counts(case, thresholds) for case in cases])
    pooled = counts.sum(0)
    # Its matcher draws outlier edges at random and once misses a pair that a largest matching has.
    missed = pooled[:, 0] - golden["heat_tp"]
    assert missed.min() == 0 and missed.max() <= 1 and np.count_nonzero(missed) <= 1
    assert (pooled[:, :2].sum(1) == golden["heat_tp"] + golden["heat_fp"]).all()
    assert (pooled[:, 2] == golden["heat_gt"]).all()
    scores = summarised(counts)
    for name, key in (("pooled_sorted", "FH"), ("pooled", "FH_unsorted"), ("per_image",) * 2):
        expected = float(golden["FH_per_image" if key == "per_image" else key])
        assert 100 * scores[f"fh_{name}"] == pytest.approx(expected, abs=1e-9)
    assert 100 * scores["aph_pooled_sorted"] == pytest.approx(float(golden["APH"]), abs=0.01)


def test_thresholds_in_any_order_give_the_same_counts(cases):
    thresholds = (0.7, 0.1, 0.4)
    counts = heat_counts(cases[0], thresholds)
    for row, threshold in zip(counts, thresholds, strict=True):
        assert (heat_counts(cases[0], (threshold,))[0] == row).all()


@pytest.mark.parametrize(
    "raster, truth, segment, expected",
    [
        ("hawp", True, [0, 0, 3, 0], [(0, 0), (0, 2), (0, 3)]),  # 1.5 rounds away from zero
        ("hawp", True, [-2.6, 1, 1, 1], [(1, 0), (1, 1)]),  # outside is left out
        ("hawp", True, [1, 1, 1.6, 1], []),  # no longer than a pixel: the published 0 / 0
        ("hawp", True, [2, 2, 2, 2], []),
        ("lcnn", True, [0, 0, 3, 0], [(0, 0), (0, 1), (0, 2)]),
        ("lcnn", True, [1, 1, 1.6, 1], [(0, 1)]),
        ("lcnn", True, [2, 2, 9, 2], [(1, 1), (1, 2), (1, 3)]),  # beyond the last column
        ("lcnn", False, [2, 2, 9, 2], [(1, 1), (1, 2), (1, 3)]),  # to the last column
        ("lcnn", False, [-3, 0, -1, 0], [(0, 0)]),
        ("lcnn", False, [2, 2, 2, 2], []),
    ],
)
def test_rasterisers(raster, truth, segment, expected):
    pixels = drawn(np.array([segment]), (4, 4), raster=raster, truth=truth)
    assert [tuple(map(int, one)) for one in np.argwhere(pixels)] == expected


def test_a_perfect_answer_scores_one_under_every_name(cases):
    perfect = [Case(c.truth, np.ones(len(c.truth)), c.truth, c.size) for c in cases]
    scores = heat_scores(iter(perfect), (0.5,))
    assert set(scores.values()) == {1.0} and len(scores) == 6


def test_nothing_found_and_nothing_there():
    some, none = [[1, 1, 9, 1]], np.zeros((0, 4))
    nothing = heat_scores([Case(none, [], some, (16, 16))], LCNN_THRESHOLDS, raster="lcnn")
    assert set(nothing.values()) == {0.0}
    assert all(map(math.isnan, heat_scores([Case(some, [1], none, (16, 16))]).values()))
    assert all(map(math.isnan, heat_scores([]).values()))


def test_sorting_changes_a_curve_that_is_not_monotone():
    counts = np.array([[[9, 9, 10], [4, 0, 10], [3, 3, 10]]])
    scores = summarised(counts)
    assert scores["aph_pooled_sorted"] == pytest.approx(0.3 * 1 + 0.1 * 0.5 + 0.5 * 0.5)
    assert scores["aph_pooled"] == pytest.approx(0.4 * 1 + 0.5 * 0.5)
    recall, precision = heat_curve(counts, "pooled_sorted")
    assert (np.diff(recall) >= 0).all() and (np.diff(precision) <= 0).all()
    assert heat_curve(counts, "pooled")[1].tolist() == [0.5, 1.0, 0.5]


def test_unknown_variants_are_refused(cases):
    with pytest.raises(ValueError, match="pooled_sorted"):
        heat_curve(np.zeros((1, 1, 3)), "sorted")
    with pytest.raises(ValueError, match="hawp"):
        drawn(cases[0].truth, cases[0].size, raster="matlab")
