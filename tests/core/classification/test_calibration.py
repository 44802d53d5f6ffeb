"""Reliability bins, the calibration error, and a temperature that ends in the weights."""

import keras
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss

from core.backbones.squeezenet import squeezenet
from core.classification.calibration import (
    HIGHEST,
    LOWEST,
    expected_calibration_error,
    fit_temperature,
    fold_temperature,
    negative_log_likelihood,
    reliability_bins,
)
from core.classification.metrics import softmax
from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.engines import LiteRTEngine
from core.export.convert import to_tflite
from core.model_card import ModelCard


class Logits(ClassifierMixin, BaseEstimator):
    """An estimator whose samples are logits already."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X

    def predict(self, X):
        return self.classes_[X.argmax(axis=1)]


def test_bins_are_scikit_learns_calibration_curve(golden):
    logits, labels = golden["logits"].astype(float), golden["labels"]
    probabilities = softmax(logits)
    bins = reliability_bins(probabilities, labels)
    right = probabilities.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=15)
    used = bins.count > 0
    np.testing.assert_allclose(bins.accuracy[used], accuracy, atol=1e-12)
    np.testing.assert_allclose(bins.confidence[used], confidence, atol=1e-12)
    assert bins.count.sum() == len(labels)


def test_the_calibration_error_is_counted_by_hand():
    # Two samples in (0.5, 0.6], one right; one, right, in (0.9, 1]: |0.5 - 0.6|, |1 - 0.95|.
    probabilities = np.array([[0.6, 0.4], [0.4, 0.6], [0.95, 0.05]])
    error = expected_calibration_error(probabilities, np.array([0, 0, 0]), bins=10)
    assert error == pytest.approx((2 * 0.1 + 0.05) / 3)


def test_a_bin_holds_its_upper_edge_and_certainty_is_in_the_last():
    bins = reliability_bins(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 0]), bins=2)
    assert bins.count.tolist() == [1, 1]
    assert bins.interval.shape == (2, 2)


def test_the_temperature_is_scikit_learns(golden):
    logits, labels = golden["logits"].astype(float), golden["labels"]
    temperature = fit_temperature(logits, labels)
    peer = CalibratedClassifierCV(
        FrozenEstimator(Logits().fit(logits, labels)), method="temperature"
    )
    expected = peer.fit(logits, labels).predict_proba(logits)
    np.testing.assert_allclose(softmax(logits / temperature), expected, atol=1e-6)
    after = negative_log_likelihood(logits, labels, temperature)
    assert after == pytest.approx(log_loss(labels, expected), abs=1e-9)
    before = expected_calibration_error(softmax(logits), labels)
    assert before > 0.3 > 0.04 > expected_calibration_error(softmax(logits / temperature), labels)


def test_the_temperature_that_was_put_in_is_found():
    rng = np.random.default_rng(0)
    logits = 2 * rng.standard_normal((20_000, 5))
    labels = np.array([rng.choice(5, p=row) for row in softmax(logits[:4000])])
    assert fit_temperature(3.7 * logits[:4000], labels) == pytest.approx(3.7, rel=0.05)


def test_temperatures_stay_in_their_range():
    labels = np.arange(4)
    assert fit_temperature(np.eye(4) * 9, labels) == LOWEST
    assert fit_temperature(np.eye(4)[::-1] * 9, labels) == HIGHEST
    assert fit_temperature(np.zeros((4, 4)), labels) == HIGHEST  # no temperature is better


def image_model(*tail):
    image = keras.Input((6, 6, 3))
    x = image
    for layer in tail:
        x = layer(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    "model",
    [
        lambda: image_model(
            keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4, name="head")
        ),
        lambda: image_model(
            keras.layers.Conv2D(4, 1, name="head", bias_initializer="ones"),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
        ),
        lambda: image_model(
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.Dense(4, use_bias=False, name="head"),
            keras.layers.Dropout(0.5),
        ),
    ],
)
def test_a_folded_temperature_divides_the_logits(model):
    keras.utils.set_random_seed(0)
    model = model()
    images = np.random.default_rng(0).standard_normal((5, 6, 6, 3)).astype(np.float32)
    before = model(images).numpy()
    assert fold_temperature(model, 2.5) == "head"
    np.testing.assert_allclose(model(images).numpy(), before / 2.5, rtol=1e-5, atol=1e-7)


def test_a_folded_temperature_is_in_the_file_whose_integers_lose_nothing_by_it():
    keras.utils.set_random_seed(0)
    card = ModelCard("tiny", "s", "aqua", input_size=(6, 6))
    images = np.random.default_rng(0).standard_normal((8, 6, 6, 3)).astype(np.float32)

    def logits(precision):
        network = model
        if precision == "int8":
            network = quantize_aware(model)
            calibrate(network, images)
        return LiteRTEngine(to_tflite(network, precision), card)(images)[0]

    model = image_model(keras.layers.Flatten(), keras.layers.Dense(4))
    before = {precision: logits(precision) for precision in ("float32", "int8")}
    fold_temperature(model, 2.5)
    np.testing.assert_allclose(logits("float32"), before["float32"] / 2.5, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logits("int8"), before["int8"] / 2.5, rtol=1e-4, atol=1e-6)


def test_squeezenets_classifier_is_found_before_its_relu_and_mean():
    model = squeezenet(input_shape=(33, 33, 3), classes=6)
    kernel = model.get_layer("classifier.1").get_weights()[0]
    assert fold_temperature(model, 0.5) == "classifier.1"
    assert (model.get_layer("classifier.1").get_weights()[0] == 2 * kernel).all()


@pytest.mark.parametrize(
    "tail",
    [
        (keras.layers.Flatten, lambda: keras.layers.Dense(4, activation="softmax")),
        (keras.layers.Flatten, lambda: keras.layers.Dense(4), lambda: keras.layers.ReLU(6.0)),
        (keras.layers.Flatten, lambda: keras.layers.Dense(4), keras.layers.BatchNormalization),
        (keras.layers.Flatten,),
    ],
)
def test_what_does_not_end_in_logits_is_refused_and_unchanged(tail):
    model = image_model(*(layer() for layer in tail))
    before = [w.copy() for w in model.get_weights()]
    with pytest.raises(ValueError, match="`model` must have one output, the logits"):
        fold_temperature(model, 2.0)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_a_temperature_is_above_zero():
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        fold_temperature(image_model(keras.layers.Flatten(), keras.layers.Dense(2)), 0.0)
