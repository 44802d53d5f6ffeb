"""nnU-Net's augmentation: each transform against its definition, and how often it comes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from apps.medical_segmentation import nnunet_augmentation as nnunet
from apps.medical_segmentation.augmentation import augmented
from apps.medical_segmentation.task import TASK
from core.config import TrainConfig
from core.errors import UserError
from core.task import Example

CHANCES = ("NOISY", "BLURRED", "BRIGHTER", "CONTRASTED", "COARSE", "GAMMA_OF_NEGATIVE", "GAMMA")
CHANGES = ("_noise", "blurred", "contrasted", "coarse", "bent")
ONE = nnunet.Greys(np.zeros(1, np.float32), np.ones(1, np.float32))
QUARTER = np.pi / 2


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def only(monkeypatch):
    """Give some transforms of intensities a chance of 1, all others none."""

    def choose(*chosen):
        for name in CHANCES:
            monkeypatch.setattr(nnunet, name, float(name in chosen))

    return choose


def picture(shape, rng):
    """Return a smooth example, uint8, with three classes where it is dark, middling and bright."""
    sides = shape[:-1]
    smooth = ndimage.gaussian_filter(rng.normal(size=sides), 2.0)
    levels = 255 * (smooth - smooth.min()) / np.ptp(smooth)
    image = np.repeat(levels[..., None], shape[-1], axis=-1).astype(np.uint8)
    return Example(image, np.digitize(levels, (100, 160)).astype(np.uint8))


def turned(values, angles, *, labels=None, scale=1.0):
    """Return values (*sides) resampled about their middle, 7 outside."""
    matrix = nnunet.rotation(np.array(angles), values.ndim) * scale
    origin = (0,) * values.ndim
    example = Example(values[..., None], labels)
    return nnunet.resampled(example, matrix, origin, values.shape, outside=7)


# --- space ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "angles, place",
    [((QUARTER, 0, 0), (1, 1, 2)), ((0, QUARTER, 0), (5, 2, 5)), ((0, 0, QUARTER), (4, 1, 5))],
)
def test_a_quarter_turn_about_an_axis_moves_voxels_about_it(angles, place):
    """The place (1, 2, 5) is (-2, -1, 2) from the middle of 7; one of the three stays."""
    values = np.zeros((7, 7, 7), np.uint8)
    values[1, 2, 5] = 200
    found = turned(values, angles, labels=(values > 0).astype(np.uint8))
    assert found.inputs[(*place, 0)] == pytest.approx(200, abs=0.01)
    assert np.abs(found.inputs).sum() == pytest.approx(200, abs=0.1)
    assert np.argwhere(found.target).tolist() == [list(place)]


def test_a_quarter_turn_of_an_image(rng):
    values = rng.integers(256, size=(8, 8), dtype=np.uint8)
    found = turned(values, (QUARTER, 0, 0), labels=values)
    np.testing.assert_allclose(found.inputs[..., 0], np.rot90(values), atol=0.01)
    np.testing.assert_array_equal(found.target, np.rot90(values))


def test_a_scale_of_two_shows_every_second_voxel_and_what_lies_outside(rng):
    values = rng.integers(10, 256, size=(9, 9), dtype=np.uint8)
    found = turned(values, (0, 0, 0), labels=values, scale=2.0)
    expected = np.full((9, 9), 7.0)
    expected[2:7, 2:7] = values[::2, ::2]
    np.testing.assert_allclose(found.inputs[..., 0], expected, atol=0.01)
    np.testing.assert_array_equal(found.target, np.where(expected == 7, 0, expected))


@pytest.mark.parametrize("shape", [(20, 17, 23), (30, 41)])
def test_values_are_splines_and_labels_have_half_of_the_linear_weights(shape, rng):
    """By the definitions: `map_coordinates` of order 3, and of order 1 for each class alone."""
    values = rng.integers(256, size=shape, dtype=np.uint8)
    labels = rng.integers(4, size=shape, dtype=np.uint8)
    matrix = nnunet.rotation(np.array((0.5, -0.3, 0.4)), len(shape)) * 1.2
    middle = (np.array(shape) - 1) / 2
    found = turned(values, (0.5, -0.3, 0.4), labels=labels, scale=1.2)

    def resampled(source, **how):
        shift = middle - matrix @ middle
        return ndimage.affine_transform(source.astype(float), matrix, shift, mode="constant", **how)

    np.testing.assert_allclose(found.inputs[..., 0], resampled(values, order=3, cval=7), atol=0.05)
    classes = np.zeros(shape, np.uint8)
    for value in range(4):
        classes[resampled(labels == value, order=1, cval=-1) >= 0.5] = value
    np.testing.assert_array_equal(found.target, classes)


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.floats(-np.pi / 6, np.pi / 6)] * 3),
    st.floats(0.7, 1.4),
    st.tuples(*[st.integers(-3, 30)] * 3),
)
def test_a_window_is_turned_within_its_volume(angles, scale, start):
    """Its corners come from beyond it: a volume that rises evenly still does everywhere."""
    size, rise = (8, 10, 6), np.array((2.0, 1.0, 3.0))
    volume = np.rint(np.tensordot(rise, np.indices((40, 40, 40)), 1)).astype(np.uint8)
    matrix = nnunet.rotation(np.array(angles), 3) * scale
    found = nnunet.resampled(Example(volume[..., None]), matrix, start, size, outside=0)
    middle = (np.array(size) - 1) / 2
    seen = np.moveaxis(np.indices(size), 0, -1) - middle
    places = seen @ matrix.T + middle + start
    inner = np.all((places >= 4) & (places <= 35), axis=-1)  # splines bend where a volume ends
    np.testing.assert_allclose(found.inputs[inner, 0], (places @ rise)[inner], atol=0.5)
    beyond = np.any((places < -0.01) | (places > 39.01), axis=-1)
    assert not found.inputs[beyond].any()


def test_rotations_and_scales_are_drawn_as_often_and_as_far_as_stated(rng):
    drawn = [nnunet.transformation((64, 96), rng) for _ in range(4000)]
    assert np.mean([matrix is None for matrix in drawn]) == pytest.approx(0.64, abs=0.03)
    matrices = np.array([matrix for matrix in drawn if matrix is not None])
    scales = np.sqrt(np.linalg.det(matrices))
    scaled, rotated = np.abs(scales - 1) > 1e-9, np.abs(degrees_of(matrices)) > 1e-9
    assert rotated.sum() / 4000 == pytest.approx(0.2, abs=0.025)
    assert scaled.sum() / 4000 == pytest.approx(0.2, abs=0.025)
    assert (scales[scaled] > 1).mean() == pytest.approx(0.5, abs=0.06)
    assert 0.7 <= scales.min() < 0.72 and 1.37 < scales.max() <= 1.4


def degrees_of(matrices):
    """Return by how many degrees the rotations turn: (n,) of images, (n, 3) about d, h and w."""
    if matrices.shape[1] == 2:
        return np.degrees(np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]))
    about_d = np.arctan2(-matrices[:, 2, 1], matrices[:, 2, 2])
    about_h = np.arcsin(matrices[:, 2, 0])
    about_w = np.arctan2(-matrices[:, 1, 0], matrices[:, 0, 0])
    return np.degrees(np.stack((about_d, about_h, about_w), axis=-1))


@pytest.mark.parametrize(
    "size, most",
    [((64, 96), 180), ((64, 97), 15), ((97, 64), 15), ((64, 64, 64), (30, 30, 30)),
     ((20, 60, 40), (30, 30, 30)), ((20, 61, 40), (180, 0, 0))],
)  # fmt: skip
def test_how_far_is_turned_depends_on_the_sides(size, most, rng, monkeypatch):
    """A long image hardly, a window a little, and one of few slices within them."""
    monkeypatch.setattr(nnunet, "ROTATED", 1.0)
    monkeypatch.setattr(nnunet, "SCALED", 0.0)
    drawn = degrees_of(np.array([nnunet.transformation(size, rng) for _ in range(300)]))
    reached = np.abs(drawn).max(axis=0)
    assert (reached <= np.add(most, 1e-6)).all() and (reached >= np.multiply(most, 0.9)).all()


@pytest.mark.parametrize("shape", [(48, 40, 1), (24, 26, 22, 1), (6, 40, 40, 1)])
def test_labels_keep_their_classes_and_stay_on_the_image(shape, rng, monkeypatch, only):
    monkeypatch.setattr(nnunet, "ROTATED", 1.0)
    monkeypatch.setattr(nnunet, "SCALED", 1.0)
    only()
    example = picture(shape, rng)
    example = Example(example.inputs, example.target * np.uint8(2))  # 0, 2 and 4
    for _ in range(5):
        found = nnunet.augmented(example, rng, ONE)  # outside is 0, which is dark
        assert set(np.unique(found.target)) <= {0, 2, 4}
        classes = 2 * np.digitize(found.inputs[..., 0], (100, 160))
        assert (classes == found.target).mean() > 0.95


def test_what_is_turned_in_from_outside_an_image_is_its_mean(rng, monkeypatch, only):
    monkeypatch.setattr(nnunet, "ROTATED", 1.0)
    only()
    example = Example(np.full((20, 24, 2), (90, 30), np.uint8), np.ones((20, 24), np.uint8))
    found = [nnunet.augmented(example, rng) for _ in range(5)]
    assert all((one.inputs == (90, 30)).all() for one in found)
    assert not all(one.target.all() for one in found)


def test_every_axis_is_mirrored_by_itself_in_half_of_all_cases(rng):
    image = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
    seen = []
    for _ in range(800):
        found = nnunet.mirrored(Example(image, image[..., 0]), rng)
        np.testing.assert_array_equal(found.inputs[..., 0], found.target)
        seen.append(int(found.target[0, 0, 0]))
    counts = np.bincount(seen, minlength=8) / 800
    assert np.abs(counts - 1 / 8).max() < 0.04


# --- intensities ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.7, 1.5])
def test_gamma_bends_grey_levels_and_keeps_mean_and_deviation(gamma, rng):
    values = rng.gamma(2.0, size=1200).astype(np.float32)
    bent = nnunet.bent(values, gamma)
    assert bent.mean() == pytest.approx(values.mean(), abs=1e-4)
    assert bent.std() == pytest.approx(values.std(), abs=1e-4)
    share = (values - values.min()) / np.ptp(values)
    line = np.polyfit(share**gamma, bent, 1)
    np.testing.assert_allclose(np.polyval(line, share**gamma), bent, atol=1e-3)
    flat = np.full((4, 4), 3, np.float32)
    np.testing.assert_allclose(nnunet.bent(flat, gamma), flat, atol=1e-5)


def test_gamma_of_the_negative_bends_the_other_end(rng, only):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    steps = {}
    for name in ("GAMMA", "GAMMA_OF_NEGATIVE"):
        only(name)
        found = nnunet.recoloured(Example(ramp), np.random.default_rng(5), nnunet.greys_of(ramp))
        levels = found.inputs.ravel().astype(int)
        steps[name] = levels[40] - levels[10], levels[245] - levels[215]
    (low, high), (low_of_negative, high_of_negative) = steps.values()
    assert (low > high) == (high_of_negative > low_of_negative) and low != high
    assert min(low, high, low_of_negative, high_of_negative) > 0  # the negative's negative


def test_contrast_spreads_about_the_mean_within_the_range(rng):
    values = rng.normal(3, 2, size=(20, 20)).astype(np.float32)
    for factor in (0.75, 1.25):
        found = nnunet.contrasted(values, factor)
        expected = (values - values.mean()) * factor + values.mean()
        np.testing.assert_allclose(found, expected.clip(values.min(), values.max()), rtol=1e-5)


@pytest.mark.parametrize("shape", [(31, 20), (18, 25, 16)])
@pytest.mark.parametrize("zoom", [0.5, 0.73, 0.99])
def test_low_resolution_takes_nearest_values_and_splines_between_them(shape, zoom, rng):
    values = rng.normal(size=shape)
    sides = [round(side * zoom) for side in shape]
    how = {"mode": "nearest", "grid_mode": True}
    small = ndimage.zoom(values, np.divide(sides, shape), order=0, **how)
    expected = ndimage.zoom(small, np.divide(shape, sides), order=3, **how)
    expected = expected.clip(small.min(), small.max())
    np.testing.assert_allclose(nnunet.coarse(values, zoom), expected, atol=1e-5)


def test_low_resolution_leaves_few_slices_as_they_are(rng):
    values = rng.normal(size=(5, 16, 24))
    found = nnunet.coarse(values, 0.6)
    for plane, made in zip(values, found, strict=True):  # ranges are those of the whole window
        inner = nnunet.coarse(plane, 0.6)
        np.testing.assert_allclose(made, np.clip(made, inner.min() - 2, inner.max() + 2))
        assert np.corrcoef(made.ravel(), inner.ravel())[0, 1] > 0.99


def test_numbers_are_those_of_grey_levels_of_mean_0_and_deviation_1(rng, only):
    """A noise of 0.1 is a tenth of the image's deviation; a factor keeps its mean."""
    image = np.full((200, 200, 2), 100, np.uint8)
    image[::2] = 180, 140  # deviations 40 and 20 about 140 and 120
    greys = nnunet.greys_of(image)
    np.testing.assert_allclose((greys.mean, greys.deviation), ((140, 120), (40, 20)))
    only("NOISY")
    largest = [nnunet.recoloured(Example(image), rng, greys).inputs - image.astype(float)
               for _ in range(40)]  # fmt: skip
    spread = np.max([difference.std(axis=(0, 1)) for difference in largest], axis=0)
    np.testing.assert_allclose(spread, (4, 2), rtol=0.1)
    only("BRIGHTER")
    found = nnunet.recoloured(Example(image), rng, greys).inputs.reshape(-1, 2)
    np.testing.assert_allclose(found.mean(axis=0), (140, 120), atol=0.5)
    factors = found.std(axis=0) / (40, 20)
    assert (factors > 0.73).all() and (factors < 1.27).all() and np.ptp(factors)


def test_blur_is_gaussian(rng, only, monkeypatch):
    monkeypatch.setattr(nnunet, "SIGMAS", (0.8, 0.8))
    monkeypatch.setattr(nnunet, "CHANNELS", 1.0)
    only("BLURRED")
    example = Example(rng.integers(256, size=(9, 9, 9, 1), dtype=np.uint8))
    found = nnunet.recoloured(example, rng, nnunet.greys_of(example.inputs)).inputs
    expected = ndimage.gaussian_filter(example.inputs[..., 0].astype(float), 0.8)
    assert np.abs(found[..., 0] - expected).max() <= 0.51


def recorded(monkeypatch):
    """Return a list that is filled with the names of the transforms as they are called."""
    called = []

    def watch(name, own):
        def call(*arguments, **named):
            called.append(name)
            return own(*arguments, **named)

        monkeypatch.setattr(nnunet, name, call)

    for name in (*CHANGES, "mirrored", "resampled"):
        watch(name, getattr(nnunet, name))
    return called


def test_one_after_the_other_as_in_nnunet(rng, only, monkeypatch):
    called = recorded(monkeypatch)
    monkeypatch.setattr(nnunet, "ROTATED", 1.0)
    monkeypatch.setattr(nnunet, "CHANNELS", 1.0)
    only(*CHANCES)
    nnunet.augmented(picture((12, 12, 1), rng), rng)
    order = ["_noise", "blurred", "contrasted", "coarse", "bent", "bent"]
    assert called == ["resampled", *order, "mirrored"]


def test_intensities_change_as_often_as_stated(rng, only, monkeypatch):
    called, example = recorded(monkeypatch), picture((6, 6, 1), rng)
    for _ in range(1500):
        nnunet.recoloured(example, rng, nnunet.greys_of(example.inputs))
    shares = {name: called.count(name) / 1500 for name in CHANGES}
    stated = (0.1, 0.1, 0.15, 0.125, 0.4)  # a blur and a low resolution for half of the channels
    assert shares == pytest.approx(dict(zip(CHANGES, stated, strict=True)), abs=0.035)
    only()
    monkeypatch.setattr(nnunet, "BRIGHTER", 0.15)
    same = [np.array_equal(nnunet.recoloured(example, rng, ONE).inputs, example.inputs)
            for _ in range(1000)]  # fmt: skip
    assert np.mean(same) == pytest.approx(0.85, abs=0.035)


# --- in a training --------------------------------------------------------------------------------


def test_the_same_randomness_gives_the_same_image_of_the_same_kind(rng):
    example = picture((40, 36, 3), rng)
    before = example.inputs.copy()
    seen = set()
    for seed in range(20):
        one, other = (augmented(example, np.random.default_rng(seed), "nnunet") for _ in range(2))
        np.testing.assert_array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.target, other.target)
        assert one.inputs.dtype == one.target.dtype == np.uint8
        assert one.inputs.shape == (40, 36, 3) and one.target.shape == (40, 36)
        seen.add(one.inputs.tobytes())
    assert len(seen) > 15
    np.testing.assert_array_equal(example.inputs, before)
    assert augmented(Example(before), rng, "nnunet").target is None


def test_lightm_unet_is_trained_with_it_and_the_others_where_it_is_chosen(rng, monkeypatch):
    assert TASK.recipe("lightm_unet")["options"]["augmentation"] == "nnunet"
    assert {TASK.check_options(TASK.recipe(name).get("options", {}))["augmentation"]
            for name in ("mk_unet", "barlow_swin")} == {"flips"}  # fmt: skip
    with pytest.raises(UserError, match=r"'augmentation' is 'nnu'.*nnunet"):
        TASK.check_options({"augmentation": "nnu"})
    example, used = picture((16, 16, 3), rng), []
    monkeypatch.setattr(nnunet, "augmented", lambda given, rng: used.append(given) or given)
    for kind, augment in (("nnunet", True), ("nnunet", False), ("flips", True)):
        options = {"augmentation": kind}
        config = TrainConfig("medseg", "mk_unet", "t", augment=augment, options=options)
        TASK.training_example(example, rng, config)
    assert len(used) == 1
