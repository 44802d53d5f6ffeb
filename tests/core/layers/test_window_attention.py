"""Window attention against its definition, written out window by window and head by head."""

from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.checkpoints import torch_state
from core.engines import LiteRTEngine, output_error
from core.export.convert import to_tflite
from core.layers.window_attention import (
    RelativePositionBias,
    ShiftMask,
    relative_positions,
    window_attention,
    window_merge,
    window_partition,
)
from core.model_card import ModelCard
from core.tflite.inspect import foreign_operators, operators

RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((2, 8, 12, 6)).astype(np.float32)
CARD = ModelCard("net", "v", "app", input_size=(8, 12), channels=6, color_order="",
                 mean=(0.0,) * 6, std=(1.0,) * 6)  # fmt: skip


def built(shift: int, window: int = 4, heads: int = 2) -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input(IMAGE.shape[1:])
    output = window_attention(image, heads, "attn", window=window, shift=shift)
    model = keras.Model(image, output)
    for weight in model.weights:
        weight.assign(0.5 * RNG.standard_normal(weight.shape))
    return model


def expected(model: keras.Model, image: np.ndarray, shift: int, window: int, heads: int):
    """Attention of each position, in float64, with what its window really holds.

    Windows of an image shifted by s are cut at s, s + w, ..., and at the borders, where the
    shifted ones hold what is left of both sides: those parts do not see each other.
    """
    state = {name: value.astype(np.float64) for name, value in torch_state(model).items()}
    table = state["attn.relative_position_bias_table"]
    _, height, width, channels = image.shape
    depth = channels // heads
    rows, columns = (
        [0, *(range(shift, side, window) if shift else range(window, side, window)), side]
        for side in (height, width)
    )
    q, k, v = np.split(image @ state["attn.qkv.weight"].T + state["attn.qkv.bias"], 3, axis=-1)
    result = np.zeros(image.shape)
    for sample, head in np.ndindex(len(image), heads):
        part = slice(head * depth, (head + 1) * depth)
        for top, bottom in pairwise(rows):
            for left, right in pairwise(columns):
                cells = [(y, x) for y in range(top, bottom) for x in range(left, right)]
                for a in cells:
                    places = [
                        (a[0] - b[0] + window - 1) * (2 * window - 1) + a[1] - b[1] + window - 1
                        for b in cells
                    ]
                    scores = np.array([q[sample, *a, part] @ k[sample, *b, part] for b in cells])
                    scores = scores / np.sqrt(depth) + table[places, head]
                    weights = np.exp(scores - scores.max())
                    values = np.array([v[sample, *b, part] for b in cells])
                    result[sample, *a, part] = weights @ values / weights.sum()
    return result @ state["attn.proj.weight"].T + state["attn.proj.bias"]


@pytest.mark.parametrize("shift, window", [(0, 4), (1, 4), (2, 4), (1, 2)])
def test_equals_attention_within_each_window(shift, window):
    model = built(shift, window)
    error = np.abs(model(IMAGE) - expected(model, IMAGE, shift, window, 2)).max()
    assert error < 1e-5


def test_windows_are_cut_row_by_row_and_put_back():
    image = keras.Input(IMAGE.shape[1:])
    windows = window_partition(image, 4)
    cut, back = keras.Model(image, [windows, window_merge(windows, 8, 12)])(IMAGE)
    assert cut.shape == (12, 4, 4, 6)
    np.testing.assert_array_equal(cut[1], IMAGE[0, :4, 4:8])
    np.testing.assert_array_equal(cut[3], IMAGE[0, 4:, :4])
    np.testing.assert_array_equal(back, IMAGE)


@pytest.mark.parametrize("shift", [0, 1])
def test_the_file_has_builtin_operators_of_known_shapes_and_four_axes(shift):
    model = built(shift)
    content = to_tflite(model)
    assert foreign_operators(content) == []
    names = {operator.name for operator in operators(content)}
    assert not names & {"GATHER", "SHAPE", "STRIDED_SLICE", "PACK"}
    assert max(len(t.shape) for o in operators(content) for t in o.outputs) == 4
    assert output_error([model(IMAGE)], LiteRTEngine(content, CARD)(IMAGE)) < 1e-6


@pytest.mark.parametrize("shift", [0, 1])
def test_survives_a_file(shift, tmp_path):
    model = built(shift)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IMAGE), model(IMAGE))


def test_every_weight_has_a_gradient_whatever_the_batch():
    model = built(1)
    for count in (1, 2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model(IMAGE[:count])))
        gradients = tape.gradient(loss, model.trainable_variables)
        assert all(float(tf.reduce_max(tf.abs(gradient))) > 0 for gradient in gradients)


def test_half_precision_does_not_overflow():
    layer = ShiftMask((2, 3), 4, 1, dtype="mixed_float16")
    masked = layer(np.full((6, 2, 16, 16), 1e4, np.float16))
    assert masked.dtype == tf.float16 and np.isfinite(masked).all()
    bias = RelativePositionBias(4, dtype="mixed_float16")
    assert bias(np.zeros((6, 2, 16, 16), np.float16)).dtype == tf.float16


def test_relative_positions_of_a_window_of_two():
    """Rows are queries; Δ = (0, 0) is the middle of the 3×3 table."""
    assert relative_positions(2).tolist() == [
        [4, 3, 1, 0],
        [5, 4, 2, 1],
        [7, 6, 4, 3],
        [8, 7, 5, 4],
    ]


def test_only_windows_at_the_far_border_are_masked():
    mask = ShiftMask((3, 3), 4, 1).values()
    touched = (mask < 0).any(axis=(1, 2)).reshape(3, 3)
    assert touched.tolist() == [[False, False, True], [False, False, True], [True, True, True]]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda x: window_attention(x, 4, "a", window=4), "heads=4"),
        (lambda x: window_attention(x, 2, "a", window=4, shift=4), "shift=4"),
        (lambda x: window_attention(x, 2, "a", window=5), "window=5"),
        (lambda x: RelativePositionBias(0), "window=0"),
        (lambda x: ShiftMask((2, 2), 4, 0), "shift=0"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(keras.Input((8, 12, 6)))
