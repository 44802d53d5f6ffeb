"""tfmot's algorithms behind the one door, against the golden file."""

import json
import os
import sys

import golden_files
import numpy as np
import pytest
import tensorflow as tf

from core.compress import toolkit


@pytest.fixture(scope="module")
def golden():
    with np.load(golden_files.GOLDEN / "tfmot__pruning.npz", allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


SCHEDULES = {
    "poly": lambda: toolkit.polynomial_decay(0.2, 0.9, 100, 1000, power=3, frequency=100),
    "poly_p1": lambda: toolkit.polynomial_decay(0.0, 0.5, 0, 600, power=1, frequency=50),
    "const": lambda: toolkit.constant_sparsity(0.5, 200, 800, frequency=100),
    "const_forever": lambda: toolkit.constant_sparsity(0.5, 200, -1, frequency=100),
}


def algorithm(sparsity=0.5, **structure):
    """Return the mask algorithm at a sparsity."""
    schedule = toolkit.constant_sparsity(sparsity, 0)
    return toolkit.magnitude_mask(schedule, lambda: tf.constant(1, tf.int64), **structure)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(golden, name):
    schedule = SCHEDULES[name]()
    steps = json.loads(str(golden["meta"]))["steps"]
    found = [schedule(tf.constant(step, tf.int64)) for step in steps]
    rows = [(float(due), float(sparsity)) for due, sparsity in found]
    np.testing.assert_array_equal(rows, golden[f"sched/{name}"])


@pytest.mark.parametrize("kernel", ["conv", "dense"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.75, 0.999])
def test_magnitude_masks_and_thresholds(golden, kernel, sparsity):
    threshold, mask = algorithm(sparsity)(tf.constant(golden[f"w_{kernel}"]))
    np.testing.assert_array_equal(mask, golden[f"mask/{kernel}/{sparsity}"])
    assert float(threshold) == float(golden[f"thr/{kernel}/{sparsity}"])


@pytest.mark.parametrize("block", ["1x4_AVG", "4x1_MAX", "4x4_AVG", "3x4_AVG"])
def test_block_masks(golden, block):
    shape, pooling = block.split("_")
    block_shape = tuple(int(side) for side in shape.split("x"))
    _, mask = algorithm(block=block_shape, pooling=pooling)(tf.constant(golden["w_dense"]))
    np.testing.assert_array_equal(mask, golden[f"block/{block}"])


@pytest.mark.parametrize("kernel", ["conv", "dense"])
@pytest.mark.parametrize("m, n", [(2, 4), (1, 4), (4, 8)])
def test_m_by_n_masks(golden, kernel, m, n):
    """4 of 8 on 12 input channels: the last group is filled up with zeros."""
    _, mask = algorithm(m_by_n=(m, n))(tf.constant(golden[f"w_{kernel}"]))
    np.testing.assert_array_equal(mask, golden[f"nm/{kernel}/{m}of{n}"])


def test_ties_are_all_kept():
    kernel = tf.constant([[1.0, -1.0, 1.0, 0.5]])
    np.testing.assert_array_equal(algorithm(0.5)(kernel)[1], [[1, 1, 1, 0]])


@pytest.mark.parametrize("before", [None, "0"])
def test_the_environment_stays_as_it_was(monkeypatch, before):
    toolkit.module("keras.compat")
    monkeypatch.delitem(sys.modules, "tensorflow_model_optimization.python.core.keras.compat")
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    if before is not None:
        monkeypatch.setenv("TF_USE_LEGACY_KERAS", before)
    toolkit.module("keras.compat")  # imported anew, which sets the variable to 1
    assert os.environ.get("TF_USE_LEGACY_KERAS") == before
