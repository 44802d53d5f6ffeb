"""The weighted cross entropy and the weights of classes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from core.classification.losses import (
    WeightedCrossentropy,
    balanced_weights,
    effective_number_weights,
)
from core.errors import UserError

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.3, -0.2]], np.float32)
SHARES = np.array([[0.7, 0.3, 0.0], [0.0, 0.25, 0.75]], np.float32)
COUNTS = {"coral": 1562, "crab": 43, "fish": 2200, "octopus": 20}


def test_without_weights_it_is_keras_own_for_shares_and_for_classes():
    for smoothing in (0.0, 0.1):
        own = WeightedCrossentropy(label_smoothing=smoothing)
        peer = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        assert float(own(SHARES, LOGITS)) == pytest.approx(float(peer(SHARES, LOGITS)), abs=1e-6)
        hot = np.eye(3, dtype=np.float32)[[2, 0]]
        for classes in (np.array([2, 0]), np.array([[2], [0]])):
            assert float(own(classes, LOGITS)) == pytest.approx(float(peer(hot, LOGITS)), abs=1e-6)


def test_a_mixed_sample_is_weighted_by_each_of_its_parts():
    logs = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    weights = [0.5, 2.0, 1.0]
    smooth = 0.8 * SHARES + 0.2 / 3
    expected = -(smooth * weights * logs).sum(axis=1).mean()
    loss = WeightedCrossentropy(weights, label_smoothing=0.2)
    assert float(loss(SHARES, LOGITS)) == pytest.approx(expected, abs=1e-6)


def test_the_gradient_is_that_of_the_weighted_sum():
    """TensorFlow's cross entropy of weighted targets would give softmax - targets."""
    loss = WeightedCrossentropy([0.5, 2.0, 1.0])
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        value = loss(SHARES, logits)
    gradient = tape.gradient(value, logits).numpy()
    step = 1e-2
    for place in np.ndindex(2, 3):
        moved = np.zeros_like(LOGITS)
        moved[place] = step
        slope = (
            (float(loss(SHARES, LOGITS + moved)) - float(loss(SHARES, LOGITS - moved))) / 2 / step
        )
        assert gradient[place] == pytest.approx(slope, abs=1e-4)


def test_it_is_saved_with_its_choices():
    loss = WeightedCrossentropy(np.array([0.5, 2.0, 1.0]), label_smoothing=0.1)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(SHARES, LOGITS)) == float(loss(SHARES, LOGITS))


def test_wrong_choices_are_refused():
    with pytest.raises(ValueError, match="`label_smoothing` must be"):
        WeightedCrossentropy(label_smoothing=1.0)
    with pytest.raises(ValueError, match="`class_weights` must have one for each of 3"):
        WeightedCrossentropy([1.0, 2.0])(SHARES, LOGITS)


def test_balanced_weights_are_scikit_learns():
    labels = np.repeat(np.arange(4), list(COUNTS.values()))
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    np.testing.assert_allclose(balanced_weights(COUNTS), expected)


def test_effective_numbers_lie_between_all_alike_and_inverse_frequency():
    np.testing.assert_allclose(effective_number_weights(COUNTS, 0.0), 1)
    nearly = effective_number_weights(COUNTS, 1 - 1e-9)
    np.testing.assert_allclose(nearly, balanced_weights(COUNTS), rtol=1e-5)
    weights = effective_number_weights(COUNTS, 0.99)
    effective = [(1 - 0.99**n) / (1 - 0.99) for n in COUNTS.values()]
    np.testing.assert_allclose(weights / weights[0], effective[0] / np.array(effective))
    assert np.average(weights, weights=list(COUNTS.values())) == pytest.approx(1)


@pytest.mark.parametrize("weigh", [balanced_weights, effective_number_weights])
def test_a_class_without_training_samples_is_named(weigh):
    with pytest.raises(UserError, match="Class 'squid' has no training sample"):
        weigh({**COUNTS, "squid": 0})


def test_beta_is_below_one():
    with pytest.raises(ValueError, match="`beta` must be"):
        effective_number_weights(COUNTS, 1.0)
