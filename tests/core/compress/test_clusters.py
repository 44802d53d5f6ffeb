"""A clustered kernel: tfmot's numbers, the nearest centroid, and what training may move."""

import golden_files
import keras
import numpy as np
import pytest
import tensorflow as tf

from core.compress import toolkit
from core.compress.clusters import (
    INITIALISERS,
    ClusterPlan,
    KernelClusters,
    _assign,
    initial_centroids,
    recovered_centroids,
)
from core.errors import UserError


def clusters_of(kernel, centroids, **choices) -> KernelClusters:
    """Return the component on a layer of its own, started from a kernel."""
    centroids = np.asarray(centroids, np.float32)
    owner = keras.layers.Layer()
    clusters = KernelClusters(
        owner, kernel.shape, centroids.shape[-1], centroids.ndim == 2, **choices
    )
    clusters.set(kernel, centroids)
    return clusters


def gradients(clusters, kernel, upstream):
    """Return the gradients of sum(clustered · upstream) to kernel and centroids."""
    kernel = tf.constant(kernel)
    centroids = clusters.centroids.value
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        total = tf.reduce_sum(clusters(kernel) * upstream)
    return [gradient.numpy() for gradient in tape.gradient(total, [kernel, centroids])]


# --- the golden file --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden():
    path = golden_files.GOLDEN / "tfmot__clustering.npz"
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files if name != "meta"}


@pytest.mark.parametrize("k", [4, 16])
@pytest.mark.parametrize("initialiser", ["linear", "density"])
def test_golden_centroids_members_and_gradients(golden, initialiser, k):
    kernel, key = golden["w"], f"{initialiser}/{k}"
    centroids = initial_centroids(kernel, ClusterPlan(k, initialiser))
    np.testing.assert_array_equal(centroids, golden[f"{key}/centroids"])
    upstream = np.linspace(-1, 1, kernel.size, dtype=np.float32).reshape(kernel.shape)
    for gradient, name in (("sum", "SUM"), ("mean", "AVG")):
        clusters = clusters_of(kernel, centroids, gradient=gradient)
        np.testing.assert_array_equal(clusters.indices(kernel), golden[f"{key}/indices"])
        np.testing.assert_array_equal(clusters.clustered(kernel), golden[f"{key}/clustered"])
        to_kernel, to_centroids = gradients(clusters, kernel, upstream)
        np.testing.assert_allclose(to_kernel, golden[f"{key}/grad_weight"], atol=1e-6)
        expected = golden[f"{key}/grad_centroids_{name}"]
        np.testing.assert_allclose(to_centroids, expected, rtol=1e-6, atol=5e-6)


@pytest.mark.parametrize("initialiser", ["linear", "density"])
def test_golden_centroids_around_zero(golden, initialiser):
    plan = ClusterPlan(16, initialiser, preserve_sparsity=True)
    expected = golden[f"{initialiser}/16/centroids_preserve_sparsity"]
    np.testing.assert_array_equal(initial_centroids(golden["w_sparse"], plan), expected)


def test_golden_centroids_of_kmeans_and_per_channel(golden):
    found = initial_centroids(golden["w"], ClusterPlan(16))
    np.testing.assert_array_equal(found, golden["kmeanspp/16/centroids"])
    found = initial_centroids(golden["w"], ClusterPlan(4, "linear", per_channel=True))
    np.testing.assert_array_equal(found, golden["linear_perchannel/4/centroids"])


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("scale", [0.001, 0.05, 3.0])
def test_density_without_loops_is_tfmots_to_the_last_bit(sparse, scale):
    values = np.random.default_rng(0).standard_normal(300) * scale
    values = np.float32(np.where(values < -scale, 0, np.round(values, 4)))
    kinds = toolkit.module("clustering.keras.clustering_centroids")
    theirs = kinds.DensityBasedCentroidsInitialisation(
        tf.constant(values), 16, preserve_sparsity=sparse
    )
    ours = toolkit.clustering_centroids(values, 16, "density", keep_zero=sparse)
    np.testing.assert_array_equal(ours, theirs.get_cluster_centroids())


# --- one kernel -------------------------------------------------------------------------------


@pytest.mark.parametrize("xla", [False, True])
def test_the_nearest_centroid_is_found_as_by_trying_all_the_first_on_ties(xla):
    rng = np.random.default_rng(0)
    find = tf.function(_assign, jit_compile=xla)
    grids = rng.integers(-4, 5, (20, 3, 7)).astype(np.float32)  # many duplicates and ties
    halves = rng.integers(-10, 11, (20, 3, 200)).astype(np.float32) / 2
    for scale in (1.0, np.float32(0.1)):
        for centroids, weights in zip(grids * scale, halves * scale, strict=True):
            edges = [centroids, np.nextafter(centroids, np.float32(9))]
            weights = np.concatenate([weights, *edges], axis=1)
            exact = weights[:, :, None].astype(np.float64) - centroids[:, None]
            _, owners, slots = find(weights, centroids)
            found = np.take_along_axis(owners.numpy(), slots.numpy(), axis=1)
            np.testing.assert_array_equal(found, np.abs(exact).argmin(axis=-1))


@pytest.mark.parametrize("initialiser", INITIALISERS)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_few_distinct_weights_become_the_centroids(initialiser, sparse, per_channel):
    kernel = np.zeros((3, 3, 1, 4), np.float32)
    kernel[0, 0, 0] = [0, 1, -2, 3]
    kernel[1, 1, 0, 3] = 5
    plan = ClusterPlan(6, initialiser, per_channel, sparse)
    centroids = initial_centroids(kernel, plan)
    assert centroids.shape == ((4, 6) if per_channel else (6,))
    clusters = clusters_of(kernel, centroids, preserve_sparsity=sparse)
    np.testing.assert_array_equal(clusters.clustered(kernel), kernel)


@pytest.mark.parametrize("initialiser", INITIALISERS)
@pytest.mark.parametrize("sparse", [False, True])
def test_centroids_of_every_initialiser_are_reproducible_and_in_range(initialiser, sparse):
    kernel = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    kernel[0] = 0
    plan = ClusterPlan(9, initialiser, preserve_sparsity=sparse)
    centroids = initial_centroids(kernel, plan)
    np.testing.assert_array_equal(centroids, initial_centroids(kernel, plan))
    assert centroids.shape == (9,) and np.unique(centroids).size > 4
    assert kernel.min() - 0.011 <= centroids.min() and centroids.max() <= kernel.max() + 0.011
    assert not sparse or (centroids == 0).sum() == 1


def test_zeros_and_the_zero_centroid_receive_no_gradient():
    kernel = np.float32([[0, 0.02, 1.0], [-1, 0, 0.9]])
    clusters = clusters_of(kernel, [1, 0, -1], preserve_sparsity=True)
    frozen = np.float32([[0, 0, 1], [1, 0, 1]])  # what starts at zero stays there
    to_kernel, to_centroids = gradients(clusters, kernel, np.ones_like(kernel))
    np.testing.assert_array_equal(to_kernel, frozen)
    np.testing.assert_array_equal(to_centroids, [2, 0, 1])
    clusters.centroids.assign([1, 0.3, -1])  # whatever moves it
    np.testing.assert_array_equal(clusters.clustered(kernel + 0.3) == 0, frozen == 0)


def test_centroids_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"`centroids` must have shape \(3,\)"):
        clusters_of(np.ones((2, 4), np.float32), [1, 2, 3]).set(np.ones((2, 4)), np.ones(4))


@pytest.mark.parametrize("per_channel", [False, True])
def test_centroids_are_recovered_from_a_clustered_kernel(per_channel):
    kernel = np.random.default_rng(0).standard_normal((3, 3, 8, 6)).astype(np.float32)
    centroids = initial_centroids(kernel, ClusterPlan(8, per_channel=per_channel))
    clustered = clusters_of(kernel, centroids).clustered(kernel)
    found = recovered_centroids(clustered)
    np.testing.assert_array_equal(found, np.sort(centroids))
    np.testing.assert_array_equal(clusters_of(clustered, found).clustered(clustered), clustered)


def test_a_channel_with_a_value_less_repeats_its_last():
    kernel = np.float32([1, 2, 3, 1, 4, 5, 5, 4]).reshape(2, 4).T.reshape(2, 2, 1, 2)
    np.testing.assert_array_equal(recovered_centroids(kernel), [[1, 2, 3], [4, 5, 5]])
    np.testing.assert_array_equal(recovered_centroids(kernel, False), [1, 2, 3, 4, 5])


def test_kernels_that_are_not_clustered_have_no_centroids():
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((3, 3, 8, 6)).astype(np.float32)
    assert recovered_centroids(kernel) is None
    assert recovered_centroids(kernel * (rng.random(kernel.shape) < 0.5)) is None  # only pruned
    assert recovered_centroids(np.zeros((3, 3, 2, 2))) is None
    values = np.arange(1, 1026, dtype=np.float32)
    assert recovered_centroids(np.stack([values, values])) is None
    assert recovered_centroids(np.stack([values[:-1], values[:-1]])).size == 1024


@pytest.mark.parametrize(
    "choices, sentence",
    [
        ({"clusters": 1}, "clusters: 1 is not .* from 2 to 1024"),
        ({"clusters": 2, "preserve_sparsity": True}, "clusters: 2 is not .* from 3"),
        ({"clusters": 2.5}, "clusters: 2.5 is not"),
        ({"initialiser": "kmeans"}, r"initialiser is 'kmeans'. Did you mean 'kmeans\+\+'\?"),
        ({"gradient": "max"}, "Clustering: gradient is 'max'"),
    ],
)
def test_bad_plans_are_refused(choices, sentence):
    with pytest.raises(UserError, match=sentence):
        ClusterPlan(**choices)
