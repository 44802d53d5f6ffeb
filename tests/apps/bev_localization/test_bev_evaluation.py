"""Which scans are looked up among which, what is compared in training, and what is scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps import catalog
from apps.bev_localization.augment import turned
from apps.bev_localization.data.samples import scan_samples
from apps.bev_localization.evaluation import candidates_of, score
from apps.bev_localization.images.chosen import recipe_chosen
from apps.bev_localization.maps.views import View
from apps.bev_localization.mining import NEGATIVE, POSITIVE, places_order
from apps.bev_localization.places import searches, where, with_places
from apps.bev_localization.pose.estimation import LocalView
from apps.bev_localization.task import TASK
from core.config import TrainConfig
from core.data.index import make_index
from core.errors import UserError


def poses_at(x, y=0.0, degrees=0.0):
    found = np.tile(np.eye(4), (len(x), 1, 1))
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    found[:, :2, :2] = [[cos, -sin], [sin, cos]]
    found[:, 0, 3], found[:, 1, 3] = x, y
    return found


def drive(name, x, y=0.0, degrees=0.0, split=""):
    files = [f"{name}/{n:06d}.bin" for n in range(len(x))]
    paths = [Path("/nowhere") / file for file in files]
    return scan_samples(paths, name, "kitti", poses=poses_at(x, y, degrees), split=split)


def town(tmp_path):
    """Return an index of a map of 20 scans, and of eight that come back the other way."""
    samples = drive("00", np.arange(20) * 4.0) + drive(
        "01-opposite", np.arange(8) * 10.0 + 1, 1.0, 180.0
    )
    return with_places(make_index("simulated-town", tmp_path, samples))


def a_card(**decode):
    config = TrainConfig("bev", "rein", "r4_gray")
    index = make_index("scans", "x", drive("a", [0.0]))
    card = TASK.card_for(catalog.card("rein", "r4_gray"), config, index)
    return card.replace(decode={**card.decode, **decode})


# --- places ---------------------------------------------------------------------------------------


def test_a_town_is_split_by_places_and_what_comes_back_goes_along(tmp_path):
    index = town(tmp_path)
    splits = {sample.id: sample.split for sample in index.samples}
    assert [splits[f"00/{n:06d}.bin"] for n in (0, 9, 13, 14, 19)] == [
        "train", "train", "val", "val", "test",
    ]  # fmt: skip
    # A scan that comes back belongs with the map's scan it is near.
    assert splits["01-opposite/000002.bin"] == "train"  # at 21 m of 76
    assert splits["01-opposite/000005.bin"] == "val"  # at 51 m
    assert splits["01-opposite/000007.bin"] == "test"  # at 71 m
    assert {s.split for s in index.samples if s.group != "00"} == {"train", "val", "test"}


def test_one_sequence_is_looked_up_in_another_of_the_same_world(tmp_path):
    samples = town(tmp_path).samples
    (found,), protocol, words = searches(samples, {"protocol": "auto"})
    assert (protocol, len(found.database), len(found.queries)) == ("across", 20, 8)
    (other,), _, _ = searches(samples, {"database": "01-opposite"})
    assert (len(other.database), len(other.queries)) == (8, 20) and "'00'" in words
    with pytest.raises(UserError, match="no such sequence: '7'"):
        searches(samples, {"database": "7"})
    with pytest.raises(UserError, match=r"across.*--split all"):
        searches(samples[:20], {"protocol": "across"})


def test_kittis_frames_are_those_of_the_protocol(tmp_path):
    x = np.arange(1800) * 0.8
    index = with_places(make_index("kitti", tmp_path, drive("06", x % 480, split="test")))
    (found,), protocol, _ = searches(index.samples, {"protocol": "auto"})
    assert protocol == "within"
    assert (found.database[-1], found.queries[0], found.queries[-1]) == (599, 800, 1799)


def test_worlds_have_no_places_in_common(tmp_path):
    samples = drive("a", [0.0, 4.0], split="train") + drive("b", [0.0, 4.0], split="train")
    places = where(with_places(make_index("kitti", tmp_path, samples)).samples)
    assert np.linalg.norm(places[0] - places[2]) > 1e6


# --- batches --------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_groups_hold_a_query_its_place_and_other_places(seed, mined):
    rng = np.random.default_rng(seed)
    places = np.column_stack([rng.uniform(0, 60, 40), rng.uniform(0, 6, 40), np.zeros(40)])
    descriptors = rng.standard_normal((40, 5)).astype(np.float32) if mined else None
    batches = places_order(places, 10, rng, negatives=3, descriptors=descriptors)
    groups = np.concatenate(batches).reshape(-1, 5)
    assert all(len(batch) == 10 for batch in batches[:-1])
    apart = np.linalg.norm(places[groups % 40] - places[groups[:, :1] % 40], axis=-1)
    assert (apart[:, 1] < POSITIVE).all() and (apart[:, 2:] > NEGATIVE).all()
    assert (groups[:, 0] < 40).all() and len(set(groups[:, 0])) == len(groups)
    assert (groups[:, 1] % 40 != groups[:, 0]).all()
    if descriptors is not None:
        for query, *_, third in groups % 40:
            far = np.linalg.norm(places - places[query], axis=1) > NEGATIVE
            d = np.linalg.norm(descriptors - descriptors[query], axis=1)
            assert np.count_nonzero(far & (d < d[third] - 1e-4)) <= 2  # alike: either
            assert np.count_nonzero(far & (d < d[third] + 1e-4)) >= 3


def test_batches_are_as_many_with_and_without_descriptors():
    places = np.column_stack([np.arange(30) * 2.0, np.zeros(30), np.zeros(30)])
    known = np.random.default_rng(0).standard_normal((30, 4))
    plain = places_order(places, 12, np.random.default_rng(1), negatives=4)
    mined = places_order(places, 12, np.random.default_rng(1), negatives=4, descriptors=known)
    assert [len(one) for one in plain] == [len(one) for one in mined]


def test_batches_that_cannot_be_are_refused():
    places = np.column_stack([np.arange(30) * 2.0, np.zeros(30), np.zeros(30)])
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match=r"batch of 10 .*multiple of 6, such as 6"):
        places_order(places, 10, rng, negatives=4)
    with pytest.raises(UserError, match="No training scan has another within 5 m"):
        places_order(places * 10, 12, rng, negatives=4)


def test_images_turn_about_their_middle():
    image = np.zeros((21, 21, 1), np.uint8)
    image[4, 10] = 200
    np.testing.assert_array_equal(turned(image, 90.0), np.rot90(image))
    np.testing.assert_array_equal(turned(image, 0.0), image)


# --- scores ---------------------------------------------------------------------------------------


def views_of(samples, wrong=()):
    """Yield views whose descriptors tell the place, and whose keypoints are those of the world."""
    rng = np.random.default_rng(3)
    marks = rng.uniform(-30, 110, (400, 2))
    names = rng.standard_normal((400, 16)).astype(np.float32)
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    for sample, place in zip(samples, where(samples), strict=True):
        told = 1000.0 if sample.id in wrong else place[0]
        descriptor = np.array([np.cos(told / 40), np.sin(told / 40)], np.float32)
        rows = np.array(sample.extra["pose"]).reshape(3, 4)
        local = (marks - rows[:2, 3]) @ rows[:2, :2]
        pixels = np.round(100 - local[:, ::-1] / 0.4).astype(np.int32)
        seen = ((pixels >= 0) & (pixels < 201)).all(axis=1)
        image = np.zeros((201, 201), np.uint8)
        yield sample, View(image, descriptor, LocalView(pixels[seen], names[seen]))


def test_scores_of_perfect_views_and_of_one_that_is_wrong(tmp_path):
    samples = town(tmp_path).samples
    scores = score(views_of(samples), a_card(center_cells=True))
    assert scores.summary["recall_1"] == scores.summary["pose_success"] == 1.0
    assert scores.summary["average_precision"] == scores.summary["max_f1"] == 1.0
    assert scores.summary["pose_median_metres"] < 0.7
    assert scores.summary["samples_queries"] == len(scores.per_sample) == 8
    wrong = score(views_of(samples, wrong=("01-opposite/000003.bin",)), a_card())
    assert wrong.summary["recall_1"] == 7 / 8 and wrong.summary["max_f1"] < 1
    assert wrong.summary["recall_full_precision"] <= 7 / 8
    row = next(row for row in wrong.per_sample if row["id"] == "01-opposite/000003.bin")
    assert row["apart"] > 5 and row["first_hit"] != 1


def test_poses_are_not_scored_where_no_headings_are_known(tmp_path):
    unmarked = make_index("oxford-benchmark", tmp_path, town(tmp_path).samples)
    scores = score(views_of(with_places(unmarked).samples), a_card())
    assert scores.summary["recall_1"] == 1.0 and np.isnan(scores.summary["pose_success"])
    assert scores.per_sample[0]["metres"] is None


def test_of_several_candidates_the_place_counts_that_keypoints_agree_on(tmp_path):
    samples = town(tmp_path).samples
    lost = "01-opposite/000003.bin"

    def scores_of(candidates: int) -> tuple[dict, dict]:
        card = a_card(center_cells=True, candidates=candidates)
        found = score(views_of(samples, wrong=(lost,)), card)
        assert f"that of {candidates} places" in found.protocol or candidates == 1
        return found.summary, next(row for row in found.per_sample if row["id"] == lost)

    first, wrong = scores_of(1)
    assert first["recall_taken"] == first["recall_1"] == 7 / 8 and wrong["apart"] > 5
    tried, right = scores_of(20)
    assert tried["recall_1"] == 7 / 8  # the descriptors tell what they told
    assert tried["recall_taken"] == tried["pose_success"] == 1.0
    assert right["apart"] < 5 and right["place"] != wrong["place"] and right["metres"] < 2
    assert right["distance"] > wrong["distance"] and right["first_hit"] > 1


@pytest.mark.parametrize("tried", [0, 21, 2.5, True, "three"])
def test_a_number_of_candidates_that_cannot_be_is_refused(tried):
    with pytest.raises(UserError, match=r"candidates is .*whole number from 1 to 20"):
        candidates_of({"candidates": tried})


def test_quick_scores_leave_out_poses_and_loops(tmp_path):
    scores = score(views_of(town(tmp_path).samples), a_card(), quick=True)
    assert set(scores.summary) == {
        "recall_1", "recall_5", "recall_10", "recall_20", "samples", "samples_queries",
    }  # fmt: skip
    assert "metres" not in scores.per_sample[0]


def test_scans_without_poses_are_not_scored():
    samples = scan_samples([Path("/nowhere/a.bin")], "a", "kitti")
    view = View(
        np.zeros((9, 9), np.uint8), np.zeros(2, np.float32), LocalView(*[np.zeros((0, 2))] * 2)
    )
    with pytest.raises(UserError, match=r"a/a\.bin: its pose is not known"):
        score([(samples[0], view)], a_card())


# --- the recipe -----------------------------------------------------------------------------------


def test_the_card_holds_the_recipe_and_its_size():
    index = make_index("scans", "x", drive("a", [0.0]))
    published = catalog.card("rein", "r8")
    config = TrainConfig("bev", "rein", "r8", options={"recipe": "coarse40"})
    card = TASK.card_for(published, config, index)
    assert card.input_size == (101, 101) and card.decode["recipe"]["resolution"] == 0.8
    TASK.check_decoding(card)
    with pytest.raises(UserError, match=r"input size is 151x151.*makes images of 201x201"):
        TASK.card_for(published, TrainConfig("bev", "rein", "r8", input_size=(151, 151)), index)
    with pytest.raises(UserError, match="recipe belongs to the weights"):
        TASK.check_decoding(card.replace(decode={**card.decode, "recipe": "lio90"}))
    with pytest.raises(UserError, match=r"takes images of 151x151.*choose the recipe"):
        TASK.check_decoding(card.replace(input_size=(151, 151)))


def test_a_recipe_may_have_another_reach():
    options = TASK.check_options({"recipe": "place40", "half_range": 20.0, "resolution": 0.5})
    chosen = recipe_chosen(options)
    assert (chosen.side, chosen.crop, chosen.voxel) == (81, 20.0, 0.5)
    assert chosen.name == "place40-20-0.5"
    for options in ({"half_range": 1.0, "resolution": 0.9}, {"half_range": 1e308}):
        with pytest.raises(UserError, match="pixels a side; choose 8 to 2001"):
            TASK.check_options(options)
