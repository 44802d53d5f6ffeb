"""Kernels of a file beside those of its network, where an export gave them another form."""

from dataclasses import replace

import numpy as np
import pytest

from core.export.kernel_changes import explained
from core.export.weights import Weights, differences

RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((6, 4)).astype(np.float32)
BIAS = RNG.standard_normal(6).astype(np.float32)
DENSE = Weights("block.qkv", "FULLY_CONNECTED", KERNEL, BIAS, "NONE")


def part(number: int, rows: slice, kernel=KERNEL) -> Weights:
    return Weights(f"block.qkv.{number}", "CONV_2D", kernel[rows], BIAS[rows], "NONE")


@pytest.mark.parametrize(
    "order", [(0, 1), (1, 0)], ids=["in order", "computed the other way round"]
)
def test_a_dense_layer_may_be_stored_in_parts(order):
    parts = [part(0, slice(0, 2)), part(1, slice(2, 6))]
    assert differences([parts[place] for place in order], [DENSE], 1e-4) == []


def test_a_change_in_a_part_is_a_change_of_the_layer():
    parts = [part(0, slice(0, 2)), part(1, slice(2, 6), 2 * KERNEL)]
    (found,) = differences(parts, [DENSE], 1e-4)
    assert found.layer == "block.qkv" and found.error == pytest.approx(
        np.linalg.norm(KERNEL[2:]) / np.linalg.norm(KERNEL), rel=1e-5
    )


def test_parts_do_not_stand_for_another_layer_of_their_shape():
    other = Weights("head", "FULLY_CONNECTED", KERNEL[:2].copy(), None, "NONE")
    (found,) = differences([part(0, slice(0, 2)), part(1, slice(2, 6))], [DENSE, other], 1e-4)
    assert (found.layer, found.how) == ("head", "is missing")


FOLDED = np.array([0.5, -2.0, 1.5, -0.7, 1.1, 0.9, -1.3, 3.0], np.float32)  # of a normalisation


def test_a_kernel_transposed_before_a_norm_was_folded_into_it():
    kernel = RNG.standard_normal((8, 8)).astype(np.float32)
    made, wanted = FOLDED[:, None] * kernel.T, FOLDED[:, None] * kernel
    assert explained(made, wanted, 0, 1e-4)[0] == "transposed"
    assert explained(RNG.standard_normal((8, 8)).astype(np.float32), wanted, 0, 1e-4)[0] == "other"


def test_channels_reordered_before_a_norm_was_folded_into_them():
    kernel = RNG.standard_normal((1, 3, 3, 8)).astype(np.float32)
    order = np.roll(np.arange(8), 1)
    assert explained(FOLDED * kernel[..., order], FOLDED * kernel, 3, 1e-4)[0] == "ordered"
    assert explained(FOLDED * kernel, kernel, 3, 1e-4)[0] == "scaled channels"


def test_channels_of_zeros_that_a_converter_added_do_not_hide_an_order():
    wide = np.zeros((1, 3, 3, 8), np.float32)
    made, wanted = wide.copy(), wide.copy()
    wanted[..., :6] = RNG.standard_normal((1, 3, 3, 6))
    made[..., :6] = FOLDED[:6] * wanted[..., 5::-1]
    assert explained(made, FOLDED * wanted, 3, 1e-4)[0] == "ordered"


def test_a_kernel_rounded_in_coarse_steps_is_the_networks():
    steps = np.abs(KERNEL).max(1)  # codes of -1, 0 and 1
    rounded = np.rint(KERNEL / steps[:, None]) * steps[:, None]
    made = replace(DENSE, kernel=rounded, steps=steps)
    assert differences([made], [DENSE], 0.05) == []
    (found,) = differences([replace(made, steps=None)], [DENSE], 0.05)
    assert found.error > 0.1
    other = replace(made, kernel=np.roll(rounded, 1, axis=1))
    assert [d.layer for d in differences([other], [DENSE], 0.05)] == ["block.qkv"]
