"""Keras and LiteRT behind one call, whatever the rank of the input."""

import keras
import numpy as np
import pytest

from core.engines import KerasEngine, LiteRTEngine, output_error
from core.errors import UserError
from core.export.convert import to_tflite
from core.model_card import ModelCard

CARD = ModelCard(
    "net", "base", "toy", input_size=(16,), channels=2, color_order="", full_scale=1.0,
    mean=(0.0, 0.0), std=(1.0, 1.0),
)  # fmt: skip


def network(sides) -> keras.Model:
    keras.utils.set_random_seed(3)
    rank = len(sides)
    convolution = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}[rank]
    values = keras.Input((*sides, 2), name="values")
    x = convolution(4, 3, padding="same", activation="relu")(values)
    return keras.Model(values, convolution(3, 1)(x), name=f"net_{rank}d")


@pytest.mark.parametrize("sides", [(16,), (8, 6), (4, 6, 8)])
def test_a_file_computes_what_keras_does_for_inputs_of_any_rank(sides):
    model, card = network(sides), CARD.replace(input_size=sides)
    inputs = np.random.default_rng(0).standard_normal((3, *card.input_shape), np.float32)
    engine = LiteRTEngine(to_tflite(model), card)
    assert engine.input_shape == (1, *card.input_shape)
    assert output_error(KerasEngine(model, card)(inputs), engine(inputs)) < 1e-5


@pytest.mark.parametrize("sides, other", [((None,), (24,)), ((None, None), (5, 9))])
def test_a_file_of_open_size_takes_inputs_of_any_size(sides, other):
    model = network(sides)
    card = CARD.replace(input_size=tuple(8 for _ in sides))
    engine = LiteRTEngine(to_tflite(model, open_size=True), card)
    assert engine.input_shape == (1, *sides, 2)
    for size in (card.input_size, other):
        inputs = np.random.default_rng(0).standard_normal((2, *size, 2), np.float32)
        assert output_error(KerasEngine(model, card)(inputs), engine(inputs)) < 1e-5


def test_a_file_whose_result_is_one_number_is_refused_when_it_runs():
    values = keras.Input((None, None, 2), name="values")
    model = keras.Model(values, keras.ops.max(values))
    engine = LiteRTEngine(to_tflite(model, open_size=True), CARD.replace(input_size=(8, 8)))
    with pytest.raises(UserError, match=r"^tflite: fails while it runs \(.*\); export it again\."):
        engine(np.zeros((1, 8, 8, 2), np.float32))


def test_a_file_that_is_not_of_its_cards_rank_is_refused():
    content = to_tflite(network((16,)))
    said = r"tflite: does not take one input \(batch, height, width, channels\); export it again\."
    with pytest.raises(UserError, match=said):
        LiteRTEngine(content, CARD.replace(input_size=(8, 8)))
    with pytest.raises(UserError, match=r"takes inputs of \(16, 2\), got \(8, 2\)"):
        LiteRTEngine(content, CARD)(np.zeros((1, 8, 2), np.float32))
