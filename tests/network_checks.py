"""Checks of a network and its files; `contract` runs them over the catalog."""

from __future__ import annotations

import keras
import numpy as np
from untraced import untraced

from core.compress.graph import graph_of
from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.compress.scheme import floating_layers
from core.engines import LiteRTEngine, output_error, signal_to_noise
from core.export.convert import to_tflite
from core.tflite.inspect import float_operators, foreign_operators, output_steps, requantisation


def smooth(
    count: int, height: int, width: int, channels: int = 3, *, block: int = 8, uniform=False, seed=0
) -> np.ndarray:
    """Return random inputs (images have no white noise): normal, or uniform in [0, 1]."""
    rng = np.random.default_rng(seed)
    shape = (count, height // block, width // block, channels)
    coarse = rng.random(shape) if uniform else rng.standard_normal(shape)
    return coarse.repeat(block, axis=1).repeat(block, axis=2).astype(np.float32)


def outputs_of(model, inputs) -> list[np.ndarray]:
    """Return what a model gives at inference."""
    return [np.asarray(o) for o in keras.tree.flatten(model(inputs, training=False))]


def parameters(model) -> int:
    """Return the number of trainable parameters."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def macs(model) -> int:
    """Return the multiplications of all kernels for one input of the model's size."""
    graph, total = graph_of(model), 0
    for call in graph.calls:
        kernel = getattr(call.operation, "kernel", None)
        if kernel is not None:
            depthwise = isinstance(call.operation, keras.layers.DepthwiseConv2D)
            window = kernel.shape[:2] if depthwise else kernel.shape[:-1]
            total += int(np.prod(graph.shapes[call.outputs[0]][1:])) * int(np.prod(window))
    return total


def check_open_size(fixed, opened, inputs) -> None:
    """A network of open size computes what one of these inputs' size does."""
    opened.set_weights(fixed.get_weights())
    assert output_error(outputs_of(fixed, inputs), outputs_of(opened, inputs)) < 1e-5


def check_saving(model, inputs, folder) -> None:
    """A saved network comes back with its names and, to the last bit, its outputs."""
    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras", compile=False)
    assert output_error(outputs_of(model, inputs), outputs_of(loaded, inputs)) == 0.0
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


def check_float_file(model, card, inputs, content: bytes | None = None) -> None:
    """Builtin operators only, and the outputs of Keras, with both kinds of kernels."""
    content = content or to_tflite(model, "float32")
    assert foreign_operators(content) == []
    expected = outputs_of(model, inputs)
    for delegate in (True, False):
        engine = LiteRTEngine(content, card, delegate=delegate)
        assert output_error(expected, engine(inputs)) < 1e-4


def check_int8_file(
    model, card, inputs, *, io: str = "int8", least: float = 12.0, exact: float = 0.999
) -> bytes:
    """Integers throughout, ratios XNNPACK computes, and the file computes what Keras simulated.

    Layers that always stay in float (`core.compress.scheme.floating_layers`) do so here.

    Random weights lose far more to 8 bits than trained ones, so the budget is not absolute: the
    file must be as close to the float network as its simulation is.

    Args:
        model: The float network, of the inputs' size.
        card: Its card.
        inputs: float32 (N, H, W, C): what it is calibrated with and compared on.
        io: Types of the file's input and output.
        least: Signal to noise of the simulation, in dB.
        exact: Share of the outputs that the default kernels give within a step of the simulation.

    Returns:
        The file.
    """
    quantized = quantize_aware(model)
    with untraced():
        calibrate(quantized, inputs)
    content = to_tflite(quantized, "int8", io=io)
    assert foreign_operators(content) == []
    in_float = floating_layers(model)
    assert [operator.name for operator in float_operators(content, in_float)] == []
    assert [str(entry) for entry in requantisation(content) if entry.fatal] == []
    reference, simulation = outputs_of(model, inputs), outputs_of(quantized, inputs)
    simulated = signal_to_noise(reference, simulation)
    assert simulated > least
    for delegate in (True, False):
        outputs = LiteRTEngine(content, card, delegate=delegate)(inputs)
        assert signal_to_noise(reference, outputs) > simulated - 1.5
    assert_as_simulated(quantized, content, card, inputs, exact)
    if in_float:
        part = up_to_first_of(quantized, in_float)
        assert_as_simulated(part, to_tflite(part, "int8", io=io), card, inputs, 0.999)
    return content


def assert_as_simulated(quantized, content: bytes, card, inputs, least: float) -> None:
    """What Keras simulates is what the file computes, but for a share of the outputs.

    Args:
        quantized, content: A calibrated model and its file.
        card: Its card.
        inputs: float32 (N, H, W, C).
        least: Share of the outputs that the default kernels give within a step.
    """
    engine = LiteRTEngine(content, card, delegate=True)
    steps = output_steps(content, engine.output_indices)
    both = zip(outputs_of(quantized, inputs), engine(inputs), steps, strict=True)
    for ours, theirs, step in both:
        assert (np.abs(ours - theirs) <= 1.01 * step).mean() >= least


def up_to_first_of(quantized, names: list[str]) -> keras.Model:
    """Return a quantized model as far as the rounded output of the first of some layers.

    What such a layer computes in float may lie on the other side of a tie in the file, by the last
    bit of an exponential, which the layers behind it carry on. Up to it nothing may differ.
    """
    by_depth = quantized._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    first = next(node for node in nodes if node.operation.name in names)
    (rounded,) = (n for n in nodes if any(t is first.outputs[0] for t in n.input_tensors))
    return keras.Model(quantized.inputs, rounded.outputs)
