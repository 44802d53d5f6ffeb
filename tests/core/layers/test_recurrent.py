"""Recurrent layers that can be exported."""

import keras
import numpy as np
import pytest

from core.checkpoints import parameter_shapes
from core.layers.recurrent import GRU, LSTM

CASES = [(LSTM, keras.layers.LSTM, 4), (GRU, keras.layers.GRU, 3)]


@pytest.mark.parametrize("ours, theirs, gates", CASES)
def test_computes_what_keras_does_by_its_names(ours, theirs, gates):
    inputs = np.random.default_rng(0).standard_normal((2, 7, 3)).astype(np.float32)
    layer = ours(5, return_sequences=True, name="rnn")
    published = theirs(5, return_sequences=True)
    expected = published(inputs)
    signal = keras.Input((7, 3))
    model = keras.Model(signal, layer(signal))
    model.set_weights(published.get_weights())
    np.testing.assert_allclose(model(inputs, training=False), expected, atol=1e-6)
    bias = (gates * 5,) if gates == 4 else (2, gates * 5)
    assert parameter_shapes(model) == {
        "rnn.kernel": (3, gates * 5),
        "rnn.recurrent_kernel": (5, gates * 5),
        "rnn.bias": bias,
    }


@pytest.mark.parametrize("ours, theirs, gates", CASES)
def test_only_training_asks_for_cudnn(ours, theirs, gates):
    """Its kernels are no operators of a file."""
    layer, inputs = ours(2), np.zeros((1, 3, 2), np.float32)
    layer(inputs, training=True)
    assert layer.use_cudnn == "auto"
    layer(inputs, training=False)
    assert layer.use_cudnn is False
