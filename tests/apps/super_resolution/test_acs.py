"""Adaptive cropping against the published inference of IMDN_AS."""

import golden_files
import numpy as np
import pytest

from apps.super_resolution.acs import acs, adaptive_crops
from apps.super_resolution.models.imdn import convert_state, imdn
from core.checkpoints import load_torch_state

GOLDEN = golden_files.load("imdn__acs")


def echo(batch):
    return batch


@pytest.fixture(scope="module")
def network():
    model = imdn("as")
    load_torch_state(model, convert_state(GOLDEN.state()))
    return lambda batch: model(batch)


@pytest.mark.parametrize("case", range(3))
def test_agrees_with_the_published_inference(case, network):
    found = GOLDEN.meta["cases"][case]
    noise = np.random.default_rng(found["seed"]).standard_normal(found["shape"])
    image = np.float32(0.5 + 0.25 * noise.astype(np.float32))[0].transpose(1, 2, 0)
    assert GOLDEN.error(f"case{case}", acs(network, image)[None]) < 1e-4


@pytest.mark.parametrize("case", range(3))
def test_crops_have_the_published_sizes(case):
    found = GOLDEN.meta["cases"][case]
    *_, height, width = found["shape"]
    crops = adaptive_crops(height, width)
    size = (found["h_size"], found["w_size"])
    assert [tuple(s.stop - s.start for s in crop.read) for crop in crops] == [size] * 4
    assert crops[0].write == (slice(0, found["h_half"]), slice(0, found["w_half"]))


@pytest.mark.parametrize("size", [(64, 48), (60, 61), (61, 62), (63, 60), (75, 130), (64, 101)])
def test_every_pixel_is_written_once_and_comes_from_its_place(size):
    written = np.zeros(size, int)
    place = np.arange(size[0] * size[1]).reshape(size)
    for crop in adaptive_crops(*size):
        written[crop.write] += 1
        np.testing.assert_array_equal(place[crop.read][crop.keep], place[crop.write])
        assert not any((s.stop - s.start) % 4 for s in crop.read)
    assert (written == 1).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 59), (59, 64), (57, 100)])
def test_small_images_are_padded(size):
    sizes = []

    def network(batch):
        sizes.append(batch.shape)
        return batch

    image = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
    np.testing.assert_array_equal(acs(network, image), image)
    assert len(sizes) == 1 and sizes[0][0] == 1
    assert not sizes[0][1] % 4 and not sizes[0][2] % 4


def test_an_image_that_fits_is_one_pass():
    image = np.random.default_rng(0).random((40, 52, 3)).astype(np.float32)
    assert len(adaptive_crops(40, 52)) == 1
    np.testing.assert_array_equal(acs(echo, image), image)


def test_crops_of_a_small_image_are_refused():
    with pytest.raises(ValueError, match="height=59, width=64"):
        adaptive_crops(59, 64)
