"""Recurrent layers as they are exported: a loop of builtin operators, in float.

The converter makes a WHILE loop of them where shapes are known. It knows no operator of cuDNN's
kernels, so those are for training only.
"""

from __future__ import annotations

import keras


@keras.saving.register_keras_serializable("gossamer")
class LSTM(keras.layers.LSTM):
    """`keras.layers.LSTM` (gates input, forget, cell, output) that can be exported."""

    always_float = True  # in quantized networks too: few bits of a state drift over a sequence

    def inner_loop(self, sequences, initial_state, mask, training=False):
        self.use_cudnn = "auto" if training else False
        return super().inner_loop(sequences, initial_state, mask, training=training)

    def torch_weights(self) -> dict:
        """Return the weights by Keras's names and in its layout: PyTorch's has two biases."""
        return _weights(self.cell)


@keras.saving.register_keras_serializable("gossamer")
class GRU(keras.layers.GRU):
    """`keras.layers.GRU` (reset after the product, two biases as cuDNN) that can be exported."""

    always_float = True

    def inner_loop(self, sequences, initial_state, mask, training=False):
        self.use_cudnn = "auto" if training else False
        return super().inner_loop(sequences, initial_state, mask, training=training)

    def torch_weights(self) -> dict:
        """Return the weights by Keras's names and in its layout."""
        return _weights(self.cell)


def _weights(cell) -> dict:
    names = ("kernel", "recurrent_kernel", "bias")
    return {name: (getattr(cell, name), None) for name in names}
