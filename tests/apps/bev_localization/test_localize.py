"""Scans are found on a map of a street: the place, and the pose in the map's frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lidar_street import RECIPE, SPACING, pose, started_engine, write_street

from apps.bev_localization.data import READERS
from apps.bev_localization.data.samples import pose_of, scan_samples
from apps.bev_localization.images.recipes import RECIPES
from apps.bev_localization.maps.building import build_map, mapped_samples, surest
from apps.bev_localization.maps.localizing import Rules, localize
from apps.bev_localization.maps.pictures import MAP_COLOUR, SCAN_COLOUR, localized_picture, overlay
from apps.bev_localization.maps.queries import query_samples
from apps.bev_localization.maps.views import view_of, views
from apps.bev_localization.pose.errors import pose_error, relative_truth
from apps.bev_localization.pose.keypoints import fast_keypoints
from core.data.readers import read_with
from core.errors import UserError
from core.identity import Identity

MODEL = Identity("rein", "r4_gray", "ab" * 32, "run", "float32", (RECIPE.side, RECIPE.side))
TURNED = (90.0, 180.0, -90.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Folders of a map's scans, of scans that come back turned, and of another street's."""
    root = tmp_path_factory.mktemp("street")
    tilted = [pose(SPACING * n) for n in range(14)]
    for one in tilted:
        one[2, 3] += 0.1 * one[0, 3]  # the street climbs; its map is not flat
    write_street(root / "map", tilted)
    back = [pose(SPACING * n + 0.7, 0.5, TURNED[n % 3]) for n in range(1, 13, 2)]
    write_street(root / "back", back)
    write_street(root / "elsewhere", [pose(SPACING * n) for n in range(4)], seed=9)
    return root


def samples(folder):
    return list(read_with(READERS, folder).samples)


@pytest.fixture(scope="module")
def engine(world):
    return started_engine(samples(world / "map"))


@pytest.fixture(scope="module")
def found(world, engine):
    return build_map(world / "street.npz", engine, samples(world / "map"), RECIPE, MODEL)


@pytest.fixture(scope="module")
def looked(world, engine):
    """Return (sample, view) of the scans by their folder."""
    names = ("map", "back", "elsewhere")
    return {
        name: [(sample, view) for sample, view, _ in views(engine, samples(world / name), RECIPE)]
        for name in names
    }


def fixes(found, seen, rules=None):
    return [(sample, localize(found, view, rules)) for sample, view in seen]


def test_scans_of_the_map_are_where_they_were_taken(found, looked):
    for number, (sample, fix) in enumerate(fixes(found, looked["map"])):
        assert found.ids[fix.place] == sample.id and fix.distance < 1e-3
        assert (
            fix.on_map
            and fix.confidence > 0.95
            and fix.inliers == round(fix.confidence * fix.matches)
        )
        np.testing.assert_allclose(fix.pose, found.poses[number], atol=1e-6)


def test_turned_scans_are_found_and_their_pose_is_in_the_frame_of_the_map(found, looked):
    for number, (sample, fix) in enumerate(fixes(found, looked["back"])):
        truth = pose_of(sample)
        plane = np.ix_([0, 1, 3], [0, 1, 3])
        metres, degrees = pose_error(fix.pose[plane], truth[plane])
        assert fix.on_map and found.ids[fix.place] == f"map/{2 * number + 1:06d}.bin"
        assert metres < 0.4 and degrees < 1
        assert abs(np.cos(np.radians(fix.yaw - TURNED[(2 * number + 1) % 3])) - 1) < 1e-3
        # The height is that of the place: the street climbs, the scans do not tell it.
        assert fix.pose[2, 3] == pytest.approx(found.poses[fix.place][2, 3])


def test_corners_of_pixels_tell_opposite_headings_off_by_more(found, looked):
    def wrong(center):
        rules = Rules(center_cells=center)
        return [
            pose_error(fix.estimate.transform, relative_truth(pose_of(s), found.poses[fix.place]))
            for s, fix in fixes(found, looked["back"], rules)
            if abs(fix.yaw) > 170
        ]

    middles, corners = wrong(True), wrong(False)
    assert len(middles) == len(corners) == 2
    assert max(metres for metres, _ in middles) < 0.4
    assert min(metres for metres, _ in corners) > 0.5


def test_scans_of_another_street_are_not_on_the_map(found, looked):
    elsewhere = fixes(found, looked["elsewhere"])
    assert not any(fix.on_map for _, fix in elsewhere)
    assert all(fix.pose is not None and fix.confidence < 0.1 for _, fix in elsewhere)
    strict = fixes(found, looked["map"], Rules(farthest=-1.0))
    assert not any(fix.on_map for _, fix in strict)


def test_rules_go_with_the_pixels_unless_they_are_told():
    fine, coarse = (Rules().settled(RECIPES[name]) for name in ("place40", "coarse40"))
    assert (fine.least_inliers, fine.inlier_metres) == (12, 0.5)
    assert (coarse.least_inliers, coarse.inlier_metres) == (17, 1.0)
    told = Rules(least_inliers=0, inlier_metres=0.7)
    assert told.settled(RECIPES["coarse40"]) == told


def test_a_scan_without_keypoints_has_no_pose(found):
    image = np.zeros((RECIPE.side, RECIPE.side), np.uint8)
    outputs = [np.zeros((9, 9, 128), np.float32), np.zeros(8192, np.float32)]
    fix = localize(found, view_of(image, outputs, name="x"))
    assert (fix.pose, fix.yaw, fix.inliers, fix.confidence, fix.on_map) == (None, None, 0, 0, False)
    assert localized_picture(found, image, fix, name="blank").shape[2] == 3


def test_the_picture_shows_a_pose_as_it_was_refined(found, looked):
    sample, view = looked["back"][0]
    fix = localize(found, view)
    moved = fix.pose.copy()
    moved[:2, 3] += 3.0
    shown = [
        localized_picture(found, view.image, one, name=sample.id)
        for one in (fix, replace(fix, pose=moved, refined=True))
    ]
    words = 120  # rows of text, which tell the pose too
    assert (shown[0][words:] != shown[1][words:]).any(axis=2)[:, :500].sum() > 500


def test_outputs_that_are_no_place_are_refused():
    image = np.zeros((RECIPE.side, RECIPE.side), np.uint8)
    with pytest.raises(UserError, match="x: gives outputs of the shapes"):
        view_of(image, [np.zeros(9, np.float32)], name="x")
    nan = [np.full((9, 9, 8), np.nan, np.float32), np.zeros(9, np.float32)]
    with pytest.raises(UserError, match="not finite"):
        view_of(image, nan, name="x")


def test_the_overlay_lies_where_the_pose_says():
    place = np.zeros((RECIPE.side, RECIPE.side), np.uint8)
    query = place.copy()
    middle = RECIPE.centre
    place[middle - 11, middle] = 255  # 8.8 to 9.6 m ahead
    query[middle, middle - 5] = 255  # 4 to 4.8 m to the left
    turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # left becomes ahead
    picture = overlay(place, query, turn, RECIPE, RECIPE.side)
    rows, columns = np.nonzero((picture == SCAN_COLOUR).all(axis=2))
    assert rows.tolist() == [middle - 5] and abs(columns[0] - middle) <= 1
    rows, columns = np.nonzero((picture == MAP_COLOUR).all(axis=2))
    assert (rows.tolist(), columns.tolist()) == ([middle - 11], [middle])
    alone = overlay(place, query, None, RECIPE, RECIPE.side)
    assert not (alone == SCAN_COLOUR).all(axis=2).any()


def test_a_map_may_keep_the_surest_keypoints_only(looked):
    view = looked["map"][5][1]
    responses = fast_keypoints(view.image).responses
    kept = surest(view, 20)
    assert len(kept.pixels) == 20
    whole = view.local.pixels.tolist()
    places = [whole.index(one) for one in kept.pixels.tolist()]
    assert places == sorted(places)
    assert responses[places].min() >= np.delete(responses, places).max()
    np.testing.assert_array_equal(kept.features, view.local.features[places])
    assert len(surest(view, 10_000).pixels) == len(whole)


def test_sequences_of_several_frames_are_not_mixed_and_places_are_spaced(world):
    index = read_with(READERS, world / "map")
    assert len(mapped_samples(index, None)) == 14
    spaced = mapped_samples(index, None, 11.0)
    steps = np.diff([pose_of(one)[0, 3] for one in spaced])
    assert (steps >= 11).all() and len(spaced) == 7
    with pytest.raises(UserError, match="no such sequence: '01'"):
        mapped_samples(index, ["01"])


def test_a_map_is_not_built_of_scans_without_poses_or_damaged_ones(world, engine, tmp_path):
    bare = scan_samples([world / "map/000000.bin"], "bare", "kitti")
    with pytest.raises(UserError, match="pose is not known"):
        build_map(tmp_path / "map.npz", engine, bare, RECIPE, MODEL)
    (tmp_path / "cut.bin").write_bytes(b"123")
    cut = scan_samples([tmp_path / "cut.bin"], "cut", "kitti", poses=np.eye(4)[None])
    with pytest.raises(UserError, match=r"cut\.bin: has 3 bytes"):
        build_map(tmp_path / "map.npz", engine, cut, RECIPE, MODEL)
    assert not (tmp_path / "map.npz").exists()


def test_users_name_files_folders_and_layouts(world, tmp_path):
    one = query_samples([world / "map/000003.bin"])
    assert [sample.id for sample in one] == ["map/000003.bin"]
    assert one[0].extra["layout"] == "kitti"
    assert query_samples([world / "map/000003.bin"], "nclt")[0].extra["layout"] == "nclt"
    assert len(query_samples([world / "map", world / "back"])) == 20
    for layout in ("helipr-ouster", "nclt", "kitti"):
        of_folder = query_samples([world / "map"], layout)
        assert {sample.extra["layout"] for sample in of_folder} == {layout}
    with pytest.raises(UserError, match=r"second scan is called 'map/000003\.bin'"):
        query_samples([world / "map", world / "map/000003.bin"])
    with pytest.raises(UserError, match="No such format: 'nctl'"):
        query_samples([world / "map"], "nctl")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match="is no scan"):
        query_samples([tmp_path / "a.txt"])


def test_scans_of_one_name_are_told_apart_by_their_folders(tmp_path):
    def names(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(bytes(16))
        return [sample.id for sample in query_samples([tmp_path / path for path in paths])]

    assert names("00/velodyne/1.bin", "00/velodyne/2.bin") == ["velodyne/1.bin", "velodyne/2.bin"]
    assert names("a/1.bin", "b/1.bin") == ["a/1.bin", "b/1.bin"]
    assert names("00/velodyne/1.bin", "01/velodyne/1.bin") == [
        "00/velodyne/1.bin",
        "01/velodyne/1.bin",
    ]
