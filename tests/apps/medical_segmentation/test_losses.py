"""Losses against golden values and gradients of the published training scripts."""

import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from apps.medical_segmentation.losses import (
    BinaryCrossEntropyDiceLoss,
    CrossEntropyDiceLoss,
    MultiHeadLoss,
    StructureLoss,
    cross_entropy_dice,
    edge_weights,
    structure_terms,
)

GOLDEN = Path(__file__).parents[2] / "golden"
LN2 = math.log(2)


def load(name):
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files if key != "meta"}


@pytest.fixture(scope="module")
def structure():
    values = load("mk-unet__loss")
    for key in ("logits", "mask", "weit", "grad"):
        values[key] = values[key].transpose(0, 2, 3, 1)
    return values


@pytest.fixture(scope="module")
def supervision():
    values = load("mk-unet__supervision")
    for key in ("heads", "grad_heads"):
        values[key] = values[key].transpose(0, 1, 3, 4, 2)
    return values


def test_structure_terms_meet_the_golden_values(structure):
    wbce, wiou = structure_terms(structure["mask"], structure["logits"])
    np.testing.assert_allclose(edge_weights(structure["mask"]), structure["weit"], atol=1e-6)
    np.testing.assert_allclose(wbce, structure["wbce"], rtol=1e-6)
    np.testing.assert_allclose(wiou, structure["wiou"], rtol=1e-6)


def test_structure_loss_and_gradient_meet_the_golden_values(structure):
    logits = tf.Variable(structure["logits"])
    with tf.GradientTape() as tape:
        loss = StructureLoss()(structure["mask"], logits)
    gradient = tape.gradient(loss, logits).numpy()
    assert float(loss) == pytest.approx(float(structure["loss"]), rel=1e-6)
    scale = np.abs(structure["grad"]).max()
    np.testing.assert_allclose(gradient, structure["grad"], rtol=0, atol=1e-6 * scale)


def test_structure_loss_gives_one_value_per_image(structure):
    loss = StructureLoss(reduction=None)(structure["mask"], structure["logits"])
    expected = (structure["wbce"] + structure["wiou"])[:, 0]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_structure_loss_takes_masks_without_channel_and_of_any_dtype(structure):
    expected = float(structure["loss"])
    for mask in (structure["mask"][..., 0], structure["mask"].astype(bool)):
        loss = StructureLoss()(mask, structure["logits"])
        assert float(loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("fill, centre, corner", [(0.0, 1.0, 1.0), (1.0, 1.0, 1 + 5 * 705 / 961)])
def test_zeros_beyond_the_image_count_in_the_window(fill, centre, corner):
    # In the corner of a full mask 16x16 of the 31x31 pixels are inside: the mean is 256/961.
    weights = edge_weights(np.full((1, 40, 48, 1), fill, np.float32)).numpy()
    assert weights[0, 20, 24, 0] == pytest.approx(centre)
    assert weights[0, 0, 0, 0] == weights[0, -1, -1, 0] == pytest.approx(corner)


def test_window_larger_than_the_image():
    weights = edge_weights(np.ones((1, 2, 3, 1), np.float32))
    np.testing.assert_allclose(weights, np.full((1, 2, 3, 1), 1 + 5 * (1 - 6 / 961)), rtol=1e-6)


@pytest.mark.parametrize(
    "mask, logit, bce, iou",
    [  # boundary 0 on one pixel: plain BCE, and 1 - (p m + 1) / (p + m - p m + 1)
        (0.0, 0.0, LN2, 1 - 1 / 1.5),
        (1.0, 0.0, LN2, 1 - 1.5 / 2),
        (1.0, 200.0, 0.0, 0.0),
        (0.0, -200.0, 0.0, 0.0),
        (0.0, 200.0, 200.0, 0.5),
        (1.0, -200.0, 200.0, 0.5),
    ],
)
def test_structure_loss_by_hand_also_for_extreme_logits(mask, logit, bce, iou):
    shape = (1, 1, 1, 1)
    logits = tf.fill(shape, logit)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = StructureLoss(boundary=0.0)(tf.fill(shape, mask), logits)
    assert float(loss) == pytest.approx(bce + iou, rel=1e-6, abs=1e-7)
    assert np.isfinite(tape.gradient(loss, logits)).all()


def test_subsets_meet_the_golden_values(supervision):
    for members, expected in zip(supervision["subsets"], supervision["subset_losses"], strict=True):
        logits = supervision["heads"][members.astype(bool)].sum(0)
        loss = CrossEntropyDiceLoss()(supervision["labels"], logits)
        assert float(loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("mode", ["mutation", "deep_supervision"])
def test_supervision_meets_the_golden_values(supervision, mode, stacked):
    heads = np.moveaxis(supervision["heads"], 0, 1) if stacked else list(supervision["heads"])
    loss = MultiHeadLoss(mode)(supervision["labels"], heads)
    assert float(loss) == pytest.approx(float(supervision[mode]), rel=1e-6)


def test_gradient_of_mutation_meets_the_golden_values(supervision):
    heads = tf.Variable(supervision["heads"])
    with tf.GradientTape() as tape:
        loss = MultiHeadLoss("mutation")(supervision["labels"], tf.unstack(heads))
    scale = np.abs(supervision["grad_heads"]).max()
    np.testing.assert_allclose(
        tape.gradient(loss, heads), supervision["grad_heads"], rtol=0, atol=2e-6 * scale
    )


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_labels_with_a_channel_axis_and_of_any_dtype(supervision, dtype):
    labels, logits = supervision["labels"], supervision["heads"][0]
    loss = CrossEntropyDiceLoss()(labels[..., None].astype(dtype), logits)
    assert float(loss) == pytest.approx(supervision["subset_losses"][0], rel=1e-6)


@pytest.mark.parametrize(
    "labels, logits, entropy, dice",
    [
        # Undecided between two classes: p = 1/2, Dice 1 - 2 * 1/2 / (2 * 1/4 + 1) for both.
        ([0, 1], [[0, 0], [0, 0]], LN2, 1 / 3),
        # Certain and right; the third class, absent and predicted nowhere, has loss 0.
        ([0, 1], [[99, 0, -99], [0, 99, -99]], 0.0, 0.0),
        # Certain and wrong in one of two pixels: classes 0 and 1 have Dice 2/3 and 0.
        ([0, 1], [[50, 0], [50, 0]], 25.0, (1 / 3 + 1) / 2),
    ],
)
def test_cross_entropy_and_dice_by_hand(labels, logits, entropy, dice):
    labels = ops.convert_to_tensor(np.array(labels, np.int32).reshape(1, 1, 2))
    logits = ops.convert_to_tensor(np.array(logits, np.float32)[None, None])
    only_entropy = cross_entropy_dice(labels, logits, ce_weight=1.0, dice_weight=0.0)
    only_dice = cross_entropy_dice(labels, logits, ce_weight=0.0, dice_weight=1.0)
    assert float(only_entropy) == pytest.approx(entropy, rel=1e-6, abs=1e-7)
    assert float(only_dice) == pytest.approx(dice, abs=2e-5)


def test_dice_is_of_the_whole_batch_not_of_each_image():
    labels = np.array([[[0, 0]], [[1, 1]]], np.int32)
    logits = np.zeros((2, 1, 2, 2), np.float32)
    both = float(cross_entropy_dice(labels, logits, ce_weight=0.0, dice_weight=1.0))
    assert both == pytest.approx(1 - 2 * 1.0 / (1.0 + 2.0), abs=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        StructureLoss(boundary=3.0),
        CrossEntropyDiceLoss(ce_weight=0.5, dice_weight=0.5, smooth=1e-3),
        MultiHeadLoss("deep_supervision", ce_weight=0.4),
    ],
    ids=lambda loss: loss.name,
)
def test_losses_serialise(loss):
    data = keras.saving.serialize_keras_object(loss)
    assert data["registered_name"] == f"gossamer>{type(loss).__name__}"
    again = keras.saving.deserialize_keras_object(data)
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize("loss", ["structure", "single", "heads"])
def test_half_precision_logits_are_computed_in_float32(structure, supervision, loss):
    loss, truth, logits = {
        "structure": (StructureLoss(), structure["mask"], structure["logits"]),
        "single": (CrossEntropyDiceLoss(), supervision["labels"], supervision["heads"][0]),
        "heads": (
            MultiHeadLoss(),
            supervision["labels"],
            np.moveaxis(supervision["heads"], 0, 1),
        ),
    }[loss]
    half = ops.cast(logits, "float16")
    value = loss(truth, half)
    assert value.dtype == "float32"
    assert float(value) == float(loss(truth, ops.cast(half, "float32")))


def test_compiled_training_with_unknown_sizes(structure):
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.layers.Conv2D(1, 1, kernel_initializer="ones")(image))
    model.compile("sgd", loss=StructureLoss(), jit_compile=False)
    history = model.fit(structure["logits"], structure["mask"], batch_size=3, verbose=0)
    assert history.history["loss"][0] == pytest.approx(float(structure["loss"]), rel=1e-5)


def test_compiled_training_of_stacked_heads(supervision):
    heads = np.moveaxis(supervision["heads"], 0, 1)
    inputs = keras.Input(heads.shape[1:])
    model = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))
    model.compile(loss=MultiHeadLoss())
    value = model.evaluate(heads, supervision["labels"], batch_size=2, verbose=0)
    assert value == pytest.approx(float(supervision["mutation"]), rel=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: StructureLoss(boundary=-1), "boundary=-1"),
        (lambda: CrossEntropyDiceLoss(smooth=0), "smooth=0"),
        (lambda: MultiHeadLoss("mutations"), "supervision=mutations"),
        (lambda: MultiHeadLoss()(np.zeros((1, 4, 4)), np.zeros((1, 4, 4, 3))), "list of heads"),
        (
            lambda: CrossEntropyDiceLoss()(np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4, 3))),
            "class indices of shape",
        ),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_loss_of_barlow_swin_meets_the_golden_values():
    """Of one image the golden probabilities are 0 and 1 exactly, which are clipped."""
    golden = load("barlow-swin__loss")
    with np.errstate(divide="ignore"):
        logits = np.log(golden["y_pred"].astype(np.float64)) - np.log1p(-golden["y_pred"])
    loss = BinaryCrossEntropyDiceLoss()
    assert float(loss(golden["y_true"], logits)) == pytest.approx(
        float(golden["bce_dice"]), rel=1e-5
    )
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.smooth == 1e-6 and isinstance(again, BinaryCrossEntropyDiceLoss)


@pytest.mark.parametrize(
    "mask, logit, expected",
    [
        ([[1, 0], [0, 0]], [[50, -50], [-50, -50]], 0.0),
        ([[0, 0], [0, 0]], [[-50, -50], [-50, -50]], 0.0),  # nothing there and nothing found
        ([[1, 1], [0, 0]], [[0, 0], [0, 0]], 0.5 * LN2 + 0.25),
    ],
)
def test_the_loss_of_barlow_swin(mask, logit, expected):
    mask, logit = (np.array(values, np.float32)[None, ..., None] for values in (mask, logit))
    assert float(BinaryCrossEntropyDiceLoss()(mask, logit)) == pytest.approx(expected, abs=2e-7)
