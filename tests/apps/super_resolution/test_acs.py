"""Adaptive cropping against the published inference of IMDN_AS, through the enlargement."""

import golden_files
import numpy as np
import pytest

from apps.super_resolution.acs import adaptive_crops
from apps.super_resolution.enlarge import enlarge, enlarge_values
from apps.super_resolution.models.imdn import card, convert_state, imdn
from core.checkpoints import load_torch_state
from core.engines import KerasEngine

GOLDEN = golden_files.load("imdn__acs")


@pytest.fixture(scope="module")
def engine():
    model = imdn("as")
    load_torch_state(model, convert_state(GOLDEN.state()))
    return KerasEngine(model, card("as"))


def values_of(case: int) -> np.ndarray:
    """Return the input of a published case, float32 (H, W, 3)."""
    found = GOLDEN.meta["cases"][case]
    noise = np.random.default_rng(found["seed"]).standard_normal(found["shape"])
    return np.float32(0.5 + 0.25 * noise.astype(np.float32))[0].transpose(1, 2, 0)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("case", range(3))
def test_enlarging_agrees_with_the_published_inference(case, batch, engine):
    result = enlarge_values(engine, values_of(case), engine.card, batch=batch)
    assert GOLDEN.error(f"case{case}", result[None]) < 1e-4


def test_a_photograph_gets_the_same_values_rounded(engine):
    image = np.clip(np.rint(values_of(0) * 255), 0, 255).astype(np.uint8)
    raw = enlarge_values(engine, engine.card.normalise(image), engine.card)
    expected = np.clip(np.rint(raw * np.float32(255)), 0, 255)
    np.testing.assert_array_equal(enlarge(engine, image, engine.card), expected)


@pytest.mark.parametrize("case", range(3))
def test_crops_have_the_published_sizes(case):
    found = GOLDEN.meta["cases"][case]
    *_, height, width = found["shape"]
    crops = adaptive_crops(height, width)
    assert {span.length for span in crops.rows} == {found["h_size"]}
    assert {span.length for span in crops.columns} == {found["w_size"]}
    assert (crops.rows[0].high, crops.columns[0].high) == (found["h_half"], found["w_half"])


@pytest.mark.parametrize("size", [(60, 61), (61, 62), (63, 60), (75, 130), (64, 101)])
def test_every_pixel_is_written_once_by_a_crop_inside_the_picture(size):
    crops = adaptive_crops(*size)
    assert len(crops) == 4 and not crops.average
    for spans, side in ((crops.rows, size[0]), (crops.columns, size[1])):
        assert [(span.low, span.high) for span in spans] == [(0, side // 2), (side // 2, side)]
        for span in spans:
            assert 0 <= span.start <= span.low and span.high <= span.stop <= side
            assert span.length % 4 == 0


@pytest.mark.parametrize("size", [(40, 52), (64, 64), (1, 1), (3, 59), (59, 64), (57, 100)])
def test_pictures_that_fit_and_small_ones_are_not_cropped(size):
    assert adaptive_crops(*size) is None
