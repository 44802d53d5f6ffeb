"""nnU-Net's loss and schedule, as LightM-UNet was trained, against the golden file."""

import golden_files
import numpy as np
import pytest
import tensorflow as tf

from apps.medical_segmentation.losses import CrossEntropySoftDiceLoss
from apps.medical_segmentation.task import TASK
from core.config import TrainConfig
from core.schedules import learning_rate


@pytest.fixture(scope="module")
def golden():
    with np.load(golden_files.GOLDEN / "lightm-unet__loss.npz") as data:
        values = {key: data[key] for key in data.files}
    for key in ("logits", "target", "grad_sample"):
        values[key] = np.moveaxis(values[key], 1, -1)
    return values


def config(**choices) -> TrainConfig:
    chosen = {**TASK.recipe("lightm_unet"), **choices}
    return TrainConfig(app="medseg", network="lightm_unet", variant="2d", **chosen)


@pytest.mark.parametrize("over_batch, key", [(True, "batch"), (False, "sample")])
def test_meets_the_golden_values(golden, over_batch, key):
    """Volumes; the second sample lacks a class, which counts as a Dice of almost 0 there."""
    loss = CrossEntropySoftDiceLoss(over_batch=over_batch)
    for target in (golden["target"], golden["target"][..., 0]):
        value = float(loss(target, golden["logits"]))
        assert value == pytest.approx(float(golden[f"loss_{key}"]), rel=1e-5)


def test_has_the_golden_gradient(golden):
    logits = tf.Variable(golden["logits"])
    with tf.GradientTape() as tape:
        loss = CrossEntropySoftDiceLoss(over_batch=False)(golden["target"], logits)
    scale = np.abs(golden["grad_sample"]).max()
    gradient = np.asarray(tape.gradient(loss, logits))
    np.testing.assert_allclose(gradient, golden["grad_sample"], rtol=0, atol=1e-5 * scale)


def test_a_perfect_prediction_ends_at_minus_one():
    target = np.arange(24).reshape(2, 3, 4) % 3
    logits = 60.0 * np.eye(3, dtype=np.float32)[target]
    for over_batch in (True, False):
        loss = CrossEntropySoftDiceLoss(over_batch=over_batch)
        assert float(loss(target, logits)) == pytest.approx(-1.0, abs=1e-5)
        again = CrossEntropySoftDiceLoss.from_config(loss.get_config())
        assert again.over_batch == over_batch


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="smooth=0"):
        CrossEntropySoftDiceLoss(smooth=0)
    with pytest.raises(ValueError, match=r"class indices.*\(1, 2, 2, 3\)"):
        CrossEntropySoftDiceLoss()(np.zeros((1, 2, 2, 3)), np.zeros((1, 2, 2, 3)))


def test_the_recipe_has_the_published_learning_rates_and_loss(golden):
    chosen = config(classes=3)
    rates = [learning_rate(chosen, epoch) for epoch in range(chosen.epochs)]
    np.testing.assert_allclose(rates, golden["poly_lr"], rtol=1e-9)
    assert isinstance(TASK.objective(chosen).loss, CrossEntropySoftDiceLoss)
