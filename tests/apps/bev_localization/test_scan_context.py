"""Scan Context: cells as defined, no dependence on the heading, which it finds."""

from __future__ import annotations

import numpy as np
import pytest

from apps.bev_localization.peers.scan_context import (
    ScanContextIndex,
    distances,
    ring_keys,
    scan_context,
)
from core.errors import UserError


def place(seed, count=400):
    """Return a scan of some walls and poles, (N, 3)."""
    rng = np.random.default_rng(seed)
    foot = rng.uniform(-60, 60, (count // 10, 1, 2))
    return np.concatenate(
        [np.repeat(foot, 10, axis=1), rng.uniform(-1.7, 12, (count // 10, 10, 1))], axis=2
    ).reshape(-1, 3)


def turned(points, degrees):
    """Return points as a sensor sees them that is turned counter-clockwise."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y, z = points.T
    return np.stack([cos * x + sin * y, -sin * x + cos * y, z], axis=1)


def by_definition(query, other, shift):
    """Return the distance at a shift as the paper's equation 6 has it, column by column."""
    found = []
    for j in range(query.shape[1]):
        a, b = query[:, j], other[:, (j - shift) % query.shape[1]]
        if a.any() and b.any():
            found.append(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    return np.mean(found) if found else 1.0


def test_a_cell_holds_its_largest_height():
    points = np.array([
        [10.1, 0.1, 0.5], [10.2, 0.2, 1.5], [10.1, 0.1, -1], [0.1, 50.1, 3], [-0.1, -50, -9],
        [81, 0, 5], [np.nan, 0, 0],
    ])  # fmt: skip
    context = scan_context(points)
    assert context.shape == (20, 60) and context.dtype == np.float32
    assert np.argwhere(context).tolist() == [[2, 0], [12, 14]]
    assert context[2, 0] == 3.5 and context[12, 14] == 5.0


def test_distances_are_those_of_the_definition():
    contexts = np.stack([scan_context(place(seed, 60)) for seed in range(5)])
    table = distances(contexts[0], contexts)
    assert table.shape == (5, 60)
    for other in range(5):
        for shift in (0, 1, 17, 59):
            expected = by_definition(contexts[0], contexts[other], shift)
            assert table[other, shift] == pytest.approx(expected, abs=1e-5)
    assert table[0, 0] == pytest.approx(0, abs=1e-6)
    assert distances(np.zeros((20, 60)), contexts).tolist() == np.ones((5, 60)).tolist()


@pytest.mark.parametrize("sectors", [0, 1, 15, 30, 44])
def test_turning_the_sensor_shifts_columns_and_is_told(sectors):
    contexts = np.stack([scan_context(place(seed)) for seed in range(12)])
    query = scan_context(turned(place(7), 6.0 * sectors))
    np.testing.assert_allclose(query, np.roll(contexts[7], -sectors, axis=1), atol=1e-5)
    np.testing.assert_allclose(ring_keys(query[None])[0], ring_keys(contexts)[7], atol=1e-5)
    found = ScanContextIndex(contexts).search(query, 3)
    assert found.places[0] == 7 and found.distances[0] < 1e-5
    assert (found.yaws[0] - 6.0 * sectors) % 360 == pytest.approx(0)
    assert found.yaws.min() >= -180 and found.yaws.max() < 180 and len(found.places) == 3


def test_comparing_all_finds_at_least_what_candidates_do():
    contexts = np.stack([scan_context(place(seed)) for seed in range(30)])
    query = scan_context(turned(place(3) + np.random.default_rng(0).normal(0, 0.1, (400, 3)), 33))
    every = ScanContextIndex(contexts, candidates=0).search(query, 30)
    few = ScanContextIndex(contexts, candidates=4).search(query, 30)
    assert len(every.places) == 30 and len(few.places) == 4
    assert every.places[0] == 3 and every.distances[0] <= few.distances[0]
    assert np.all(np.diff(every.distances) >= 0)
    with pytest.raises(UserError, match="at least one scan"):
        ScanContextIndex(np.empty((0, 20, 60)))
