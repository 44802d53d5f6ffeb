"""The same fake-quantized values as tfmot's quantize_model, where its scheme is sound.

Depthwise kernels (one range for all channels there) and Dense with batch normalisation (left in
float by the converter there) are deliberately done in another way.
"""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import quantization_twin
from quantization_twin import BATCHES, CASES, batch

from core.compress.quantize import quantize_aware
from core.compress.scheme import Scheme
from core.compress.tracing import exporting


@pytest.fixture(scope="module")
def tfmot_outputs(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfmot") / "outputs.npz"
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, quantization_twin.__file__, str(path)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    with np.load(path) as data:
        return {name: data[name] for name in data.files}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_values_equal_those_of_tfmot(tfmot_outputs, case):
    model = quantization_twin.network(keras, case)
    quantized = quantize_aware(model, Scheme(decay=0.999))  # ranges start at ±6, as there
    first = quantized.get_layer("image.range")  # there an input's range holds all values seen
    first.observer = "minmax"
    first.set_range(0.0, 0.0)
    for number in range(BATCHES):
        expected = tfmot_outputs[f"{case}/train/{number}"]
        got = np.asarray(quantized(batch(number), training=True))
        np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())
    expected = tfmot_outputs[f"{case}/infer"]
    with exporting():  # tfmot does not simulate how a file's kernels round
        got = np.asarray(quantized(batch(1), training=False))
    same = np.isclose(got, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    # Keras 2 follows a batch's corrected variance, Keras 3 the plain one: after batch
    # normalisation a value near the border of two codes may fall on the other side.
    assert same.mean() >= (0.95 if case == "conv" else 1.0)
    last = [layer for layer in quantized.layers if layer.name.endswith(".range")][-1]
    assert np.abs(got - expected).max() <= 1.01 * last.scale
