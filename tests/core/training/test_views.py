"""The two views of a picture that pre-training sees."""

import numpy as np
import pytest

from core.data.jitter import jitter
from core.training.views import recoloured, view


def picture(channels: int = 3) -> np.ndarray:
    rows, columns = np.mgrid[:40, :48]
    slopes = columns[..., None] * np.arange(1, channels + 1) / 3
    stripes = 90 + 60 * np.sin(rows / 5)[..., None] + slopes
    return np.clip(stripes, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("color", [False, True])
def test_views_differ_and_follow_from_the_generator(channels, color):
    image = picture(channels)
    before = image.copy()
    made = [view(image, np.random.default_rng(seed), color=color) for seed in range(6)]
    again = view(image, np.random.default_rng(3), color=color)
    np.testing.assert_array_equal(made[3], again)
    np.testing.assert_array_equal(image, before)
    assert {(one.shape, one.dtype) for one in made} == {(image.shape, np.dtype(np.uint8))}
    assert len({one.tobytes() for one in made}) == 6


def test_a_view_without_changes_is_the_picture_or_its_mirror():
    image = picture()
    made = [view(image, np.random.default_rng(n), crop=1.0, rotate=0.0) for n in range(12)]
    straight, mirrored = (
        sum(np.array_equal(one, kind) for one in made) for kind in (image, image[:, ::-1])
    )
    assert straight + mirrored == 12 and min(straight, mirrored) >= 2


def test_a_part_is_enlarged_and_nothing_black_comes_in():
    """Beyond the edges of what is turned the picture is mirrored."""
    image = np.full((40, 48, 3), 200, np.uint8)
    image[:, :24] = 100
    made = [view(image, np.random.default_rng(n), crop=0.5) for n in range(12)]
    assert min(one.min() for one in made) == 100
    lefts = {int((one[20] < 150).all(axis=-1).sum()) for one in made}
    assert len(lefts) > 4  # the edge between the halves has moved


def test_colours_change_each_in_its_way():
    image, rng = picture(), np.random.default_rng(0)
    np.testing.assert_array_equal(jitter(image, rng), image)
    turned = jitter(image, np.random.default_rng(0), hue=0.5)
    assert np.abs(turned.astype(int).max(-1) - image.astype(int).max(-1)).max() <= 3  # its value
    assert np.abs(turned.astype(int) - image).max() > 10
    grey = np.repeat(picture(1), 3, axis=-1)
    np.testing.assert_array_equal(jitter(grey, rng, saturation=0.5), grey)
    made = [recoloured(image, np.random.default_rng(seed)) for seed in range(20)]
    assert any(np.ptp(one, axis=-1).max() == 0 for one in made)  # grey
    assert all(one.dtype == np.uint8 for one in made)
