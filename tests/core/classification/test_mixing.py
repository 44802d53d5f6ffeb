"""Mixed batches: what they hold, and that they follow from seed, epoch and step alone."""

import numpy as np
import pytest
import tensorflow as tf

from core.classification.mixing import Mixing, blend, mixed_batches

SHAPE = (6, 8, 10, 3)


def numbered(shape=SHAPE):
    """Return a batch whose samples hold their number everywhere."""
    values = np.arange(shape[0], dtype=np.float32)
    return np.broadcast_to(values.reshape(-1, *[1] * (len(shape) - 1)), shape).copy()


def mixed(inputs, targets, mixing, seed):
    drawn = mixing.draw(len(inputs), inputs.shape[1:-1], np.random.default_rng(seed))
    batch = blend(tf.constant(inputs), tf.constant(targets), mixing.classes, drawn)
    return [values.numpy() for values in batch]


def test_mixup_blends_samples_and_targets_by_the_same_part():
    inputs, numbers = numbered(), np.arange(6)
    found, shares = mixed(inputs, numbers, Mixing(6, mixup=1.0, cutmix=0.0), 0)
    expected = (shares @ numbers)[:, None, None, None] + 0 * inputs
    np.testing.assert_allclose(found, expected, atol=1e-5)
    several = (shares > 0).sum(axis=1) == 2
    own = shares.diagonal()[several]
    assert several.sum() > 2
    np.testing.assert_allclose(own, own[0])


@pytest.mark.parametrize("shape", [(6, 8, 10, 3), (6, 40, 2), (5, 6, 7, 8, 1)])
def test_cutmix_takes_one_box_from_another_sample_and_its_share_of_the_target(shape):
    inputs, areas = numbered(shape), []
    for seed in range(20):
        found, shares = mixed(inputs, np.arange(len(inputs)), Mixing(len(inputs), 0.0, 1.0), seed)
        foreign = found != inputs
        area = foreign.reshape(len(inputs), -1).mean(axis=1)
        np.testing.assert_allclose(shares.diagonal(), 1 - area, atol=1e-6)
        for sample, one in enumerate(foreign):
            if one.any():
                box = one[tuple(slice(p.min(), p.max() + 1) for p in np.nonzero(one))]
                assert box.all() and len(np.unique(found[sample])) <= 2
        areas.append(area.max())
    assert 0.05 < np.mean(areas) < 0.7


def test_boxes_lie_as_often_in_one_half_as_in_the_other():
    rng, mixing = np.random.default_rng(0), Mixing(6, mixup=0.0)
    taken = sum(1 - mixing.draw(6, (20, 20), rng)[1][..., 0] for _ in range(1000))
    for half, other in ((taken[:10], taken[10:]), (taken[:, :10], taken[:, 10:])):
        assert half.sum() == pytest.approx(other.sum(), rel=0.1)


def test_mixing_takes_both_kinds_and_leaves_out_what_has_no_alpha():
    def kinds(**options):
        found = set()
        for seed in range(40):
            mixing = Mixing(6, **options)
            _, kept, part = mixing.draw(6, (8, 10), np.random.default_rng(seed))
            values = set(np.unique(kept).tolist())
            found.add("none" if part == 1 else "cutmix" if values <= {0, 1} else "mixup")
        return found

    assert kinds(mixup=1.0, cutmix=1.0) >= {"mixup", "cutmix"}
    assert kinds(mixup=1.0, cutmix=0.0) == {"mixup"}
    assert "mixup" not in kinds(mixup=0.0, cutmix=1.0)
    assert kinds(mixup=1.0, cutmix=0.0, probability=0.5) == {"mixup", "none"}
    assert kinds(mixup=0.0, cutmix=0.0) == {"none"}


def test_a_batch_that_is_not_mixed_is_as_it_was():
    inputs = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    found, shares = mixed(inputs, np.arange(6), Mixing(6, probability=0.0), 0)
    assert (found == inputs).all() and (shares == np.eye(6)).all()


def test_targets_may_be_shares_and_sum_to_one():
    smooth = (0.9 * np.eye(6) + 0.1 / 6).astype(np.float32)
    for seed in range(5):
        _, shares = mixed(numbered(), smooth, Mixing(6), seed)
        assert shares.dtype == np.float32
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)


def epochs(seed, number, workers=2):
    """Return the batches of some epochs, made by so many threads."""
    rng = np.random.default_rng(0)
    inputs, labels = rng.standard_normal((14, 4, 5, 3)).astype(np.float32), np.arange(14) % 3
    epoch = 0
    batches = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(4)
    batches = mixed_batches(batches, Mixing(3), seed=seed, epoch=lambda: epoch)
    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    batches = batches.with_options(options)
    assert int(batches.cardinality()) == 4
    assert [tuple(s.shape) for s in batches.element_spec] == [(None, 4, 5, 3), (None, 3)]
    found = []
    for one in number:
        epoch = one
        found.append([tuple(a.numpy().tobytes() for a in batch) for batch in batches])
    return found


def test_batches_follow_from_seed_epoch_and_step_alone():
    first = epochs(5, range(3), workers=1)
    assert first == epochs(5, range(3), workers=4)
    assert first[2] == epochs(5, [2])[0]  # as in a training that is resumed
    assert len({batch for epoch in first for batch in epoch}) == 12
    assert first != epochs(6, range(3))


@pytest.mark.parametrize(
    "wrong", [{"classes": 1}, {"mixup": -1.0}, {"cutmix": -0.1}, {"probability": 1.5}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="`classes` must be 2 or more"):
        Mixing(**{"classes": 3, **wrong})


def test_batches_that_cannot_be_mixed_are_refused():
    pixels, floats = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.float32)
    with pytest.raises(ValueError, match="`inputs` must be floats"):
        mixed(pixels, np.array([0, 1]), Mixing(3), 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="3 is not in"):
        mixed(floats, np.array([0, 3]), Mixing(3), 0)
    with pytest.raises(tf.errors.InvalidArgumentError):
        mixed(floats, np.zeros((2, 4)), Mixing(3), 0)
