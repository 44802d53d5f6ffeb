"""What rounding costs at a network's outputs, as a function of the basis its features are in.

Every tensor has 256 codes for all its channels, and every output channel of a kernel has 255: a
step follows from the widest reach, and a rounding error of variance step² / 12 costs what the
outputs' derivative makes of it. All this is measured once, in the given basis; the cost of another
follows by algebra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from core.compress.basis import Basis
from core.compress.freedom import Freedom, is_written_and_read
from core.compress.graph import Call, Graph
from core.compress.quantized_kernel import QuantizedKernel
from core.compress.quantizers import ActivationQuantizer
from core.compress.range_search import BINS, best_range

ROWS = 8192  # pixels of all samples that tell a channel's distribution
DIRECTIONS, FARTHEST = 64, 6  # in which features reach farthest, and how many of them are kept
# Pixels a side within which the errors of a smooth picture are alike; half the sensitivity is one
# to such errors.
WINDOW = 4
SHARPNESS = 24.0  # of the smooth maximum
LEVELS, KERNEL_LEVELS = 255.0, 127.0
TINY = 1e-9


@dataclass(frozen=True)
class Features:
    """What is known of a tensor's features; C channels.

    Attributes:
        second: E[x xᵀ], float32 (C, C).
        sensitivity: E[g gᵀ], (C, C), g the derivative of a random direction of the outputs, scaled
            so that Σ (sensitivity · covariance of an error) is the squared error per output.
        lows, highs: How far each channel reaches below and above zero, (C,).
        extremes: The rows of x that reach farthest in some direction, (n, C); none where no matrix
            may be chosen.
    """

    second: Any
    sensitivity: Any
    lows: Any
    highs: Any
    extremes: Any


def measure(
    model, graph: Graph, freedom: Freedom, samples: Sequence[np.ndarray], *, seed: int = 0
) -> dict[int, Features]:
    """Return value → its features, for all that kernels read or write, or that is rounded.

    Args:
        model: A quantized model whose rounding is off.
        graph, freedom: Of it.
        samples: float32 network inputs (H, W, C).
        seed: Of the directions.
    """
    tensors: dict[int, Any] = {}
    for call in graph.calls:
        if isinstance(call.operation, QuantizedKernel | ActivationQuantizer):
            tensors[call.inputs[0]] = call.node.input_tensors[0]
        if isinstance(call.operation, QuantizedKernel):
            tensors[call.outputs[0]] = call.node.outputs[0]
    tensors = {value: t for value, t in tensors.items() if value in freedom.segments}
    probe = keras.Model(model.input, [list(tensors.values()), keras.tree.flatten(model.output)])
    rng = np.random.default_rng(seed)
    views = {
        value: _View(tensor.shape[-1], freedom.has_matrix(value), rng)
        for value, tensor in tensors.items()
    }
    rows = -(-ROWS // len(samples))
    for sample in samples:
        inputs = tf.constant(sample[None])
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            features, outputs = probe(inputs, training=False)
            signs = [rng.choice(np.array((-1, 1), np.float32), size=out.shape) for out in outputs]
            probed = tf.add_n([tf.reduce_sum(o * s) for o, s in zip(outputs, signs, strict=True)])
        gradients = tape.gradient(probed, features, unconnected_gradients="zero")
        share = 1.0 / (len(samples) * sum(sign.size for sign in signs))
        for view, x, gradient in zip(views.values(), features, gradients, strict=True):
            view.add(x.numpy(), gradient.numpy(), 1.0 / len(samples), share, rows)
    return {value: view.features() for value, view in views.items()}


class _View:
    """Gathers what is known of one tensor."""

    def __init__(self, channels: int, mixed: bool, rng: np.random.Generator):
        self.rng = rng
        self.second = np.zeros((channels, channels), np.float32)
        self.sensitivity = np.zeros((channels, channels), np.float32)
        self.rows: list[tuple] = []
        self.extremes = np.zeros((0, channels), np.float32)
        self.directions = None
        if mixed:
            others = rng.standard_normal((channels, DIRECTIONS), np.float32)
            self.directions = np.hstack([np.eye(channels, dtype=np.float32), others])

    def add(self, x, gradient, weight: float, share: float, rows: int) -> None:
        """Take one sample's features and derivatives, (1, …, C), in."""
        flat, g = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, x.shape[-1])
        self.second += weight / len(flat) * (flat.T @ flat)
        forms = [g, *_window_sums(gradient)]
        for form in forms:
            self.sensitivity += share / len(forms) * (form.T @ form)
        chosen = self.rng.choice(len(flat), min(len(flat), rows), replace=False)
        self.rows.append((flat[chosen], g[chosen]))
        if self.directions is not None:
            known = np.concatenate([self.extremes, flat])
            reach = known @ self.directions
            count = min(FARTHEST, len(known))
            order = np.argpartition(reach, (count - 1, -count), axis=0)
            self.extremes = known[np.unique([order[:count], order[-count:]])]

    def features(self) -> Features:
        """Return what is known; a channel's ends are those that cost least at the outputs."""
        x, g = (np.concatenate(part) for part in zip(*self.rows, strict=True))
        weights = g.astype(np.float64) ** 2
        lows, highs = np.zeros(x.shape[1], np.float32), np.zeros(x.shape[1], np.float32)
        for channel in range(x.shape[1]):
            values, weight = x[:, channel], weights[:, channel]
            low, high = min(values.min(), 0.0), max(values.max(), 0.0)
            if weight.any() and high - low > TINY:
                counts, _ = np.histogram(values, BINS, (low, high), weights=weight)
                low, high = best_range(counts, low, high)
                lows[channel], highs[channel] = -low, high
        return Features(self.second, self.sensitivity, lows, highs, self.extremes)


def _window_sums(gradient: np.ndarray) -> list[np.ndarray]:
    """Return the derivatives of a picture (1, H, W, C) summed in windows, (n, C); else nothing."""
    if gradient.ndim != 4 or min(gradient.shape[1:3]) < WINDOW:
        return []
    rows, columns = (side // WINDOW for side in gradient.shape[1:3])
    whole = gradient[0, : rows * WINDOW, : columns * WINDOW]
    tiles = whole.reshape(rows, WINDOW, columns, WINDOW, -1)
    return [tiles.sum(axis=(1, 3)).reshape(rows * columns, -1)]


class RoundingCost:
    """Expected squared error of the outputs in a basis, mean over their elements.

    Args:
        graph, freedom: Of a quantized model.
        measured: Of `measure`.
    """

    def __init__(self, graph: Graph, freedom: Freedom, measured: dict[int, Features]):
        self.freedom = freedom
        self.seen = {
            value: Features(*(tf.constant(array) for array in vars(features).values()))
            for value, features in measured.items()
        }
        self.ranges: dict[int, set[int]] = {}  # what shares a range
        self.kernels: list[Call] = []
        for call in graph.calls:
            layer = call.operation
            if is_written_and_read(call, measured):
                self.kernels.append(call)
            elif isinstance(layer, ActivationQuantizer) and layer.fixed is None:
                self.ranges.setdefault(id(layer), set()).update({call.inputs[0]} & set(measured))

    def __call__(self, basis: Basis):
        """Return the cost, a scalar tensor."""
        total = tf.zeros(())
        for values in filter(None, self.ranges.values()):
            ends = [self._ends(basis, value) for value in values]
            low, high = (_largest(tf.concat(side, 0)) for side in zip(*ends, strict=True))
            step = (low + high) / LEVELS
            for value in values:
                total += step**2 / 12.0 * tf.reduce_sum(self._sensitivity(basis, value))
        for call in self.kernels:
            total += self._kernel_cost(basis, call)
        return total

    def _kernel_cost(self, basis: Basis, call: Call):
        """Of a kernel's own rounding: one step per output channel, inputs of their mean square."""
        kernel, power = basis.kernel(call), self._power(basis, call.inputs[0])
        depthwise = isinstance(call.operation, keras.layers.DepthwiseConv2D)
        inner = list(range(len(kernel.shape) - (2 if depthwise else 1)))
        steps = tf.reduce_max(tf.abs(kernel), axis=inner) / KERNEL_LEVELS
        groups = len(power) if depthwise else getattr(call.operation, "groups", 1)
        power = tf.reduce_sum(tf.reshape(power, (groups, -1)), axis=1)
        power *= float(np.prod(kernel.shape[:-2]))
        variance = tf.reshape(steps**2, (groups, -1)) * power[:, None] / 12.0
        sensitivity = self._sensitivity(basis, call.outputs[0])
        return tf.reduce_sum(tf.reshape(variance, (-1,)) * sensitivity)

    def _ends(self, basis: Basis, value: int):
        """Return by how far the channels, or all that one matrix mixes, reach below and above 0."""
        seen, lows, highs = self.seen[value], [], []
        for part in self.freedom.segments[value]:
            if part.matrix is None:
                factor = basis.factors(part)
                lows.append(seen.lows[part.start : part.stop] * factor)
                highs.append(seen.highs[part.start : part.stop] * factor)
            else:
                x = seen.extremes[:, part.start : part.stop]
                x = tf.reshape(tf.matmul(x, basis.matrices[part.matrix], transpose_b=True), (-1,))
                lows.append(_largest(-x)[None])
                highs.append(_largest(x)[None])
        return tf.concat(lows, 0), tf.concat(highs, 0)

    def _sensitivity(self, basis: Basis, value: int):
        """Return what the unit variance of each channel's error costs."""
        found = []
        for part in self.freedom.segments[value]:
            known = self.seen[value].sensitivity[part.start : part.stop, part.start : part.stop]
            if part.matrix is None:
                found.append(tf.linalg.diag_part(known) / basis.factors(part) ** 2)
            else:
                inverse = basis.inverses[part.matrix]
                found.append(tf.reduce_sum(inverse * tf.matmul(known, inverse), axis=0))
        return tf.concat(found, 0)

    def _power(self, basis: Basis, value: int):
        """Return each channel's mean square."""
        found = []
        for part in self.freedom.segments[value]:
            known = self.seen[value].second[part.start : part.stop, part.start : part.stop]
            if part.matrix is None:
                found.append(tf.linalg.diag_part(known) * basis.factors(part) ** 2)
            else:
                matrix = basis.matrices[part.matrix]
                found.append(tf.reduce_sum(matrix * tf.matmul(matrix, known), axis=1))
        return tf.concat(found, 0)


def _largest(values):
    """Return a smooth form of the largest element, from 0 up: a power mean, somewhat smaller."""
    top = tf.stop_gradient(tf.reduce_max(values)) + TINY
    shares = tf.nn.relu(values / top) ** SHARPNESS
    return top * (tf.reduce_mean(shares) + TINY) ** (1.0 / SHARPNESS)
