"""Which ranges of an integer file lose what flows through them."""

import pytest

from core.export.ranges import Range


@pytest.mark.parametrize(
    "low, high, least, most, clipping_db, cuts",
    [
        (-1.5, 0.57, -1.54, 0.52, 55.0, False),  # sound
        (0.0, 6.02, -1.64, 2.38, 3.8, True),  # wide enough, but its zero point at the wrong end
        (-3.0, 3.0, -1.64, 4.1, 14.0, False),  # a few values that calibration had not met
        (0.0, 1.0, -0.1, 1.6, 6.0, False),  # of a nearly dead channel all of them
        (0.0, 0.01, -0.1, 1.6, 0.1, True),  # collapsed
    ],
)
def test_a_range_beside_the_values_cuts_where_a_narrow_one_may(
    low, high, least, most, clipping_db, cuts
):
    assert Range("conv", low, high, least, most, clipping_db, 40.0).cuts is cuts
