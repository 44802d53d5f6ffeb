"""Quantized twins of layers with kernels, filled with their weights."""

from __future__ import annotations

import keras
import numpy as np

from core.compress.clusters import recovered_centroids
from core.compress.folding import affine_of, window_of
from core.compress.quantized_layers import (
    QuantizedConv2D,
    QuantizedConv2DTranspose,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
)
from core.compress.scheme import Scheme
from core.layers.convolution import GroupedConv2D


def is_split(layer) -> bool:
    """Return whether a layer becomes two operators: a depthwise convolution and a sum."""
    return isinstance(layer, GroupedConv2D) and layer.paired


class WeightedTwins:
    """Makes the twins of one quantization.

    Args:
        scheme: Bit widths and granularity.
        keep: What training must not lose: "zeros", "clusters".
    """

    def __init__(self, scheme: Scheme, keep: frozenset[str]):
        self.scheme, self.keep = scheme, keep

    def twin(self, layer, norm, shape: tuple, name: str):
        """Return the quantized twin of a layer (of a grouped one, its second half).

        Args:
            layer: One of `WEIGHTED`, or a `GroupedConv2D`.
            norm: The batch normalisation to take in, or None.
            shape: Of the twin's input.
            name: Of the twin.
        """
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else None
        options = self.options(norm)
        options |= {"use_bias": bias is not None and norm is None}
        options |= {"name": name}
        if not layer.trainable and not is_split(layer):
            options |= {"fixed_kernel": True}
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        if is_split(layer):
            kernel = layer.group_sum()
            twin = QuantizedConv2D(layer.filters, 1, fixed_kernel=True, **options)
        elif isinstance(layer, keras.layers.Dense):
            twin = QuantizedDense(layer.units, **self.kept(kernel, options))
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            twin = QuantizedConv2DTranspose(
                layer.filters, layer.kernel_size, output_padding=layer.output_padding,
                **window_of(layer), **self.kept(kernel, options),
            )  # fmt: skip
        elif depthwise:
            twin = QuantizedDepthwiseConv2D(
                layer.kernel_size, depth_multiplier=layer.depth_multiplier,
                **window_of(layer), **options,
            )  # fmt: skip
        else:
            twin = QuantizedConv2D(
                layer.filters, layer.kernel_size, groups=layer.groups,
                **window_of(layer), **self.kept(kernel, options),
            )  # fmt: skip
        twin.build(shape)
        twin.fill(kernel, bias, norm)
        return twin

    def options(self, norm) -> dict:
        """Return the constructor arguments that every kernel has."""
        constants = None
        if norm is not None:
            names = ("epsilon", "momentum", "scale", "center")
            constants = {name: getattr(norm, name) for name in names}
        return {
            "bits": self.scheme.weight_bits,
            "granularity": "channel" if self.scheme.per_channel else "folded",
            "norm": constants,
        }

    def kept(self, kernel: np.ndarray, options: dict, per_channel: bool | None = None) -> dict:
        """Return the options that keep the zeros and clusters of a kernel."""
        centroids = None
        if "clusters" in self.keep:
            centroids = recovered_centroids(kernel, per_channel)
        if centroids is not None:
            options = {
                **options,
                "clusters": {"k": centroids.shape[-1], "per_channel": centroids.ndim == 2},
                # One scale over the plain kernel: equal weights keep equal codes.
                "granularity": "channel" if centroids.ndim == 2 else "tensor",
            }
        return {**options, "keep_zeros": "zeros" in self.keep and bool((kernel == 0).any())}

    def first_half(self, layer: GroupedConv2D, shape: tuple, name: str) -> QuantizedDepthwiseConv2D:
        """Return the depthwise half of a grouped convolution."""
        kernel = keras.ops.convert_to_numpy(layer.depthwise_kernel(layer.kernel))
        centroids = recovered_centroids(keras.ops.convert_to_numpy(layer.kernel))
        options, own = self.options(None), centroids is not None and centroids.ndim == 2
        # Clusters of a filter lie in several depthwise channels, which then have their own.
        channels = kernel.reshape(*kernel.shape[:2], -1) if own else kernel
        twin = QuantizedDepthwiseConv2D(
            layer.kernel_size,
            depth_multiplier=kernel.shape[-1],
            use_bias=False,
            name=name,
            **window_of(layer),
            **self.kept(channels, options, own or None),
        )
        twin.build(shape)
        twin.fill(kernel)
        return twin

    def lone_norm(self, norm, name: str) -> QuantizedDepthwiseConv2D:
        """Return a normalisation with nothing to fold into, as a 1×1 depthwise convolution."""
        factor, shift = affine_of(norm)
        options = {**self.options(None), "granularity": "channel"}
        twin = QuantizedDepthwiseConv2D(1, name=name, **options)
        twin.build((None, None, None, len(factor)))
        twin.fill(factor.reshape(1, 1, -1, 1), shift)
        return twin
