"""CUHK03's classic protocol against the published numbers and enumerated draws."""

import itertools

import golden_files
import numpy as np
import pytest

from apps.person_reid.ranking import rank
from apps.person_reid.single_shot import expected_single_shot, sampled_single_shot
from core.errors import UserError


class PublishedDraws:
    """Draws one image after the other, as the published code does with its global generator."""

    def __init__(self, seed):
        self._state = np.random.RandomState(seed)

    def integers(self, low, high, size):
        return np.array([[self._state.choice(n) for n in high] for _ in range(size[0])])


@pytest.fixture(scope="module")
def golden():
    with np.load(golden_files.GOLDEN / "osnet__ranking.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def case(golden):
    """The golden file's example: its first twelve queries."""
    return (
        golden["euclidean_dist"][:12],
        golden["q_pid"][:12],
        golden["g_pid"],
        golden["q_cam"][:12],
        golden["g_cam"],
    )


def enumerated(distance, q_ids, g_ids, q_cams, g_cams, max_rank):
    """Return the mean CMC over every possible draw, valid queries only."""
    curves = []
    for row, person, camera in zip(distance, q_ids, q_cams, strict=True):
        left = [i for i in range(len(row)) if not (g_ids[i] == person and g_cams[i] == camera)]
        if person not in [g_ids[i] for i in left]:
            continue
        people = [[i for i in left if g_ids[i] == p] for p in sorted({g_ids[i] for i in left})]
        draws = []
        for draw in itertools.product(*people):
            order = sorted(draw, key=lambda i: (row[i], i))
            place = [g_ids[i] for i in order].index(person) + 1
            draws.append(place <= np.arange(1, max_rank + 1))
        curves.append(np.mean(draws, axis=0))
    return np.mean(curves, axis=0)


def small_case(seed, ties):
    rng = np.random.default_rng(seed)
    distance = rng.integers(0, 4, (5, 10)).astype(np.float32) if ties else rng.random((5, 10))
    return (
        distance,
        rng.integers(0, 4, 5),
        np.concatenate([np.arange(4), rng.integers(0, 4, 6)]),
        rng.integers(0, 2, 5),
        rng.integers(0, 2, 10),
    )


def test_the_expectation_is_the_published_one(golden, case):
    scores = expected_single_shot(*case, max_rank=10)
    np.testing.assert_allclose(scores.cmc, golden["cuhk03_cmc_expected"], atol=1e-12)
    assert scores.map == pytest.approx(float(golden["cuhk03_map"]), abs=1e-12)


def test_draws_in_the_published_order_give_the_published_result(golden, case):
    scores = sampled_single_shot(*case, max_rank=10, generator=PublishedDraws(0))
    np.testing.assert_allclose(scores.cmc, golden["cuhk03_cmc_seed0"], atol=1e-7)
    assert scores.map == pytest.approx(float(golden["cuhk03_map"]), abs=1e-12)


@pytest.mark.parametrize("seed, ties", [(0, False), (1, True), (2, True)])
def test_the_expectation_is_the_mean_over_all_draws(seed, ties):
    case = small_case(seed, ties)
    scores = expected_single_shot(*case, max_rank=6)
    np.testing.assert_allclose(scores.cmc, enumerated(*case, 6), atol=1e-12)


@pytest.mark.parametrize("seed, ties", [(3, False), (4, True)])
def test_many_draws_come_near_the_expectation(seed, ties):
    case = small_case(seed, ties)
    expected = expected_single_shot(*case).cmc
    sampled = sampled_single_shot(*case, generator=np.random.default_rng(0), repeats=4000).cmc
    np.testing.assert_allclose(sampled, expected, atol=0.02)


def test_draws_follow_the_generator(case):
    def cmc(seed):
        return sampled_single_shot(*case, generator=np.random.default_rng(seed)).cmc.tolist()

    assert cmc(1) == cmc(1) != cmc(2)


def test_one_image_a_person_is_the_market_protocol():
    rng = np.random.default_rng(0)
    case = rng.random((6, 8)), np.arange(6), np.arange(8), np.zeros(6, int), np.ones(8, int)
    expected = rank(*case).cmc
    np.testing.assert_allclose(expected_single_shot(*case).cmc, expected, atol=1e-12)
    sampled = sampled_single_shot(*case, generator=np.random.default_rng(0))
    np.testing.assert_allclose(sampled.cmc, expected, atol=1e-12)


def test_beyond_the_number_of_persons_cmc_is_1(case):
    persons = len(np.unique(case[2]))
    for scores in (
        expected_single_shot(*case),
        sampled_single_shot(*case, generator=np.random.default_rng(0)),
    ):
        assert len(scores.cmc) == 50 > persons
        np.testing.assert_allclose(scores.cmc[persons - 1 :], 1.0)
        assert (np.diff(scores.cmc) >= -1e-12).all()


def test_a_set_of_one_camera_cannot_be_scored():
    with pytest.raises(UserError, match="All images are by one camera"):
        expected_single_shot(np.ones((2, 2)), [1, 2], [1, 2], [0, 0], [0, 0])
