"""Fake quantization of activations: rounding to the codes an integer file will compute with.

R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018
(arXiv:1806.08342): asymmetric ranges per tensor that always hold zero, straight-through gradients.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from core.compress.links import Range
from core.compress.tracing import is_exporting

# The kernels of these functions have their output scale fixed by the TFLite specification.
FIXED_RANGES = {
    "sigmoid": (0.0, 255.0 / 256.0),
    "softmax": (0.0, 255.0 / 256.0),
    "tanh": (-1.0, 127.0 / 128.0),
}
# Percentiles of a batch are taken from so many of its values, evenly chosen.
PERCENTILE_VALUES = 4096
TIE = 1e-3  # of a step, far above the noise of float32 and far below a step
# A learned end moves by so many times the learning rate in the logarithm: the ends are few, and
# have farther to go than any weight.
LEARNING_SPEED = 3.0
SMALLEST_STEP = 1e-12  # of a range that calibration left empty


@keras.saving.register_keras_serializable("gossamer")
class ActivationQuantizer(Range, keras.layers.Layer):
    """Round a tensor to the codes of its range; while training, the range follows the tensor.

    Args:
        bits: Code width; above 8 bits the range is kept symmetric, as TFLite's int16 is.
        fixed: (minimum, maximum) that nothing changes, or None.
        observer: One of `core.compress.scheme.OBSERVERS`.
        decay: Of the moving averages.
        percentile: Upper percentile of that observer.
    """

    def __init__(
        self,
        bits: int = 8,
        fixed: tuple[float, float] | None = None,
        observer: str = "moving_average",
        decay: float = 0.99,
        percentile: float = 99.99,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 2 <= bits <= 16:
            raise ValueError(f"`bits` must lie in 2..16. Received: bits={bits}")
        self.bits = bits
        self.fixed = None if fixed is None else tuple(fixed)
        self.observer, self.decay, self.percentile = observer, decay, percentile
        self.active = True
        low, high = self.fixed or (-6.0, 6.0)
        # Made here, not in `build`: a range is set before and independently of any input shape.
        self.minimum = self._scalar("minimum", low)
        self.maximum = self._scalar("maximum", high)
        self.frozen = self._scalar("frozen", 0.0)
        self.learned = observer == "learned"
        if self.learned:  # each end is its start · exp(speed · shift)
            self.start = self._scalar("start", (low, high))
            self.shift = self._scalar("shift", (0.0, 0.0), trainable=True)
            self.shift.trainable = self.fixed is None

    def _scalar(self, name: str, value, *, trainable: bool = False):
        return self.add_weight(
            shape=np.shape(value),
            name=name,
            initializer=lambda shape, dtype=None: tf.constant(value, tf.float32, shape),
            trainable=trainable,
            dtype="float32",
        )

    @property
    def symmetric(self) -> bool:
        """Whether zero is the middle code."""
        return self.bits > 8

    @property
    def scale(self) -> float:
        """Distance of neighbouring codes, the float32 number a file has for it."""
        width = float(self.maximum) - float(self.minimum)
        return float(np.float32(width / (2**self.bits - (2 if self.symmetric else 1))))

    def set_range(self, minimum: float, maximum: float) -> None:
        """Set the range, widened to hold zero (zero padding must be exact)."""
        minimum, maximum = min(0.0, float(minimum)), max(0.0, float(maximum))
        if self.symmetric:
            maximum = max(-minimum, maximum)
            minimum = -maximum
        self.minimum.assign(minimum)
        self.maximum.assign(maximum)
        if self.learned:
            self.start.assign((minimum, maximum))
            self.shift.assign((0.0, 0.0))

    def fix(self, minimum: float, maximum: float) -> None:
        """Set the range for good."""
        self.set_range(minimum, maximum)
        self.fixed = (float(minimum), float(maximum))
        if self.learned:
            self.shift.trainable = False

    def freeze(self) -> None:
        """Keep the range as it is through further training."""
        self.frozen.assign(1.0)

    def call(self, inputs, training=None, ties=None, only_simulated=False):
        """Round to the nearest code.

        Args:
            inputs: A float32 tensor.
            training: Whether the range follows the tensor.
            ties: Where values half-way between two codes go: "up", to the "even" code, or "away"
                from zero (signed codes). Float arithmetic leaves it to chance (None); means and
                bilinear resizing by a whole factor make so many that the kernel's way matters. A
                file needs nothing for it.
            only_simulated: Whether a file gets this rounding from the converter.
        """
        if not self.active or (only_simulated and is_exporting()):
            return inputs
        low, high = tf.convert_to_tensor(self.minimum), tf.convert_to_tensor(self.maximum)
        if training and self.learned and self.fixed is None:
            return self._learn(inputs, low, high)
        if training and self.fixed is None:
            low, high = self._observe(inputs, low, high)
            self.minimum.assign(low)
            self.maximum.assign(high)
        if ties is not None and not is_exporting():
            inputs += self._nudge(inputs, low, high, ties)
        return tf.quantization.fake_quant_with_min_max_vars(
            inputs, low, high, num_bits=self.bits, narrow_range=self.symmetric
        )

    def _learn(self, inputs, low, high):
        """Round with gradients for the range, and keep the range it has now.

        S. Esser et al., "Learned step size quantization", ICLR 2020 (arXiv:1902.08153), here with
        two ends in place of a step: rounding passes gradients on, cutting off does not.
        """
        ends = tf.convert_to_tensor(self.start) * tf.exp(LEARNING_SPEED * self.shift)
        frozen = tf.convert_to_tensor(self.frozen)
        seen_low, seen_high = tf.unstack(ends)
        if self.symmetric:
            seen_low = -seen_high
        low = frozen * low + (1.0 - frozen) * seen_low
        high = frozen * high + (1.0 - frozen) * seen_high
        self.minimum.assign(tf.stop_gradient(low))
        self.maximum.assign(tf.stop_gradient(high))
        return _learnable(inputs, low, high, self.bits, self.symmetric)

    def _nudge(self, inputs, low, high, ties: str):
        """Return what moves ties, and nothing else, to the side they belong to."""
        step = (high - low) / (2**self.bits - (2 if self.symmetric else 1))
        if ties == "up":
            return TIE * step
        code = tf.stop_gradient(inputs) / step + tf.round(-low / step)  # from 0
        if ties == "away":
            upwards = code > 2.0 ** (self.bits - 1)
        else:
            upwards = tf.math.floormod(tf.floor(code), 2.0) == 1.0
        return TIE * step * tf.where(upwards, 1.0, -1.0)

    def _observe(self, inputs, low, high):
        """Return the range after a batch."""
        inputs = tf.stop_gradient(inputs)
        if self.observer == "percentile":
            seen_low, seen_high = self._percentiles(inputs)
        else:
            seen_low, seen_high = tf.reduce_min(inputs), tf.reduce_max(inputs)
        seen_low, seen_high = tf.minimum(seen_low, 0.0), tf.maximum(seen_high, 0.0)
        if self.symmetric:
            seen_high = tf.maximum(-seen_low, seen_high)
            seen_low = -seen_high
        moving = 1.0 - tf.convert_to_tensor(self.frozen)
        if self.observer == "minmax":
            new_low, new_high = tf.minimum(low, seen_low), tf.maximum(high, seen_high)
        else:
            share = 1.0 - self.decay
            new_low, new_high = low + share * (seen_low - low), high + share * (seen_high - high)
        return low + moving * (new_low - low), high + moving * (new_high - high)

    def _percentiles(self, inputs):
        values = tf.reshape(inputs, (-1,))
        count = tf.size(values)
        step = tf.maximum(count // PERCENTILE_VALUES, 1)
        ordered = tf.sort(values[::step])
        last = tf.cast(tf.size(ordered) - 1, tf.float32)
        high = tf.cast(tf.round(last * self.percentile / 100.0), tf.int32)
        low = tf.cast(tf.round(last * (1.0 - self.percentile / 100.0)), tf.int32)
        return tf.reshape(ordered[low], ()), tf.reshape(ordered[high], ())  # else of no known rank

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "bits": self.bits,
            "fixed": self.fixed,
            "observer": self.observer,
            "decay": self.decay,
            "percentile": self.percentile,
        }


def _learnable(values, low, high, bits: int, symmetric: bool):
    """Round, with the gradients of a learned range (Esser et al., Eq. 3, for two ends).

    Written out, since what differentiation makes of rounding, cutting off and scaling passes over
    the values five times as often.

    Args:
        values: A float32 tensor.
        low: Lower end of the range, float32 ().
        high: Upper end.
    """
    top = 2.0**bits - (2.0 if symmetric else 1.0)
    codes = {"num_bits": bits, "narrow_range": symmetric}

    @tf.custom_gradient
    def rounded(values, low, high):
        outputs = tf.quantization.fake_quant_with_min_max_vars(values, low, high, **codes)

        def gradient(upstream):
            inside, below, above = tf.quantization.fake_quant_with_min_max_vars_gradient(
                upstream, values, low, high, **codes
            )
            step = tf.maximum((high - low) / top, SMALLEST_STEP)
            start = low / step
            zero = -tf.round(start)
            moved, inwards = (tf.reshape(x, (1, -1)) for x in (outputs - values, inside))
            by_step = tf.squeeze(tf.matmul(moved, inwards, transpose_b=True)) / step
            by_step += above * (top - zero) - below * zero
            # Where zero lies moves what is cut off, and nothing else.
            by_start = step * (below + above)
            by_width = (by_step - by_start * start / step) / top
            return inside, by_start / step - by_width, by_width

        return outputs, gradient

    return rounded(values, low, high)


def percentile_range(values: np.ndarray, percentile: float) -> tuple[float, float]:
    """Return (low, high) of an array by the rule of the "percentile" observer."""
    ordered = np.sort(np.ravel(values)[:: max(np.size(values) // PERCENTILE_VALUES, 1)])
    last = len(ordered) - 1
    share = percentile / 100.0
    return float(ordered[round(last * (1.0 - share))]), float(ordered[round(last * share)])


@contextlib.contextmanager
def rounding_off(model) -> Iterator[None]:
    """Let a quantized model compute in float within the block (trace anew inside it)."""
    layers = [layer for layer in model.layers if hasattr(layer, "active")]
    before = [layer.active for layer in layers]
    for layer in layers:
        layer.active = False
    try:
        yield
    finally:
        for layer, active in zip(layers, before, strict=True):
            layer.active = active
