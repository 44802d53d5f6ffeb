"""The search: its cell against the published one, its draws, its schedule, and what it finds."""

import golden_files
import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.person_reid.models.osnet import BLOCKS, CANDIDATES, osnet
from apps.person_reid.models.osnet_search import (
    CandidateMixture,
    TemperatureSchedule,
    cells,
    derive,
    mixing_weights,
    osnet_search,
    search_cell,
    temperature_at,
)
from core.checkpoints import load_torch_state

SHAPE = (32, 16, 3)
FOUND = ["INv1", "plain", "INv3", "INv2", "plain", "INv1"]


@pytest.fixture(scope="module")
def golden():
    return golden_files.load("osnet__blocks")


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return osnet_search(SHAPE, classes=5, variant="ain_x0_25", seed=3)


@pytest.fixture
def search(network):
    """The super-network at the start of a search."""
    for cell in cells(network).values():
        cell.importance.assign(np.ones(4))
        cell.temperature.assign(10)
    return network


def images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("temperature", [10, 1])
def test_cell_agrees_with_the_published_one(golden, temperature):
    stored = {name: golden.outputs[f"nas/{name}"][0] for name in ("uniform", "alpha")}
    state = {k: v for k, v in golden.state().items() if k.startswith("nas.")}
    image = keras.Input((16, 8, 64))
    model = keras.Model(image, search_cell(image, 256, "nas"))
    assert load_torch_state(model, state).complete
    cell = model.get_layer("nas")
    np.testing.assert_array_equal(cell.importance, stored["alpha"])
    weights = mixing_weights(stored["alpha"], stored["uniform"], float(temperature))
    np.testing.assert_allclose(weights, golden.outputs[f"nas/mix_lmda{temperature}"][0], rtol=1e-5)

    candidates = keras.Model(
        image, [model.get_layer(f"nas.os_block.{i}").output for i in range(len(CANDIDATES))]
    )
    values = np.random.default_rng(0).standard_normal((2, 64, 16, 8)).astype(np.float32)
    cell.temperature.assign(temperature)
    outputs = cell(candidates(values.transpose(0, 2, 3, 1)), uniform=stored["uniform"])
    assert golden.error(f"nas/out_lmda{temperature}", outputs) < 1e-5


@pytest.mark.slow
def test_super_network_has_the_published_parameters():
    model = osnet_search(SHAPE, classes=751)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 6_729_559
    assert [output.shape for output in model.outputs] == [(None, 512), (None, 751)]
    norms = [w for w in model.trainable_weights if w.name in ("gamma", "beta")]
    assert norms == []


@pytest.mark.slow
def test_every_pass_draws_anew_also_in_evaluation(search):
    x = images()
    first, second = (np.asarray(search(x, training=False)[1]) for _ in range(2))
    assert np.abs(first - second).max() > 1e-5


@pytest.mark.slow
def test_the_seed_decides_the_draws_and_every_cell_has_its_own(network):
    assert [cell.seed for cell in cells(network).values()] == [3, 4, 5, 6, 7, 8]
    value = [np.float32([[k]]) for k in range(4)]
    first, again, other = (np.asarray(CandidateMixture(seed)(value)) for seed in (1, 1, 2))
    assert first == again != other


def test_importances_learn_and_a_negative_one_is_out():
    layer = CandidateMixture(seed=0)
    x = [np.full((1, 1), value, np.float32) for value in (1.0, 2.0, 3.0, 4.0)]
    layer(x)
    layer.importance.assign([1.0, 1.0, 1.0, -0.5])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(layer(x, uniform=np.full(4, 0.5, np.float32)))
    gradient = np.asarray(tape.gradient(y, layer.importance.value))
    assert np.all(gradient[:3] != 0) and gradient[3] == 0
    layer.temperature.assign(1.0)
    assert float(layer(x, uniform=np.full(4, 0.5, np.float32))[0, 0]) == pytest.approx(
        2.0, abs=1e-4
    )


def test_temperature_halves_every_twenty_epochs_down_to_one():
    found = [temperature_at(epoch) for epoch in (0, 19, 20, 40, 60, 79, 80, 119)]
    assert found == [10, 10, 5, 2.5, 1.25, 1.25, 1, 1]


@pytest.mark.slow
def test_temperature_of_all_cells_follows_the_epochs(search):
    schedule = TemperatureSchedule(every=2)
    schedule.set_model(search)
    for epoch, expected in ((0, 10), (3, 5), (4, 2.5), (40, 1)):
        schedule.on_epoch_begin(epoch)
        assert {float(cell.temperature) for cell in cells(search).values()} == {expected}


@pytest.mark.slow
def test_weights_and_importances_are_trained_together(search):
    with tf.GradientTape() as tape:
        embedding, logits = search(images(4), training=True)
        loss = tf.reduce_mean(tf.square(logits - 1.0)) + tf.reduce_mean(embedding)
    gradients = tape.gradient(loss, search.trainable_variables)
    for variable, gradient in zip(search.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        if variable.name == "importance":
            assert np.all(np.asarray(gradient) != 0), variable.path


@pytest.mark.slow
def test_what_was_found_is_a_network_of_its_own(search, tmp_path):
    assert derive(search) == ["plain"] * 6  # nothing is known yet
    for cell, kind in zip(cells(search).values(), FOUND, strict=True):
        importance = np.full(4, 0.2, np.float32)
        importance[CANDIDATES.index(kind)] = 1.4
        cell.importance.assign(importance)
    search.save(tmp_path / "search.keras")
    placement = derive(keras.models.load_model(tmp_path / "search.keras"))
    assert placement == FOUND
    child = osnet("ain_x0_25", SHAPE, classes=3, placement=placement)
    assert [o.shape for o in child(images())] == [(2, 512), (2, 3)]
    names = {layer.name for layer in child.layers}
    wanted = {"conv2.0.IN", "conv3.0.IN_in", "conv3.0.IN_out", "conv3.1.IN", "conv4.1.IN"}
    assert wanted == {n for n in names if n.rpartition(".")[2].startswith("IN")}
    batch_normed = {b for b in BLOCKS if f"{b}.conv3.bn" in names}
    assert batch_normed == {"conv2.1", "conv3.1", "conv4.0"}


def test_another_network_is_no_search():
    with pytest.raises(ValueError, match="osnet_search"):
        derive(osnet("x0_25", SHAPE))
