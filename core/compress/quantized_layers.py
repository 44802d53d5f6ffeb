"""The layers with an integer kernel: convolutions and Dense (`core.compress.quantized_kernel`)."""

from __future__ import annotations

import keras
import tensorflow as tf

from core.compress.quantized_kernel import QuantizedKernel
from core.layers.convolution import group_by_group


@keras.saving.register_keras_serializable("gossamer")
class QuantizedConv2D(QuantizedKernel, keras.layers.Conv2D):
    """Conv2D with an integer kernel."""

    plain_class = keras.layers.Conv2D

    def convolution_op(self, inputs, kernel):
        if self.groups == 1:
            return super().convolution_op(inputs, kernel)
        return group_by_group(self, inputs, kernel)


@keras.saving.register_keras_serializable("gossamer")
class QuantizedDepthwiseConv2D(QuantizedKernel, keras.layers.DepthwiseConv2D):
    """DepthwiseConv2D with an integer kernel.

    The kernel (h, w, c, m) is rounded in the form (h, w, c·m): the converter quantizes per channel
    only through this reshape.
    """

    plain_class = keras.layers.DepthwiseConv2D

    def _channels(self) -> int:
        return self.kernel.shape[2] * self.depth_multiplier

    def _matrix(self, kernel):
        height, width, channels, multiplier = kernel.shape
        return tf.reshape(kernel, (height, width, channels * multiplier))

    def _scaled(self, kernel, factor):
        return kernel * tf.reshape(factor, kernel.shape[2:])

    def _linear(self, inputs, kernel):
        return keras.ops.depthwise_conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


@keras.saving.register_keras_serializable("gossamer")
class QuantizedDense(QuantizedKernel, keras.layers.Dense):
    """Dense with an integer kernel of one scale (the converter takes no other)."""

    channelwise = False
    plain_class = keras.layers.Dense

    def _channels(self) -> int:
        return self.units

    def _linear(self, inputs, kernel):
        return keras.ops.matmul(inputs, kernel)


@keras.saving.register_keras_serializable("gossamer")
class QuantizedConv2DTranspose(QuantizedKernel, keras.layers.Conv2DTranspose):
    """Conv2DTranspose with an integer kernel of one scale (the converter takes no other)."""

    channelwise = False
    plain_class = keras.layers.Conv2DTranspose

    def _matrix(self, kernel):
        return tf.transpose(kernel, (0, 1, 3, 2))

    def _scaled(self, kernel, factor):
        return kernel * factor[:, None]

    def _linear(self, inputs, kernel):
        return keras.ops.conv_transpose(
            inputs,
            kernel,
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
