"""Merging of segments before F^H†: what a surer segment leaves of another."""

import numpy as np
import pytest

from apps.line_segments.evaluation import line_scores
from apps.line_segments.metrics.cases import Case
from apps.line_segments.metrics.merging import merged

SURE = (100, 50, 200, 50)
SIZE = (300, 400)  # a hundredth of whose diagonal is 5 pixels


def case(*segments, scores=None):
    found = np.array(segments, float)
    given = np.linspace(1, 0.5, len(found)) if scores is None else np.array(scores)
    return Case(found, given, np.zeros((0, 4)), SIZE)


@pytest.mark.parametrize(
    "other, left",
    [
        ((120, 52, 180, 52), None),  # covered
        ((150, 54, 260, 54), (200, 54, 260, 54)),  # its beginning is told already
        ((260, 54, 150, 54), (260, 54, 200, 54)),  # its end is
        ((60, 50, 130, 50), (60, 50, 100, 50)),
        ((60, 50, 260, 50), (60, 50, 260, 50)),  # the surer one lies within it
        ((220, 50, 300, 50), (220, 50, 300, 50)),  # behind it
        ((120, 56, 180, 56), (120, 56, 180, 56)),  # too far beside it
        ((150, 20, 150, 90), (150, 20, 150, 90)),  # across it
    ],
)
def test_what_a_surer_segment_leaves(other, left):
    found = merged(case(SURE, other), 0.01)
    expected = [SURE] if left is None else [SURE, left]
    np.testing.assert_allclose(found.found, expected, atol=1e-9)
    assert found.scores.tolist() == [1, 0.5][: len(expected)]


def test_the_surest_is_kept_whole_in_whatever_order_they_come():
    found = merged(case((150, 50, 260, 50), SURE, scores=[0.2, 0.9]), 0.01)
    np.testing.assert_allclose(found.found, [SURE, (200, 50, 260, 50)])
    assert found.scores.tolist() == [0.9, 0.2]


def test_pieces_of_several_segments_are_cut_off_one_after_the_other():
    segments = SURE, (220, 50, 300, 50), (150, 50, 260, 50)
    found = merged(case(*segments), 0.01)
    np.testing.assert_allclose(found.found[2], (200, 50, 220, 50))


def test_nothing_and_points_are_no_segments():
    assert len(merged(Case(np.zeros((0, 4)), [], [], SIZE), 0.01).found) == 0
    assert len(merged(case((10, 10, 10, 10)), 0.01).found) == 1


def test_repetitions_cost_precision_only_where_they_are_not_merged():
    truth = np.array([SURE], float)
    repeated = Case([SURE, (101, 53, 201, 53)], [0.9995, 0.9995], truth, SIZE)
    plain, without = (line_scores([("a", repeated)], name) for name in ("lcnn", "lcnn_merged"))
    assert plain.summary["fh"] < 0.7 and without.summary["fh"] > 0.99
    assert "no merging" in plain.protocol and "merging (†)" in without.protocol
