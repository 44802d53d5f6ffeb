"""The simulated town: the same bytes for a seed, scans as the geometry says, read by our loaders.

Open3D casts the rays; where it, or a system library of it, is missing, these tests are skipped.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from apps.bev_localization.data import READERS
from apps.bev_localization.data.convention import check_convention, overlap
from apps.bev_localization.data.samples import scan_of, sequences, trajectory_of
from apps.bev_localization.data.scans import transformed
from apps.bev_localization.simulator import sensors
from apps.bev_localization.simulator.dataset import simulate
from apps.bev_localization.simulator.meshes import balls, boxes, joined, surface, tubes
from apps.bev_localization.simulator.routes import (
    SCENARIOS,
    SPEED,
    driven_along,
    sampled,
    seen_again,
    tour,
)
from apps.bev_localization.simulator.sensors import Scene, Sensor, sensor, sweep
from apps.bev_localization.simulator.town import PITCH, ROAD, build_town, ground_height
from core.data.readers import read_with
from core.errors import UserError


@pytest.fixture(scope="module")
def open3d():
    try:
        return sensors.load_open3d()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def town(open3d, tmp_path_factory):
    folder = tmp_path_factory.mktemp("town")
    simulate(folder, scans=8, queries=4, scenarios=("opposite", "hard"), columns=240)
    return folder


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_written_is_read_as_kitti(town):
    index = read_with(READERS, town)
    assert index.format == "simulated-town" and index.counts() == {"train": 8, "test": 8}
    assert index.notes[0].startswith("A simulation")
    found = sequences(index.samples)
    assert list(found) == ["00", "01-opposite", "02-hard"]
    map_path = trajectory_of(found["00"])
    np.testing.assert_allclose(map_path.poses[0], np.eye(4), atol=1e-8)
    apart = np.linalg.norm(np.diff(map_path.positions, axis=0), axis=1)
    np.testing.assert_allclose(apart, 5, atol=0.3)
    check_convention(found["00"])
    record = json.loads((town / "about.json").read_text())
    assert "simulated" in record["what"] and record["scenarios"] == ["opposite", "hard"]


def test_opposite_queries_show_the_map_turned_round(town):
    found = sequences(read_with(READERS, town).samples)
    there, again = trajectory_of(found["00"]), trajectory_of(found["01-opposite"])
    apart = np.linalg.norm(again.positions[:, None] - there.positions, axis=2)
    assert apart.min(axis=1).max() < 5
    for query, place in enumerate(apart.argmin(axis=1)):
        turn = np.linalg.inv(there.poses[place]) @ again.poses[query]
        assert turn[0, 0] < -0.95
        scan, other = scan_of(found["00"][place]), scan_of(found["01-opposite"][query])
        one, two = (points[points[:, 2] > -1] for points in (scan.points, other.points))
        assert overlap(one, transformed(two, turn)) > 2 * overlap(one, two)


def test_the_same_seed_gives_the_same_bytes(town, tmp_path):
    named = {"scans": 8, "queries": 4, "scenarios": ("opposite", "hard"), "columns": 240}
    calls = []
    simulate(tmp_path / "a", **named, progress=lambda done, total: calls.append((done, total)))
    assert files(tmp_path / "a") == files(town) and calls[-1] == (16, 16)
    simulate(tmp_path / "b", **named, seed=1)
    assert files(tmp_path / "b").keys() == files(town).keys()
    assert files(tmp_path / "b") != files(town)


@pytest.mark.parametrize(
    "named, message",
    [
        ({"scans": 1}, "Received 1 scans of the map"),
        ({"spacing": 0.1}, "Received 0.1 metres"),
        ({"scenarios": ("opposit",)}, "Did you mean 'opposite'"),
        ({"scenarios": ("yaw", "yaw")}, "named twice"),
        ({"lidar": "hdl65"}, "Did you mean 'hdl64'"),
    ],
)
def test_wrong_choices_are_told_before_anything_is_written(tmp_path, named, message):
    with pytest.raises(UserError, match=message):
        simulate(tmp_path / "out", **named)
    assert not (tmp_path / "out").exists()


def test_points_are_distorted_where_that_is_asked_for(open3d, tmp_path):
    clear = {"scans": 2, "queries": 1, "columns": 240, "blocks": 1, "scenarios": ()}
    simulate(tmp_path, **clear)
    sharp = scan_of(read_with(READERS, tmp_path).samples[1]).points
    record = simulate(tmp_path, **clear, distortion=True, overwrite=True)
    moved = scan_of(read_with(READERS, tmp_path).samples[1]).points
    assert record["distortion"] and sharp.shape != moved.shape
    # The last column is measured 0.8 m farther on than the first.
    assert overlap(sharp, moved) < 0.95 and overlap(sharp, sharp) == 1


def test_a_folder_with_files_is_left_alone(town):
    before = files(town)
    with pytest.raises(UserError, match="already holds files"):
        simulate(town, scans=2)
    assert files(town) == before


def test_without_open3d_a_sentence_names_the_packages(monkeypatch):
    import builtins

    real = builtins.__import__

    def importing(error):
        def fake(name, *rest, **named):
            if name == "open3d":
                raise error
            return real(name, *rest, **named)

        return fake

    lacks = ImportError("libusb-1.0.so.0: cannot open shared object file")
    monkeypatch.setattr(builtins, "__import__", importing(lacks))
    with pytest.raises(UserError, match=r"apt install libusb-1\.0-0 libgl1 libgomp1"):
        sensors.load_open3d()
    monkeypatch.setattr(builtins, "__import__", importing(ModuleNotFoundError("open3d")))
    with pytest.raises(UserError, match=r"pip install 'gossamer-keras\[lidar\]'"):
        sensors.load_open3d()


def still(lidar):
    return replace(lidar, noise=0.0, dropout=0.0)


def test_a_turn_measures_a_room(open3d):
    """Walls 10 m away on four sides: points on them, clockwise from the rear, with their times."""
    walls = boxes(
        np.array([[10.5, 0, -5], [-10.5, 0, -5], [0, 10.5, -5], [0, -10.5, -5.0]]),
        np.array([[1, 30, 20], [1, 30, 20], [30, 1, 20], [30, 1, 20.0]]),
        np.zeros(4),
    )
    lidar = still(Sensor("toy", -10, 10, 5, 72))
    scan, remission = sweep(Scene(walls), lidar, np.eye(4)[None], np.random.default_rng(0))
    assert len(scan.points) == 5 * 72
    np.testing.assert_allclose(np.abs(scan.points[:, :2]).max(axis=1), 10, atol=1e-4)
    first, quarter = scan.points[2], scan.points[18 * 5 + 2]
    np.testing.assert_allclose(first, [-10, 0, 0], atol=1e-5)
    np.testing.assert_allclose(quarter, [0, 10, 0], atol=1e-4)
    assert remission[2] == pytest.approx(1) and remission.min() > 0.5
    np.testing.assert_allclose(scan.times[::5], np.arange(72) / 720, atol=1e-7)


def test_motion_distorts_a_turn_as_the_poses_say(open3d):
    wall = boxes(np.array([[20.5, 0, -5.0]]), np.array([[1.0, 60, 20]]), np.zeros(1))
    lidar = still(Sensor("toy", -1, 1, 3, 360))
    poses = np.repeat(np.eye(4)[None], 360, axis=0)
    poses[:, 0, 3] = 4.0 * np.arange(360) / 360  # towards the wall
    scan, _ = sweep(Scene(wall), lidar, poses, np.random.default_rng(0))
    place = (scan.times * 3600).round().astype(int)
    np.testing.assert_allclose(scan.points[:, 0] + poses[place, 0, 3], 20, atol=1e-4)
    assert np.ptp(scan.points[:, 0]) > 1


def test_noise_and_lost_returns_are_as_many_as_told(open3d):
    ground = boxes(np.array([[0, 0, -3.0]]), np.array([[300.0, 300, 1]]), np.zeros(1))
    lidar = Sensor("toy", -60, -20, 20, 500, noise=0.05, dropout=0.25)
    scan, _ = sweep(Scene(ground), lidar, np.eye(4)[None], np.random.default_rng(0))
    assert len(scan.points) == pytest.approx(0.75 * 20 * 500, rel=0.03)
    ranges = np.linalg.norm(scan.points, axis=1)
    true = 2.0 / np.sin(np.arctan2(-scan.points[:, 2], np.hypot(*scan.points[:, :2].T)))
    assert np.std(ranges - true) == pytest.approx(0.05, rel=0.1)


def test_bodies_are_closed_and_stand_where_they_are_put():
    places = np.array([[1.0, 2, 3], [10, 0, 0]])
    box = boxes(places[:1], np.array([[2.0, 4, 6]]), np.array([np.pi / 2]))
    np.testing.assert_allclose(box.vertices.min(0), [-1, 1, 3], atol=1e-6)
    np.testing.assert_allclose(box.vertices.max(0), [3, 3, 9], atol=1e-6)
    ball = balls(places, np.array([1.0, 2.0]))
    middle = np.repeat(places, len(ball.vertices) // 2, axis=0)
    radii = np.linalg.norm(ball.vertices - middle, axis=1)
    np.testing.assert_allclose(np.unique(radii.round(4)), [1, 2])
    for mesh in (box, ball):  # every edge belongs to two triangles
        edges = np.sort(mesh.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}
    tube = tubes(places[:1], np.array([0.5]), np.array([4.0]))
    assert tube.vertices[:, 2].tolist() == [3.0] * 8 + [7.0] * 8
    ground = surface(np.arange(3.0), np.arange(2.0), np.zeros((3, 2)))
    assert len(joined([box, ground]).triangles) == 12 + 4


def test_a_town_keeps_its_houses_and_moves_its_cars():
    first, again, later = build_town(1, seed=3), build_town(1, seed=3), build_town(1, seed=3, day=1)
    np.testing.assert_array_equal(first.mesh.vertices, again.mesh.vertices)
    both = {tuple(v) for v in first.mesh.vertices.tolist()} & {
        tuple(v) for v in later.mesh.vertices.tolist()
    }
    assert 0.5 < len(both) / len(first.mesh.vertices) < 1
    other = build_town(1, seed=4)
    assert other.mesh.vertices.shape != first.mesh.vertices.shape


def test_a_tour_stays_on_the_roads_and_drives_smoothly():
    route = tour(3, 900, seed=2)
    place = route.positions
    across = np.abs((place[:, :2] + PITCH / 2) % PITCH - PITCH / 2).min(axis=1)
    assert across.max() < ROAD / 2 and len(route) == 901
    np.testing.assert_allclose(np.diff(route.stamps), 1 / SPEED)
    np.testing.assert_allclose(place[:, 2], ground_height(*place[:, :2].T) + 1.73)
    yaw = np.unwrap(np.arctan2(route.poses[:, 1, 0], route.poses[:, 0, 0]))
    assert np.abs(np.diff(yaw)).max() < 0.25 and np.ptp(yaw) > 1
    assert len(sampled(route, 1000, 10.0)) == 91


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_places_are_seen_again_as_the_scenario_says(name):
    scenario = SCENARIOS[name]
    route = driven_along(np.array([[0.0, 0], [500, 0]]), 400)
    again = seen_again(route, 60, scenario, np.random.default_rng(0), end=300.0)
    place = again.positions
    assert np.abs(place[:, 1]).max() <= scenario.lateral
    assert np.abs(place[:, 1]).max() > 0.6 * scenario.lateral
    assert np.all(np.diff(place[:, 0]) > 0) and np.ptp(place[:, 0]) < 300
    yaw = np.degrees(np.arctan2(again.poses[:, 1, 0], again.poses[:, 0, 0]))
    if scenario.turn is None:
        assert np.ptp(yaw) > 270
    else:
        np.testing.assert_allclose(np.cos(np.radians(yaw - scenario.turn)), 1, atol=1e-9)
    assert not scenario.sensor or sensor(scenario.sensor).beams == 16


def test_sensors_are_named():
    assert sensor("os1-64").columns == 1024 and sensor("os1-64", columns=90).columns == 90
    with pytest.raises(UserError, match="Did you mean 'vlp16'"):
        sensor("vlp-16")
