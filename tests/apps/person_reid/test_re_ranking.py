"""k-reciprocal re-ranking against the published results and a dense reference."""

import golden_files
import numpy as np
import pytest

from apps.person_reid.ranking import METRICS, distances, rank
from apps.person_reid.re_ranking import (
    CONVENTIONS,
    re_rank,
    re_rank_distances,
    re_ranked_blocks,
)
from core.errors import UserError

SETTINGS = {"rerank": {}, "rerank_k10_1_0": {"k1": 10, "k2": 1, "weight": 0.0}}


@pytest.fixture(scope="module")
def golden():
    with np.load(golden_files.GOLDEN / "osnet__ranking.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def labels(golden):
    return tuple(golden[name] for name in ("q_pid", "g_pid", "q_cam", "g_cam"))


def dense(everything, queries, k1, k2, weight):
    """Return the re-ranked distances by the steps of the paper, image by image, in float64."""
    count = len(everything)
    d = everything / everything.max(axis=1, keepdims=True)
    order = np.argsort(everything, axis=1, kind="stable")

    def mutual(image, k):
        forward = order[image, : k + 1]
        return {j for j in forward if image in order[j, : k + 1]}

    v = np.zeros((count, count))
    for image in range(count):
        members = mutual(image, k1)
        expanded = set(members)
        for j in members:
            theirs = mutual(j, int(np.around(k1 / 2)))
            if len(theirs & members) > 2 / 3 * len(theirs):
                expanded |= theirs
        chosen = sorted(expanded)
        v[image, chosen] = np.exp(-d[image, chosen])
        v[image, chosen] /= v[image, chosen].sum()
    if k2 != 1:
        v = np.stack([v[order[image, :k2]].mean(axis=0) for image in range(count)])
    common = np.minimum(v[:queries, None], v[None, queries:]).sum(axis=2)
    return (1 - weight) * (1 - common / (2 - common)) + weight * d[:queries, queries:]


def crowd(seed, queries=8, gallery=40, persons=6):
    """Return embeddings of several images a person, far enough apart to be mutual neighbours."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((persons, 16))
    people = rng.integers(0, persons, queries + gallery)
    images = centres[people] + 0.4 * rng.standard_normal((queries + gallery, 16))
    images = images.astype(np.float32)
    return images[:queries], images[queries:]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_re_ranked_distances_are_the_published_ones(golden, metric, setting):
    expected, options = golden[f"{metric}_{setting}"], SETTINGS[setting]
    ours = re_rank(golden["qf"], golden["gf"], metric, **options)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    of_gallery = distances(golden["gf"], golden["gf"], metric)
    ours = re_rank_distances(
        golden[f"{metric}_dist"], golden[f"{metric}_qq"], of_gallery, **options
    )
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_the_authors_convention_is_reproduced(golden):
    ours = re_rank(golden["qf"], golden["gf"], convention="authors")
    np.testing.assert_allclose(ours, golden["plain_euclidean_rerank"], atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_scores_after_re_ranking_are_the_published_ones(golden, labels, metric):
    scores = rank(re_ranked_blocks(golden["qf"], golden["gf"], metric, block=64), *labels)
    assert scores.map == pytest.approx(float(golden[f"{metric}_rerank_map"]), abs=1e-12)
    np.testing.assert_allclose(scores.cmc, golden[f"{metric}_rerank_cmc"], atol=1e-7)
    assert scores.map > float(golden[f"{metric}_map"])


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("k1, k2", [(20, 6), (7, 3), (5, 1), (1, 2), (3, 9), (100, 100)])
def test_re_ranking_equals_the_dense_reference(convention, k1, k2):
    query, gallery = crowd(k1)
    everything = distances(*[np.concatenate([query, gallery])] * 2).astype(np.float64)
    if convention == "library":
        everything **= 2
    ours = re_rank(query, gallery, convention=convention, k1=k1, k2=k2, weight=0.2)
    np.testing.assert_allclose(ours, dense(everything, len(query), k1, k2, 0.2), atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_with_weight_1_the_order_stays(golden, metric, convention):
    ours = re_rank(golden["qf"], golden["gf"], metric, convention=convention, weight=1.0)
    before = distances(golden["qf"], golden["gf"], metric)
    for new, old in zip(ours, before, strict=True):
        np.testing.assert_array_equal(np.argsort(new), np.argsort(old))


def test_blocks_are_the_rows_of_the_whole():
    query, gallery = crowd(0)
    whole = re_rank(query, gallery)
    for block in (1, 5, 8, 13, 48, 1000):
        blocks = list(re_ranked_blocks(query, gallery, block=block))
        np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)


def test_the_gallery_may_be_in_any_order():
    query, gallery = crowd(1)
    mixed = np.random.default_rng(0).permutation(len(gallery))
    expected = re_rank(query, gallery)[:, mixed]
    np.testing.assert_allclose(re_rank(query, gallery[mixed]), expected, atol=1e-6)


def test_a_gallery_smaller_than_the_neighbourhood_is_ranked():
    query, gallery = crowd(2, queries=1, gallery=2, persons=2)
    result = re_rank(query, gallery)
    assert result.shape == (1, 2) and np.isfinite(result).all()


def test_equal_embeddings_are_equally_far():
    result = re_rank(np.ones((2, 4)), np.ones((40, 4)))
    assert np.isfinite(result).all()
    small = re_rank(np.ones((2, 4)), np.ones((5, 4)))
    np.testing.assert_allclose(small, 0.0, atol=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"convention": "author"}, r"No such convention: 'author'\. Did you mean 'authors'\?"),
        ({"metric": "l2"}, "No such metric: 'l2'"),
        ({"k1": 0}, "k1 = 0: give a whole number from 1"),
        ({"k2": 0}, "k2 = 0: give a whole number from 1"),
        ({"weight": 1.5}, r"weight 1\.5: give a number from 0 to 1"),
    ],
)
def test_choices_out_of_range_are_told_before_the_work(options, message):
    with pytest.raises(UserError, match=message):
        re_ranked_blocks(np.ones((2, 4)), np.ones((3, 4)), **options)


def test_distances_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match=r"`gallery_gallery` must have shape \(3, 3\)"):
        re_rank_distances(np.ones((2, 3)), np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(UserError, match="at least one query and one gallery image"):
        re_rank(np.ones((2, 4)), np.ones((0, 4)))
