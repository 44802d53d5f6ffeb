"""Losses, schedules and optimiser against the official library's."""

import golden_files
import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.person_reid.losses import TripletLoss, identity_loss
from core.config import TrainConfig
from core.schedules import learning_rate
from core.training.optimizers import make_optimizer


@pytest.fixture(scope="module")
def golden():
    with np.load(golden_files.GOLDEN / "osnet__loss.npz") as arrays:
        return dict(arrays)


def value_and_gradient(loss, labels, values):
    values = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = loss(labels, values)
    return float(result), tape.gradient(result, values)


@pytest.mark.parametrize(("smoothing", "name"), [(0.1, "ce_smooth1"), (0.0, "ce_smooth0")])
def test_identity_loss_is_the_published_one(golden, smoothing, name):
    loss = identity_loss(smoothing)
    value, gradient = value_and_gradient(loss, golden["labels"], golden["logits"])
    assert value == pytest.approx(float(golden[name]), rel=1e-5)
    np.testing.assert_allclose(gradient, golden[f"{name}_grad"], atol=1e-6)


@pytest.mark.parametrize("margin", [0.3, 1.0])
def test_triplet_loss_is_the_published_one(golden, margin):
    loss = TripletLoss(margin)
    value, gradient = value_and_gradient(loss, golden["labels"], golden["features"])
    assert value == pytest.approx(float(golden[f"triplet_m{margin}"]), rel=1e-5)
    np.testing.assert_allclose(gradient, golden[f"triplet_m{margin}_grad"], atol=1e-5)


def test_a_batch_of_one_person_has_no_triplets():
    value, gradient = value_and_gradient(
        TripletLoss(), np.zeros(4, int), np.eye(4, dtype=np.float32)
    )
    assert value == 0.0 and np.all(np.asarray(gradient) == 0.0)


def test_equal_embeddings_have_finite_gradients():
    _, gradient = value_and_gradient(
        TripletLoss(), np.array([0, 0, 1, 1]), np.ones((4, 3), np.float32)
    )
    assert np.isfinite(gradient).all()


def test_losses_survive_saving():
    for loss in (identity_loss(0.2), TripletLoss(0.7)):
        again = keras.losses.deserialize(keras.losses.serialize(loss))
        assert again.get_config() == loss.get_config()


def config(**choices) -> TrainConfig:
    return TrainConfig("reid", "osnet", "x1_0", weight_decay=5e-4, **choices)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("lr_cosine_250", {"learning_rate": 0.0015, "schedule": "cosine", "epochs": 250}),
        ("lr_step60_150", {"learning_rate": 0.0015, "schedule": "step", "step_epochs": 60}),
        ("lr_step80_180", {"learning_rate": 0.003, "schedule": "step", "step_epochs": 80}),
    ],
)
def test_schedules_are_the_published_ones(golden, name, choices):
    epochs = len(golden[name])
    chosen = config(step_factor=0.1, **{"epochs": epochs, **choices})
    rates = [learning_rate(chosen, epoch) for epoch in range(epochs)]
    np.testing.assert_allclose(rates, golden[name], rtol=1e-9, atol=1e-15)


def test_amsgrad_steps_as_published(golden):
    optimizer = make_optimizer(config(optimizer="amsgrad", learning_rate=0.0015))
    variable = keras.Variable(golden["amsgrad_start"])
    optimizer.build([variable])
    for gradient, expected in zip(golden["amsgrad_grads"], golden["amsgrad_params"], strict=True):
        optimizer.apply([tf.constant(gradient)], [variable])
        np.testing.assert_allclose(np.asarray(variable), expected, atol=2e-6)
