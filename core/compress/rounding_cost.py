"""What rounding costs at a network's outputs, as a function of the basis its features are in.

Every tensor has 256 codes for all its channels, and every output channel of a kernel has 255: a
step follows from the widest reach, and a rounding error of variance step² / 12 costs what the
outputs' derivative makes of it. All this is measured once, in the given basis; the cost of another
follows by algebra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from core.compress.basis import Basis
from core.compress.freedom import Freedom, Segment, is_written_and_read
from core.compress.graph import Call, Graph
from core.compress.quantized_kernel import QuantizedKernel
from core.compress.quantizers import ActivationQuantizer
from core.compress.range_search import best_range

ROWS, BINS = 8192, 512  # of all pixels those that tell a channel's distribution; its histogram
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
        lows, highs: How far each channel reaches below and above zero, (C,), of what is rounded.
        extremes: The rows of x that reach farthest in some direction, (n, C); none where no matrix
            may be chosen.
    """

    second: np.ndarray
    sensitivity: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    extremes: np.ndarray


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
    tensors: dict[int, keras.KerasTensor] = {}
    same: dict[int, int] = {}  # value → the one that it equals while rounding is off
    rounded: set[int] = set()
    for call in graph.calls:
        source, value = call.inputs[0], call.outputs[0]
        if isinstance(call.operation, QuantizedKernel | ActivationQuantizer):
            same.setdefault(source, source)
            tensors[same[source]] = call.node.input_tensors[0]
        if isinstance(call.operation, QuantizedKernel):
            same[value] = value
            tensors[value] = call.node.outputs[0]
        elif isinstance(call.operation, ActivationQuantizer):
            same[value] = same[source]
            rounded.add(same[source])
    tensors = {value: t for value, t in tensors.items() if value in freedom.segments}
    probe = keras.Model(model.input, [list(tensors.values()), keras.tree.flatten(model.output)])
    rng = np.random.default_rng(seed)
    views = {
        value: _View(tensor.shape[-1], freedom.has_matrix(value), value in rounded, rng)
        for value, tensor in tensors.items()
    }

    # A graph, since step by step TensorFlow has no gradient of a grouped kernel without oneDNN.
    @tf.function(reduce_retracing=True, autograph=False)
    def derivatives(inputs, seed):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            features, outputs = probe(inputs, training=False)
            probed = tf.zeros(())
            for number, output in enumerate(outputs):
                noise = tf.random.stateless_normal(tf.shape(output), (seed, number))
                probed += tf.reduce_sum(output * tf.sign(noise))
        gradients = tape.gradient(probed, features, unconnected_gradients="zero")
        return features, gradients, tf.add_n([tf.size(output) for output in outputs])

    rows = -(-ROWS // len(samples))
    for number, sample in enumerate(samples):
        features, gradients, size = derivatives(
            tf.constant(sample[None]), tf.constant(seed + number)
        )
        share = 1.0 / (len(samples) * int(size))
        for view, x, gradient in zip(views.values(), features, gradients, strict=True):
            view.add(x.numpy(), gradient.numpy(), 1.0 / len(samples), share, rows)
    found = {value: view.features() for value, view in views.items()}
    return {value: found[source] for value, source in same.items() if source in found}


class _View:
    """Gathers what is known of one tensor."""

    def __init__(self, channels: int, mixed: bool, rounded: bool, rng: np.random.Generator):
        self.rng, self.rounded = rng, rounded
        self.second = np.zeros((channels, channels), np.float32)
        self.sensitivity = np.zeros((channels, channels), np.float32)
        self.rows: list[tuple] = []
        self.extremes: list[np.ndarray] = []
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
            reach = flat @ self.directions
            self.extremes.append(flat[np.unique([reach.argmin(axis=0), reach.argmax(axis=0)])])

    def features(self) -> Features:
        """Return what is known; a channel's ends are those that cost least at the outputs."""
        x, g = (np.concatenate(part) for part in zip(*self.rows, strict=True))
        weights = g.astype(np.float64) ** 2
        lows, highs = np.zeros(x.shape[1], np.float32), np.zeros(x.shape[1], np.float32)
        for channel in range(x.shape[1]) if self.rounded else ():
            values, weight = x[:, channel], weights[:, channel]
            low, high = min(values.min(), 0.0), max(values.max(), 0.0)
            if weight.any() and high - low > TINY:
                counts, _ = np.histogram(values, BINS, (low, high), weights=weight)
                low, high = best_range(counts, low, high)
                lows[channel], highs[channel] = -low, high
        extremes = np.concatenate(self.extremes or [np.zeros((0, x.shape[1]), np.float32)])
        if self.directions is not None and len(extremes) > FARTHEST:
            order = np.argpartition(extremes @ self.directions, (FARTHEST, -FARTHEST), axis=0)
            extremes = extremes[np.unique([order[:FARTHEST], order[-FARTHEST:]])]
        return Features(self.second, self.sensitivity, lows, highs, extremes)


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
        self.freedom, self.measured = freedom, measured
        ranges: dict[int, set[int]] = {}  # what shares a range
        self.kernels: list[Call] = []
        for call in graph.calls:
            layer = call.operation
            if is_written_and_read(call, measured):
                self.kernels.append(call)
            elif isinstance(layer, ActivationQuantizer) and layer.fixed is None:
                ranges.setdefault(id(layer), set()).update({call.inputs[0]} & set(measured))
        # All channels without a matrix are one vector, so that a large network is few operations.
        self.mixed: list[tuple[int, int, int, Segment]] = []  # range, value, matrix, segment
        plain: dict[str, list] = {name: [] for name in ("range", "factor", "low", "high", "cost")}
        self.ranges = 0
        for number, values in enumerate(filter(None, ranges.values())):
            self.ranges = number + 1
            for value in sorted(values):
                seen = measured[value]
                for part in freedom.segments[value]:
                    if part.matrix is not None:
                        self.mixed.append((number, value, part.matrix, part))
                        continue
                    own = slice(part.start, part.stop)
                    plain["range"].append(np.full(part.stop - part.start, number))
                    plain["factor"].append(part.factors)
                    plain["low"].append(seen.lows[own])
                    plain["high"].append(seen.highs[own])
                    plain["cost"].append(np.diag(seen.sensitivity)[own])
        self.plain = {name: np.concatenate(parts or [[]]) for name, parts in plain.items()}

    def __call__(self, basis: Basis):
        """Return the cost, a scalar tensor."""
        total = tf.reduce_sum(self._range_costs(basis)) if self.ranges else tf.zeros(())
        for call in self.kernels:
            total += self._kernel_cost(basis, call)
        return total

    def _range_costs(self, basis: Basis):
        """Return what each range's rounding costs."""
        plain, numbers = self.plain, [self.plain["range"].astype(np.int32)]
        factors = basis.factors(plain["factor"].astype(int))
        lows = [tf.constant(plain["low"], tf.float32) * factors]
        highs = [tf.constant(plain["high"], tf.float32) * factors]
        costs = [tf.constant(plain["cost"], tf.float32) / factors**2]
        for number, value, matrix, part in self.mixed:
            x = tf.constant(self.measured[value].extremes[:, part.start : part.stop])
            x = tf.reshape(tf.matmul(x, basis.matrices[matrix], transpose_b=True), (-1,))
            every = tf.zeros_like(x, tf.int32)
            lows.append(_largest(-x, every, 1))
            highs.append(_largest(x, every, 1))
            costs.append(tf.reduce_sum(self._sensitivity(basis, value, part))[None])
            numbers.append(np.array([number], np.int32))
        owners = tf.constant(np.concatenate(numbers))
        low, high = (_largest(tf.concat(ends, 0), owners, self.ranges) for ends in (lows, highs))
        cost = tf.math.unsorted_segment_sum(tf.concat(costs, 0), owners, self.ranges)
        return ((low + high) / LEVELS) ** 2 / 12.0 * cost

    def _kernel_cost(self, basis: Basis, call: Call):
        """Of a kernel's own rounding: one step per output channel, inputs of their mean square."""
        kernel, source, value = basis.kernel(call), *call.inputs, *call.outputs
        power = _joined(
            [self._power(basis, source, part) for part in self.freedom.segments[source]]
        )
        depthwise = isinstance(call.operation, keras.layers.DepthwiseConv2D)
        inner = list(range(len(kernel.shape) - (2 if depthwise else 1)))
        steps = tf.reduce_max(tf.abs(kernel), axis=inner) / KERNEL_LEVELS
        groups = len(power) if depthwise else getattr(call.operation, "groups", 1)
        power = tf.reduce_sum(tf.reshape(power, (groups, -1)), axis=1)
        power *= float(np.prod(kernel.shape[:-2]))
        variance = tf.reshape(steps**2, (groups, -1)) * power[:, None] / 12.0
        sensitivity = _joined(
            [self._sensitivity(basis, value, part) for part in self.freedom.segments[value]]
        )
        return tf.reduce_sum(tf.reshape(variance, (-1,)) * sensitivity)

    def _sensitivity(self, basis: Basis, value: int, part: Segment):
        """Return what the unit variance of each channel's error costs."""
        own = slice(part.start, part.stop)
        known = self.measured[value].sensitivity[own, own]
        if part.matrix is None:
            return tf.constant(np.diag(known)) / basis.factors(part.factors) ** 2
        inverse = basis.inverses[part.matrix]
        return tf.reduce_sum(inverse * tf.matmul(tf.constant(known), inverse), axis=0)

    def _power(self, basis: Basis, value: int, part: Segment):
        """Return each channel's mean square."""
        own = slice(part.start, part.stop)
        known = self.measured[value].second[own, own]
        if part.matrix is None:
            return tf.constant(np.diag(known)) * basis.factors(part.factors) ** 2
        matrix = basis.matrices[part.matrix]
        return tf.reduce_sum(matrix * tf.matmul(matrix, tf.constant(known)), axis=1)


def _largest(values, owners, count: int):
    """Return a smooth form of each owner's largest value, from 0 up: a power mean.

    Args:
        values: (n,).
        owners: Numbers below `count`, int32 (n,).
    """
    top = tf.stop_gradient(tf.nn.relu(tf.math.unsorted_segment_max(values, owners, count))) + TINY
    shares = tf.nn.relu(values / tf.gather(top, owners)) ** SHARPNESS
    mean = tf.math.unsorted_segment_mean(shares, owners, count)
    return top * (mean + TINY) ** (1.0 / SHARPNESS)


def _joined(parts: list):
    return parts[0] if len(parts) == 1 else tf.concat(parts, 0)
