"""BEVPlace of 2023 against the published network, and its import."""

from __future__ import annotations

from pathlib import Path

import golden_files
import keras
import network_checks
import numpy as np
import pytest

from apps.bev_localization.models.bevplace_v1 import (
    NETWORK,
    bevplace_v1,
    card,
    describe,
    halves,
    point_groups,
)
from apps.bev_localization.models.bevplace_v1_images import grid, warped_images
from core.checkpoints import load_torch_state, torch_state
from core.errors import UserError

SHARED = Path(__file__).parents[4] / "shared" / "golden"
UNUSED = {
    "netvlad.wq.weight": (8, 8), "netvlad.wk.bias": (8,), "netvlad.mean": (8,),
    "netvlad.transformer.layers.0.norm1.bias": (8,), "netvlad.bias": (8,),
}  # fmt: skip


def relative(golden, name: str, value: np.ndarray) -> float:
    """Return the error of what is no image, in the file's own layout."""
    expected, shape, stride = golden.outputs[name]
    assert value.shape == shape
    return float(np.abs(value.ravel()[::stride] - expected).max() / np.abs(expected).max())


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/golden")
def test_is_the_published_network_from_image_to_descriptor():
    golden = golden_files.load("bevplace-plus-plus__bevplace-v1", SHARED)
    image = golden.outputs["image_uint8"][0].reshape(91, 91).astype(np.uint8)
    warped = warped_images(image)
    for k in (0, 1, 6, 24):
        assert relative(golden, f"warped_{k}", np.moveaxis(warped[k].image, -1, 0)) < 1e-5
    for k in (0, 1, 6):
        assert relative(golden, f"points_{k}", warped[k].points) < 1e-6
    model = bevplace_v1()
    assert network_checks.parameters(model) == card("iccv2023").published["parameters"]
    assert load_torch_state(model, golden.state()).complete
    first, second = halves(model)
    assert golden.error("features_0", first(warped[0].image[None])) < 2e-4
    groups = point_groups(first, image)
    assert relative(golden, "group_features", np.moveaxis(groups, -1, 1)[None]) < 2e-4
    local = keras.Model(second.input, model.get_layer("local").output)
    assert relative(golden, "local_feats", np.asarray(local(groups))[None]) < 2e-4
    descriptor = describe(model, image)
    np.testing.assert_allclose(descriptor, golden.outputs["global_desc"][0], atol=2e-5)


def test_what_no_computation_uses_is_skipped_and_named():
    model = bevplace_v1(points=4)
    unused = {name: np.zeros(shape, np.float32) for name, shape in UNUSED.items()}
    state = torch_state(model)
    report = load_torch_state(model, {**state, **unused}, ignored=NETWORK.ignored)
    assert report.complete and set(report.ignored) == set(UNUSED)
    with pytest.raises(UserError, match="1 unexpected"):
        load_torch_state(model, {**state, "netvlad.extra": unused["netvlad.mean"]})


def test_points_follow_the_image():
    """What is bright stays at its point, at full scale and in all rotations."""
    points = grid(41)
    image = np.zeros((41, 41), np.uint8)
    column, row = points[9].astype(int)
    image[row - 2 : row + 3, column - 2 : column + 3] = 255
    for warped in warped_images(image)[:5]:
        light = warped.image[..., 0]
        found = np.argwhere(light > 1).mean(axis=0)[::-1]
        assert np.abs(found - warped.points[9]).max() <= 1.0


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 21), np.uint8), np.zeros((20, 20), np.float32), np.zeros((9, 9), np.uint8),
        np.zeros((20, 20, 3), np.uint8),
    ],
)  # fmt: skip
def test_an_image_it_cannot_follow_is_refused(image):
    with pytest.raises(UserError, match=r"square grey image|too small"):
        warped_images(image)
