"""CMC, mAP, mINP and search against the published numbers and a naive reference."""

import golden_files
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from apps.person_reid.ranking import (
    METRICS,
    distances,
    evaluate_embeddings,
    rank,
    top_k,
)
from core.errors import UserError


@pytest.fixture(scope="module")
def golden():
    with np.load(golden_files.GOLDEN / "osnet__ranking.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def labels(golden):
    return tuple(golden[name] for name in ("q_pid", "g_pid", "q_cam", "g_cam"))


def naive(distance, q_ids, g_ids, q_cams, g_cams):
    """Return first hits, AP and INP of each query as the protocol is described."""
    hits, aps, inps = [], [], []
    for row, person, camera in zip(distance, q_ids, q_cams, strict=True):
        order = sorted(range(len(row)), key=lambda image: (row[image], image))
        left = [
            image
            for image in order
            if not (g_ids[image] == person and g_cams[image] == camera and camera >= 0)
        ]
        places = [place for place, image in enumerate(left, 1) if g_ids[image] == person]
        hits.append(places[0] if places else 0)
        precisions = [found / place for found, place in enumerate(places, 1)]
        aps.append(sum(precisions) / len(places) if places else np.nan)
        inps.append(len(places) / places[-1] if places else np.nan)
    return np.array(hits), np.array(aps), np.array(inps)


@st.composite
def small_sets(draw):
    """Distances with many ties, and labels with unknown cameras and persons without a match."""
    queries, gallery = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    values = st.integers(0, 4).map(float)
    distance = draw(arrays(np.float32, (queries, gallery), elements=values))
    persons, cameras = st.integers(0, 3), st.integers(-1, 2)
    q_ids, g_ids = (draw(arrays(np.int64, n, elements=persons)) for n in (queries, gallery))
    q_cams, g_cams = (draw(arrays(np.int64, n, elements=cameras)) for n in (queries, gallery))
    return distance, q_ids, g_ids, q_cams, g_cams


# --- distances --------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_distances_are_the_published_ones(golden, metric):
    ours = distances(golden["qf"], golden["gf"], metric)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, golden[f"{metric}_dist"], rtol=1e-6, atol=3e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_no_distance_is_negative_and_an_equal_image_is_near(metric):
    embeddings = np.random.default_rng(0).uniform(0, 9, (50, 512)).astype(np.float32)
    ours = distances(embeddings, embeddings, metric)
    assert (ours >= 0).all()
    assert (np.diag(ours) < 1e-5 * ours.max()).all()


def test_an_embedding_of_zeros_is_as_far_from_all():
    found = distances(np.zeros((1, 4)), np.eye(4), "cosine")
    np.testing.assert_array_equal(found, np.ones((1, 4)))


# --- scores -----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_the_published_ones(golden, labels, metric):
    for scores in (
        rank(golden[f"{metric}_dist"], *labels),
        evaluate_embeddings(golden["qf"], golden["gf"], *labels, metric=metric),
    ):
        np.testing.assert_allclose(scores.cmc, golden[f"{metric}_cmc"], atol=1e-7)
        assert scores.map == pytest.approx(float(golden[f"{metric}_map"]), abs=1e-12)
        np.testing.assert_allclose(scores.ap, golden[f"{metric}_ap"], atol=1e-12)
        np.testing.assert_allclose(scores.inp, golden[f"{metric}_inp"], atol=1e-12)
        assert scores.minp == pytest.approx(np.nanmean(golden[f"{metric}_inp"]), abs=1e-12)
        assert scores.skipped == np.isnan(golden[f"{metric}_ap"]).sum() > 0


def test_the_hand_made_example(golden):
    scores = rank(
        golden["hand_dist"], golden["hand_q_pid"], golden["hand_g_pid"],
        golden["hand_q_cam"], golden["hand_g_cam"], max_rank=5,
    )  # fmt: skip
    np.testing.assert_allclose(scores.cmc, golden["hand_cmc"], atol=1e-7)
    assert scores.map == pytest.approx(float(golden["hand_map"]), abs=1e-12)
    assert scores.skipped == 1 and not scores.valid[2]
    np.testing.assert_allclose(scores.ap[:2], [7 / 12, 1 / 4])
    np.testing.assert_allclose(scores.inp[:2], [2 / 3, 1 / 4])
    assert scores.first_hit.tolist() == [2, 4, 0]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(small_sets())
def test_scores_equal_the_naive_ones_with_ties_in_the_gallerys_order(case):
    hits, ap, inp = naive(*case)
    if not hits.any():
        with pytest.raises(UserError):
            rank(*case)
        return
    scores = rank(*case, max_rank=6)
    np.testing.assert_array_equal(scores.first_hit, hits)
    np.testing.assert_allclose(scores.ap, ap, rtol=1e-12)
    np.testing.assert_allclose(scores.inp, inp, rtol=1e-12)
    ranks = np.arange(1, min(6, case[0].shape[1]) + 1)
    expected = (hits[hits > 0][:, None] <= ranks).mean(axis=0)
    np.testing.assert_allclose(scores.cmc, expected, rtol=1e-12)
    assert scores.map == pytest.approx(np.nanmean(ap))


def test_the_order_of_the_gallery_does_not_matter(golden, labels):
    q_ids, g_ids, q_cams, g_cams = labels
    mixed = np.random.default_rng(3).permutation(len(g_ids))
    scores = rank(golden["euclidean_dist"], *labels)
    again = rank(golden["euclidean_dist"][:, mixed], q_ids, g_ids[mixed], q_cams, g_cams[mixed])
    np.testing.assert_array_equal(again.ap, scores.ap)
    np.testing.assert_array_equal(again.cmc, scores.cmc)


def test_without_distractors_no_query_scores_less(golden, labels):
    q_ids, g_ids, q_cams, g_cams = labels
    people = g_ids != 0
    assert not people.all()
    before = rank(golden["cosine_dist"], *labels)
    after = rank(golden["cosine_dist"][:, people], q_ids, g_ids[people], q_cams, g_cams[people])
    np.testing.assert_array_equal(after.valid, before.valid)
    assert (after.ap[after.valid] >= before.ap[before.valid]).all()
    assert after.map > before.map


@pytest.mark.parametrize("metric", METRICS)
def test_a_copy_of_the_query_by_another_camera_takes_rank_1(golden, labels, metric):
    q_ids, g_ids, q_cams, g_cams = labels
    gallery = np.concatenate([golden["gf"], golden["qf"]])
    scores = evaluate_embeddings(
        golden["qf"], gallery, q_ids, np.concatenate([g_ids, q_ids]),
        q_cams, np.concatenate([g_cams, q_cams + 1]), metric=metric,
    )  # fmt: skip
    assert scores.skipped == 0
    assert scores.rank(1) == 1.0


def test_blocks_score_as_the_whole(golden, labels):
    whole = rank(golden["euclidean_dist"], *labels)
    blocks = (golden["euclidean_dist"][start : start + 7] for start in range(0, 40, 7))
    np.testing.assert_array_equal(rank(blocks, *labels).ap, whole.ap)
    for block in (1, 13, 40, 1000):
        scores = evaluate_embeddings(golden["qf"], golden["gf"], *labels, block=block)
        np.testing.assert_allclose(scores.ap, whole.ap)


def test_distances_of_another_shape_are_refused(golden, labels):
    distance = golden["euclidean_dist"]
    for wrong in (distance[:-1], distance[:, 1:], [distance, distance[:1]], [distance[0]]):
        with pytest.raises(ValueError, match=r"`distance` must have shape \(40, 300\)"):
            rank(wrong, *labels)
    with pytest.raises(ValueError, match="`q_cams` must be as long as `q_ids`"):
        rank(distance, *labels[:2], labels[2][1:], labels[3])


def test_unknown_cameras_remove_nothing():
    distance = np.array([[1.0, 2.0, 3.0]])
    for q_cams, g_cams in ((None, None), ([-1], [-1, -1, -1]), ([0], None), ([None], [0, 0, 0])):
        scores = rank(distance, [5], [5, 6, 5], q_cams, g_cams)
        assert scores.ap[0] == pytest.approx((1 + 2 / 3) / 2)
    assert rank(distance, [5], [5, 6, 5], [0], [0, 0, -1]).first_hit[0] == 2


def test_a_small_gallery_has_as_many_ranks_as_images():
    scores = rank(np.array([[3.0, 1.0, 2.0]]), [5], [5, 6, 7])
    assert scores.cmc.tolist() == [0, 0, 1]
    assert [scores.rank(r) for r in (1, 3, 20)] == [0, 1, 1]


def test_cmc_stays_1_beyond_the_images_that_are_left():
    # Three of five images are removed for the first query, so that two are left.
    distance = np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0]])
    scores = rank(distance, [1, 2], [1, 1, 1, 2, 1], [0, 0], [0, 0, 0, 1, 1])
    assert scores.first_hit.tolist() == [2, 2]
    assert scores.cmc.tolist() == [0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "q_ids, g_ids, q_cams, g_cams, message",
    [
        ([1], [], None, None, "The gallery holds no image"),
        ([], [1], None, None, "The query holds no image"),
        ([1, 2], [1, 2, 3], [0, 0], [0, 0, 0], "All images are by one camera"),
        ([1, 2], [3, 4, 1], [0, 1], [0, 1, 0], "None of the 2 query images has a true match"),
    ],
)
def test_sets_that_cannot_be_scored_are_told_in_a_sentence(q_ids, g_ids, q_cams, g_cams, message):
    for attempt in (
        lambda *of: rank(np.ones((len(q_ids), len(g_ids))), *of),
        lambda *of: evaluate_embeddings(np.ones((len(q_ids), 2)), np.ones((len(g_ids), 2)), *of),
    ):
        with pytest.raises(UserError, match=message):
            attempt(q_ids, g_ids, q_cams, g_cams)


def test_numbers_that_are_none_are_refused():
    damaged = np.array([[1.0, np.nan], [3e38, 3e38], [1.0, 1.0]])
    with pytest.raises(UserError, match="2 of 3 gallery embeddings hold NaN, infinity or huge"):
        top_k(np.ones((1, 2)), damaged, 1)
    with pytest.raises(UserError, match="A distance is not a number"):
        rank(np.array([[1.0, np.nan]]), [1], [1, 2])
    with pytest.raises(UserError, match=r"No such metric: 'cosin'\. Did you mean 'cosine'\?"):
        distances(np.ones((1, 2)), np.ones((1, 2)), "cosin")
    with pytest.raises(ValueError, match="embeddings of one length"):
        distances(np.ones((1, 2)), np.ones((1, 3)))


# --- search -----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k, block", [(1, None), (10, 7), (300, 16), (999, None)])
def test_search_is_exact(golden, metric, k, block):
    indices, values = top_k(golden["qf"], golden["gf"], k, metric, block=block)
    everything = distances(golden["qf"], golden["gf"], metric)
    expected = np.argsort(everything, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(
        values, np.take_along_axis(everything, expected, axis=1), rtol=1e-5, atol=1e-6
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    arrays(np.float32, (3, 2), elements=st.integers(0, 2).map(float)),
    arrays(np.float32, (9, 2), elements=st.integers(0, 2).map(float)),
    st.integers(1, 9),
)
def test_equal_images_are_found_in_the_gallerys_order(query, gallery, k):
    indices, _ = top_k(query, gallery, k)
    expected = np.argsort(distances(query, gallery), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, expected)


def test_an_empty_gallery_cannot_be_searched():
    with pytest.raises(UserError, match="The gallery holds no image"):
        top_k(np.ones((1, 4)), np.ones((0, 4)), 5)
