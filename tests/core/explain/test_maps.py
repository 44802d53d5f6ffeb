"""Maps in [0, 1], at a picture's size."""

import numpy as np

from core.explain.maps import enlarged, evidence, unit_scaled


def test_a_map_goes_from_zero_to_one_and_without_differences_it_is_zero():
    np.testing.assert_array_equal(unit_scaled(np.full((2, 3), 4.0)), np.zeros((2, 3)))
    np.testing.assert_array_equal(unit_scaled(np.array([[1.0, 2.0, 5.0]])), [[0, 0.25, 1]])


def test_only_what_speaks_for_a_class_is_evidence():
    np.testing.assert_array_equal(evidence(np.array([[-3.0, 0.0, 1.0, 4.0]])), [[0, 0, 0.25, 1]])
    np.testing.assert_array_equal(evidence(np.array([[-3.0, -1.0]])), [[0, 0]])


def test_enlarging_keeps_the_centres_of_pixels():
    found = enlarged(np.array([[0.0, 4.0]]), (1, 4))
    np.testing.assert_allclose(found, [[0, 1, 3, 4]])
