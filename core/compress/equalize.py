"""Two repairs of a float network before or after rounding, without any training.

M. Nagel et al., "Data-free quantization through weight equalization and bias correction",
ICCV 2019 (arXiv:1906.04721): cross-layer equalization (Sec. 4.1) moves range from channels that
have much of it to those that have little; bias correction (Sec. 4.2) takes out the mean error that
rounded kernels make.

An instance normalisation undoes any factor of a channel, and its integer form needs even channels
badly: mean, difference and square share one scale, so a channel of a tenth of the others' deviation
is lost. The kernel before it is divided by each channel's deviation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from core.compress.folding import scale_outputs
from core.compress.graph import Call, Graph, graph_of
from core.compress.integer import float_form, round_biases
from core.compress.operators import MOVING
from core.compress.quantize import quantize_aware
from core.compress.quantized_kernel import QuantizedKernel
from core.compress.rewriter import Rewriter
from core.layers.instance_norm import InstanceNormalization

ROUNDS = 20  # sweeps over all pairs; a chain of pairs needs a few to settle
LARGEST_FACTOR = 1e4
# What stands between two kernels must let a positive factor per channel through unchanged.
POSITIVELY_HOMOGENEOUS = ("relu", "linear")
KEEPS_CHANNELS = MOVING - {
    "ChannelShuffle", "ExpandDims", "Flatten", "Flip", "GetItem", "Max", "Moveaxis",
    "NearestResize", "Pad", "Permute", "Ravel", "Repeat", "RepeatVector", "Reshape", "Roll",
    "SpaceToDepth", "DepthToSpace", "Split", "Squeeze", "Swapaxes", "Tile", "Transpose",
    "BroadcastTo",
}  # fmt: skip
KEEPS_CHANNELS |= {"AveragePooling2D", "GlobalAveragePooling2D", "BilinearUpsampling"}


@dataclass(frozen=True)
class Equalized:
    """A pair of layers whose channels were rescaled.

    Attributes:
        first, second: Names; the channels between them were scaled. `second` of an instance norm
            is that norm, which undoes any factor by itself.
        before, after: Largest over smallest channel range of the first kernel.
    """

    first: str
    second: str
    before: float
    after: float


def equalize(
    model, samples: Sequence[np.ndarray] = (), *, limit: int = 32
) -> tuple[keras.Model, list[Equalized]]:
    """Return a float network with equal outputs and more even channel ranges.

    Batch normalisations are folded first. A pair of kernels is rescaled where only ReLU, or
    nothing, stands between them and nobody else reads what they exchange; also a kernel before an
    instance normalisation (`core.layers.instance_norm`; `GroupNormalization` of one channel a group
    up to its epsilon).

    Args:
        model: A functional Keras model; it is not changed.
        samples: Network inputs, float32 (H, W, C), that tell the deviations before instance
            normalisations; without any, the kernels' ranges stand for them.
        limit: Samples at most.

    Returns:
        The rescaled model of plain layers, and the pairs; without pairs the folded model as it is.
    """
    model = float_form(quantize_aware(model, _leave_norms(model)))
    graph = graph_of(model)
    pairs = [pair for call in graph.calls if (pair := _pair_from(graph, call)) is not None]
    before = {id(first): _spread(_ranges_out(first)) for first, _ in pairs}
    for _ in range(ROUNDS):
        for first, second in pairs:
            if not isinstance(second, _NORMS):
                _rescale(first, second)
    normed = [pair for pair in pairs if isinstance(pair[1], _NORMS)]
    for (first, norm), spread in zip(
        normed, _deviations(model, normed, samples[:limit]), strict=True
    ):
        _even(first, norm, spread)
    if normed:
        model = _renewed(model)
    found = [
        Equalized(first.name, second.name, before[id(first)], _spread(_ranges_out(first)))
        for first, second in pairs
    ]
    return model, found


def correct_biases(folded, samples: Iterable[np.ndarray], *, limit: int = 64) -> list[str]:
    """Take the mean error of each rounded kernel out of its bias, in place.

    The expected error of an output channel is (rounded - exact kernel) · mean input (Eq. 17).

    Args:
        folded: The result of `core.compress.integer.integer_form`.
        samples: Network inputs, float32 (H, W, C).
        limit: Samples at most.

    Returns:
        The names of the corrected layers.
    """
    layers = [layer for layer in folded.layers if isinstance(layer, QuantizedKernel)]
    probes = [layer._inbound_nodes[0].input_tensors[0] for layer in layers]
    probe = keras.Model(folded.input, [_channel_means(tensor) for tensor in probes])
    batch = np.stack([np.asarray(s, np.float32) for _, s in zip(range(limit), samples)])  # noqa: B905
    means = [np.asarray(m).mean(axis=0) for m in keras.tree.flatten(probe.predict(batch, 8, 0))]
    for layer, mean in zip(layers, means, strict=True):
        kernel = np.asarray(layer._prepared())
        error = np.asarray(layer._rounded(layer._prepared(), False)) - kernel
        layer.bias.assign(layer.bias - _response(layer, error, mean))
    round_biases(folded)
    return [layer.name for layer in layers]


def has_instance_norms(model) -> bool:
    """Return whether a network needs `equalize` before it is rounded."""
    return any(_is_instance_norm(call.operation) for call in graph_of(model).calls)


def _leave_norms(model):
    from core.compress.scheme import Scheme

    kinds = {type(call.operation).__name__ for call in graph_of(model).calls}
    return Scheme(exceptions={kind.__name__: "float" for kind in _NORMS if kind.__name__ in kinds})


def _deviations(model, pairs: list, samples: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return each channel's standard deviation within an image before each norm of the pairs."""
    if not pairs or not len(samples):
        return [_ranges_out(first) for first, _ in pairs]
    inputs = [norm._inbound_nodes[0].input_tensors[0] for _, norm in pairs]
    means = [_channel_means(keras.ops.square(x - _kept_means(x))) for x in inputs]
    probe = keras.Model(model.input, means)
    found = keras.tree.flatten(probe.predict(np.stack(samples), 8, 0))
    return [np.sqrt(np.asarray(variance).mean(axis=0)) for variance in found]


def _even(first, norm, spread: np.ndarray) -> None:
    """Divide the channels before a norm by their deviations, and fit its epsilon."""
    live = spread > 0
    middle = np.exp(np.log(spread[live]).mean()) if live.any() else 1.0
    factor = np.where(live, middle / np.where(live, spread, 1.0), 1.0)
    factor = np.clip(factor, 1 / LARGEST_FACTOR, LARGEST_FACTOR)
    scale_outputs(first, factor)
    if isinstance(norm, InstanceNormalization):
        norm.epsilon = np.asarray(norm.epsilon * factor**2).tolist()


def _renewed(model):
    """Return a copy whose norms are traced with the epsilons they have now."""
    return Rewriter(graph_of(model)).rewrite()


def _pair_from(graph: Graph, call: Call):
    """Return the two layers that a call and what follows it make, if they can be rescaled."""
    first = call.operation
    if not isinstance(first, _SCALABLE) or graph.uses[id(first)] != 1:
        return None
    if keras.activations.serialize(first.activation) not in POSITIVELY_HOMOGENEOUS:
        return None
    value = call.outputs[0]
    while True:
        user = graph.sole_user(value)
        if user is None or graph.uses[id(user.operation)] != 1:
            return None
        operation, kind = user.operation, type(user.operation).__name__
        if isinstance(operation, _SCALABLE):
            groups = getattr(operation, "groups", 1)
            return (first, operation) if groups == 1 else None
        if _is_instance_norm(operation):
            return first, operation
        if not (_is_relu(operation) or kind in KEEPS_CHANNELS):
            return None
        value = user.outputs[0]


_NORMS = (InstanceNormalization, keras.layers.GroupNormalization)
_SCALABLE = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


def _is_relu(operation) -> bool:
    from core.compress.folding import activation_of

    return activation_of(operation) == "relu"


def _is_instance_norm(operation) -> bool:
    if isinstance(operation, InstanceNormalization):
        return True
    if not isinstance(operation, keras.layers.GroupNormalization) or operation.axis not in (-1, 3):
        return False
    return operation.groups in (-1, operation.gamma.shape[0] if operation.scale else -1)


def _rescale(first, second) -> None:
    """Make the ranges of the channels between two kernels equal (Eq. 11)."""
    out, into = _ranges_out(first), _ranges_in(second)
    live = (out > 0) & (into > 0)
    factor = np.where(live, np.sqrt(np.where(live, into, 1) / np.where(live, out, 1)), 1.0)
    factor = np.clip(factor, 1 / LARGEST_FACTOR, LARGEST_FACTOR).astype(np.float32)
    scale_outputs(first, factor)
    axis = (..., slice(None), None)  # input channels stand last but one in every kernel
    second.kernel.assign(np.asarray(second.kernel) / factor[axis])


def _ranges_out(layer) -> np.ndarray:
    """Return the largest magnitude of each output channel of a kernel."""
    kernel = np.abs(np.asarray(layer.kernel))
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return kernel.max(axis=(0, 1)).ravel()
    return kernel.reshape(-1, kernel.shape[-1]).max(axis=0)


def _ranges_in(layer) -> np.ndarray:
    """Return the largest magnitude of each input channel of a kernel."""
    kernel = np.abs(np.asarray(layer.kernel))
    return kernel.reshape(-1, *kernel.shape[-2:]).max(axis=(0, 2))


def _spread(ranges: np.ndarray) -> float:
    live = ranges[ranges > 0]
    return float(live.max() / live.min()) if live.size else 1.0


def _channel_means(tensor):
    axes = tuple(range(1, len(tensor.shape) - 1))
    return keras.ops.mean(tensor, axis=axes) if axes else tensor


def _kept_means(tensor):
    return keras.ops.mean(tensor, axis=tuple(range(1, len(tensor.shape) - 1)), keepdims=True)


def _response(layer, error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return what an error of a kernel adds to each output channel for a constant input."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return (error * mean[:, None]).sum(axis=(0, 1)).ravel()
    if isinstance(layer, keras.layers.Conv2DTranspose):
        strides = np.prod(layer.strides)
        return (error * mean).sum(axis=(0, 1, 3)) / strides
    if getattr(layer, "groups", 1) > 1:
        mean = mean.reshape(layer.groups, -1).repeat(error.shape[-1] // layer.groups, axis=0).T
        return (error * mean).sum(axis=(0, 1, 2))
    return (error * mean[:, None]).reshape(-1, error.shape[-1]).sum(axis=0)
