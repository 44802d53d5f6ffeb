"""Layers that compute in float what an integer file will compute: fake quantization.

R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018
(arXiv:1806.08342): weights symmetric without the lowest code, per output channel; activations
asymmetric per tensor. Each layer here is placed so that the TFLite converter turns it into an
integer operator with exactly these scales.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

# The kernels of these functions have their output scale fixed by the TFLite specification.
FIXED_RANGES = {
    "sigmoid": (0.0, 255.0 / 256.0),
    "softmax": (0.0, 255.0 / 256.0),
    "tanh": (-1.0, 127.0 / 128.0),
}
# A channel whose weights all vanish still needs a scale; relative to the layer's largest weight.
SMALLEST_CHANNEL = 1e-6


@keras.saving.register_keras_serializable("gossamer")
class ActivationQuantizer(keras.layers.Layer):
    """Round a tensor to the codes of its range.

    Args:
        bits: Code width.
        fixed: (minimum, maximum) that calibration must not change, or None.
    """

    def __init__(self, bits: int = 8, fixed: tuple[float, float] | None = None, **kwargs):
        super().__init__(**kwargs)
        if not 2 <= bits <= 16:
            raise ValueError(f"`bits` must lie in 2..16. Received: bits={bits}")
        self.bits = bits
        self.fixed = None if fixed is None else tuple(fixed)
        self.active = True
        low, high = self.fixed or (-6.0, 6.0)
        # Made here, not in `build`: a range is set before and independently of any input shape.
        self.minimum = self._scalar("minimum", low)
        self.maximum = self._scalar("maximum", high)

    def _scalar(self, name: str, value: float):
        return self.add_weight(
            shape=(),
            name=name,
            initializer=keras.initializers.Constant(value),
            trainable=False,
            dtype="float32",
        )

    @property
    def scale(self) -> float:
        """Distance of neighbouring codes."""
        return float(self.maximum - self.minimum) / (2**self.bits - 1)

    def set_range(self, minimum: float, maximum: float) -> None:
        """Set the range, widened to hold zero (zero padding must be exact)."""
        self.minimum.assign(min(0.0, float(minimum)))
        self.maximum.assign(max(0.0, float(maximum)))

    def call(self, inputs):
        if not self.active:
            return inputs
        return tf.quantization.fake_quant_with_min_max_vars(
            inputs,
            tf.convert_to_tensor(self.minimum),
            tf.convert_to_tensor(self.maximum),
            num_bits=self.bits,
        )

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "bits": self.bits, "fixed": self.fixed}


class _KernelQuantizer:
    """Mixed into a Keras layer: its kernel is rounded before use.

    `kernel_range` holds the largest magnitude per output channel, or one for the whole tensor.
    """

    per_channel = True
    active = True

    def _add_range(self, channels: int) -> None:
        self.kernel_range = self.add_weight(
            shape=(channels,) if self.per_channel else (),
            name="kernel_range",
            initializer="ones",
            trainable=False,
            dtype="float32",
        )

    def _matrix(self, kernel):
        """Return the kernel with its quantized channels last."""
        return kernel

    # Keras's convolutions and Dense save kernel and bias only; here the range belongs to them.
    def save_own_variables(self, store):
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        keras.layers.Layer.load_own_variables(self, store)

    def measure(self) -> None:
        """Set the range from the kernel as it is now."""
        kernel = np.abs(keras.ops.convert_to_numpy(self._matrix(self.kernel)))
        peaks = kernel.reshape(-1, kernel.shape[-1]).max(axis=0)
        floor = max(float(peaks.max()) * SMALLEST_CHANNEL, 1e-20)
        peaks = np.maximum(peaks, floor)
        self.kernel_range.assign(peaks if self.per_channel else peaks.max())

    @property
    def scales(self) -> np.ndarray:
        """Distance of neighbouring weight codes, per channel or a single one."""
        return np.atleast_1d(keras.ops.convert_to_numpy(self.kernel_range)) / 127.0

    def _rounded(self, kernel):
        if not self.active:
            return kernel
        limit = tf.convert_to_tensor(self.kernel_range)
        function = (
            tf.quantization.fake_quant_with_min_max_vars_per_channel
            if self.per_channel
            else tf.quantization.fake_quant_with_min_max_vars
        )
        shape = kernel.shape
        rounded = function(
            self._matrix(tf.convert_to_tensor(kernel)), -limit, limit, num_bits=8, narrow_range=True
        )
        return tf.reshape(rounded, shape)


@keras.saving.register_keras_serializable("gossamer")
class QuantizedConv2D(_KernelQuantizer, keras.layers.Conv2D):
    """Conv2D with an integer kernel, one scale per output channel."""

    def build(self, input_shape):
        super().build(input_shape)
        self._add_range(self.filters)

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, self._rounded(kernel))


@keras.saving.register_keras_serializable("gossamer")
class QuantizedDepthwiseConv2D(_KernelQuantizer, keras.layers.DepthwiseConv2D):
    """DepthwiseConv2D with an integer kernel, one scale per output channel.

    The kernel (h, w, c, m) is rounded in the form (h, w, c·m): the converter quantizes per channel
    only through this reshape.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self._add_range(self.kernel.shape[2] * self.depth_multiplier)

    def _matrix(self, kernel):
        height, width, channels, multiplier = kernel.shape
        return tf.reshape(kernel, (height, width, channels * multiplier))

    def call(self, inputs):
        outputs = keras.ops.depthwise_conv(
            inputs,
            self._rounded(self.kernel),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return outputs + self.bias if self.use_bias else outputs


@keras.saving.register_keras_serializable("gossamer")
class QuantizedDense(_KernelQuantizer, keras.layers.Dense):
    """Dense with an integer kernel of one scale (the converter takes no other)."""

    per_channel = False

    def build(self, input_shape):
        super().build(input_shape)
        self._add_range(self.units)

    def call(self, inputs, training=None):
        outputs = keras.ops.matmul(inputs, self._rounded(self.kernel))
        return outputs + self.bias if self.use_bias else outputs


@keras.saving.register_keras_serializable("gossamer")
class QuantizedConv2DTranspose(_KernelQuantizer, keras.layers.Conv2DTranspose):
    """Conv2DTranspose with an integer kernel of one scale (the converter takes no other)."""

    per_channel = False

    def build(self, input_shape):
        super().build(input_shape)
        self._add_range(self.filters)

    def call(self, inputs):
        outputs = keras.ops.conv_transpose(
            inputs,
            self._rounded(self.kernel),
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return outputs + self.bias if self.use_bias else outputs


QUANTIZING = (ActivationQuantizer, _KernelQuantizer)


@contextlib.contextmanager
def rounding_off(model) -> Iterator[None]:
    """Let a quantized model compute in float within the block (trace anew inside it)."""
    layers = [layer for layer in model.layers if isinstance(layer, QUANTIZING)]
    for layer in layers:
        layer.active = False
    try:
        yield
    finally:
        for layer in layers:
            layer.active = True
