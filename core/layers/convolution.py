"""Convolution with batch normalisation and activation, named as PyTorch's `nn.Sequential` names it.

A published `nn.Sequential(conv, norm, act)` called `stem` has parameters `stem.0.*` and `stem.1.*`;
the layers made here carry those names, so a checkpoint loads by name.
"""

from __future__ import annotations

import keras
import numpy as np

# PyTorch's BatchNorm2d: eps 1e-5, momentum 0.1 (Keras counts the other way round).
BATCH_NORM = {"epsilon": 1e-5, "momentum": 0.9}


@keras.saving.register_keras_serializable("gossamer")
class GroupedConv2D(keras.layers.Conv2D):
    """A grouped convolution that is quick where grouped kernels are not.

    Weights and results are those of `keras.layers.Conv2D(groups=…)`. It is computed as a depthwise
    convolution followed by a pointwise sum over each group's inputs: on the CPU TensorFlow has no
    gradient for the grouped kernel (Keras compiles each one with XLA, which takes a minute and is
    some twenty times slower), and in TFLite the pair of builtin operators is two to eight times
    faster than one grouped CONV_2D when groups are narrow (benchmarks/grouped_convolution.py).
    """

    def convolution_op(self, inputs, kernel):
        if self.groups == 1:
            return super().convolution_op(inputs, kernel)
        if self.data_format != "channels_last" or self.padding not in ("same", "valid"):
            raise ValueError(
                "Grouped convolution needs channels last and same or valid padding. "
                f"Received: data_format={self.data_format}, padding={self.padding}"
            )
        x = keras.ops.depthwise_conv(
            inputs,
            self.depthwise_kernel(kernel),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        total = keras.ops.convert_to_tensor(self.group_sum(), dtype=x.dtype)
        return keras.ops.conv(x, total, padding="valid", data_format=self.data_format)

    def depthwise_kernel(self, kernel):
        """Return (kh, kw, C, m) of the grouped kernel (kh, kw, C / groups, groups · m)."""
        *window, width, filters = kernel.shape
        multiplier = filters // self.groups
        kernel = keras.ops.reshape(kernel, (*window, width, self.groups, multiplier))
        kernel = keras.ops.transpose(kernel, (0, 1, 3, 2, 4))
        return keras.ops.reshape(kernel, (*window, self.groups * width, multiplier))

    def group_sum(self) -> np.ndarray:
        """Return the (1, 1, C · m, filters) kernel of ones that adds up each group's inputs."""
        width, multiplier = self.kernel.shape[2], self.filters // self.groups
        one_group = np.tile(np.eye(multiplier, dtype=np.float32), (width, 1))
        return np.kron(np.eye(self.groups, dtype=np.float32), one_group)[None, None]


def batch_norm(x, name: str):
    """Apply BatchNorm2d with PyTorch's constants."""
    return keras.layers.BatchNormalization(**BATCH_NORM, name=name)(x)


def activate(x, kind: str | None, name: str):
    """Apply "relu", "relu6" or no activation (None)."""
    if kind is None:
        return x
    return keras.layers.Activation(kind, name=name)(x)


def conv_norm(
    x,
    filters: int,
    kernel: int,
    name: str,
    *,
    activation: str | None = None,
    groups: int = 1,
    use_bias: bool = False,
    initializer="glorot_uniform",
):
    """Convolve (stride 1, same padding), normalise, activate: `name.0`, `name.1`, `name.2`."""
    kind = GroupedConv2D if groups > 1 else keras.layers.Conv2D
    x = kind(
        filters,
        kernel,
        padding="same",
        groups=groups,
        use_bias=use_bias,
        kernel_initializer=initializer,
        name=f"{name}.0",
    )(x)
    return activate(batch_norm(x, f"{name}.1"), activation, f"{name}.2")


def depthwise_norm(
    x, kernel: int, name: str, *, activation: str | None = None, initializer="glorot_uniform"
):
    """Convolve every channel by itself, normalise, activate: `name.0`, `name.1`, `name.2`."""
    x = keras.layers.DepthwiseConv2D(
        kernel,
        padding="same",
        use_bias=False,
        depthwise_initializer=initializer,
        name=f"{name}.0",
    )(x)
    return activate(batch_norm(x, f"{name}.1"), activation, f"{name}.2")
