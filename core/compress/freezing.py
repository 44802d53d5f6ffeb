"""Callbacks that settle a quantization-aware training towards its end."""

from __future__ import annotations

import keras

from core.compress.quantized_kernel import QuantizedKernel
from core.compress.quantizers import ActivationQuantizer


class FreezeRanges(keras.callbacks.Callback):
    """Keep every range, of activations and kernels, from an epoch on.

    Args:
        epoch: The first epoch (from 0) that trains with fixed ranges.
    """

    def __init__(self, epoch: int):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        if epoch >= self.epoch:
            freeze_ranges(trained(self.model))


class FreezeNorms(keras.callbacks.Callback):
    """Normalise by the moving statistics from an epoch on, as the file will.

    Args:
        epoch: The first epoch (from 0) that trains with fixed statistics. Without freezing the
            validation metric of a quantized network is noisy (arXiv:1806.08342, Sec. 3.2.2).
    """

    def __init__(self, epoch: int):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        if epoch >= self.epoch:
            freeze_norms(trained(self.model))


def freeze_ranges(model) -> None:
    """Keep every range of a quantized model through further training."""
    for layer in model.layers:
        if isinstance(layer, ActivationQuantizer):
            layer.freeze()
        elif isinstance(layer, QuantizedKernel):
            layer.freeze_ranges()


def freeze_norms(model) -> None:
    """Normalise by the moving statistics in every layer of a quantized model from now on."""
    for layer in model.layers:
        if isinstance(layer, QuantizedKernel):
            layer.freeze_norm()


def trained(model):
    """Return the network that a callback's model trains: the student of a `Distiller`."""
    return getattr(model, "student", model)
