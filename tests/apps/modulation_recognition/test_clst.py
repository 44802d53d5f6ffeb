"""The ClST-style network: its attention by hand, and its files."""

import frame_checks
import keras
import network_checks
import numpy as np
import pytest

from apps.modulation_recognition.models.clst import (
    NETWORK,
    channel_attention,
    spatial_attention,
)
from core.checkpoints import torch_state

FEW = {"depths": (0, 1, 0)}  # of several heads, with an embedding before and behind it
per_variant = pytest.mark.parametrize("variant", NETWORK.variants)
per_branch = pytest.mark.parametrize("variant", ["small", "se"])  # each begins in its own way, too


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def by_hand(q, k, v, heads: int, kind: str) -> np.ndarray:
    """Return what a branch gives for tokens (T, C), head by head."""
    found = []
    for queries, keys, values in zip(*(np.split(x, heads, axis=1) for x in (q, k, v)), strict=True):
        if kind == "positions":
            found.append(softmax(queries @ keys.T / np.sqrt(queries.shape[1])) @ values)
        else:
            found.append((softmax(queries.T @ keys / len(queries)) @ values.T).T)
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize(
    "branch, kind, seen", [(spatial_attention, "positions", 3), (channel_attention, "channels", 6)]
)
def test_attends_as_written_by_hand(branch, kind, seen):
    rng, heads = np.random.default_rng(0), 2
    q, k, v = (rng.standard_normal((n, 8)).astype(np.float32) for n in (6, seen, seen))
    inputs = [keras.Input((1, *x.shape)) for x in (q, k, v)]
    model = keras.Model(inputs, branch(*inputs, heads, "attn"))
    found = model([x[None, None] for x in (q, k, v)])
    np.testing.assert_allclose(found[0, 0], by_hand(q, k, v, heads, kind), atol=1e-6)


def test_has_the_parameters_of_its_card():
    frame_checks.check_parameters(NETWORK)


def test_lengths_that_fit_and_that_do_not():
    frame_checks.check_lengths(NETWORK, smallest=16)


@per_branch
def test_the_deployed_network_computes_the_same(variant, tmp_path):
    model = frame_checks.trained_like(NETWORK.build, variant, 16, **FEW)
    inputs = frame_checks.frames(NETWORK.card(variant), 16)
    deployed = NETWORK.deploy(model)
    assert NETWORK.deploy(deployed) is deployed
    expected, found = (network_checks.outputs_of(one, inputs)[0] for one in (model, deployed))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    network_checks.check_saving(deployed, inputs, tmp_path)


@per_branch
def test_float_file_agrees_with_keras(variant):
    frame_checks.check_float_file(NETWORK, variant, 16, **FEW)


@pytest.mark.slow
@per_branch
def test_int8_file_is_integer_and_what_keras_simulates(variant):
    frame_checks.check_int8_file(NETWORK, variant, 32, **FEW)


@per_variant
def test_its_state_says_how_to_build_it(variant):
    state = torch_state(NETWORK.build(variant, (16, 2), classes=7, depths=(1, 0, 0)))
    assert NETWORK.infer(state) == {"variant": variant, "classes": 7}


def test_stochastic_depth_leaves_out_whole_samples():
    keras.utils.set_random_seed(0)
    model = NETWORK.build("base", (16, 2), depths=(0, 1, 0))
    layer = model.get_layer("stages.1.blocks.0.drop_path")
    kept = np.asarray(layer(np.ones((200, 1, 4, 3), np.float32), training=True))
    assert ((kept == 0).all(axis=(1, 2, 3)) | (kept == kept.max()).all(axis=(1, 2, 3))).all()
    assert 0.03 < (kept == 0).mean() < 0.2
