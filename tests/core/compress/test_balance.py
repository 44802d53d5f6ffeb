"""The basis that is cheapest to round: equal results, less noise, and only where it is free."""

import keras
import numpy as np
import pytest
import quantization_zoo as zoo
from keras import layers

from core.compress.balance import balance
from core.compress.freedom import freedom_of
from core.compress.graph import graph_of
from core.compress.integer import float_form, integer_form
from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.compress.scheme import Scheme
from core.engines import output_error, signal_to_noise
from core.errors import UserError


def stream(x):
    """A residual stream that is linear at both ends of every block, as of MobileNetV2 or IMDN."""
    x = layers.Conv2D(6, 3, padding="same", name="first")(x)
    for block in range(2):
        y = layers.Conv2D(8, 3, padding="same", activation="relu", name=f"expand_{block}")(x)
        y = layers.Conv2D(6, 1, name=f"project_{block}")(y)
        x = layers.Add(name=f"sum_{block}")([x, y])
    return layers.Conv2D(4, 3, padding="same", name="last")(x)


def with_leaky_parts(x):
    """Channels that are parted behind an activation and joined again."""
    x = layers.LeakyReLU(0.05)(layers.Conv2D(6, 3, padding="same", name="first")(x))
    y = layers.Conv2D(4, 3, padding="same", name="second")(x[..., 2:])
    return layers.Conv2D(3, 1, name="last")(layers.Concatenate(name="joined")([x[..., :2], y]))


def gated(x):
    """Features behind a gate that cannot be scaled."""
    x = layers.Conv2D(4, 3, activation="relu", name="first")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="sigmoid", name="gate")(gate)
    return layers.Conv2D(3, 1, name="last")(layers.Multiply(name="product")([x, gate]))


def capped(x):
    return layers.Conv2D(3, 1)(layers.Conv2D(4, 3, activation="relu6")(x))


def uneven(network, spread: float = 100.0) -> keras.Model:
    """Return a network whose first features hardly differ but in size, with equal results."""
    model = zoo.build(network)
    first = model.get_layer("first")
    kernel, bias = first.get_weights()
    kernel = kernel.mean(axis=-1, keepdims=True) + 0.1 * kernel
    first.set_weights([kernel * np.geomspace(1, spread, kernel.shape[-1]), bias])
    return model


def freedom(network):
    """Return the freedom of a network's quantized form, and its segments by layer."""
    quantized = quantize_aware(float_form(quantize_aware(zoo.build(network))))
    graph = graph_of(quantized)
    found = freedom_of(graph)
    return found, {
        call.operation.name: found.segments.get(call.outputs[0], []) for call in graph.calls
    }


def noise(model) -> float:
    """Return the signal-to-noise ratio in dB of a network's int8 form."""
    quantized = quantize_aware(model, Scheme(observer="minmax"))
    calibrate(quantized, zoo.inputs())
    outputs = (zoo.outputs_of(m, zoo.inputs()) for m in (model, integer_form(quantized)[0]))
    return signal_to_noise(*outputs)


# --- what is free -----------------------------------------------------------------------------


def test_a_linear_stream_has_one_matrix_for_all_that_meets_in_its_sums():
    found, segments = freedom(stream)
    assert found.matrices == [6] and found.factors == 2 * 8
    names = ("first", "project_0", "sum_0", "project_1", "sum_1")
    parts = [(p.start, p.stop, p.matrix) for name in names for p in segments[name]]
    assert parts == [(0, 6, 0)] * len(names)
    assert [(p.matrix, set(p.factors.tolist())) for p in segments["last"]] == [(None, {-1})]


def test_behind_an_activation_factors_are_left_and_go_where_channels_go():
    found, segments = freedom(with_leaky_parts)
    (first,), (second,) = segments["first"], segments["second"]
    assert first.matrix is None and len(set(first.factors.tolist())) == 6 == found.factors
    assert second.matrix == 0 and found.matrices == [4]
    kept, other = segments["joined"]
    np.testing.assert_array_equal(kept.factors, first.factors[:2])
    assert (other.start, other.stop, other.matrix) == (2, 6, 0)


def test_a_gate_lets_the_factors_of_what_it_gates_pass():
    found, segments = freedom(gated)
    assert found.matrices == [] and found.factors == 4
    for name in ("first", "product"):
        assert set(segments[name][0].factors.tolist()) == {0, 1, 2, 3}
    assert set(segments["gate"][0].factors.tolist()) == {-1}


def test_nothing_is_free_where_values_are_cut_off():
    assert not freedom(capped)[0]
    model = zoo.build(capped)
    same, found = balance(model, zoo.inputs())
    assert (found.matrices, found.factors, found.before, found.after) == (0, 0, 0, 0)
    for one, other in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# --- what comes of it -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("network", [stream, with_leaky_parts])
def test_rounding_disturbs_a_balanced_network_far_less(network):
    model = uneven(network)
    before = [weights.copy() for weights in model.get_weights()]
    balanced, found = balance(model, zoo.inputs())
    assert found.after < 0.5 * found.before
    assert noise(balanced) > noise(model) + 3
    exact = (zoo.outputs_of(m, zoo.inputs()) for m in (model, balanced))
    assert output_error(*exact) < 1e-4
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("network", zoo.NETWORKS, ids=lambda network: network.__name__)
def test_no_network_computes_anything_else(network, monkeypatch):
    monkeypatch.setattr("core.compress.balance.STEPS", 20)
    model = zoo.build(network)
    balanced, found = balance(model, zoo.inputs(), limit=4)
    assert found.after <= found.before
    exact = (zoo.outputs_of(m, zoo.inputs()) for m in (model, balanced))
    assert output_error(*exact) < 1e-4


@pytest.mark.slow
def test_the_choice_is_the_same_every_time():
    first, second = (balance(uneven(gated), zoo.inputs())[0] for _ in range(2))
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_what_stays_in_float_is_left_alone_and_need_not_be_known():
    def unknown(x):
        x = layers.Conv2D(4, 1, name="first")(x)
        return layers.Conv2D(3, 1, name="last")(layers.Activation("softsign", name="odd")(x))

    model = zoo.build(unknown)
    with pytest.raises(UserError, match="odd"):
        balance(model, zoo.inputs())
    balanced, _ = balance(model, zoo.inputs(), exceptions={"odd": "float"}, limit=2)
    exact = (zoo.outputs_of(m, zoo.inputs()) for m in (model, balanced))
    assert output_error(*exact) < 1e-5
