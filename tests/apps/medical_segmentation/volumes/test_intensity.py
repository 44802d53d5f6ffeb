"""Windows of intensities: what becomes black, grey and white."""

import numpy as np
import pytest

from apps.medical_segmentation.volumes.intensity import (
    CT,
    PERCENTILES,
    WINDOWS,
    check_window,
    chosen_for,
    ends,
    to_grey,
)
from core.errors import UserError


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_what_lies_in_a_window_is_spread_over_the_grey_levels(kind):
    values = np.array([-1000, -150, 0, 50, 250, 3000], kind).reshape(1, 2, 3)
    grey = to_grey(values, "abdomen")
    assert grey.dtype == np.uint8 and grey.shape == (1, 2, 3)
    assert grey.ravel().tolist() == [0, 0, 96, 128, 255, 255]
    assert (to_grey(values, [-150, 250]) == grey).all()


@pytest.mark.parametrize(
    "name, low, high",
    [("liver", -45, 105), ("lung", -1350, 150), ("bone", -500, 1300), ("brain", 0, 80),
     (CT, -1000, 1000)],
)  # fmt: skip
def test_named_windows_are_those_of_radiology(name, low, high):
    assert ends(name, np.zeros((1, 1, 1))) == (low, high)


def test_percentiles_look_past_a_few_bright_voxels_of_each_volume():
    values = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    spoiled = values.copy()
    spoiled[0, 0, 0], spoiled[9, 9, 9] = -1e6, 1e6
    low, high = ends(PERCENTILES, spoiled)
    assert (low, high) == pytest.approx((5, 994), abs=2)
    assert (
        np.abs(to_grey(values, PERCENTILES).astype(int) - to_grey(spoiled, PERCENTILES)).max() <= 1
    )
    assert (to_grey(values * 7 + 3, PERCENTILES) == to_grey(values, PERCENTILES)).all()


def test_percentiles_of_a_large_volume_are_those_of_all_its_voxels():
    values = np.random.default_rng(3).normal(0, 1000, (40, 512, 256)).astype(np.int16)
    found = ends(PERCENTILES, values)
    assert found == pytest.approx(np.percentile(values, (0.5, 99.5)), abs=10)
    assert ends(PERCENTILES, values) == found


def test_a_volume_that_is_nearly_constant_has_a_window_too():
    for constant in (7.0, -4.1e20):
        assert not to_grey(np.full((4, 16, 16), constant, np.float32), PERCENTILES).any()
    values = np.full((4, 16, 16), 7, np.int16)
    values[2, 3, 4] = 9
    grey = to_grey(values, PERCENTILES)
    assert grey[2, 3, 4] == 255 and np.count_nonzero(grey) == 1


def test_data_that_reach_down_to_air_are_ct():
    assert chosen_for(np.array([-1024, 40], np.int16)) == CT
    assert chosen_for(np.array([-32, 1200], np.int16)) == PERCENTILES


def test_windows_that_can_be_are_taken():
    for window in (PERCENTILES, *WINDOWS, [-150, 250], (0.5, 1.5)):
        check_window(window)
    check_window("auto", auto=True)


@pytest.mark.parametrize(
    "window", ["auto", "lungs", [250, -150], [0, 0], [1], [0, 1, 2], [0, float("inf")], [False, 1],
               ["a", "b"], 3, None, True]
)  # fmt: skip
def test_windows_that_cannot_be_are_named(window):
    with pytest.raises(UserError, match=r"^The window is .*; choose one of percentiles, ct, abd"):
        check_window(window)


def test_a_misspelt_window_gets_its_nearest_name():
    with pytest.raises(UserError, match="Did you mean 'lung'"):
        check_window("lungs")
