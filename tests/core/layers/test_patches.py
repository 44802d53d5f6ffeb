"""Patches: the order of their pixels, merging, and learned positions."""

import keras
import numpy as np
import pytest

from core.checkpoints import load_torch_state, torch_state
from core.errors import UserError
from core.export.convert import to_tflite
from core.layers.own_range import OwnRange
from core.layers.patches import (
    LearnedPositions,
    SpaceToDepth,
    from_column_order,
    merge_patches,
    resized_square,
)
from core.layers.resize import NearestUpsampling
from core.tflite.inspect import operators

IMAGE = np.random.default_rng(0).standard_normal((2, 4, 6, 3)).astype(np.float32)


def model_of(make, shape=IMAGE.shape[1:]) -> keras.Model:
    image = keras.Input(shape)
    return keras.Model(image, make(image))


def test_a_patch_has_its_pixels_row_by_row():
    patches = np.asarray(SpaceToDepth(2)(IMAGE))
    assert patches.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(patches[1, 1, 2], IMAGE[1, 2:, 4:].ravel())
    model = model_of(SpaceToDepth(2))
    assert [operator.name for operator in operators(to_tflite(model))] == ["SPACE_TO_DEPTH"]
    assert model_of(SpaceToDepth(2), (None, None, 3)).output_shape == (None, None, None, 12)


def test_merging_takes_published_matrices():
    """Swin concatenates x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]."""
    published = np.random.default_rng(1).standard_normal((5, 12)).astype(np.float32)
    model = model_of(lambda x: merge_patches(x, 5, "merge"))
    load_torch_state(model, {"merge.reduction.weight": from_column_order(published)})
    grids = [IMAGE[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
    expected = np.concatenate(grids, axis=-1) @ published.T
    np.testing.assert_allclose(model(IMAGE), expected, atol=1e-5)


def test_positions_are_added_and_load_flat():
    model = model_of(LearnedPositions(name="pos"))
    start = np.asarray(model(np.zeros_like(IMAGE)))[0]
    assert 0.03 < np.abs(start).max() <= 0.05
    state = {"pos.weight": np.arange(72, dtype=np.float32).reshape(24, 3)}
    load_torch_state(model, state)
    np.testing.assert_array_equal(model(np.zeros_like(IMAGE))[1].numpy().ravel(), np.arange(72))
    np.testing.assert_array_equal(torch_state(model)["pos.weight"], state["pos.weight"])


def test_positions_of_a_square_fit_another_size():
    square = np.repeat(np.arange(4.0, dtype=np.float32), 4)[:, None]  # each row its number
    resized = resized_square(square, (8, 2)).reshape(8, 2)
    assert resized[:, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    assert (resized[:, 0] == resized[:, 1]).all()
    assert resized_square(np.zeros((15, 1), np.float32), (4, 4)) is None
    model = model_of(LearnedPositions(name="pos"), (8, 2, 1))
    report = load_torch_state(model, {"pos.weight": square})
    assert report.complete and report.matched == {"pos.weight": (16, 1)}
    with pytest.raises(UserError, match=r"the file has \(15, 1\), the network needs \(16, 1\)"):
        load_torch_state(model, {"pos.weight": square[1:]})


def test_what_only_rounds_anew_vanishes_from_a_float_file():
    model = model_of(lambda x: keras.layers.Activation("relu")(OwnRange()(x)))
    np.testing.assert_array_equal(model(IMAGE), np.maximum(IMAGE, 0))
    assert [operator.name for operator in operators(to_tflite(model))] == ["RELU"]


@pytest.mark.parametrize("shape", [(4, 6, 3), (None, None, 3)])
def test_nearest_upsampling_repeats_pixels(shape):
    model = model_of(NearestUpsampling(3), shape)
    expected = IMAGE.repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(model(IMAGE), expected)
    content = to_tflite(model, input_shape=(4, 6, 3))
    assert [operator.name for operator in operators(content)] == ["RESIZE_NEAREST_NEIGHBOR"]


@pytest.mark.parametrize("layer", [SpaceToDepth(2), NearestUpsampling(3), LearnedPositions()])
def test_survives_a_file(layer, tmp_path):
    model = model_of(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IMAGE), model(IMAGE))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SpaceToDepth(0), "factor=0"),
        (lambda: LearnedPositions()(keras.Input((None, 6, 3))), r"None, 6, 3"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
