"""What a training sees of a volume."""

import copy

import numpy as np
import pytest

from apps.medical_segmentation import nnunet_augmentation as nnunet
from apps.medical_segmentation.task import TASK
from apps.medical_segmentation.volumes.patches import augmented_part, part, whole
from core.config import TrainConfig


def example(size, shape=(20, 24, 22)):
    """Return a volume that says where each voxel lies, with a class in one corner."""
    d, h, w = np.indices(shape)
    labels = np.zeros(shape, np.uint8)
    labels[2:4, 3:5, 15:19] = 1
    return whole((d * 10 + h % 8 + w % 2).astype(np.uint8)[..., None], labels, size)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("size", [(8, 8, 8), (12, 10), (20, 24, 22), (32, 8, 40)])
def test_parts_have_the_networks_size_and_the_labels_of_their_voxels(size, rng):
    volume = example(size)
    for _ in range(20):
        taken = part(volume, rng)
        assert taken.inputs.shape == (*size, 1) and taken.target.shape == size
        assert taken.inputs.dtype == taken.target.dtype == np.uint8


def test_a_third_of_the_parts_lie_around_foreground(rng):
    """A small object is nearly never met by chance."""
    volume = example((4, 4, 4), shape=(40, 60, 60))
    share = np.mean([part(volume, rng).target.any() for _ in range(600)])
    assert 0.28 < share < 0.40
    slices = example((60, 60), shape=(100, 60, 60))  # two of a hundred slices hold the object
    share = np.mean([part(slices, rng).target.any() for _ in range(600)])
    assert 0.28 < share < 0.42


def test_rare_classes_are_met_as_often_as_common_ones(rng):
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[:15], labels[25, 25, 25] = 1, 2
    volume = whole(np.zeros((30, 30, 30, 1), np.uint8), labels, (3, 3, 3))
    met = np.mean([(part(volume, rng).target == 2).any() for _ in range(600)])
    assert 0.12 < met < 0.22  # a sixth


def test_parts_of_a_volume_without_foreground_are_random(rng):
    volume = whole(np.zeros((9, 9, 9, 1), np.uint8), np.zeros((9, 9, 9), np.uint8), (4, 4, 4))
    assert volume.foreground == ()
    assert not part(volume, rng).target.any()


def test_a_window_reaches_beyond_a_smaller_volume_with_black_and_background(rng):
    labels = np.ones((4, 6, 6), np.uint8)
    volume = whole(np.full((4, 6, 6, 1), 200, np.uint8), labels, (8, 8, 4))
    taken = part(volume, rng)
    assert (taken.inputs[2:6, 1:7] == 200).all() and (taken.inputs == 200).sum() == 4 * 6 * 4
    assert taken.target.sum() == 4 * 6 * 4


def test_without_labels_there_is_no_target(rng):
    for size in ((4, 4), (4, 4, 4)):
        volume = whole(np.zeros((9, 9, 9, 1), np.uint8), None, size)
        assert part(volume, rng).target is None
        assert augmented_part(volume, rng).target is None


@pytest.mark.parametrize("size", [(8, 8, 8), (12, 10), (32, 8, 40)])
def test_the_same_randomness_gives_the_same_part(size):
    volume = example(size)
    for seed in range(12):
        one, other = (augmented_part(volume, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.target, other.target)
        assert one.inputs.shape == (*size, 1) and one.target.shape == size
        assert one.inputs.dtype == one.target.dtype == np.uint8


def test_a_cached_volume_is_neither_copied_nor_changed(rng):
    """A copy of a CT for each of its patches would take longer than the patch."""
    volume = example((20, 24, 22))
    assert copy.deepcopy(volume) is volume
    taken = part(volume, rng)
    taken.inputs[...] = 0
    taken.target[...] = 9
    assert volume.inputs.any() and volume.target.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        volume.inputs[0] = 0


@pytest.mark.parametrize("size", [(12, 16, 14), (24, 24)])
def test_labels_move_with_the_voxels(size, rng, monkeypatch):
    """Mirrored, turned and scaled alike, so that what was bright is still what is marked."""
    monkeypatch.setattr(nnunet, "ROTATED", 1.0)
    monkeypatch.setattr(nnunet, "SCALED", 1.0)
    labels = np.zeros((20, 24, 22), np.uint8)
    labels[4:14, 5:18, 4:17] = 1
    volume = whole(labels[..., None] * np.uint8(200), labels, size)
    for _ in range(15):
        changed = augmented_part(volume, rng)
        if changed.target.any():
            bright = changed.inputs[..., 0] > changed.inputs.mean()
            assert (bright == changed.target.astype(bool)).mean() > 0.85


def test_a_turned_window_shows_what_the_volume_holds_beyond_it(rng, monkeypatch):
    """Not the black of a window that was cut out first."""
    monkeypatch.setattr(nnunet, "ROTATED", 1.0)
    for name in ("NOISY", "BLURRED", "BRIGHTER", "CONTRASTED", "COARSE", "GAMMA"):
        monkeypatch.setattr(nnunet, name, 0.0)
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[19:21, 19:21, 19:21] = 1  # windows are in the middle, not random
    volume = whole(np.full((40, 40, 40, 1), 90, np.uint8), labels, (8, 8, 8))
    monkeypatch.setattr("apps.medical_segmentation.volumes.patches.FOREGROUND", 1.0)
    for _ in range(10):
        assert (augmented_part(volume, rng).inputs == 90).all()


def test_a_part_is_changed_by_the_grey_levels_of_the_whole_volume(rng):
    volume = example((12, 10))
    values = volume.inputs.astype(float)
    assert volume.greys.mean == pytest.approx(values.mean())
    assert volume.greys.deviation == pytest.approx(values.std())


@pytest.mark.parametrize(
    "size, chosen, augment, as_nnunet",
    [((8, 8, 8), "flips", True, True), ((8, 8, 8), "nnunet", False, False),
     ((12, 10), "nnunet", True, True), ((12, 10), "flips", True, False)],
)  # fmt: skip
def test_windows_are_always_augmented_as_in_nnunet_and_slices_if_wished(
    size, chosen, augment, as_nnunet, rng, monkeypatch
):
    used = []
    own = nnunet.recoloured
    monkeypatch.setattr(nnunet, "recoloured", lambda *given: used.append(given[2]) or own(*given))
    config = TrainConfig("medseg", "lightm_unet", "3d_8", augment=augment,
                         options={"augmentation": chosen})  # fmt: skip
    volume = example(size)
    assert TASK.training_example(volume, rng, config).target.shape == size
    assert [greys is volume.greys for greys in used] == [True] * as_nnunet
