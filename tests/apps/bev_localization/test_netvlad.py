"""NetVLAD and the loss that trains it, against the published code's numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from golden_files import GOLDEN

from apps.bev_localization.models.netvlad import NetVLAD
from apps.bev_localization.retrieval.clusters import assignment
from apps.bev_localization.training_loss import PlaceTripletLoss


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "bevplace-plus-plus__algorithms.npz", allow_pickle=False) as data:
        return dict(data)


def test_started_from_clusters_it_gives_the_published_descriptors(golden):
    start = assignment(golden["vladinit/clusters"], golden["vladinit/descriptors"])
    layer = NetVLAD(clusters=8)
    features = np.moveaxis(golden["vladinit/x"], 1, -1)
    layer.build(features.shape)
    layer.start(start)
    np.testing.assert_allclose(layer(features), golden["vladinit/vlad"], atol=2e-6)
    flat = features.reshape(2, 30, 16)
    np.testing.assert_allclose(layer(flat), golden["vladinit/vlad"], atol=2e-6)


def test_it_starts_only_from_clusters_of_its_own_shape(golden):
    layer = NetVLAD(clusters=9)
    layer.build((None, 30, 16))
    with pytest.raises(ValueError, match=r"\(9, 16\).*Received: \(8, 16\)"):
        layer.start(assignment(golden["vladinit/clusters"], golden["vladinit/descriptors"]))


@pytest.mark.parametrize("shape", [(None, 5), (None, None, 4, 16), (None, 30, 16)])
def test_an_input_that_cannot_be_pooled_is_refused(shape):
    with pytest.raises(ValueError, match="Received"):
        NetVLAD(clusters=8, side=4).build(shape)


def test_the_loss_and_its_gradients_are_the_published_ones(golden):
    import tensorflow as tf

    groups = np.concatenate(
        [
            golden["triplet/query"][:, None],
            golden["triplet/positive"][:, None],
            golden["triplet/negatives"].reshape(4, 10, 64),
        ],
        axis=1,
    )
    batch = tf.Variable(groups.reshape(48, 64))
    with tf.GradientTape() as tape:
        loss = PlaceTripletLoss()(tf.zeros(48), batch)
    np.testing.assert_allclose(loss, golden["triplet/loss"], rtol=1e-5)
    gradient = tape.gradient(loss, batch).numpy().reshape(4, 12, 64)
    for part, found in (
        ("query", gradient[:, 0]), ("positive", gradient[:, 1]),
        ("negatives", gradient[:, 2:].reshape(40, 64)),
    ):  # fmt: skip
        np.testing.assert_allclose(found, golden[f"triplet/grad_{part}"], atol=1e-6)


def test_equal_images_have_a_gradient():
    """A query that is its own positive: the root at zero must not make NaN."""
    import tensorflow as tf

    batch = tf.Variable(np.ones((12, 4), np.float32))
    with tf.GradientTape() as tape:
        loss = PlaceTripletLoss()(tf.zeros(12), batch)
    assert float(loss) == pytest.approx(0.3)
    assert np.isfinite(tape.gradient(loss, batch)).all()


def test_the_loss_comes_back_from_its_configuration():
    loss = PlaceTripletLoss(margin=0.5, negatives=3)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (again.margin, again.negatives) == (0.5, 3)
    with pytest.raises(ValueError, match="negatives=0"):
        PlaceTripletLoss(negatives=0)
