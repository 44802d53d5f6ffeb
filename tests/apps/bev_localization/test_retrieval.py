"""Searches are exact, protocols are the published ones, loops are found among older frames only."""

from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np
import pytest
from golden_files import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.bev_localization.retrieval import search
from apps.bev_localization.retrieval.clusters import assignment, netvlad_clusters
from apps.bev_localization.retrieval.index import build_index
from apps.bev_localization.retrieval.loop_closure import (
    find_loops,
    loop_scores,
    oldest_allowed,
)
from apps.bev_localization.retrieval.recall import (
    kitti_frames,
    one_percent,
    positions,
    recall_at,
    split_frames,
)
from core.errors import UserError


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "bevplace-plus-plus__algorithms.npz", allow_pickle=False) as data:
        return dict(data)


def unit(rng, *shape):
    rows = rng.standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def brute(queries, database, top):
    apart = np.linalg.norm(queries[:, None].astype(float) - database[None], axis=2)
    order = np.argsort(apart.round(6), axis=1, kind="stable")[:, :top]
    return order, np.take_along_axis(apart, order, axis=1)


def test_recall_is_that_of_the_published_protocol(golden):
    split, gap = golden["recall/split_gap"].tolist()
    database, queries = split_frames(len(golden["recall/desc"]), split, gap)
    index = build_index(golden["recall/desc"][database])
    places, _ = index.search(golden["recall/desc"][queries], 20)
    np.testing.assert_array_equal(places[:, 0], golden["recall/top1"])
    where = positions(golden["recall/poses"])
    found = recall_at(places, where[queries], where[database])
    np.testing.assert_array_equal(found.has_positive, golden["recall/has_positive"])
    assert list(found.at.values()) == golden["recall/recall_at_1_5_10_20"].tolist()
    assert found.queries == golden["recall/has_positive"].sum()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 6), st.booleans())
def test_search_finds_what_comparing_all_finds(seed, places, top, long):
    """With copies of places, of which the lower comes first, one by one and many together."""
    rng = np.random.default_rng(seed)
    database = unit(rng, places, 2048 if long else 12)
    database[rng.integers(0, places, places // 3)] = database[0]
    queries = np.concatenate([database[rng.integers(0, places, 9)], unit(rng, 4, len(database[0]))])
    queries[3:7] = (queries[3:7] + 0.3 * unit(rng, 4, len(database[0]))).astype(np.float32)
    expected, apart = brute(queries, database, top)
    index = build_index(database)
    together, distances = index.search(queries, top)
    np.testing.assert_array_equal(together, expected)
    np.testing.assert_allclose(distances, apart, atol=1e-4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_SMALL", 0)  # as of a large map: by bytes first
        patch.setattr(search, "_MANY", 3)
        alone = [index.search(query, top) for query in queries]
    np.testing.assert_array_equal(np.concatenate([found for found, _ in alone]), expected)


def test_places_that_hardly_differ_are_told_apart(monkeypatch):
    """By less than a byte a number tells, and of any length."""
    monkeypatch.setattr(search, "_SMALL", 0)
    rng = np.random.default_rng(3)
    database = 7 * unit(rng, 1, 3000) + 1e-4 * rng.standard_normal((60, 3000), dtype=np.float32)
    queries = database[:5] + 1e-5 * rng.standard_normal((5, 3000), dtype=np.float32)
    index = build_index(database)
    places, _ = index.search(queries, 4)
    apart = np.linalg.norm(queries[:, None].astype(float) - database[None], axis=2)
    np.testing.assert_array_equal(places, np.argsort(apart, axis=1)[:, :4])
    assert index.nbytes == 60 * (4 * 3000 + 2625 + 12)


def test_a_projection_shortens_the_map_and_finds_the_same_places():
    rng = np.random.default_rng(0)
    basis = unit(rng, 12, 1500)
    database = rng.standard_normal((300, 12)).astype(np.float32) @ basis
    database /= np.linalg.norm(database, axis=1, keepdims=True)
    short = build_index(database, dimensions=8)
    assert short.stored.dtype == np.float16 and short.stored.shape == (300, 8)
    assert short.nbytes == 300 * (16 + 32) + 9 * 1500 * 4
    np.testing.assert_allclose(np.linalg.norm(short.stored.astype(float), axis=1), 1, atol=1e-3)
    noisy = database[::7] + 0.002 * rng.standard_normal((43, 1500)).astype(np.float32)
    assert (short.search(noisy)[0][:, 0] == np.arange(0, 300, 7)).mean() > 0.95
    with pytest.raises(UserError, match="span 12 dimensions, less than the 40"):
        build_index(database, dimensions=40)


def test_what_is_no_descriptor_is_told():
    good = unit(np.random.default_rng(0), 4, 16)
    with pytest.raises(UserError, match="at least one place"):
        build_index(good[:0])
    bad = good.copy()
    bad[2, 3] = np.nan
    with pytest.raises(UserError, match="of the map holds NaN"):
        build_index(bad)
    with pytest.raises(UserError, match="query's descriptor holds NaN"):
        build_index(good).search(bad)
    with pytest.raises(UserError, match=r"has 5 numbers, those of the map 16"):
        build_index(good).search(good[0, :5])
    with pytest.raises(ValueError, match="backend='hnsw'"):
        build_index(good).search(good, backend="hnsw")


def test_faiss_finds_the_same_or_says_how_to_get_it():
    database = unit(np.random.default_rng(0), 50, 32)
    index = build_index(database)
    if find_spec("faiss") is None:
        with pytest.raises(UserError, match=r"pip install 'gossamer-keras\[retrieval\]'"):
            index.search(database, backend="faiss")
        return
    expected = index.search(database, 5)
    found = index.search(database, 5, backend="faiss")
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-3)


def test_queries_begin_a_gap_after_the_database():
    database, queries = kitti_frames("08", 4071, interval=5)
    assert (database[0], database[-1], queries[0], queries[-1]) == (0, 995, 1200, 4070)
    assert len(database) == 200 and set(np.diff(queries)) == {5}
    with pytest.raises(UserError, match="Known: 00, 02, 05, 06, 08"):
        kitti_frames("11", 4000)
    with pytest.raises(UserError, match="begin at frame 3200"):
        kitti_frames("00", 3100)


def test_a_place_counts_where_it_is_near_enough():
    database, queries = np.array([[0.0, 0], [5, 0], [50, 0]]), np.array([[10.0, 0], [0, 0]])
    ranked = np.array([[2, 1, 0], [1, 0, 2]])
    strict = recall_at(ranked, queries, database, ks=(1, 2))
    assert strict.has_positive.tolist() == [False, True] and strict.at == {1: 0.0, 2: 1.0}
    loose = recall_at(ranked, queries, database, ks=(1, 2), inclusive=True)
    assert loose.has_positive.tolist() == [True, True] and loose.first_hit.tolist() == [2, 1]
    assert loose.at == {1: 0.5, 2: 1.0}
    nowhere = recall_at(ranked[:1], np.array([[900.0, 0]]), database, ks=(1,))
    assert math.isnan(nowhere.at[1]) and nowhere.queries == 0
    with pytest.raises(ValueError, match="ks"):
        recall_at(ranked[:, :1], queries, database, ks=(2,))
    assert [one_percent(n) for n in (3, 149, 420)] == [1, 1, 4]


def test_loops_are_sought_among_frames_that_are_old_enough():
    assert oldest_allowed(6, gap_frames=3).tolist() == [0, 0, 0, 1, 2, 3]
    stamps = np.array([0.0, 10, 29, 30, 61])
    assert oldest_allowed(5, stamps=stamps).tolist() == [0, 0, 0, 1, 4]
    with pytest.raises(ValueError, match="ascending"):
        oldest_allowed(2, stamps=np.array([1.0, 0.0]))
    rng = np.random.default_rng(0)
    descriptors = unit(rng, 700, 24)
    descriptors[650] = descriptors[100]
    descriptors[655] = descriptors[640]  # too young
    allowed = oldest_allowed(700)
    loops = find_loops(descriptors, allowed)
    assert (loops.places[:50] == -1).all() and np.isinf(loops.distances[:50]).all()
    assert loops.places[650] == 100 and loops.distances[650] == 0
    for frame in (50, 333, 655, 699):
        (expected,), _ = brute(descriptors[frame : frame + 1], descriptors[: allowed[frame]], 1)
        assert loops.places[frame] == expected[0]


def test_the_curve_of_loops_by_hand():
    """Frames 3..7 are asked; 3, 4, 6 and 7 come back to a place, 5 does not."""
    where = np.array([[0, 0], [10, 0], [20, 0], [0, 1], [10, 1], [99, 0], [20, 1], [0, 2.0]])
    allowed = np.array([0, 0, 0, 3, 3, 3, 3, 3])
    descriptors = np.zeros((8, 4), np.float32)
    descriptors[[0, 1, 2], [0, 1, 2]] = 1
    descriptors[3, 0], descriptors[4, 1], descriptors[5, 2] = 0.9, 0.8, 0.7
    descriptors[6, 2], descriptors[7, 1] = 0.6, 0.5  # the last is taken for another place
    scores = loop_scores(find_loops(descriptors, allowed), where, allowed)
    assert scores.revisits == 4
    np.testing.assert_allclose(scores.thresholds, [0.1, 0.2, 0.3, 0.4, 0.5], atol=1e-6)
    np.testing.assert_allclose(scores.precision, [1, 1, 2 / 3, 3 / 4, 3 / 5])
    np.testing.assert_allclose(scores.recall, [1 / 4, 2 / 4, 2 / 4, 3 / 4, 3 / 4])
    assert scores.average_precision == pytest.approx(0.25 + 0.25 + 0.25 * 0.75)
    assert scores.max_f1 == pytest.approx(0.75) and scores.recall_at_full_precision == 0.5
    far = loop_scores(find_loops(descriptors, allowed), where * 100, allowed)
    assert far.revisits == 0 and math.isnan(far.average_precision)


def test_netvlad_begins_as_published(golden):
    found = assignment(golden["vladinit/clusters"], golden["vladinit/descriptors"])
    assert found.alpha == pytest.approx(float(golden["vladinit/alpha"]), rel=1e-6)
    np.testing.assert_allclose(found.weights, golden["vladinit/conv_weight"], atol=1e-5)
    x = golden["vladinit/x"].reshape(2, 16, 30)
    logits = found.weights @ x
    weight = np.exp(logits - logits.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    vlad = weight @ x.transpose(0, 2, 1) - weight.sum(2)[..., None] * found.centroids
    vlad /= np.linalg.norm(vlad, axis=2, keepdims=True)
    vlad = vlad.reshape(2, -1) / np.linalg.norm(vlad.reshape(2, -1), axis=1, keepdims=True)
    np.testing.assert_allclose(vlad, golden["vladinit/vlad"], atol=1e-5)


def test_netvlad_finds_the_clusters_that_there_are():
    rng = np.random.default_rng(0)
    centres = unit(rng, 6, 16)
    features = np.repeat(centres, 40, axis=0) + 0.02 * unit(rng, 240, 16)
    found = netvlad_clusters(features, 6, seed=1)
    nearest = np.linalg.norm(found.centroids[:, None] - centres, axis=2).argmin(axis=1)
    assert sorted(nearest) == list(range(6))
    assert found.weights.shape == (6, 16) and found.alpha > 1
    again = netvlad_clusters(features, 6, seed=1)
    np.testing.assert_array_equal(again.weights, found.weights)
    with pytest.raises(UserError, match="64 clusters need as many"):
        netvlad_clusters(features[:10])
    with pytest.raises(UserError, match="all in one place"):
        assignment(np.repeat(centres[:1], 3, axis=0), features)
