import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from apps.super_resolution.enlarge import enlarge, enlarge_values, fixed_size, plan, strips
from core.errors import UserError
from core.model_card import ModelCard

ROOT = Path(__file__).resolve().parents[3]


def card(scale=2, *, std=1.0, multiple=1, **decode):
    return ModelCard(
        "toy",
        f"x{scale}",
        "superres",
        mean=(0, 0, 0),
        std=(std,) * 3,
        size_multiple=multiple,
        decode={"scale": scale, **decode},
    )


@dataclass
class Blur:
    """A 2r+1 box of weights with zero padding, then every pixel repeated: radius r, local.

    `stride` looks at every n-th pixel only, counted from the tile's own corner, as an encoder does.
    """

    scale: int = 2
    radius: int = 3
    stride: int = 1
    input_shape: tuple = (1, None, None, 3)
    name: str = "toy"
    shapes: list = field(default_factory=list)

    def __call__(self, batch):
        self.shapes.append(batch.shape)
        if self.input_shape[1] is not None:
            assert batch.shape[1:3] == self.input_shape[1:3]
        assert batch.shape[1] % self.stride == 0 == batch.shape[2] % self.stride
        r = self.radius
        kept = batch[:, :: self.stride, :: self.stride]
        kept = kept.repeat(self.stride, 1).repeat(self.stride, 2)
        padded = np.pad(kept.astype(np.float64), ((0, 0), (r, r), (r, r), (0, 0)))
        total = sum(
            (1 + dy + 2 * dx) * padded[:, dy : dy + batch.shape[1], dx : dx + batch.shape[2]]
            for dy in range(2 * r + 1)
            for dx in range(2 * r + 1)
        )
        total /= sum(1 + dy + 2 * dx for dy in range(2 * r + 1) for dx in range(2 * r + 1))
        return [total.repeat(self.scale, 1).repeat(self.scale, 2).astype(np.float32)]


def picture(height, width, dtype=np.uint8, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top + 1, (height, width, 3)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (7, 90), (40, 41), (64, 33)])
@pytest.mark.parametrize("batch", [1, 3])
def test_tiles_with_enough_context_equal_the_whole_picture(size, dtype, batch):
    image = picture(*size, dtype)
    whole = enlarge(Blur(), image, card(radius=3))
    tiled = enlarge(Blur(), image, card(radius=3), tile=16, batch=batch)
    assert whole.shape == (size[0] * 2, size[1] * 2, 3) and whole.dtype == dtype
    np.testing.assert_array_equal(tiled, whole)


def test_too_little_context_leaves_seams_and_the_card_knows_how_much_is_enough():
    image = picture(64, 64)
    whole = enlarge(Blur(), image, card(radius=3))
    assert (enlarge(Blur(), image, card(radius=3), tile=16, overlap=1) != whole).any()
    assert (enlarge(Blur(), image, card(), tile=16) == whole).all()  # the default of 32


@pytest.mark.parametrize("size", [(32, 32), (33, 80), (50, 131)])
def test_a_file_of_fixed_size_equals_the_whole_picture_where_it_fits(size):
    image = picture(*size)
    engine = Blur(input_shape=(1, 32, 32, 3))
    whole = enlarge(Blur(), image, card(radius=3))
    np.testing.assert_array_equal(enlarge(engine, image, card(radius=3)), whole)
    assert {shape[1:3] for shape in engine.shapes} == {(32, 32)}


def test_a_picture_smaller_than_the_fixed_tile_is_mirrored_and_cropped():
    image = picture(20, 9)
    engine = Blur(radius=0, input_shape=(1, 32, 32, 3))
    result = enlarge(engine, image, card())
    np.testing.assert_array_equal(result, image.repeat(2, 0).repeat(2, 1))
    seen = Blur(radius=3, input_shape=(1, 32, 32, 3))
    mirrored = np.pad(image, ((0, 12), (0, 23), (0, 0)), mode="reflect")
    expected = enlarge(Blur(radius=3), mirrored, card())[:40, :18]
    np.testing.assert_array_equal(enlarge(seen, image, card()), expected)


@pytest.mark.parametrize("size", [(1, 1), (5, 6), (61, 34), (64, 64)])
def test_a_network_with_a_stride_gets_multiples_and_keeps_its_phase(size):
    """IMDN_AS: scale 1 behind an encoder of stride 4."""
    image, whole_card = picture(*size), card(1, multiple=4, radius=3)
    missing = [(0, -n % 4) for n in size]
    mirrored = np.pad(image, (*missing, (0, 0)), mode="reflect")
    expected = enlarge(Blur(1, stride=4), mirrored, whole_card)[: size[0], : size[1]]
    whole = enlarge(Blur(1, stride=4), image, whole_card)
    tiled = enlarge(Blur(1, stride=4), image, whole_card, tile=18, overlap=5)
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(tiled, expected)


def test_a_restoring_network_gets_four_crops_of_pictures_that_are_no_multiples_of_four():
    image, restoring, engine = picture(75, 130), card(1, multiple=4, radius=3), Blur(1, stride=4)
    result = enlarge(engine, image, restoring)
    assert engine.shapes == [(1, 68, 96, 3)] * 4
    first, last = (
        enlarge(engine, image[y, x], restoring)
        for y, x in ((np.s_[:68], np.s_[:96]), (np.s_[7:], np.s_[34:]))
    )
    np.testing.assert_array_equal(result[:37, :65], first[:37, :65])
    np.testing.assert_array_equal(result[37:, 65:], last[30:, 31:])


@pytest.mark.parametrize(
    "size, engine, options, network, tiles",
    [
        ((72, 132), Blur(1), {}, card(1, multiple=4), (1, 72, 132)),
        ((600, 601), Blur(1), {}, card(1, multiple=4), (9, 288, 288)),
        ((70, 130), Blur(1), {"tile": 64, "overlap": 8}, card(1, multiple=4), (6, 72, 72)),
        ((70, 130), Blur(1, input_shape=(1, 48, 48, 3)), {}, card(1, multiple=4), (10, 48, 48)),
        ((70, 130), Blur(1), {}, card(1, multiple=2), (1, 70, 130)),
        ((70, 130), Blur(2), {}, card(2, multiple=4), (1, 72, 132)),
    ],
    ids=["it fits", "large", "tiles are asked for", "fixed size", "other multiple", "enlarging"],
)
def test_other_pictures_and_networks_get_no_crops(size, engine, options, network, tiles):
    grid = plan(engine, size, network, **options)
    assert (len(grid), grid.rows[0].length, grid.columns[0].length) == tiles


@pytest.mark.parametrize("overlap", [0, 5, 12])
def test_averaging_overlapping_tiles_is_the_mean_of_all_tiles_over_a_pixel(overlap):
    image, engine = picture(41, 50), Blur(radius=2)
    result = enlarge(engine, image, card(), tile=16, overlap=overlap, scheme="average")
    total, count = np.zeros((82, 100, 3)), np.zeros((82, 100, 1))
    starts = [[*range(0, n - 16, 16 - overlap), n - 16] for n in (41, 50)]
    for y in starts[0]:
        for x in starts[1]:
            (tile,) = engine(image[None, y : y + 16, x : x + 16] / np.float32(255))
            total[2 * y : 2 * y + 32, 2 * x : 2 * x + 32] += tile[0]
            count[2 * y : 2 * y + 32, 2 * x : 2 * x + 32] += 1
    error = np.abs(result - np.clip(total / count * 255, 0, 255)).max()
    assert error < 0.501


def test_averaging_a_local_network_changes_nothing_for_a_fixed_file_either():
    image = picture(50, 77)
    engine = Blur(radius=0, input_shape=(1, 32, 32, 3))
    result = enlarge(engine, image, card(), scheme="average")
    np.testing.assert_array_equal(result, image.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("std, extra", [(1.0, {}), (1 / 255, {}), (1.0, {"output_range": [0, 1]})])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_values_come_back_as_they_went_in_whatever_the_network_range(std, extra, dtype):
    image = picture(9, 11, dtype)
    result = enlarge(Blur(1, radius=0), image, card(1, std=std, **extra))
    np.testing.assert_array_equal(result, image)


def test_overshoot_is_clipped_and_values_are_rounded_to_even():
    class Fixed(Blur):
        def __call__(self, batch):
            return [np.array([[[[-0.3, 2.5 / 255, 1.7]]]], np.float32)]

    result = enlarge(Fixed(1), picture(1, 1), card(1))
    assert result.tolist() == [[[0, 2, 255]]]


def test_strips_are_the_picture_from_top_to_bottom_and_progress_counts_tiles():
    image, done = picture(70, 40), []
    options = {"tile": 32, "overlap": 4}
    parts = list(strips(Blur(), image, card(), advance=done.append, batch=2, **options))
    assert [len(part) for part in parts] == [64, 64, 12]
    np.testing.assert_array_equal(np.concatenate(parts), enlarge(Blur(), image, card()))
    assert sum(done) == len(plan(Blur(), (70, 40), card(), **options)) == 6


def test_evaluation_gets_raw_values_of_the_whole_picture():
    values = np.random.default_rng(0).standard_normal((30, 20, 3)).astype(np.float32) * 3
    engine = Blur()
    result = enlarge_values(engine, values, card())
    assert engine.shapes == [(1, 30, 20, 3)] and result.dtype == np.float32
    np.testing.assert_array_equal(result, engine(values[None])[0][0])
    fixed = Blur(input_shape=(1, 16, 16, 3))
    np.testing.assert_allclose(enlarge_values(fixed, values, card(radius=3)), result, atol=1e-6)


def test_any_size_engines_tile_large_pictures_by_themselves():
    assert len(plan(Blur(), (512, 512), card())) == 1
    assert len(plan(Blur(), (6000, 8000), card())) == 24 * 32
    assert len(plan(Blur(input_shape=(1, 128, 128, 3)), (6000, 8000), card())) > 24 * 32
    assert fixed_size(Blur()) is None


@pytest.mark.parametrize(
    "engine, options, said",
    [
        (Blur(), {"scheme": "avrage"}, "Did you mean 'average'"),
        (Blur(), {"scheme": "average", "tile": 16, "overlap": 16}, "leave nothing between"),
        (Blur(input_shape=(1, 32, 32, 3)), {"tile": 64}, "takes tiles of 32x32"),
        (Blur(input_shape=(1, 32, 32, 3)), {"overlap": 16}, "leave nothing between"),
        (Blur(scale=3), {}, "returned 30x30 pixels for 10x10, but its card says scale 2"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(engine, options, said):
    with pytest.raises(UserError, match=said):
        enlarge(engine, picture(10, 10), card(), **options)


def test_a_network_that_overflows_is_named_instead_of_painting_black():
    class Broken(Blur):
        def __call__(self, batch):
            return [np.full((1, 20, 20, 3), np.nan, np.float32)]

    with pytest.raises(UserError, match="not finite"):
        enlarge(Broken(), picture(10, 10), card())


def test_other_arrays_are_a_programmers_mistake():
    with pytest.raises(ValueError, match="uint8 or uint16"):
        enlarge(Blur(), np.zeros((4, 4, 3)), card())


# A process's highest memory counts from its start; getrusage would count its parent's too.
MEMORY = """
from pathlib import Path
import numpy as np
from apps.super_resolution.enlarge import strips
from core.model_card import ModelCard

class Nearest:
    name, input_shape = "nearest", (1, None, None, 3)
    def __call__(self, batch):
        return [batch.repeat({scale}, 1).repeat({scale}, 2)]

card = ModelCard("toy", "x", "superres", mean=(0,) * 3, std=(1,) * 3, decode={{"scale": {scale}}})
image = np.full(({height}, {width}, 3), 7, np.uint8)
rows = sum(len(strip) for strip in strips(Nearest(), image, card))
assert rows == {height} * {scale}
lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(lines["VmHWM"].split()[0]) // 1024)
"""


def peak_megabytes(height, width, scale):
    script = MEMORY.format(height=height, width=width, scale=scale)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_memory_follows_the_width_of_a_strip_and_not_the_result():
    """The result of 2000x3000 at x4 has 288 MB, as floats 1152."""
    assert peak_megabytes(2000, 3000, 4) < 230
