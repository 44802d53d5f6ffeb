"""Whether probabilities are what they say, and temperature scaling, which makes them so.

C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
arXiv:1706.04599. The temperature is folded into the classifier's weights: the network's logits,
those of every file made of it, and any softmax behind them are calibrated then, no class changes
its place, and no card, reader or phone has to know of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.classification.metrics import checked, softmax, wilson_interval

if TYPE_CHECKING:
    import keras

BINS = 15
LOWEST, HIGHEST = 0.05, 20.0  # temperatures; samples that are all right would ask for 0


@dataclass(frozen=True)
class ReliabilityBins:
    """Samples by confidence, arrays of length B; NaN in bins without samples.

    Attributes:
        edges: B + 1 of them, 0 to 1; a bin holds its upper edge.
        count: Samples.
        confidence: Mean probability of the predicted class.
        accuracy: Share of right predictions.
        interval: Wilson's, of the accuracy, (B, 2).
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    interval: np.ndarray

    @property
    def expected_error(self) -> float:
        """The expected calibration error: mean |accuracy - confidence|, weighted by samples."""
        used = self.count > 0
        gaps = np.abs(self.accuracy - self.confidence)[used]
        return float(np.average(gaps, weights=self.count[used]))


def reliability_bins(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS
) -> ReliabilityBins:
    """Return the bins of equal width that a reliability diagram shows.

    Args:
        probabilities: (N, K).
        labels: Classes (N,), integers from 0.
        bins: How many; 15 in the paper.
    """
    if bins < 1:
        raise ValueError(f"`bins` must be 1 or more. Received: bins={bins}")
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence, side="left")
    count = np.bincount(place, minlength=bins)
    hits = np.bincount(place, right, bins)
    with np.errstate(invalid="ignore"):
        means = np.bincount(place, confidence, bins) / count, hits / count
    intervals = np.array([wilson_interval(*pair) for pair in zip(hits, count, strict=True)])
    return ReliabilityBins(edges, count, *means, intervals)


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS
) -> float:
    """Return the expected calibration error, 0 to 1, of probabilities (N, K) for labels (N,)."""
    return reliability_bins(probabilities, labels, bins).expected_error


def negative_log_likelihood(
    logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0
) -> float:
    """Return the mean -log softmax(logits / temperature) of the labels' classes, in nats.

    Args:
        logits: (N, K).
        labels: Classes (N,), integers from 0.
        temperature: Above 0.
    """
    from scipy.special import log_softmax

    logits, labels = checked(logits, labels)
    logs = log_softmax(logits / temperature, axis=1)
    return -float(logs[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature of the lowest negative log likelihood, in [0.05, 20].

    The likelihood is convex in 1 / T, so the only zero of its derivative is the minimum. That
    lies beyond 0.05 where every sample's class is clearly the largest, beyond 20 where the logits
    tell nothing. scikit-learn fits the same, but only for estimators of its own kind.

    Args:
        logits: (N, K) of validation samples, never of training samples, which the network knows.
        labels: Their classes (N,), integers from 0.
    """
    from scipy.optimize import brentq

    logits, labels = checked(logits, labels)
    own = logits[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        return float(((softmax(inverse * logits) * logits).sum(axis=1) - own).mean())

    if slope(1 / HIGHEST) >= 0:
        return HIGHEST
    if slope(1 / LOWEST) <= 0:
        return LOWEST
    return 1 / brentq(slope, 1 / HIGHEST, 1 / LOWEST, xtol=1e-12)


def fold_temperature(model: keras.Model, temperature: float) -> str:
    """Divide a network's logits by a temperature, in the weights of its last layer.

    Between that layer and the output may stand what passes a factor on: ReLU, pooling, dropout,
    flattening. Done before the network is compressed or exported, whose ranges follow.

    Args:
        model: A functional network with one output, logits; changed in place.
        temperature: Above 0, as of `fit_temperature`.

    Returns:
        The name of the layer.

    Raises:
        ValueError: When the network ends in something else, such as a softmax.
    """
    from core.compress.graph import graph_of

    if not temperature > 0:
        raise ValueError(f"`temperature` must be positive. Received: temperature={temperature}")
    graph = graph_of(model)
    makers = {value: call for call in graph.calls for value in call.outputs}
    value = graph.outputs[0]
    call = makers.get(value)
    while call is not None and _passes_factors(call.operation):
        value = call.inputs[0]
        call = makers.get(value) if graph.sole_user(value) else None
    head: Any = None if call is None else call.operation
    if len(graph.outputs) != 1 or not _is_classifier(head) or graph.uses[id(head)] != 1:
        raise ValueError(
            "`model` must have one output, the logits of a dense or convolutional layer that is "
            f"used once. Received: {model.name}, ending in {getattr(head, 'name', None)}"
        )
    head.set_weights([weight / temperature for weight in head.get_weights()])
    return head.name


def _passes_factors(operation: Any) -> bool:
    """Return whether f(c · x) = c · f(x) for c above 0."""
    import keras

    layers = keras.layers
    if isinstance(operation, layers.ReLU):
        return operation.max_value is None and not operation.threshold
    if isinstance(operation, layers.Activation):
        return _is_homogeneous(operation)
    kinds = (
        layers.Dropout, layers.Flatten, layers.Reshape, layers.GlobalAveragePooling2D,
        layers.GlobalMaxPooling2D,
    )  # fmt: skip
    return isinstance(operation, kinds)


def _is_classifier(operation: Any) -> bool:
    import keras

    kinds = (keras.layers.Dense, keras.layers.Conv2D)
    return isinstance(operation, kinds) and _is_homogeneous(operation)


def _is_homogeneous(layer: Any) -> bool:
    return getattr(layer.activation, "__name__", "") in ("linear", "relu")
