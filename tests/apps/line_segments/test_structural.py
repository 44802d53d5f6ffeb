"""Structural AP: the published flags and numbers, and its rules one by one."""

import math
from pathlib import Path

import numpy as np
import pytest

from apps.line_segments.metrics.cases import Case
from apps.line_segments.metrics.curves import average_precision
from apps.line_segments.metrics.structural import structural_scores, true_positives

GOLDEN = Path(__file__).resolve().parents[2] / "golden/lsdnet__metrics.npz"
SQUARE = (128, 128)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as data:
        return dict(data)


def cases(golden) -> list[Case]:
    return [
        Case(p[:, :4], p[:, 4], golden[f"gt{i}"], tuple(golden[f"size{i}"]))
        for i, p in enumerate(golden[f"pred{i}"] for i in range(3))
    ]


def test_the_published_flags_and_scores(golden):
    flags = np.concatenate([true_positives(case)[0] for case in cases(golden)], axis=1)
    scores = structural_scores(cases(golden))
    for row, name in zip(flags, ("5", "10", "15"), strict=True):
        assert row.tolist() == golden[f"tp_{name}"].astype(bool).tolist()
        assert 100 * scores[f"sap{name}"] == pytest.approx(float(golden[f"sAP{name}"]), abs=1e-9)
        assert 100 * scores[f"sf{name}"] == pytest.approx(float(golden[f"sF{name}"]), abs=1e-9)
    assert 100 * scores["msap"] == pytest.approx(float(golden["msAP"]), abs=1e-9)


def test_the_order_of_predictions_and_of_their_ends_is_nothing(golden):
    rng = np.random.default_rng(0)
    expected = structural_scores(cases(golden))
    shuffled = []
    for case in cases(golden):
        order = rng.permutation(len(case.found))
        shuffled.append(
            Case(case.found[order][:, [2, 3, 0, 1]], case.scores[order], case.truth, case.size)
        )
    assert structural_scores(shuffled) == pytest.approx(expected, abs=1e-12)


LINE = [10.0, 10, 50, 10]


@pytest.mark.parametrize(
    "found, truth, expected",
    [
        ([LINE], [LINE], [True]),
        ([[10, 12, 50, 11]], [LINE], [False]),  # 4 + 1 is not below 5
        ([[10, 11.9, 50, 11]], [LINE], [True]),
        ([LINE, LINE], [LINE], [True, False]),  # once found, a truth is taken
        # the nearest truth is taken: the second nearest, still free, is not asked
        ([LINE, [10, 10.4, 50, 10.4]], [LINE, [10, 11, 50, 11]], [True, False]),
        ([LINE], [], [False]),
        ([], [LINE], []),
    ],
)
def test_when_a_prediction_is_right(found, truth, expected):
    scores = np.linspace(1, 0.5, len(found))
    flags, _ = true_positives(Case(np.array(found), scores, np.array(truth), SQUARE), (5,))
    assert flags[0].tolist() == expected


def test_the_grid_ignores_the_aspect_ratio():
    case = Case([[10, 20, 50, 20]], [0.5], [[10, 26, 50, 26]], (512, 128))
    assert true_positives(case)[0].tolist() == [[True]] * 3  # six rows of 512 are 1.5 of 128


def test_no_truth_has_no_score():
    scores = structural_scores([Case([LINE], [0.5], np.zeros((0, 4)), SQUARE)])
    assert all(map(math.isnan, scores.values())) and "msap" in scores
    empty = structural_scores([Case(np.zeros((0, 4)), [], [LINE], SQUARE)])
    assert empty["sap10"] == empty["sf10"] == 0


@pytest.mark.parametrize(
    "found, scores, message",
    [
        ([LINE], [0.5, 0.4], "as many scores"),
        ([[math.nan, 0, 1, 1]], [0.5], "must be finite"),
        ([LINE], [math.inf], "must be finite"),
    ],
)
def test_a_case_is_checked(found, scores, message):
    with pytest.raises(ValueError, match=message):
        Case(found, scores, [LINE], SQUARE)


def test_average_precision_by_hand():
    # precision 1 up to recall 0.5, then 2/3 up to 1 (the dip to 1/2 is under the envelope)
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3])
    assert average_precision(recall, precision) == pytest.approx(0.5 + 0.5 * 2 / 3)
