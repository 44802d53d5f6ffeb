"""Convolutions and Dense that compute with the kernel an integer file will hold.

Batch normalisation lives inside the layer, since a file holds it inside the kernel. While training
it works on the batch as usual; `folded()` gives the layer that a file is made from. With a range
per output channel, rounding the plain kernel and normalising afterwards equals rounding the folded
kernel, because a factor per channel commutes with a range per channel. With one range for the whole
kernel it does not: there the kernel is folded with the moving statistics first and the result
divided by the factor again, so that the batch's own statistics never shake the codes
(R. Krishnamoorthi, arXiv:1806.08342, Sec. 3.2.2).

Each layer is written so that the TFLite converter turns it into an integer operator with exactly
these scales.
"""

from __future__ import annotations

from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from core.compress.clusters import KernelClusters, recovered_centroids
from core.compress.kernel_arithmetic import codes_of, requantized, step_of
from core.compress.links import Linked

# A channel whose weights all vanish still needs a scale; relative to the layer's largest weight.
SMALLEST_CHANNEL = 1e-6
# What one range covers: an output channel of the kernel, the whole kernel, or the whole kernel
# with the batch normalisation (if there is one) folded in.
GRANULARITIES = ("channel", "tensor", "folded")


class QuantizedKernel(Linked):
    """Mixed into a Keras layer: masks, clusters and rounds its kernel, then normalises.

    Args:
        bits: Code width of the kernel; codes are symmetric without the lowest one.
        granularity: One of `GRANULARITIES`.
        norm: Constants of the batch normalisation inside: "epsilon", "momentum", "scale",
            "center"; None for none.
        keep_zeros: Whether weights that are zero when the layer is filled stay zero.
        clusters: Arguments of `KernelClusters` ("k", "per_channel") to keep a kernel clustered.
        fixed_kernel: Whether training leaves the kernel alone (the sums of a grouped convolution).
    """

    channelwise = True  # whether TFLite has a scale per output channel for this operator

    def __init__(
        self,
        *args,
        bits: int = 8,
        granularity: str = "channel",
        norm: dict | None = None,
        keep_zeros: bool = False,
        clusters: dict | None = None,
        fixed_kernel: bool = False,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        if granularity not in GRANULARITIES:
            raise ValueError(f"`granularity` must be in {GRANULARITIES}. Received: {granularity!r}")
        if norm is not None and self.use_bias:
            raise ValueError("`norm` takes the place of a bias: pass use_bias=False.")
        self.bits = bits
        self.granularity = granularity if self.channelwise else "folded"
        self.norm: Any = None if norm is None else dict(norm)
        self.keep_zeros, self.clusters = keep_zeros, cast(Any, clusters)
        self.fixed_kernel = fixed_kernel
        self.active = True

    # --- weights ------------------------------------------------------------------------------

    def build(self, input_shape):
        super().build(input_shape)
        kernel, channels = self._own_kernel(), self._channels()
        if self.fixed_kernel:
            kernel.trainable = False
        ranges = (channels,) if self.granularity == "channel" else ()
        self.kernel_range = self._add_state("kernel_range", ranges, "ones")
        self.ranges_frozen = self._add_state("ranges_frozen", (), "zeros")
        if self.norm is not None:
            self.norm_frozen = self._add_state("norm_frozen", (), "zeros")
            self.gamma = self._add_norm("gamma", "ones") if self.norm["scale"] else None
            self.beta = self._add_norm("beta", "zeros") if self.norm["center"] else None
            self.moving_mean = self._add_state("moving_mean", (channels,), "zeros")
            self.moving_variance = self._add_state("moving_variance", (channels,), "ones")
        self.kernel_clusters: Any = None
        if self.clusters is not None:
            self.kernel_clusters = KernelClusters(
                self,
                tuple(self._clusterable(kernel).shape),
                self.clusters["k"],
                per_channel=self.clusters["per_channel"],
                preserve_sparsity=self.keep_zeros,
            )
        elif self.keep_zeros:
            self.mask = self._add_state("mask", tuple(kernel.shape), "ones")

    def _add_state(self, name: str, shape: tuple, initializer: str):
        return self.add_weight(
            shape=shape, name=name, initializer=initializer, trainable=False, dtype="float32"
        )

    def _add_norm(self, name: str, initializer: str):
        # A clustered kernel's codes would change sign with its channel's factor.
        constraint = "non_neg" if name == "gamma" and self.clusters is not None else None
        return self.add_weight(
            shape=(self._channels(),), name=name, initializer=initializer, constraint=constraint
        )

    def fill(self, kernel: np.ndarray, bias: np.ndarray | None = None, norm=None) -> None:
        """Set the weights of a built layer, and everything that follows from them.

        Args:
            kernel: In Keras's layout.
            bias: (channels,), or None. With `norm` it goes into the moving mean.
            norm: A built `keras.layers.BatchNormalization` to take over, or None.
        """
        if norm is not None:
            mean = keras.ops.convert_to_numpy(norm.moving_mean)
            self.moving_mean.assign(mean if bias is None else mean - bias)
            self.moving_variance.assign(norm.moving_variance)
            if self.gamma is not None:
                self.gamma.assign(norm.gamma)
            if self.beta is not None:
                self.beta.assign(norm.beta)
        elif bias is not None:
            self.bias.assign(bias)
        self._own_kernel().assign(kernel)
        if self.kernel_clusters is not None:
            per_channel = self.clusters["per_channel"]
            kernel = np.asarray(self._clusterable(kernel))
            self.kernel_clusters.set(kernel, recovered_centroids(kernel, per_channel))
        elif self.keep_zeros:
            self.mask.assign(np.asarray(kernel != 0, np.float32))
        self.measure()

    def measure(self) -> None:
        """Set the kernel's range from its weights as they are now."""
        self.kernel_range.assign(self._limit(self._ranged(self._prepared())))

    def freeze_ranges(self) -> None:
        """Keep the kernel's range as it is through further training."""
        self.ranges_frozen.assign(1.0)

    def freeze_norm(self) -> None:
        """Normalise by the moving statistics from now on, while training too."""
        if self.norm is not None:
            self.norm_frozen.assign(1.0)

    # --- computing ----------------------------------------------------------------------------

    def call(self, inputs, training=None):
        if self.active and self.bits == 8 and self.simulates(training):
            return self._simulated(inputs)
        kernel = self._prepared()
        if self.granularity == "folded" and self.norm is not None:
            factor, _ = self._fold()
            factor = tf.stop_gradient(factor)
            tiny = tf.abs(factor) < 1e-12
            safe = tf.where(tiny, tf.ones_like(factor), factor)
            outputs = self._linear(inputs, self._rounded(self._scaled(kernel, factor), training))
            outputs = outputs / safe
        else:
            outputs = self._linear(inputs, self._rounded(kernel, training))
        if self.norm is not None:
            return self._normalised(outputs, training)
        return outputs + tf.convert_to_tensor(self.bias) if self.use_bias else outputs

    def _simulated(self, inputs):
        """Return what the file's kernel gives for inputs that carry codes."""
        kernel, bias, limit = self._merged()
        source, target = step_of(self.ends.sources[0]), step_of(self.ends.target)
        weight = limit / (2 ** (self.bits - 1) - 1)
        kernel, per_code = self._quantized(kernel, limit), 1.0 / weight
        kernel = self._scaled(kernel, per_code) if len(per_code.shape) else kernel * per_code
        sums = self._linear(codes_of(inputs, source), tf.round(kernel))
        if bias is not None:
            unit = tf.cast(source, tf.float64) * tf.cast(weight, tf.float64)
            bias = tf.round(tf.cast(bias, tf.float64) / unit)
        return target * requantized(sums, bias, source, weight, target)

    def _prepared(self):
        """Return the kernel after mask and clusters, before rounding."""
        kernel = tf.convert_to_tensor(self._own_kernel())
        if self.kernel_clusters is not None:
            clustered = self.kernel_clusters(self._clusterable(kernel))
            return tf.reshape(clustered, kernel.shape)
        return kernel * tf.convert_to_tensor(self.mask) if self.keep_zeros else kernel

    def _clusterable(self, kernel):
        """Return the kernel with the channels last that have clusters of their own."""
        return self._matrix(kernel) if self.clusters["per_channel"] else kernel

    def _ranged(self, kernel):
        """Return the kernel as its range sees it."""
        if self.granularity == "folded" and self.norm is not None:
            return self._scaled(kernel, self._fold()[0])
        return kernel

    def _limit(self, kernel):
        """Return the largest magnitude, per channel or of all, never quite zero."""
        magnitude = tf.abs(self._matrix(kernel))
        axes = list(range(len(magnitude.shape) - 1))
        peaks = tf.reduce_max(magnitude, axis=axes)
        highest = tf.reduce_max(peaks)
        if self.granularity != "channel":
            return tf.maximum(highest, 1e-20)
        return tf.maximum(peaks, tf.maximum(highest * SMALLEST_CHANNEL, 1e-20))

    def _rounded(self, kernel, training):
        if not self.active:
            return kernel
        limit = tf.convert_to_tensor(self.kernel_range)
        if training:
            frozen = tf.convert_to_tensor(self.ranges_frozen)
            seen = tf.stop_gradient(self._limit(kernel))
            limit = limit + (1.0 - frozen) * (seen - limit)
            self.kernel_range.assign(limit)
        return self._quantized(kernel, limit)

    def _quantized(self, kernel, limit):
        """Return the kernel rounded to the codes of a range, one or one per channel."""
        channels = len(limit.shape) > 0
        function = (
            tf.quantization.fake_quant_with_min_max_vars_per_channel
            if channels
            else tf.quantization.fake_quant_with_min_max_vars
        )
        # The converter finds a scale per channel only where channels stand last.
        matrix = self._matrix(kernel) if channels else kernel
        rounded = function(matrix, -limit, limit, num_bits=self.bits, narrow_range=True)
        return tf.reshape(rounded, kernel.shape)

    def _fold(self):
        """Return factor and shift per channel of the normalisation by moving statistics."""
        factor = tf.math.rsqrt(tf.convert_to_tensor(self.moving_variance) + self.norm["epsilon"])
        if self.gamma is not None:
            factor = factor * tf.convert_to_tensor(self.gamma)
        shift = -tf.convert_to_tensor(self.moving_mean) * factor
        return factor, shift if self.beta is None else shift + tf.convert_to_tensor(self.beta)

    def _normalised(self, outputs, training):
        if not training:
            factor, shift = self._fold()
            return outputs * factor + shift
        return tf.cond(
            tf.convert_to_tensor(self.norm_frozen) > 0.5,
            lambda: self._normalised(outputs, False),
            lambda: self._normalised_by_batch(outputs),
        )

    def _normalised_by_batch(self, outputs):
        """Normalise by the batch, follow its statistics (the fused kernel is twice as fast)."""
        shape = tf.shape(outputs)
        flat = tf.reshape(outputs, (1, -1, 1, outputs.shape[-1]))
        channels = self._channels()
        gamma = tf.ones(channels) if self.gamma is None else tf.convert_to_tensor(self.gamma)
        beta = tf.zeros(channels) if self.beta is None else tf.convert_to_tensor(self.beta)
        normal, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=flat, scale=gamma, offset=beta, mean=[], variance=[],
            epsilon=self.norm["epsilon"], is_training=True,
        )  # fmt: skip
        count = tf.cast(tf.shape(flat)[1], tf.float32)
        variance = variance * (count - 1.0) / tf.maximum(count, 1.0)  # Keras's are not corrected
        share = 1.0 - self.norm["momentum"]
        for variable, seen in ((self.moving_mean, mean), (self.moving_variance, variance)):
            before = tf.convert_to_tensor(variable)
            variable.assign(before + share * (tf.stop_gradient(seen) - before))
        return tf.reshape(normal, shape)

    # --- what becomes of it -------------------------------------------------------------------

    @property
    def scales(self) -> np.ndarray:
        """Distance of neighbouring weight codes in a file, per channel or a single one."""
        limit = np.atleast_1d(keras.ops.convert_to_numpy(self.kernel_range))
        if self.norm is not None and self.granularity != "folded":
            limit = limit * np.abs(np.asarray(self._fold()[0]))
        return limit / (2 ** (self.bits - 1) - 1)

    def folded(self):
        """Return a layer with equal outputs at inference: a kernel, a bias and ranges, no more."""
        config = {**self.get_config(), "norm": None, "keep_zeros": False, "clusters": None}
        config["use_bias"] = True  # TFLite's operators have one anyway
        if self.norm is not None and self.granularity != "folded":
            config["granularity"] = "channel"
        kernel, bias, limit = self._merged()
        layer = type(self).from_config(config)
        layer.build(self.input_spec_shape)
        layer._own_kernel().assign(kernel)
        if bias is not None:
            layer.bias.assign(bias)
        layer.kernel_range.assign(limit)
        return layer

    def _merged(self):
        """Return kernel, bias (or None) and kernel range with the normalisation folded in."""
        kernel, limit = self._prepared(), tf.convert_to_tensor(self.kernel_range)
        bias = tf.convert_to_tensor(self.bias) if self.use_bias else None
        if self.norm is not None:
            factor, bias = self._fold()
            kernel = self._scaled(kernel, factor)
            if self.granularity != "folded":
                limit = limit * tf.abs(factor)
        floor = tf.maximum(tf.reduce_max(limit) * SMALLEST_CHANNEL, 1e-20)
        return kernel, bias, tf.maximum(limit, floor)

    def plain(self, *, rounded: bool):
        """Return the plain Keras layer with this folded layer's weights, rounded to codes or not.

        Args:
            rounded: Whether the kernel holds the values of its codes.
        """
        config = self.get_config()
        for name in ("bits", "granularity", "norm", "keep_zeros", "clusters", "fixed_kernel"):
            config.pop(name)
        layer = self.plain_class.from_config(config)
        layer.build(self.input_spec_shape)
        kernel = self._prepared()
        layer.kernel.assign(self._rounded(kernel, False) if rounded else kernel)
        if self.use_bias:
            layer.bias.assign(self.bias)
        return layer

    @property
    def input_spec_shape(self) -> tuple:
        """The input shape the layer was built for, sizes open."""
        return tuple(self._inbound_nodes[0].input_tensors[0].shape)

    def get_config(self):
        return {
            **super().get_config(),
            "bits": self.bits,
            "granularity": self.granularity,
            "norm": self.norm,
            "keep_zeros": self.keep_zeros,
            "clusters": self.clusters,
            "fixed_kernel": self.fixed_kernel,
        }

    # Keras's convolutions and Dense save kernel and bias only; here more belongs to them.
    def save_own_variables(self, store):
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        keras.layers.Layer.load_own_variables(self, store)

    # --- what differs by operator --------------------------------------------------------------

    def _own_kernel(self):
        return self.kernel

    def _channels(self) -> int:
        return self.filters

    def _matrix(self, kernel):
        """Return the kernel with its output channels last."""
        return kernel

    def _scaled(self, kernel, factor):
        """Return the kernel times a factor per output channel."""
        return kernel * factor

    def _linear(self, inputs, kernel):
        return self.convolution_op(inputs, kernel)
