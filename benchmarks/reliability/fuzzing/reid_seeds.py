"""A small data set in every layout of person re-identification, its tables, and its own files."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.reliability.fuzzing.cases import Case, Entry, read_case
from benchmarks.reliability.fuzzing.picture_seeds import ROOT, person

_PERSONS, _CAMERAS = 5, 2


def _crops(folder: str, persons, form: str) -> dict[str, Entry]:
    """Return crops of persons by two cameras, named by a format of person, camera and number."""
    entries: dict[str, Entry] = {}
    for one in persons:
        for camera in range(1, _CAMERAS + 1):
            name = form.format(person=one, camera=camera, number=10 * one + camera)
            entries[f"{folder}/{name}"] = person(f"{folder}/{name}")
    return entries


def _laid_out(form: str, extra: dict[str, Entry] | None = None) -> Case:
    tested = range(7, 10)
    return Case(
        {
            **_crops("bounding_box_train", range(1, 7), form),
            **_crops("query", tested, form),
            **_crops("bounding_box_test", (*tested, 0), form),
            **(extra or {}),
        }
    )


_MARKET = "{person:04d}_c{camera}s1_{number:06d}_01.jpg"


def _market() -> Case:
    junk: dict[str, Entry] = {"bounding_box_test/-1_c1s1_000401_03.jpg": person(1)}
    return _laid_out(_MARKET, junk)


def _market_with_distractors() -> Case:
    return _laid_out(_MARKET, {f"images/{n:07d}.jpg": person(f"distractor {n}") for n in range(3)})


def _duke() -> Case:
    return _laid_out("{person:04d}_c{camera}_f{number:07d}.jpg")


def _own() -> list[Case]:
    form = "{person}_c{camera}_{number}.jpg"
    parts = Case(
        {
            **_crops("train", range(1, 5), form),
            **_crops("query", (5, 6), form),
            **_crops("gallery", (5, 6), form),
        }
    )
    return [parts, Case(_crops("crops", range(1, 7), form))]


def _simulated() -> Case:
    """Return a part of the built-in sample data."""
    whole = read_case(ROOT / "apps" / "person_reid" / "sample_data")
    persons = ("0001", "0002", "0003", "0005", "0008", "0061", "0062", "-1")
    return whole.with_entries(
        {
            name: content
            for name, content in whole.entries.items()
            if "/" not in name or Path(name).name.startswith(persons)
        }
    )


def _msmt17() -> Case:
    entries: dict[str, Entry] = {}
    lists: dict[str, list[str]] = {"train": [], "val": [], "query": [], "gallery": []}
    for name, folder, persons in (
        ("train", "train", range(4)),
        ("val", "train", range(4)),
        ("query", "test", range(3)),
        ("gallery", "test", range(3)),
    ):
        for one in persons:
            for camera in range(1, _CAMERAS + 1):
                file = f"{one:04d}/{one:04d}_{name}_{camera:02d}_0303morning_0008_0.jpg"
                entries[f"{folder}/{file}"] = person(file)
                lists[name].append(f"{file} {one}")
    tables: dict[str, Entry] = {
        f"list_{name}.txt": "".join(f"{line}\n" for line in lines).encode()
        for name, lines in lists.items()
    }
    return Case({f"MSMT17_V1/{n}": c for n, c in {**entries, **tables}.items()})


def _table() -> list[Case]:
    entries = _crops("crops", range(1, 7), "{person}_{camera}_{number}.jpg")
    split = ["path,person,camera,split,role"]
    plain = ["path;person;camera"]
    for name in entries:
        one, camera, _ = Path(name).stem.split("_")
        whose = "train" if int(one) < 4 else "test"
        role = "train" if int(one) < 4 else "query" if camera == "1" else "gallery"
        split.append(f"{name},{one},{camera},{whose},{role}")
        plain.append(f"{name};person {one};cam {camera}")
    return [
        Case({**entries, "crops.csv": ("\n".join(lines) + "\n").encode()}, "crops.csv")
        for lines in (split, plain)
    ]


_PAIRS = (3, 2)  # persons in each of CUHK03's camera pairs
_SEEN = (1, 6)  # images of each: one by each camera


def _matlab() -> bytes:
    """Return `cuhk-03.mat` as MATLAB 7.3 writes it: transposed arrays, cells as references."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        hidden = file.create_group("#refs#")

        def kept(values) -> h5py.Reference:
            return hidden.create_dataset(f"r{len(hidden)}", data=values).ref

        def cells(references) -> np.ndarray:
            return np.array(references, dtype=h5py.ref_dtype)

        def image(pair: int, one: int, number: int) -> h5py.Reference:
            rng = np.random.default_rng([pair, one, number])
            return kept(rng.integers(0, 256, (3, 4, 9), dtype=np.uint8))

        empty = kept(np.zeros(2, np.uint64))
        for kind in ("detected", "labeled"):
            pairs = []
            for pair, people in enumerate(_PAIRS, 1):
                rows = [
                    [image(pair, one, n) if n in _SEEN else empty for n in range(1, 11)]
                    for one in range(1, people + 1)
                ]
                pairs.append(kept(cells(rows).T))
            file.create_dataset(kind, data=cells([pairs]))
        trials = [kept(np.array(trial, np.float64).T) for trial in ([(1, 1), (2, 2)], [(1, 2)])]
        file.create_dataset("testsets", data=cells([trials]))
    return stream.getvalue()


def _protocol(compressed: bool) -> bytes:
    """Return the new protocol's file, MATLAB 5."""
    from scipy.io import savemat

    files = [
        f"{pair}_{one:03d}_{1 if number <= 5 else 2}_{number:02d}.png"
        for pair, people in enumerate(_PAIRS, 1)
        for one in range(1, people + 1)
        for number in _SEEN
    ]
    names = np.empty((len(files), 1), object)
    names[:, 0] = files

    def column(values) -> np.ndarray:
        return np.array(values, np.float64).reshape(-1, 1)

    stream = io.BytesIO()
    content = {
        "filelist": names,
        "labels": column([100 * int(name[0]) + int(name[2:5]) for name in files]),
        "camId": column([int(name[6]) for name in files]),
        "train_idx": column([1, 2, 3, 4]),
        "query_idx": column([5, 7, 9]),
        "gallery_idx": column([6, 8, 10]),
    }
    savemat(stream, content, do_compression=compressed)
    # Bytes 4 to 116 name platform and time.
    return b"MATLAB 5.0 MAT-file".ljust(116) + stream.getvalue()[116:]


def _cuhk03(kind: str = "detected") -> list[Case]:
    name = f"cuhk03_new_protocol_config_{kind}.mat"
    mat = {"cuhk03_release/cuhk-03.mat": _matlab()}
    return [Case({**mat, name: _protocol(compressed)}) for compressed in (False, True)]


REID: dict[str, Callable[[], Case | list[Case]]] = {
    "sample": _simulated,
    "msmt17": _msmt17,
    "cuhk03": _cuhk03,
    "cuhk03-labeled": lambda: _cuhk03("labeled"),
    "cuhk03-classic": lambda: _cuhk03()[0],
    "simulated": _simulated,
    "dukemtmc": _duke,
    "market1501": _market,
    "market1501-500k": _market_with_distractors,
    "csv": _table,
    "folder": _own,
}


def embedding_cases() -> list[Case]:
    """Return embedding files, also of tracklets and of length one."""
    from apps.person_reid.embeddings import About, Embeddings, at_length_one, write_embeddings

    rng = np.random.default_rng(0)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for normalised in (False, True):
            vectors = rng.normal(size=(6, 8)).astype(np.float32)
            about = About(
                network="osnet",
                variant="x0_25",
                weights="0" * 64,
                source="run",
                precision="float32",
                input_size=(256, 128),
                metric="euclidean",
                normalised=normalised,
                pooling="name" if normalised else "",
            )
            embeddings = Embeddings(
                at_length_one(vectors) if normalised else vectors,
                tuple(f"{n:04d}_c{1 + n % 2}s1_{n:06d}.jpg" for n in range(6)),
                np.arange(6) // 2,
                np.arange(6) % 2,
                tuple(f"{n}" if normalised else "" for n in range(6)),
                np.full(6, 3 if normalised else 1),
                about,
            )
            path = write_embeddings(Path(folder) / "index.npz", embeddings)
            found.append(Case.file(path.name, path.read_bytes()))
    return found
