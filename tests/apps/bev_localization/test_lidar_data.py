"""Every format gives its scans and poses; what is wrong with one is told in a sentence."""

from __future__ import annotations

import contextlib

import lidar_files as files
import numpy as np
import pytest
from lidar_files import POSES, points, write

from apps.bev_localization.data import READERS
from apps.bev_localization.data.clouds import read_cloud
from apps.bev_localization.data.convention import (
    Convention,
    check_convention,
    overlap,
    pose_convention,
    problems_of_poses,
)
from apps.bev_localization.data.pose_files import (
    read_kitti_calibration,
    read_pose_rows,
    read_tum,
)
from apps.bev_localization.data.records import LAYOUTS, read_records
from apps.bev_localization.data.samples import (
    pose_of,
    scan_of,
    scan_samples,
    sequences,
    trajectory_of,
)
from apps.bev_localization.data.scans import Trajectory, make_scan, transformed
from core.data.readers import read_with
from core.errors import UserError


@pytest.mark.parametrize(
    "make, name, groups",
    [
        (files.kitti, "kitti", ["08"]),
        (files.nclt, "nclt", ["2012-01-15"]),
        (files.mulran, "mulran", ["KAIST01"]),
        (files.helipr, "helipr", [f"Roundabout01-{s}" for s in ("Aeva", "Avia", "Ouster",
                                                               "Velodyne")]),
        (files.oxford, "oxford-benchmark", ["2014-05-19-13-20-57"]),
        (files.bev_images, "bev-images", ["08"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_layout_is_recognised_and_gives_scans_and_poses(tmp_path, make, name, groups):
    index = read_with(READERS, make(tmp_path))
    assert index.format == name and sorted(sequences(index.samples)) == groups
    for sample in index.samples:
        assert pose_of(sample).shape == (4, 4)
        if name == "bev-images":
            with pytest.raises(UserError, match="is a BEV image, not a scan"):
                scan_of(sample)
            continue
        scan = scan_of(sample)
        assert scan.points.dtype == np.float32 and scan.dropped == 0
        expected = points(count=len(scan.points))
        if name != "kitti" or sample.id.endswith("000000.bin"):
            np.testing.assert_allclose(scan.points, expected, atol=0.003)


def test_poses_of_kitti_are_the_lidars(tmp_path):
    slam = [POSES[0], POSES[2], POSES[2]]
    index = read_with(READERS, files.kitti(tmp_path, slam=slam))
    found = trajectory_of(index.samples)
    np.testing.assert_allclose(found.poses, POSES, atol=1e-12)
    np.testing.assert_allclose(found.stamps, [0, 0.1, 0.2])
    assert index.counts() == {"test": 3}
    one = read_with(READERS, tmp_path / "sequences/08")
    np.testing.assert_allclose(trajectory_of(one.samples).poses, POSES, atol=1e-12)
    other = read_with(READERS, tmp_path, "semantickitti")
    np.testing.assert_allclose(trajectory_of(other.samples).poses, slam, atol=1e-12)
    (tmp_path / "poses/08.txt").unlink()
    (tmp_path / "sequences/08/poses.txt").unlink()
    bare = read_with(READERS, tmp_path)
    assert pose_of(bare.samples[0]) is None and "Without poses: 08" in bare.notes[1]
    with pytest.raises(UserError, match="its pose is not known"):
        trajectory_of(bare.samples)


def test_the_first_frames_of_sequence_00_are_for_training(tmp_path, monkeypatch):
    monkeypatch.setattr("apps.bev_localization.data.samples._TRAINED", 2)
    assert read_with(READERS, files.kitti(tmp_path, "00")).counts() == {"train": 2, "test": 1}


def test_nclt_is_turned_so_that_z_points_up(tmp_path):
    index = read_with(READERS, files.nclt(tmp_path))
    second = pose_of(index.samples[1])
    np.testing.assert_allclose(second[:3, 3], [2, -4, -6], atol=1e-4)
    np.testing.assert_allclose(np.arctan2(second[1, 0], second[0, 0]), -0.2, atol=1e-5)


def test_mulran_tells_times_of_whole_scans_and_where_the_ouster_stands(tmp_path):
    (sample,) = read_with(READERS, files.mulran(tmp_path)).samples
    scan = scan_of(sample)
    assert scan.times[0] == 0 and scan.times[-1] == pytest.approx(0.1 * 1023 / 1024)
    assert scan.times[64] == pytest.approx(0.1 / 1024)
    assert scan.stamp == 1567410201.0
    turned = pose_of(sample)
    np.testing.assert_allclose(turned[:3, 3] - [330000, 4e6, 20], [1.7042, -0.021, 1.8047],
                               atol=1e-6)  # fmt: skip
    assert np.degrees(np.arctan2(turned[1, 0], turned[0, 0])) == pytest.approx(179.6654, abs=1e-3)
    (short,) = read_with(READERS, files.mulran(tmp_path / "short", 1000)).samples
    assert scan_of(short).times is None


def test_helipr_is_interpolated_and_has_times(tmp_path):
    index = read_with(READERS, files.helipr(tmp_path))
    for sample in index.samples:
        between = pose_of(sample)
        np.testing.assert_allclose(between[:3, 3], [2, 3, 4], atol=1e-6)
        assert np.degrees(np.arctan2(between[1, 0], between[0, 0])) == pytest.approx(45, abs=1e-3)
        np.testing.assert_allclose(scan_of(sample).times, np.arange(200) * 1e-4, atol=1e-8)
    clouds = tmp_path / "clouds"
    write(clouds / "LiDAR/Aeva/1000000000.ply", files.ply("binary_little_endian"))
    truth = (tmp_path / "Roundabout01/LiDAR_GT/global_Aeva_gt.txt").read_text()
    write(clouds / "LiDAR_GT/global_Aeva_gt.txt", truth)
    (sample,) = read_with(READERS, clouds).samples
    assert len(scan_of(sample).points) == 200 and scan_of(sample).stamp == 1.0
    folder = tmp_path / "older/LiDAR/Aeva"
    record = np.zeros(100, [("p", "<f4", 5), ("t", "<i4"), ("line", "u1")])
    record["p"][:, :3] = points()[:100]
    write(folder / "1000000000.bin", record.tobytes())
    write(tmp_path / "older/LiDAR_GT/global_Aeva_gt.txt", truth)
    (sample,) = read_with(READERS, tmp_path / "older").samples
    np.testing.assert_array_equal(scan_of(sample).points, points()[:100])


def test_oxford_has_places_and_no_headings(tmp_path):
    (sample,) = read_with(READERS, files.oxford(tmp_path)).samples
    np.testing.assert_array_equal(pose_of(sample)[:3, 3], [620.25, 5735.5, 0])


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
def test_pcd_files_are_read(tmp_path, kind):
    scan = read_cloud(write(tmp_path / "a.pcd", files.pcd(kind)))
    np.testing.assert_allclose(scan.points, points(), rtol=1e-6)
    np.testing.assert_allclose(scan.times, 1e-6 * np.arange(200), rtol=1e-5)


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_files_are_read(tmp_path, kind):
    scan = read_cloud(write(tmp_path / "a.ply", files.ply(kind)))
    np.testing.assert_allclose(scan.points, points(), rtol=1e-6)
    assert scan.times[0] == 0 and scan.times[-1] == pytest.approx(0.1, abs=1e-5)


def test_a_folder_of_own_scans_with_poses_or_without(tmp_path):
    write(tmp_path / "1.pcd", files.pcd("binary"))
    write(tmp_path / "2.ply", files.ply("ascii"))
    write(tmp_path / "10.bin", files.kitti_scan())
    index = read_with(READERS, tmp_path)
    assert index.format == "scans" and pose_of(index.samples[0]) is None
    assert [s.inputs[0].name for s in index.samples] == ["1.pcd", "2.ply", "10.bin"]
    for sample in index.samples:
        np.testing.assert_allclose(scan_of(sample).points, points(), rtol=1e-6)
    write(tmp_path / "poses.txt", files.rows(POSES))
    np.testing.assert_allclose(trajectory_of(read_with(READERS, tmp_path).samples).poses, POSES)
    assert len(read_with(READERS, tmp_path / "1.pcd")) == 1


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, layout, message",
    [
        (b"", "kitti", "is empty"),
        (files.kitti_scan()[:-5], "kitti", "has 3,195 bytes, no whole number of records of 16"),
        (files.kitti_scan(count=201), "nclt", r"looks like a scan of KITTI or MulRan"),
        (files.nclt_scan(), "kitti", "no coordinates of KITTI: it looks like a scan of NCLT"),
        ((points() / 40).astype("<f8").tobytes(), "kitti", "looks like a scan of the Oxford"),
        (points().astype("<f8").tobytes(), "oxford", "no coordinates of the Oxford benchmark"),
        (files.nclt_scan()[:-8], "kitti", "of NCLT; pass --format nclt to make-bev or localize"),
        (files.nclt_scan()[:-8], "kitti", "bytes, no whole number.*looks like a scan of NCLT"),
        (np.full((9, 4), np.nan, "<f4").tobytes(), "kitti", "all its 9 points are NaN"),
        (np.zeros((9, 4), "<f4").tobytes(), "kitti", "all its points are 0"),
        (bytes(range(1, 256)) * 16, "kitti", "truncated or no scan"),
    ],
)  # fmt: skip
def test_a_file_of_records_says_what_is_wrong(tmp_path, content, layout, message):
    path = write(tmp_path / "000000.bin", content)
    with pytest.raises(UserError, match=message) as caught:
        read_records(path, layout)
    assert str(path) in str(caught.value)


def test_every_layout_is_told_from_the_others(tmp_path):
    """A scan of one format, taken for another of another record size, is never read."""
    files.helipr(tmp_path)
    own = {"helipr-ouster": "Ouster", "helipr-velodyne": "Velodyne", "helipr-avia": "Avia"}
    for layout, sensor in own.items():
        path = tmp_path / f"Roundabout01/LiDAR/{sensor}/1000000000.bin"
        assert len(read_records(path, layout).points) == 200
        for other in ("kitti", "nclt", "oxford", "helipr-aeva"):
            with pytest.raises(UserError):
                read_records(path, other)
    assert {LAYOUTS[name].record.itemsize for name in own} == {26, 22, 19}


def test_points_without_a_return_are_dropped_with_their_times():
    values = points(0, 6)
    values[1], values[4] = np.nan, 0
    scan = make_scan(values, np.arange(6))
    assert scan.dropped == 2 and scan.times.tolist() == [0, 2, 3, 5]
    np.testing.assert_array_equal(scan.points, values[[0, 2, 3, 5]])


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (files.pcd("binary")[:-9], "holds 199 of 200 points"),
        (files.pcd("ascii")[:-200], "is damaged"),
        (files.pcd("binary_compressed")[:-9], "packed bytes"),
        (files.pcd("binary").replace(b" z ", b" q "), "has no field 'z'"),
        (files.pcd("binary").replace(b"DATA binary", b"DATA zipped"), "its data are 'zipped'"),
        (files.pcd("binary").replace(b"POINTS 200", b"POINTS 9e9"), "is damaged"),
        (files.pcd("binary").replace(b"FIELDS", b"FEILDS"), "a part of its header is missing"),
        (files.pcd("binary").replace(b"SIZE 4", b"SIZE -1"), "'<f-1' not understood"),
        (files.pcd("binary", np.full((4, 3), np.nan)), "holds no valid point"),
        (files.ply("ascii").replace(b"end_header", b"the end"), "its header has no end"),
        (files.ply("binary_little_endian").replace(b"double x", b"list uchar int x"), "hold lists"),
        (b"\x00" * 4000, "its header has no end"),
    ],
)
def test_a_damaged_cloud_says_what_is_wrong(tmp_path, content, message):
    path = write(tmp_path / "a.pcd", content)
    with pytest.raises(UserError, match=message):
        read_cloud(path)


def test_damaged_packing_never_writes_beyond_its_end(tmp_path):
    """Any byte of a compressed file may be wrong: a sentence or a scan, nothing else."""
    good = files.pcd("binary_compressed")
    start = good.index(b"binary_compressed\n") + 18
    rng = np.random.default_rng(0)
    for place in rng.integers(start, len(good), 60):
        bad = bytearray(good)
        bad[place] ^= int(rng.integers(1, 256))
        path = write(tmp_path / "a.pcd", bytes(bad))
        with contextlib.suppress(UserError):
            assert len(read_cloud(path).points) <= 200


def test_as_many_poses_as_scans(tmp_path):
    with pytest.raises(UserError, match=r"08.txt: has 2 poses, but there are 3 scans"):
        read_with(READERS, files.kitti(tmp_path / "a", poses=POSES[:2]))
    root = files.kitti(tmp_path / "b")
    write(root / "sequences/08/times.txt", "0\n1\n")
    with pytest.raises(UserError, match="has 2 times, but there are 3 scans"):
        read_with(READERS, root)
    root = files.bev_images(tmp_path / "c")
    (root / "KITTI/08/bev_imgs/000001.png").unlink()
    with pytest.raises(UserError, match="3 poses, but there are 2 images"):
        read_with(READERS, root)


def test_files_of_poses_say_what_is_wrong(tmp_path):
    path = tmp_path / "poses.txt"
    for content, message in (
        ("", "holds no pose"),
        ("1 2 3\n", "line 1 has 3 numbers; expected 12 or 13"),
        (files.rows(POSES) + "1 2 3", "line 4 has 3 numbers; expected 12;"),
        ("a b c\n", "line 1 holds 'a b c', not numbers"),
        (" ".join(["2"] * 12), "pose 1 is no rotation"),
        (" ".join(["nan"] * 12), "pose 1 is no rotation"),
        ("1 0 0 -1e308 0 1 0 0 0 0 1 0", r"pose 1 lies 1e\+308 m from the origin"),
        ("nan 1 0 0 0 0 1 0 0 0 0 1 0", "the time of pose 1 is no number"),
    ):
        with pytest.raises(UserError, match=message):
            read_pose_rows(write(path, content))
    with pytest.raises(UserError, match="quaternion of pose 1 has the length 2"):
        read_tum(write(path, "0 1 2 3 0 0 0 2\n"))
    with pytest.raises(UserError, match="has no line 'Tr:'"):
        read_kitti_calibration(write(path, "P0: 1 2 3\n"))
    with pytest.raises(UserError, match="'Tr' is not 12 numbers"):
        read_kitti_calibration(write(path, "Tr: 1 2 3\n"))
    for value in ("0", "nan"):
        with pytest.raises(UserError, match="'Tr' is no rotation with a translation"):
            read_kitti_calibration(write(path, "Tr:" + 12 * f" {value}"))


def test_scans_of_another_time_are_told(tmp_path):
    root = files.nclt(tmp_path)
    day = root / "2012-01-15"
    text = (day / "groundtruth_2012-01-15.csv").read_text().replace("13266520", "14266520")
    write(day / "groundtruth_2012-01-15.csv", text)
    with pytest.raises(UserError, match="take the poses of this sequence"):
        read_with(READERS, root)
    write(day / "velodyne_sync/scan.bin", files.nclt_scan())
    with pytest.raises(UserError, match="its name is no time"):
        read_with(READERS, root)


def test_a_scan_that_leads_nowhere_is_told_when_it_is_read(tmp_path):
    scan = files.helipr(tmp_path) / "Roundabout01/LiDAR/Aeva/1000000000.bin"
    scan.unlink()
    scan.symlink_to(tmp_path / "nowhere")
    index = read_with(READERS, tmp_path)
    (sample,) = (one for one in index.samples if "Aeva" in one.group)
    with pytest.raises(UserError, match=r"Aeva/1000000000\.bin: cannot be read"):
        scan_of(sample)


def test_a_folder_of_a_long_name_is_no_sequence(tmp_path):
    """Names made of its name are longer than a name may be."""
    files.nclt(tmp_path)
    (tmp_path / ("a" * 250) / "velodyne_sync").mkdir(parents=True)
    (tmp_path / ("b" * 250) / "LiDAR" / "Ouster").mkdir(parents=True)
    (tmp_path / ("b" * 250) / "LiDAR_GT").mkdir()
    with pytest.raises(UserError, match=r"a{250}"):
        read_with(READERS, tmp_path)


# --- trajectories -------------------------------------------------------------------------------


def test_poses_between_stamps_turn_the_short_way():
    ends = np.stack([files.pose(0, 0, 0, 170), files.pose(2, 4, 0, -170)])
    path = Trajectory(np.array([10.0, 12.0]), ends)
    (middle,) = path.at([11.0]).poses
    np.testing.assert_allclose(middle, files.pose(1, 2, 0, 180), atol=1e-12)
    np.testing.assert_allclose(path.at([0.0, 99.0]).poses, ends)
    np.testing.assert_allclose(path.from_first().poses[0], np.eye(4), atol=1e-12)
    with pytest.raises(ValueError, match="Received"):
        Trajectory(np.zeros(3), ends)


def street(tmp_path, turn):
    """Write scans of walls from a road that bends, poses as they are or inverted."""
    rng = np.random.default_rng(0)
    ends = rng.uniform(-40, 60, (60, 2))
    along = rng.uniform(0, 6, (60, 80, 1)) * [1, 0]
    walls = np.concatenate([
        np.concatenate([ends[:, None] + along, rng.uniform(0, 4, (60, 80, 1))], axis=2),
    ]).reshape(-1, 3)  # fmt: skip
    walls = np.concatenate([walls, np.c_[rng.uniform(-40, 60, (3000, 2)), np.full(3000, -1.7)]])
    poses = [files.pose(2.5 * i, 0.1 * i * i, 0, turn * i) for i in range(8)]
    scans = [np.c_[transformed(walls, np.linalg.inv(p)), np.zeros(len(walls))] for p in poses]
    paths = [
        write(tmp_path / f"{i}.bin", scan.astype("<f4").tobytes()) for i, scan in enumerate(scans)
    ]
    return paths, np.array(poses)


@pytest.mark.parametrize("turn", [0, 8])
def test_inverted_poses_are_noticed(tmp_path, turn):
    paths, poses = street(tmp_path, turn)
    right = pose_convention(scan_samples(paths, "street", "kitti", poses=poses))
    assert right.pairs == 5 and right.given > 0.9 and not right.is_inverted
    wrong = scan_samples(paths, "street", "kitti", poses=np.linalg.inv(poses))
    with pytest.raises(UserError, match="poses of 'street' are the wrong way round"):
        check_convention(wrong)
    (told,) = problems_of_poses(wrong)
    assert "poses of 'street' are the wrong way round" in told
    unposed = scan_samples(paths, "street", "kitti")
    assert problems_of_poses(unposed) == []


def test_a_sensor_at_rest_tells_no_convention(tmp_path):
    paths, poses = street(tmp_path, 0)
    still = pose_convention(scan_samples(paths, "street", "kitti", poses=poses * 0 + np.eye(4)))
    assert still.pairs == 0 and not still.is_inverted
    assert not Convention(given=0.01, inverted=0.02, pairs=5).is_inverted
    assert overlap(np.zeros((0, 3)), np.zeros((0, 3))) == 0
