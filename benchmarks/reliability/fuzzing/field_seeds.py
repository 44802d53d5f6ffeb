"""A small data set in every layout of LiDAR, lines, planes, signals and species.

The layouts are those of the tests, written into a folder and read back.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.reliability.fuzzing.cases import Case, Entry, read_case
from benchmarks.reliability.fuzzing.layout_seeds import sample_part
from benchmarks.reliability.fuzzing.picture_seeds import ROOT, picture

Seeds = dict[str, Callable[[], "Case | list[Case]"]]

sys.path.append(str(ROOT / "tests"))  # its writers of layouts


def _written(write: Callable[[Path], Any], opened: str = ".") -> Case:
    """Return what a function writes into an empty folder."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        folder.mkdir()
        write(folder)
        return Case(_told_apart(read_case(folder).entries), opened)


def _told_apart(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return entries with noise of its own in every picture, since splits may share none."""
    return {
        name: _noisy(content, zlib.crc32(name.encode()))
        if isinstance(content, bytes) and name.endswith((".png", ".jpg"))
        else content
        for name, content in entries.items()
    }


def _noisy(content: bytes, seed: int) -> bytes:
    with Image.open(io.BytesIO(content)) as found:
        pixels, kind = np.asarray(found), found.format
    noise = np.random.default_rng(seed).integers(0, 99, pixels.shape, dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels // 2 + noise).save(stream, kind)
    return stream.getvalue()


def _class_folders(names, splits=("train", "test"), each: int = 5) -> Case:
    return Case(
        {
            f"{split}/{name}/{n}.jpg": picture("jpg", f"{split}/{name}/{n}", shrink=4)
            for split in splits
            for name in names
            for n in range(each)
        }
    )


# --- LiDAR --------------------------------------------------------------------------------------


def _lidar(name: str, **arguments) -> Case:
    import lidar_files

    return _written(lambda folder: getattr(lidar_files, name)(folder, **arguments))


def _town() -> Case:
    import lidar_files

    about = json.dumps({"generator": "gossamer bev simulate", "seed": 0}).encode()
    case = _written(lambda folder: lidar_files.kitti(folder, "00"))
    return case.with_entries({**case.entries, "about.json": about})


def _scans() -> list[Case]:
    import lidar_files

    poses = lidar_files.rows(lidar_files.POSES[:2]).encode()

    def folder(ending: str, content: bytes) -> Case:
        return Case({f"a{ending}": content, f"b{ending}": content, "poses.txt": poses})

    clouds = [lidar_files.pcd(kind) for kind in ("ascii", "binary", "binary_compressed")]
    meshes = [
        lidar_files.ply(kind) for kind in ("ascii", "binary_little_endian", "binary_big_endian")
    ]
    return [
        *(folder(".pcd", content) for content in clouds),
        *(folder(".ply", content) for content in meshes),
        folder(".bin", lidar_files.kitti_scan()),
        Case.file("one.pcd", clouds[1]),
    ]


LIDAR: Seeds = {
    "simulated-town": _town,
    "nclt": lambda: _lidar("nclt"),
    "mulran": lambda: _lidar("mulran"),
    "helipr": lambda: _lidar("helipr"),
    "oxford-benchmark": lambda: _lidar("oxford"),
    "kitti": lambda: _lidar("kitti"),
    "semantickitti": lambda: _lidar("kitti", slam=_poses()),
    "bev-images": lambda: _lidar("bev_images"),
    "scans": _scans,
}


def _poses() -> list[np.ndarray]:
    import lidar_files

    return list(lidar_files.POSES)


# --- line segments ------------------------------------------------------------------------------


def _lines(name: str) -> Case:
    import line_layouts

    return _written(getattr(line_layouts, name))


def _lists(about: str = "") -> list[Case]:
    import line_layouts

    def write(folder: Path, style: Callable[[list], list]) -> None:
        for split, name in (("train", "a.png"), ("valid", "b.png"), ("test", "c.png")):
            found = line_layouts.raw_list(folder, names=(name,))
            line_layouts.write_json(folder / f"{split}.json", style(found))
        if about:
            line_layouts.write_json(folder / "about.json", {"what": about})

    styles = (list, line_layouts.hawp_list)
    return [_written(lambda folder, style=style: write(folder, style)) for style in styles]


LINES: Seeds = {
    "wireframe": lambda: _lines("wireframe"),
    "wireframe-linemat": lambda: _lines("wireframe"),
    "lcnn": lambda: _lines("lcnn"),
    "york": lambda: _lines("york"),
    "reannotated": lambda: _lines("markup"),
    "synthetic": lambda: _lists("synthetic scenes"),
    "lists": _lists,
    "labelme": lambda: _lines("labelme"),
}


# --- fetal planes -------------------------------------------------------------------------------


def _planes(**choices: str) -> Case:
    import fetal_files

    return _written(lambda folder: fetal_files.write_planes(folder / "set", **choices), "set")


def _african() -> Case:
    import fetal_files

    return _written(fetal_files.write_african)


def _drawn_planes() -> Case:
    table = "FETAL_PLANES_DB_data.csv"
    whole = read_case(ROOT / "apps" / "fetal_planes" / "sample_data").entries
    text = whole[table]
    assert isinstance(text, bytes)
    head, *rows = text.decode().splitlines()
    rows = rows[:: max(1, len(rows) // 12)]
    pictures = {f"Images/{row.split(';')[0]}.png" for row in rows}
    kept: dict[str, Entry] = {n: c for n, c in whole.items() if n in pictures or "/" not in n}
    return Case({**kept, table: "\n".join([head, *rows, ""]).encode()})


PLANES: Seeds = {
    "simulated": _drawn_planes,
    "fetal-planes": lambda: [_planes(), _planes(separator=",", encoding="latin-1")],
    "african": _african,
    "folders": lambda: _class_folders(("Fetal brain", "Other")),
}


# --- signals ------------------------------------------------------------------------------------


def _shards() -> list[Case]:
    from apps.modulation_recognition.signals.parameters import Recipe
    from apps.modulation_recognition.signals.shards import write_generated

    def write(folder: Path, kind: str) -> None:
        recipe, kinds = Recipe(), ("BPSK", "QPSK")
        write_generated(folder / "set", recipe, 5, classes=kinds, snrs=(-2, 18), format=kind)

    return [_written(lambda f, kind=kind: write(f, kind), "set") for kind in ("npz", "hdf5")]


def _radioml2016() -> list[Case]:
    name = "radioml__python2-sample.pkl"
    return [Case.file("RML2016.10a_dict.pkl", (ROOT / "tests/golden" / name).read_bytes())]


def _radioml2018() -> Case:
    import h5py

    def write(folder: Path) -> None:
        labels = np.repeat(np.arange(24), 2 * 12)
        with h5py.File(folder / "GOLD_XYZ_OSC.0001_1024.hdf5", "w") as file:
            file["X"] = np.random.default_rng(0).random((len(labels), 128, 2), np.float32)
            file["Y"] = np.eye(24, dtype=np.int64)[labels]
            file["Z"] = np.tile(np.repeat((-20, 30), 12), 24)[:, None]

    return _written(write)


def _hisarmod() -> Case:
    few = ("0.5-0.25i,1e-3+2i,-1-1i,0-0i", "1+0i, 0-1i,3.5+4e-2i,2-1i", "0+0j,1+1j,2+2j,1-3j")
    rows = [",".join([row] * 32) for row in few]
    entries: dict[str, Entry] = {}
    for split in ("train", "test"):
        data = [row.replace("1", "7") for row in rows] if split == "test" else rows
        lines = {"data": data, "labels": ("0", "61", "44"), "snr": ("-20", "18", "0")}
        for kind, values in lines.items():
            entries[f"{split.title()}/{split}_{kind}.csv"] = ("\n".join(values) + "\n").encode()
    return Case(entries)


def _recordings() -> list[Case]:
    tone = np.exp(0.1j * np.arange(600)).astype(np.complex64)
    whole = np.stack([tone.real, tone.imag], -1)
    coarse = (whole * 3e4).astype("<i2").tobytes()
    described = {"core:datatype": "cf32_le", "core:sample_rate": 1e6, "core:version": "1.0.0"}
    meta = {"global": described, "captures": [{"core:sample_start": 0}], "annotations": []}
    parts: dict[str, Entry] = {
        "air.sigmf-data": tone.tobytes(),
        "air.sigmf-meta": json.dumps(meta).encode(),
    }
    return [
        Case.file("air.cfile", tone.tobytes()),
        Case.file("air.cs16", coarse),
        Case(parts, "air.sigmf-meta"),
        Case(parts, "air.sigmf-data"),
    ]


SIGNALS: Seeds = {
    "shards": _shards,
    "radioml2016": _radioml2016,
    "radioml2018": _radioml2018,
    "hisarmod": _hisarmod,
    "recording": _recordings,
}


# --- underwater species -------------------------------------------------------------------------


def _parquet() -> Case:
    import species_shards

    from apps.underwater_species.data import SPECIES

    def write(folder: Path) -> None:
        for split in ("train", "test"):
            path = folder / "data" / f"{split}-00000-of-00001.parquet"
            labels = list(range(20)) * (5 if split == "train" else 1)
            shade = 200 if split == "train" else 30
            contents = [species_shards.encoded((n, shade, 0)) for n in range(len(labels))]
            species_shards.write_shard(path, labels, contents=contents, names=SPECIES, group=16)

    return _written(write)


def _species() -> Case:
    from apps.underwater_species.data import SPECIES

    return _class_folders(SPECIES, each=2)


SPECIES_SETS: Seeds = {
    "sample": lambda: sample_part(
        "underwater_species", lambda p: len(p.parts) == 1 or p.stem.endswith("00")
    ),
    "parquet": _parquet,
    "aqua20": _species,
    "folders": lambda: _class_folders(("fish", "turtle"), each=6),
}
