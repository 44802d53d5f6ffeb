"""The embedding file: what a network makes of crops, and which network it was.

An .npz file without pickles, N rows:

* `embeddings`: float32 (N, D), not normalised unless `about` says so.
* `names`: text (N,), the image relative to `about`'s root; of a tracklet the middle one.
* `persons`, `cameras`: int64 (N,), as the names of files give them, cameras from 0. Both are -1
  where a name does not tell; a person -1 by a known camera is junk, 0 a distractor (Market-1501).
* `tracklets`: text (N,), the tracklet whose mean a row is; empty for an image by itself.
* `frames`: int64 (N,), the images in that mean.
* `about`: JSON text, the fields of `About`.

It is also the index that a search looks through: an exact search needs nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from apps.person_reid.ranking import squared_lengths
from core.checkpoints.archives import DAMAGE, read_archive
from core.documents import parse_json
from core.errors import UserError, near_miss
from core.files import refuse_special, write_atomic
from core.identity import Identity

FORMAT, VERSION = "gossamer reid embeddings", 1
METRICS = ("euclidean", "cosine")
BACKENDS = ("numpy", "faiss")
SUFFIX = ".npz"
UNKNOWN = -1
_KEYS = ("embeddings", "names", "persons", "cameras", "tracklets", "frames", "about")
_LARGEST = 2**62  # a longer number in a file's name is no person
_LENGTH_ERROR = 1e-3  # of an embedding said to be of length one
_SMALLEST_NORM = 1e-12


@dataclass(frozen=True)
class About(Identity):
    """Where embeddings come from.

    Attributes:
        metric: The distance they are compared by, one of `METRICS`.
        normalised: Whether they are scaled to length one.
        root: Folder that the names begin at.
        first_camera: What file names call camera 0.
        pooling: "folder" or "name" where rows are means of tracklets.
        backend: What looks for the nearest, one of `BACKENDS`.
        synthetic: Whether the images are drawn, not photographed.
        gossamer: Version of the suite.
    """

    metric: str
    normalised: bool = False
    root: str = ""
    first_camera: int = 1
    pooling: str = ""
    backend: str = BACKENDS[0]
    synthetic: bool = False
    gossamer: str = "unknown"


@dataclass(frozen=True)
class Embeddings:
    """The content of an embedding file; what the fields hold is said above.

    Attributes:
        embeddings: float32 (N, D).
        names, tracklets: N texts each.
        persons, cameras, frames: int64 (N,).
        about: Where they come from.
    """

    embeddings: np.ndarray
    names: tuple[str, ...]
    persons: np.ndarray
    cameras: np.ndarray
    tracklets: tuple[str, ...]
    frames: np.ndarray
    about: About

    def __len__(self) -> int:
        return len(self.names)

    def person(self, row: int) -> int | None:
        """Return the person of a row, None where it is not known; 0 distractor, -1 junk."""
        unknown = self.persons[row] == UNKNOWN == self.cameras[row]
        return None if unknown else int(self.persons[row])

    def camera(self, row: int) -> int | None:
        """Return the camera of a row from 0, None where it is not known."""
        return None if self.cameras[row] == UNKNOWN else int(self.cameras[row])


def write_embeddings(path: str | Path, found: Embeddings) -> Path:
    """Write an embedding file as a whole or not at all.

    Raises:
        UserError: When the name does not end in .npz or the file cannot be written.
    """
    path = check_name(path)
    about = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(found.about)}
    arrays: dict[str, Any] = {
        "embeddings": np.ascontiguousarray(found.embeddings, np.float32),
        "names": np.array(found.names, np.str_),
        "persons": np.asarray(found.persons, np.int64),
        "cameras": np.asarray(found.cameras, np.int64),
        "tracklets": np.array(found.tracklets, np.str_),
        "frames": np.asarray(found.frames, np.int64),
        "about": np.array(json.dumps(about)),
    }
    return write_atomic(path, lambda temporary: np.savez(temporary, **arrays))


def check_name(path: str | Path) -> Path:
    """Return the path of an embedding file; a `UserError` when it is not named so."""
    path = Path(path)
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: embeddings are written as {SUFFIX}; choose a name ending so.")
    return path


def read_embeddings(path: str | Path) -> Embeddings:
    """Read an embedding file and check all of it.

    Raises:
        UserError: When it is missing, cut off, damaged, of another program or a newer version.
    """
    path = Path(path)
    refuse_special(path)
    if not path.is_file():
        what = "is a folder, not an embedding file" if path.is_dir() else "no such file"
        raise UserError(f"{path}: {what}; make one with the command index.")
    arrays = _arrays(path)
    embeddings = arrays["embeddings"]
    if embeddings.dtype != np.float32 or embeddings.ndim != 2 or not embeddings.size:
        shape = f"{embeddings.dtype} of shape {embeddings.shape}"
        raise _damaged(path, f"holds embeddings of {shape} instead of float32 (N, D)")
    count = len(embeddings)
    for name in ("names", "tracklets", "persons", "cameras", "frames"):
        array = arrays[name]
        fits = array.dtype.kind == "U" if name in ("names", "tracklets") else array.dtype == "i8"
        if not fits or array.shape != (count,):
            shape = f"{array.dtype} of shape {array.shape}"
            raise _damaged(path, f"holds {name} of {shape} for {count} embeddings")
    about = _about(path, arrays["about"])
    if squared_lengths(embeddings)[1]:
        raise _damaged(path, "holds embeddings with NaN, infinite or huge numbers")
    if about.normalised:
        lengths = np.linalg.norm(embeddings, axis=1)
        if (np.abs(lengths - 1) > _LENGTH_ERROR)[lengths > 0].any():
            raise _damaged(path, "says that its embeddings are of length one, but they are not")
    if (arrays["cameras"] < UNKNOWN).any() or (arrays["frames"] < 1).any():
        raise _damaged(path, "holds cameras or numbers of frames that make no sense")
    names = tuple(arrays["names"].tolist())
    if len(set(names)) < count or not all(map(_is_inside, names)):
        raise _damaged(path, "holds names that are empty, twice there or outside their folder")
    return Embeddings(
        embeddings,
        names,
        arrays["persons"],
        arrays["cameras"],
        tuple(arrays["tracklets"].tolist()),
        arrays["frames"],
        about,
    )


def identities(names: Sequence[str], first_camera: int) -> tuple[np.ndarray, np.ndarray]:
    """Return persons and cameras, int64 (N,) each, as files are named; -1 where not.

    Args:
        names: Paths or file names such as `0002_c1s1_000451_03.jpg`.
        first_camera: What they call camera 0 (see `first_camera_of`).
    """
    found = np.full((2, len(names)), UNKNOWN, np.int64)
    for row, name in enumerate(names):
        seen = _parsed(name)
        if seen is not None:
            found[:, row] = seen[0], max(seen[1] - first_camera, UNKNOWN)
    return found[0], found[1]


def first_camera_of(names: Sequence[str]) -> int:
    """Return the number that file names count cameras from: 0 where there is a c0, otherwise 1."""
    return 0 if any(seen is not None and seen[1] == 0 for seen in map(_parsed, names)) else 1


def at_length_one(embeddings: np.ndarray) -> np.ndarray:
    """Return embeddings (N, D) scaled to length one, float32; zeros stay zeros."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return (embeddings / np.maximum(lengths, _SMALLEST_NORM)).astype(np.float32)


def _parsed(name: str) -> tuple[int, int] | None:
    from apps.person_reid.data.layouts import parse_name

    seen = parse_name(PurePosixPath(name).name)
    return seen if seen and max(abs(seen[0]), seen[1]) < _LARGEST else None


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file."""
    if not zipfile.is_zipfile(path):
        empty = path.stat().st_size == 0
        raise _damaged(path, "is empty" if empty else "is cut off or not an .npz file")
    try:
        arrays = read_archive(path, text=True)
    except DAMAGE as error:
        raise _damaged(path, "is damaged, or holds what is no array of numbers or text") from error
    missing = [name for name in _KEYS if name not in arrays]
    if missing:
        raise _damaged(path, f"is no embedding file of Gossamer (it lacks '{missing[0]}')")
    return arrays


def _about(path: Path, array: np.ndarray) -> About:
    """Return the checked `About` of a file."""
    try:
        values = parse_json(array.item()) if array.dtype.kind == "U" and not array.shape else None
    except ValueError:
        values = None
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise _damaged(path, "is no embedding file of Gossamer (another 'about')")
    version = values.pop("version", None)
    if version != VERSION:
        raise _damaged(path, f"has version {version} of its format, this program reads {VERSION}")
    fields = {field.name: field for field in dataclasses.fields(About)}
    wrong = sorted(set(values) ^ set(fields))
    wrong += [name for name, value in values.items() if not _is_a(fields.get(name), value)]
    if wrong:
        raise _damaged(path, f"has an unknown, missing or wrong '{wrong[0]}' in its 'about'")
    for name, allowed in (("metric", METRICS), ("backend", BACKENDS)):
        if values[name] not in allowed:
            hint = near_miss(values[name], allowed).strip().rstrip(".?")
            raise _damaged(path, f"has the {name} '{values[name]}' ({hint})")
    return About(**{**values, "input_size": tuple(values["input_size"])})


def _is_a(field: dataclasses.Field | None, value: Any) -> bool:
    """Return whether a value from JSON is of a field's type, given as it is written above."""
    if field is None:
        return False
    if field.name == "input_size":
        return isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value)
    return type(value) is {"str": str, "int": int, "bool": bool}[str(field.type)]


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return name != "" and not path.is_absolute() and ".." not in path.parts


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: {reason}; make it again with the command index.")
