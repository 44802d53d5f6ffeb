"""Ranges of least squared error."""

import numpy as np
import pytest
import quantization_zoo as zoo

from core.compress.quantize import quantize_aware
from core.compress.quantizers import ActivationQuantizer
from core.compress.range_search import BINS, best_range
from core.compress.ranges import calibrate
from core.compress.scheme import Scheme


def histogram(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    return np.histogram(values, BINS, (low, high))[0], low, high


def error(values: np.ndarray, low: float, high: float) -> float:
    """Return the mean squared error of rounding to 256 codes."""
    step = (high - low) / 255
    zero = np.rint(-low / step)
    codes = np.clip(np.rint(values / step) + zero, 0, 255)
    return float(np.square((codes - zero) * step - values).mean())


def test_outliers_are_cut_off_where_that_loses_less():
    values = np.random.default_rng(0).standard_normal(100_000)
    values[0] = 12.0
    low, high = best_range(*histogram(values))
    assert 4 < high < 11 and low > -8
    assert error(values, low, high) < 0.95 * error(values, float(values.min()), 12.0)


def test_no_neighbouring_range_is_better():
    values = np.random.default_rng(1).laplace(size=100_000)
    low, high = best_range(*histogram(values))
    best = error(values, low, high)
    for a in (0.8, 1.0, 1.25):
        for b in (0.8, 1.0, 1.25):
            assert best <= 1.02 * error(values, low * a, high * b)


def test_even_values_keep_their_range():
    values = np.random.default_rng(2).uniform(0, 6, 100_000)
    low, high = best_range(*histogram(values))
    assert low == 0.0 and high == pytest.approx(6.0, abs=0.2)


def test_calibration_narrows_ranges_and_loses_less():
    batch = zoo.inputs(64) ** 3  # long tails
    model, errors, widths = zoo.build(zoo.conv_norm_relu), {}, {}
    expected = zoo.outputs_of(model, batch)[0]
    for observer in ("minmax", "mse"):
        quantized = quantize_aware(model, Scheme(observer=observer))
        calibrate(quantized, iter(batch))
        errors[observer] = np.square(zoo.outputs_of(quantized, batch)[0] - expected).mean()
        widths[observer] = float(quantized.get_layer("image.range").maximum)
    assert widths["mse"] < widths["minmax"] and errors["mse"] < errors["minmax"]
    fixed = [q for q in quantized.layers if isinstance(q, ActivationQuantizer)]
    assert all(float(q.minimum) <= 0 <= float(q.maximum) for q in fixed)
