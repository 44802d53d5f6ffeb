"""The selective scan against its definition, a loop over the sequence in float64."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.checkpoints import torch_state
from core.engines import interpreter, output_error
from core.export.convert import freeze, to_tflite
from core.layers import selective_scan as module
from core.layers.selective_scan import SelectiveScan, selective_scan, softplus
from core.tflite.inspect import foreign_operators

GOLDEN = "lightm-unet__selective-scan"


def arguments(length: int, channels: int = 6, states: int = 4, batch: int = 2) -> list[np.ndarray]:
    """Return u, delta, a, b and c of a plausible scale."""
    rng = np.random.default_rng(length)
    u, steps = rng.standard_normal((2, batch, length, channels))
    b, c = rng.standard_normal((2, batch, length, states))
    return [u, np.logaddexp(0, steps - 1), -np.exp(rng.standard_normal((channels, states))), b, c]


def loop(u, delta, a, b, c):
    """The recurrence as it is written."""
    state, outputs = 0.0, []
    for t in range(u.shape[1]):
        enters = (delta[:, t] * u[:, t])[..., None] * b[:, t, None]
        state = tf.exp(delta[:, t, :, None] * a) * state + enters
        outputs.append(tf.reduce_sum(state * c[:, t, None], axis=-1))
    return tf.stack(outputs, axis=1)


def with_gradients(function, values, dtype) -> list[np.ndarray]:
    """Return the output and the gradients of a weighted sum of it."""
    values = [tf.constant(value, dtype) for value in values]
    weights = np.random.default_rng(0).standard_normal(values[0].shape)
    with tf.GradientTape() as tape:
        tape.watch(values)
        y = function(*values)
        total = tf.reduce_sum(y * tf.constant(weights, dtype))
    return [np.asarray(value) for value in (y, *tape.gradient(total, values))]


def errors(length: int, function) -> float:
    """Return the largest error of output and gradients, each relative to its scale."""
    values = arguments(length)
    expected = with_gradients(loop, values, tf.float64)
    found = with_gradients(function, values, tf.float32)
    scales = [np.abs(e).max() or 1.0 for e in expected]  # one step has no use for the rates
    return max(np.abs(e - f).max() / s for e, f, s in zip(expected, found, scales, strict=True))


# 150 steps by 4 are 38 chunks, whose ends are carried over in groups; by 64 they are three.
@pytest.mark.parametrize("length, chunk", [(1, 4), (5, 8), (33, 8), (150, 4), (150, 64), (150, 1)])
def test_output_and_gradients_are_those_of_the_loop(length, chunk):
    assert errors(length, lambda *args: selective_scan(*args, chunk=chunk)) < 2e-6


@pytest.mark.slow
def test_output_and_gradients_of_a_long_sequence_with_chunks_as_chosen():
    assert errors(700, selective_scan) < 2e-6


@pytest.mark.parametrize("length", [16, 90])
def test_some_chunks_at_a_time_give_the_same_gradients(monkeypatch, length):
    monkeypatch.setattr(module, "STATES_AT_A_TIME", 7 * 8 * 6 * 4)  # seven chunks of 24, in groups
    assert errors(length, lambda *args: selective_scan(*args, chunk=8)) < 2e-6


def test_length_and_batch_may_be_open():
    rates = tf.TensorSpec((6, 4))
    wide, narrow = tf.TensorSpec((None, None, 6)), tf.TensorSpec((None, None, 4))
    opened = tf.function(selective_scan, input_signature=[wide, wide, rates, narrow, narrow])
    for length in (3, 90):
        assert errors(length, opened) < 2e-6
    assert opened.experimental_get_tracing_count() == 1


def test_steps_that_forget_everything_stay_finite():
    """exp(+sum of delta) would overflow at once; here only factors up to 1 occur."""
    u, delta, a, b, c = arguments(100)
    found = with_gradients(selective_scan, [u, 50 * delta, 20 * a, b, c], tf.float32)
    expected = with_gradients(loop, [u, 50 * delta, 20 * a, b, c], tf.float64)
    assert output_error(expected, found) < 1e-6


def test_the_gradient_never_holds_all_states(monkeypatch):
    """Memory grows with the length times channels, not times states too."""
    length, channels, states = 4096, 8, 16
    monkeypatch.setattr(module, "STATES_AT_A_TIME", 2**13)

    @tf.function
    def gradients(*values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = tf.reduce_sum(selective_scan(*values) ** 2)
        return tape.gradient(total, values)

    values = [tf.constant(v, tf.float32) for v in arguments(length, channels, states, batch=1)]
    graph = gradients.get_concrete_function(*values).graph
    bodies = [function.graph for function in graph._functions.values()]
    sizes = [
        tensor.shape.num_elements()
        for operation in itertools.chain(*(g.get_operations() for g in (graph, *bodies)))
        for tensor in operation.outputs
        if tensor.dtype == tf.float32 and tensor.shape.is_fully_defined()
    ]
    # The widest are b and c of the whole sequence; one state a chunk is as much.
    assert max(sizes) == length * states < length * channels * states / 4


def test_a_graph_does_not_compute_all_decays_at_once():
    """A step's wait for the step before, or they were as many numbers in memory as all states."""
    values = [tf.constant(v, tf.float32) for v in arguments(2048)]
    graph = tf.function(selective_scan).get_concrete_function(*values).graph
    decays = [op for op in graph.get_operations() if op.type == "Exp"]
    waiting = [op for op in decays if op.inputs[0].op.control_inputs]
    assert len(decays) > module.LONGEST_CHUNK and len(waiting) >= len(decays) - 1


# --- the layer -------------------------------------------------------------------------------


def load_golden() -> dict[str, np.ndarray]:
    import golden_files

    with np.load(golden_files.GOLDEN / f"{GOLDEN}.npz") as data:
        return {key: data[key] for key in data.files}


def published_layer(golden) -> tuple[SelectiveScan, list[np.ndarray]]:
    """Return a layer with the golden file's weights, and its inputs."""
    u, dt, b, c = (golden[key].swapaxes(1, 2) for key in ("u", "delta_raw", "B", "C"))
    inputs = [u, dt + golden["delta_bias"], b, c]
    layer = SelectiveScan(name="mamba")
    layer(inputs)
    layer.rates.assign(golden["A_log"])
    layer.skip.assign(golden["D"])
    return layer, inputs


def test_agrees_with_the_published_scan():
    golden = load_golden()
    layer, inputs = published_layer(golden)
    gate = golden["z"].swapaxes(1, 2)
    y = np.asarray(layer(inputs)) * gate / (1 + np.exp(-gate))
    assert output_error([golden["y"].swapaxes(1, 2)], [y]) < 1e-6


def test_has_the_published_states():
    """Read one by one: c is 1 for one state and 0 for the others."""
    golden = load_golden()
    layer, (u, dt, b, c) = published_layer(golden)
    layer.skip.assign(np.zeros(layer.skip.shape))
    for state in range(16):
        one = np.zeros_like(c)
        one[..., state] = 1.0
        found = np.asarray(layer([u, dt, b, one]))[:, 9::10]
        assert output_error([golden["states"][..., state]], [found]) < 1e-5


def network(sides=(5, 8), channels: int = 6, states: int = 4, **options) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((*sides, channels))
    dense = [keras.layers.Dense(width)(image) for width in (channels, channels, states, states)]
    return keras.Model(image, SelectiveScan(name="scan", **options)(dense))


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_positions_are_one_sequence_row_by_row():
    u, delta, _, b, c = (value.astype(np.float32) for value in arguments(24))
    layer = SelectiveScan()
    flat = layer([u, delta, b, c])
    image = layer([value.reshape(2, 4, 6, -1) for value in (u, delta, b, c)])
    np.testing.assert_array_equal(np.reshape(image, flat.shape), flat)


def test_starts_as_mamba_and_has_its_names():
    state = torch_state(network())
    np.testing.assert_allclose(np.exp(state["scan.A_log"]), [[1, 2, 3, 4]] * 6, rtol=1e-6)
    np.testing.assert_array_equal(state["scan.D"], np.ones(6))


def test_sides_may_be_open():
    fixed, opened = network(), network((None, None))
    opened.set_weights(fixed.get_weights())
    image = pixels(2, 5, 8, 6)
    np.testing.assert_allclose(opened(image), fixed(image), atol=1e-5)


def test_file_holds_builtin_operators_and_computes_the_same():
    model = network((20, 30))
    content = to_tflite(model)
    assert foreign_operators(content) == []
    image = pixels(1, 20, 30, 6)
    lite = interpreter(content, threads=1, delegate=True)
    lite.set_tensor(lite.get_input_details()[0]["index"], image)
    lite.invoke()
    found = lite.get_tensor(lite.get_output_details()[0]["index"])
    assert output_error([np.asarray(model(image))], [found]) < 1e-5


def test_computes_in_float32_whatever_the_precision():
    """In halves a state of 1000 cannot take in 0.1 any more."""
    u = np.full((1, 2000, 1), 0.5, np.float16)
    dt, weights = np.full_like(u, -4.0), np.full((1, 2000, 1), 16.0, np.float16)
    half, full = SelectiveScan(dtype="mixed_float16"), SelectiveScan()
    outputs, expected = (layer([u, dt, weights, weights / 16]) for layer in (half, full))
    assert outputs.dtype == tf.float16 and half.rates.dtype == "float32"
    np.testing.assert_allclose(outputs, expected, rtol=1e-3)


def test_survives_a_file(tmp_path):
    model, image = network(chunk=4), pixels(1, 5, 8, 6)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(image), model(image))
    assert loaded.get_layer("scan").chunk == 4


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="chunk=0"):
        SelectiveScan(chunk=0)
    with pytest.raises(ValueError, match=r"u and dt \(B, …, E\).*\(2, 9, 5\)"):
        SelectiveScan()([np.ones((2, 9, 5)), np.ones((2, 9, 4)), *np.ones((2, 2, 9, 3))])


# --- softplus --------------------------------------------------------------------------------


def test_softplus_has_all_digits_in_files_too():
    """The converter's own is infinite above 88 and wrong in the third digit at -9."""
    x = np.linspace(-40, 120, 1601, dtype=np.float32)[None]
    exact = np.logaddexp(0.0, x.astype(np.float64))
    value = keras.Input((x.shape[1],))
    content = to_tflite(keras.Model(value, keras.layers.Lambda(softplus)(value)))
    for delegate in (True, False):
        lite = interpreter(content, threads=1, delegate=delegate)
        lite.set_tensor(lite.get_input_details()[0]["index"], x)
        lite.invoke()
        found = lite.get_tensor(lite.get_output_details()[0]["index"])
        np.testing.assert_allclose(found, exact, rtol=2e-6)


def test_softplus_has_the_gradient_of_softplus():
    x = tf.constant(np.linspace(-30, 30, 61, dtype=np.float32))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = softplus(x)
    np.testing.assert_allclose(tape.gradient(y, x), tf.sigmoid(x), rtol=1e-6)


def test_short_sequences_are_few_operators():
    """A network has dozens of scans, and every operator costs time in the converter."""
    counts = {side: len(freeze(network((side, side))).graph.get_operations()) for side in (4, 64)}
    assert counts[4] < 260 and counts[64] < 620
