"""Small LiDAR data sets as users download them, written for tests."""

from __future__ import annotations

import numpy as np

TR = np.array([[0, -1, 0, 0.1], [0, 0, -1, -0.2], [1, 0, 0, -0.3], [0, 0, 0, 1.0]])
TURN = np.diag([1.0, -1, -1, 1])


def points(seed=0, count=200):
    """Return points a LiDAR may measure, float32 (N, 3)."""
    return np.random.default_rng(seed).uniform(-30, 30, (count, 3)).astype(np.float32)


def pose(x=0.0, y=0.0, z=0.0, degrees=0.0):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, z], [0, 0, 0, 1]])


POSES = [pose(), pose(1.0, 0.5, 0.1, 10), pose(2.5, 1.0, 0.2, 25)]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content)
    else:
        path.write_bytes(content)
    return path


def rows(matrices):
    return "".join(" ".join(map(repr, m[:3].ravel().tolist())) + "\n" for m in matrices)


def kitti_scan(seed=0, **named):
    found = points(seed, **named)
    return np.column_stack([found, np.full(len(found), 0.5)]).astype("<f4").tobytes()


def kitti(root, sequence="08", poses=POSES, scans=3, slam=None):
    folder = root / "sequences" / sequence
    for frame in range(scans):
        write(folder / f"velodyne/{frame:06d}.bin", kitti_scan(frame))
    calib = "P0: " + " ".join(["0"] * 12) + "\nTr: " + " ".join(map(repr, TR[:3].ravel().tolist()))
    write(folder / "calib.txt", f"calib_time: 09-Jan-2012 13:57:47\n{calib}\n")
    write(folder / "times.txt", "".join(f"{0.1 * i:e}\n" for i in range(scans)))
    cameras = [TR @ one @ np.linalg.inv(TR) for one in poses]
    write(root / "poses" / f"{sequence}.txt", rows(cameras))
    if slam is not None:
        write(folder / "poses.txt", rows([TR @ one @ np.linalg.inv(TR) for one in slam]))
    return root


def nclt_scan(seed=0):
    found = np.zeros(200, [("p", "<u2", 3), ("i", "u1"), ("l", "u1")])
    flipped = points(seed) * [1, -1, -1]
    found["p"] = np.round((flipped + 100) / 0.005)
    return found.tobytes()


def nclt(root):
    day = root / "2012-01-15"
    for stamp in (1326652000_000000, 1326652000_200000):
        write(day / f"velodyne_sync/{stamp}.bin", nclt_scan())
    text = "1326652000000000,NaN,NaN,NaN,NaN,NaN,NaN\n"
    for i in range(3):
        text += f"{1326652000000000 + 100000 * i + 1}, {i}, {2 * i}, {3 * i}, 0, 0, {0.1 * i}\n"
    write(day / "groundtruth_2012-01-15.csv", text)
    return root


def mulran(root, count=65536):
    folder = root / "KAIST01"
    scan = np.column_stack([points(0, count), np.zeros(count)]).astype("<f4").tobytes()
    write(folder / "sensor_data/Ouster/1567410201000000000.bin", scan)
    line = ",".join(map(repr, pose(330000.0, 4.0e6, 20.0)[:3].ravel().tolist()))
    write(folder / "global_pose.csv", f"1567410200900000000,{line}\n1567410201100000000,{line}\n")
    return root


def helipr(root):
    folder = root / "Roundabout01"
    layouts = {
        "Ouster": [("p", "<f4", 4), ("t", "<u4"), ("rest", "<u2", 3)],
        "Velodyne": [("p", "<f4", 4), ("ring", "<u2"), ("t", "<f4")],
        "Avia": [("p", "<f4", 3), ("rest", "u1", 3), ("t", "<u4")],
        "Aeva": [("p", "<f4", 5), ("t", "<i4"), ("line", "u1"), ("i", "<f4")],
    }
    for sensor, fields in layouts.items():
        record = np.zeros(200, fields)
        record["p"][:, :3] = points()
        record["t"] = np.arange(200) * (1e-4 if sensor == "Velodyne" else 100_000)
        write(folder / f"LiDAR/{sensor}/1000000000.bin", record.tobytes())
        text = "900000000 1 2 3 0 0 0 1\n1100000000 3 4 5 0 0 0.7071068 0.7071068\n"
        write(folder / f"LiDAR_GT/global_{sensor}_gt.txt", text)
    return root


def oxford(root):
    run = root / "2014-05-19-13-20-57"
    scan = (points(0, 4096) / 40).astype("<f8").tobytes()
    write(run / "pointcloud_20m_10overlap/1400505794141322.bin", scan)
    write(
        run / "pointcloud_locations_20m_10overlap.csv",
        "timestamp,northing,easting\n1400505794141322,5735.5,620.25\n",
    )
    return root


def bev_images(root, count=3):
    from core.data.images import write_image

    for frame in range(count):
        image = np.zeros((201, 201), np.uint8)
        image[frame] = 255
        path = root / f"KITTI/08/bev_imgs/{frame:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, image)
    write(root / "KITTI/poses/08.txt", rows(POSES[:count]))
    return root


def pcd(kind, values=None):
    """Return a PCD file of `points()` with a time, padding and a repeated field name."""
    values = points() if values is None else values
    record = np.zeros(len(values), [("x", "<f4"), ("y", "<f4"), ("_", "<f4"), ("z", "<f4"),
                                    ("t", "<u4")])  # fmt: skip
    for i, axis in enumerate("xyz"):
        record[axis] = values[:, i]
    record["t"] = 7 + 1000 * np.arange(len(values))
    header = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y _ z t\nSIZE 4 4 4 4 4\nTYPE F F F F U\n"
        f"COUNT 1 1 1 1 1\nWIDTH {len(values)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
        f"POINTS {len(values)}\nDATA {kind}\n"
    ).encode()
    if kind == "ascii":
        lines = [" ".join(repr(float(v)) for v in row) for row in record.tolist()]
        return header + "\n".join(lines).encode()
    if kind == "binary":
        return header + record.tobytes()
    flat = b"".join(np.ascontiguousarray(record[name]).tobytes() for name in record.dtype.names)
    packed = lzf(flat)
    return header + np.array([len(packed), len(flat)], "<u4").tobytes() + packed


def lzf(content):
    """Return content packed by LZF: runs of four or more equal bytes as references."""
    out, place = bytearray(), 0
    while place < len(content):
        run = 1
        while run < 200 and content[place : place + 1] == content[place + run : place + run + 1]:
            run += 1
        if run >= 12:  # a literal, then a reference one byte back, of the long form
            out += bytes([0, content[place], 7 << 5, run - 1 - 9, 0])
            place += run
            continue
        literal = content[place : place + min(32, len(content) - place)]
        out += bytes([len(literal) - 1]) + literal
        place += len(literal)
    return bytes(out)


def ply(kind):
    """Return a PLY file of `points()` with a colour and, after the vertices, a face."""
    order = ">" if "big" in kind else "<"
    record = np.zeros(200, [("x", f"{order}f8"), ("y", f"{order}f8"), ("z", f"{order}f8"),
                            ("red", "u1"), ("time", f"{order}f4")])  # fmt: skip
    for i, axis in enumerate("xyz"):
        record[axis] = points()[:, i]
    record["time"] = np.linspace(5, 5.1, 200)
    header = (
        f"ply\nformat {kind} 1.0\ncomment made for a test\nelement vertex 200\n"
        "property double x\nproperty double y\nproperty double z\nproperty uchar red\n"
        "property float time\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
    ).encode()
    if kind == "ascii":
        lines = [" ".join(map(repr, row)) for row in record.tolist()]
        return header + ("\n".join(lines) + "\n3 0 1 2\n").encode()
    return header + record.tobytes() + bytes([3]) + bytes(12)
