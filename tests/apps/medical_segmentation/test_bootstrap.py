"""Bootstrap intervals of mean scores."""

import math

import numpy as np
import pytest

from apps.medical_segmentation.bootstrap import Bootstrap


def test_the_interval_is_that_of_the_means_theory():
    """Of many cases it is the mean's normal one: 1.96 standard errors to each side."""
    values = np.random.default_rng(0).normal(0.8, 0.1, 400)
    found = Bootstrap([str(n) for n in range(400)], rounds=4000).interval(values)
    error = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + error, abs=0.1 * error)


def test_three_cases_have_the_ten_means_that_can_be_drawn():
    found = Bootstrap("abc", rounds=5000).interval([0.0, 0.0, 3.0])
    assert (found.value, found.low, found.high) == (1.0, 0.0, 3.0)  # 3.0 in 1 of 27 draws
    assert Bootstrap("a").interval([0.7]).low == 0.7


def test_the_images_of_a_case_are_drawn_together():
    """Twice the same images are no more evidence than once."""
    values = [0.2, 0.9, 0.4, 0.6]
    once, twice = Bootstrap("abcd"), Bootstrap("abcdabcd")
    assert (once.cases, twice.cases) == (4, 4)
    one, other = vars(once.interval(values)), vars(twice.interval(values * 2))
    assert one == pytest.approx(other)


def test_the_seed_decides_and_is_shared_by_all_networks():
    cases, values = [str(n) for n in range(30)], np.random.default_rng(1).random(30)
    one, other = (Bootstrap(cases, seed=seed).interval(values) for seed in (0, 1))
    assert one == Bootstrap(cases, seed=0).interval(values) != other
    drawn = Bootstrap(cases)
    better = drawn.interval(values + 0.01 - values)
    assert (better.low, better.high) == pytest.approx((0.01, 0.01))  # the difference is certain


def test_what_is_not_defined_is_left_out():
    drawn = Bootstrap("abcd")
    assert drawn.interval([0.5, math.nan, 0.5, math.nan]).high == 0.5
    assert all(map(math.isnan, vars(drawn.interval([math.nan] * 4)).values()))


@pytest.mark.parametrize("arguments", [([],), (["a"], 0)])
def test_nothing_can_be_drawn_from_nothing(arguments):
    with pytest.raises(ValueError, match="`cases` must hold one or more"):
        Bootstrap(arguments[0], rounds=arguments[1] if len(arguments) > 1 else 10)
