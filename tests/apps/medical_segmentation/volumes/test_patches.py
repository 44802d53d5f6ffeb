"""What a training sees of a volume."""

import copy

import numpy as np
import pytest

from apps.medical_segmentation.volumes import patches
from apps.medical_segmentation.volumes.patches import augmented, part, whole
from core.task import Example


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
        taken = part(volume, rng)
        assert taken.target is None
    assert augmented(taken, rng).target is None


def test_the_same_randomness_gives_the_same_part():
    volume = example((8, 8, 8))
    one, other = (augmented(part(volume, np.random.default_rng(7)), np.random.default_rng(8))
                  for _ in range(2))  # fmt: skip
    np.testing.assert_array_equal(one.inputs, other.inputs)
    np.testing.assert_array_equal(one.target, other.target)


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


def test_labels_move_with_the_voxels(rng, monkeypatch):
    """Mirrored and turned alike, so that what was bright is still what is marked."""
    monkeypatch.setattr(patches, "ROTATED", 1.0)
    labels = np.zeros((6, 24, 24), np.uint8)
    labels[1:3, 4:12, 6:20] = 1
    for _ in range(20):
        changed = augmented(Example(labels[..., None] * np.uint8(200), labels), rng)
        bright = changed.inputs[..., 0] > int(changed.inputs.max()) // 2
        assert changed.inputs.shape == (6, 24, 24, 1)
        assert (bright == changed.target.astype(bool)).mean() > 0.97


def test_every_axis_is_mirrored_and_intensities_change(rng):
    image = np.arange(4 * 4 * 4, dtype=np.uint8).reshape(4, 4, 4, 1) * 3
    seen = [augmented(Example(image, None), rng).inputs[..., 0] for _ in range(60)]
    rising = {tuple(bool(x[at] > x[0, 0, 0]) for at in ((3, 0, 0), (0, 3, 0), (0, 0, 3)))
              for x in seen}  # fmt: skip
    assert len(rising) == 8
    assert len({int(x.sum()) for x in seen}) > 20
