"""PSNR and SSIM against the numbers of the published protocols."""

import json
import math

import golden_files
import numpy as np
import pytest

from apps.super_resolution.metrics import PROTOCOLS, luma, protocol_named, psnr, ssim
from core.errors import UserError


@pytest.fixture(scope="module")
def golden() -> dict:
    with np.load(golden_files.GOLDEN / "sr__evaluation.npz", allow_pickle=False) as data:
        return {name: data[name] for name in data.files} | {"meta": json.loads(str(data["meta"]))}


def images(golden: dict, scale: int) -> tuple[np.ndarray, np.ndarray]:
    result = golden[f"up_x{scale}"]
    return result, golden["hr"][: result.shape[0], : result.shape[1]]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    "protocol, psnr_key, ssim_key",
    [
        ("y", "psnr_y_float", "ssim_y_float"),
        ("y8", "psnr_y_uint8", "ssim_y_uint8"),
        ("rgb", "psnr_rgb", "ssim_rgb_mean"),
    ],
)
def test_scores_are_the_published_protocols(golden, scale, protocol, psnr_key, ssim_key):
    expected, chosen = golden["meta"][f"metrics_x{scale}"], PROTOCOLS[protocol]
    result, truth = images(golden, scale)
    assert psnr(result, truth, scale, chosen) == pytest.approx(expected[psnr_key], abs=1e-9)
    assert ssim(result, truth, scale, chosen) == pytest.approx(expected[ssim_key], abs=1e-9)
    np.testing.assert_allclose(luma(truth), golden[f"y_hr_x{scale}"], atol=1e-10)


def test_challenges_shave_their_own_number_of_pixels(golden):
    result, truth = images(golden, 4)
    assert psnr(result, truth, 4, PROTOCOLS["ntire"]) == psnr(result, truth, 4, PROTOCOLS["rgb"])
    inner = np.s_[1:-1, 1:-1]
    error = np.square(result[inner].astype(float) - truth[inner]).mean()
    expected = 10 * math.log10(255**2 / error)
    assert psnr(result, truth, 4, PROTOCOLS["mai"]) == pytest.approx(expected)


def test_equal_pictures_are_infinitely_alike(golden):
    for protocol in PROTOCOLS.values():
        assert psnr(golden["hr"], golden["hr"], 2, protocol) == math.inf
        assert ssim(golden["hr"], golden["hr"], 2, protocol) == pytest.approx(1.0)


def test_pictures_with_nothing_to_compare_are_refused():
    tiny = np.zeros((8, 30, 3), np.uint8)
    with pytest.raises(UserError, match="30x8 pixels has nothing left when 4 are shaved"):
        psnr(tiny, tiny, 4, PROTOCOLS["y"])
    with pytest.raises(UserError, match="30x8 pixels is too small for SSIM"):
        ssim(tiny, tiny, 2, PROTOCOLS["y"])
    with pytest.raises(UserError, match=r"No such protocol: 'y9'\. Did you mean 'y'"):
        protocol_named("y9")
