"""Terms of distillation, with numbers worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from core.compress.distill import (
    Affinity,
    AttentionTransfer,
    FeatureMatch,
    SoftTargets,
)
from core.compress.feature_maps import block_side, pooled, unit

PAIR = {"a": "b"}
# Softened by T = 2 the teacher says (3/4, 1/4) and the student (1/2, 1/2).
SOFT = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))


@pytest.mark.parametrize(
    "student, teacher",
    [
        ([[0.0, 0.0]], [[2 * math.log(3), 0.0]]),
        ([[0.0]], [[2 * math.log(3)]]),  # one logit: the two-class form
        ([[[[5.0, 5.0]]]], [[[[1 + 2 * math.log(3), 1.0]]]]),
    ],
)
def test_soft_targets(student, teacher):
    term = SoftTargets(temperature=2.0)
    assert float(term.compare(student, teacher)) == pytest.approx(SOFT, abs=1e-6)
    assert float(term.compare(teacher, teacher)) == pytest.approx(0.0, abs=1e-6)


def test_soft_targets_stay_finite_for_certain_networks():
    assert float(SoftTargets(1.0).compare([[-500.0]], [[500.0]])) == pytest.approx(500.0)


@pytest.mark.parametrize("distance, expected", [("mse", 4.5), ("l1", 1.5), ("cosine", 0.2)])
def test_feature_distances(distance, expected):
    value = FeatureMatch(PAIR, distance=distance).compare([[3.0, 4.0]], [[0.0, 4.0]])
    assert float(value) == pytest.approx(expected)


def test_attention_is_compared_as_a_distribution_over_space():
    student = [[[[1.0, 0.0], [0.0, -1.0]]]]  # sums of squares 1 and 1
    teacher = [[[[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]]  # 4 and 0; another width
    expected = ((1 - math.sqrt(0.5)) ** 2 + 0.5) / 2
    assert float(AttentionTransfer(PAIR).compare(student, teacher)) == pytest.approx(expected)


def test_power_of_attention():
    # |F| is (3, 4) against (1, 0): (3/5, 4/5) against (1, 0).
    value = AttentionTransfer(PAIR, power=1).compare([[[3.0], [-4.0]]], [[[1.0], [0.0]]])
    assert float(value) == pytest.approx((0.4**2 + 0.8**2) / 2)


@pytest.mark.parametrize("kind", [FeatureMatch, AttentionTransfer, Affinity])
def test_maps_of_another_size_are_averaged(kind):
    coarse = np.array([[[[1.0, 2.0], [5.0, 3.0]]]], np.float32)
    fine = coarse.repeat(2, axis=1).repeat(3, axis=2)
    assert float(kind(PAIR).compare(coarse, fine)) == pytest.approx(0.0, abs=1e-6)


def test_affinity_of_orthogonal_and_of_equal_positions():
    student = [[[[1.0, 0.0], [0.0, 3.0]]]]  # A = identity
    teacher = [[[[2.0, 2.0, 0.0], [1.0, 1.0, 0.0]]]]  # A = ones
    assert float(Affinity(PAIR).compare(student, teacher)) == pytest.approx(0.5)


def test_affinity_pools_to_its_limit():
    features = np.random.default_rng(0).standard_normal((2, 7, 5, 3)).astype(np.float32)
    assert Affinity(PAIR, max_positions=35).matrix(features).shape == (2, 35, 35)
    assert Affinity(PAIR, max_positions=12).matrix(features).shape == (2, 12, 12)
    assert block_side(1, 10, 4) == 3


def test_incomplete_blocks_are_averaged_over_what_they_hold():
    values = np.array([1.0, 3.0, 5.0], np.float32).reshape(1, 1, 3, 1)
    assert np.ravel(pooled(tf.constant(values), 2)).tolist() == [2.0, 5.0]


def test_dead_positions_pass_no_gradient():
    features = tf.Variable([[[[0.0, 0.0], [1.0, 2.0]]]])
    with tf.GradientTape() as tape:
        value = Affinity(PAIR).compare(features, [[[[1.0, 1.0], [2.0, 1.0]]]])
    gradient = tape.gradient(value, features).numpy()
    assert np.isfinite(gradient).all()
    assert gradient[0, 0, 0].tolist() == [0.0, 0.0]
    assert float(tf.norm(unit(features, -1)[0, 0, 1])) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "term",
    [
        FeatureMatch(PAIR),
        AttentionTransfer(PAIR, power=1.5),
        Affinity(PAIR, max_positions=6),
    ],
)
def test_open_sizes_give_the_same(term):
    generator = np.random.default_rng(1)
    ours = generator.standard_normal((2, 4, 6, 3)).astype(np.float32)
    theirs = generator.standard_normal((2, 8, 6, 3)).astype(np.float32)
    shape = tf.TensorSpec((None, None, None, 3), tf.float32)
    open_sizes = tf.function(term.compare, input_signature=[shape, shape])
    assert float(open_sizes(ours, theirs)) == pytest.approx(float(term.compare(ours, theirs)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="integer factor"):
        open_sizes(ours, theirs[:, :7])


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: SoftTargets(temperature=0.0), "`temperature` must be positive"),
        (lambda: SoftTargets(weight=-1.0), "`weight` must be"),
        (lambda: FeatureMatch({}), "`pairs` must hold"),
        (lambda: FeatureMatch("ab"), "`pairs` must hold"),
        (lambda: FeatureMatch(PAIR, distance="l3"), "`distance` must be one of"),
        (lambda: AttentionTransfer(PAIR, power=0.5), "`power` must be"),
        (lambda: Affinity(PAIR, max_positions=0), "`max_positions` must be"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()
