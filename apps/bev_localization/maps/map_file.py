"""The map file: places with what finds them again, and which network and recipe made it.

An .npz file without pickles, of N places with K keypoints:

* `descriptors`: (N, D), float32 as the network gives them, or float16 after the projection;
* `projection_mean` (W,), `projection_components` (D, W): float32, of a shortened map only;
* `poses`: float64 (N, 3, 4), which bring points of the sensor into the frame of the map;
* `ids`: the places' names, JSON text in UTF-8;
* `keypoint_starts`: int64 (N + 1,), where the keypoints of each place begin and end;
* `keypoints`: uint16 (K, 2), column and row in the place's image;
* `features`: (K, C), int8 (a row's direction, without a scale) or float16;
* `image_starts`: int64 (N + 1,); `images`: uint8, each place's density image, deflated;
* `about`: JSON text in UTF-8, the fields of `About`.

Descriptors and features are read where they lie in the file, as a search or a pose needs them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from apps.bev_localization.data.pose_files import pose_problem
from apps.bev_localization.images.recipes import BevRecipe
from apps.bev_localization.maps.archive import MappedArrays, write_arrays
from apps.bev_localization.maps.keypoint_features import KINDS, packed, unpacked
from apps.bev_localization.pose.estimation import LocalView
from apps.bev_localization.retrieval.index import PlaceIndex
from apps.bev_localization.retrieval.projection import Projection
from core.documents import parse_json
from core.errors import UserError
from core.identity import Identity

FORMAT, VERSION = "gossamer bev map", 1
SUFFIX = ".npz"
POSES = "from the sensor (x forward, y left, z up) to the map, metres"
_REMEDY = "build it again with the command build-map"


@dataclass(frozen=True)
class About:
    """What a map was made of.

    Attributes:
        model: The network.
        recipe: Of the images.
        keypoint_threshold: Of FAST, in grey levels.
        features: How local features are stored, one of `KINDS`.
        root: The scans' folder.
        sequences: Those of it that are mapped.
        synthetic: Whether the scans are a simulation.
        poses: What poses mean.
        gossamer: Version of the suite.
    """

    model: Identity
    recipe: BevRecipe
    keypoint_threshold: int
    features: str
    root: str
    sequences: tuple[str, ...]
    synthetic: bool = False
    poses: str = POSES
    gossamer: str = "unknown"


@dataclass(frozen=True)
class Place:
    """A place that is put on a map.

    Attributes:
        id: Its name.
        pose: float64 (4, 4).
        image: uint8 (H, H), its density image.
        descriptor: float32 (W,).
        local: Keypoints and features.
    """

    id: str
    pose: np.ndarray
    image: np.ndarray
    descriptor: np.ndarray
    local: LocalView


class PlaceMap:
    """A map that was read; made by `read_map`.

    Attributes:
        path: Its file.
        about: What it was made of.
        ids: Names of the places.
        poses: float64 (N, 4, 4).
        index: The descriptors, to be searched.
    """

    def __init__(self, arrays: MappedArrays, about: About, ids: tuple[str, ...]):
        self.path, self.about, self.ids = arrays.path, about, ids
        self._arrays = arrays
        count = len(ids)
        poses = _sized(arrays, arrays.checked("poses"), "poses", "f8", (count, 3, 4))
        self.poses = np.tile(np.eye(4), (count, 1, 1))
        self.poses[:, :3] = poses
        if problem := pose_problem(self.poses):
            raise arrays.damaged(f"holds poses that are none: {problem}")
        self._starts = _starts(arrays, "keypoint_starts", count)
        self._image_starts = _starts(arrays, "image_starts", count)
        keypoints = int(self._starts[-1])
        self._pixels = _sized(
            arrays, arrays.checked("keypoints"), "keypoints", "u2", (keypoints, 2)
        )
        if self._pixels.max(initial=0) >= about.recipe.side:
            raise arrays.damaged("holds keypoints outside their images")
        kind = np.dtype(KINDS[about.features]).str
        features = arrays.mapped("features")
        self._features = _sized(
            arrays, features, "features", kind, (keypoints, *features.shape[1:])
        )
        images = arrays.mapped("images")
        self._images = _sized(arrays, images, "images", "u1", (int(self._image_starts[-1]),))
        self.index = _index(arrays, count)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bytes_a_place(self) -> dict[str, float]:
        """Mean bytes of the file that a place takes, by what they hold."""
        held = {
            "descriptor_bytes": self.index.stored.nbytes,
            "keypoint_bytes": self._pixels.nbytes,
            "feature_bytes": self._features.nbytes,
            "image_bytes": self._images.nbytes,
        }
        return {name: nbytes / len(self) for name, nbytes in held.items()}

    @cached_property
    def trajectory(self) -> np.ndarray:
        """Where the places are, float64 (N, 3)."""
        return self.poses[:, :3, 3]

    def local_view(self, place: int) -> LocalView:
        """Return keypoints and features of a place.

        Raises:
            UserError: When the file holds features that are not finite.
        """
        span = slice(self._starts[place], self._starts[place + 1])
        features = unpacked(self._features[span])
        if not np.isfinite(features).all():
            raise self._arrays.damaged(f"holds features of '{self.ids[place]}' that are not finite")
        return LocalView(self._pixels[span].astype(np.int32), features)

    def image(self, place: int) -> np.ndarray:
        """Return the density image of a place, uint8 (side, side).

        Raises:
            UserError: When the file is damaged there.
        """
        side = self.about.recipe.side
        content = self._images[self._image_starts[place] : self._image_starts[place + 1]]
        try:
            found = zlib.decompressobj().decompress(content.tobytes(), side * side + 1)
            return np.frombuffer(found, np.uint8).reshape(side, side)
        except (zlib.error, ValueError) as error:
            raise self._arrays.damaged(f"has a damaged image of '{self.ids[place]}'") from error


def write_map(
    path: str | os.PathLike, about: About, places: Sequence[Place], index: PlaceIndex
) -> Path:
    """Write a map file as a whole or not at all, and return its path.

    Args:
        path: The file, named .npz.
        about: What the map is made of.
        places: At least one.
        index: Of their descriptors.

    Raises:
        UserError: When the name ends otherwise or the file cannot be written.
    """
    path = check_name(path)
    features = [packed(place.local.features, about.features) for place in places]
    images = [zlib.compress(np.ascontiguousarray(place.image).tobytes()) for place in places]
    arrays = {
        "about": _as_bytes({"format": FORMAT, "version": VERSION, **dataclasses.asdict(about)}),
        "ids": _as_bytes([place.id for place in places]),
        "poses": np.array([place.pose[:3] for place in places], np.float64),
        "keypoint_starts": _ends([len(one) for one in features]),
        "image_starts": _ends([len(one) for one in images]),
        "keypoints": np.concatenate([one.local.pixels for one in places]).astype(np.uint16),
        "images": np.frombuffer(b"".join(images), np.uint8),
        "features": np.concatenate(features),
        "descriptors": index.stored,
    }
    if index.projection is not None:
        arrays["projection_mean"] = index.projection.mean
        arrays["projection_components"] = index.projection.components
    return write_arrays(path, arrays)


def check_name(path: str | os.PathLike) -> Path:
    """Return the path of a map file; a `UserError` when it is not named so."""
    path = Path(path)
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: maps are written as {SUFFIX}; choose a name ending so.")
    return path


def read_map(path: str | os.PathLike) -> PlaceMap:
    """Open a map and check it; descriptors and features stay in the file.

    Raises:
        UserError: When it is missing, cut off, damaged, of another program or a newer version.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a map" if path.is_dir() else "no such file"
        raise UserError(f"{path}: {what}; make a map with the command build-map.")
    arrays = MappedArrays(path, _REMEDY)
    about = _about(arrays)
    ids = _json(arrays, "ids")
    if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
        raise arrays.damaged("holds no names of places")
    return PlaceMap(arrays, about, tuple(ids))


def check_same_network(found: PlaceMap, now: Identity) -> None:
    """Refuse a map that another network made; precisions may differ.

    Args:
        found: The map.
        now: The network of the queries.

    Raises:
        UserError: When network, variant, weights or input size differ.
    """
    if not found.about.model.is_same_network(now):
        raise UserError(
            f"{found.path}: was built by {found.about.model.described()}, but the scans would be "
            f"described by {now.described()}, and different networks tell a place differently; "
            "localize with the former or build the map again with the latter."
        )


def check_same_recipe(found: PlaceMap, now: BevRecipe, whose: str) -> None:
    """Refuse a map whose images were made by another recipe than the queries' would be.

    Args:
        found: The map.
        now: The recipe of the queries.
        whose: Where that comes from: a model's name, an option.

    Raises:
        UserError: When a parameter differs, naming each.
    """
    own = found.about.recipe
    if own.hash == now.hash:
        return
    theirs = dataclasses.asdict(now)
    differing = ", ".join(
        f"{name} {value} instead of {theirs[name]}"
        for name, value in dataclasses.asdict(own).items()
        if name != "name" and value != theirs[name]
    )
    raise UserError(
        f"{found.path}: holds images of the recipe '{own.name}', but {whose} makes those of "
        f"'{now.name}' (the map has {differing}), and they would recognise nothing in each other; "
        "use the recipe of the map or build it again."
    )


def _as_bytes(document: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(document, ensure_ascii=False).encode(), np.uint8)


def _json(arrays: MappedArrays, name: str) -> Any:
    content = arrays.checked(name)
    try:
        return parse_json(content.tobytes())
    except ValueError as error:
        raise arrays.damaged(f"is no map of Gossamer (its '{name}' cannot be read)") from error


def _ends(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _sized(
    arrays: MappedArrays, array: np.ndarray, name: str, kind: str, shape: tuple[int, ...]
) -> np.ndarray:
    """Return an array of the kind and shape that a map has."""
    if array.dtype != np.dtype(kind) or array.shape != shape:
        raise arrays.damaged(
            f"holds '{name}' as {array.dtype} of shape {array.shape}, not as {np.dtype(kind)} of "
            f"shape {shape} as its places need"
        )
    return array


def _starts(arrays: MappedArrays, name: str, count: int) -> np.ndarray:
    starts = _sized(arrays, arrays.checked(name), name, "i8", (count + 1,))
    if starts[0] or (np.diff(starts) < 0).any():
        raise arrays.damaged(f"holds a '{name}' that makes no sense")
    return starts


def _index(arrays: MappedArrays, count: int) -> PlaceIndex:
    stored = arrays.mapped("descriptors")
    short = "projection_mean" in arrays
    kind = "f2" if short else "f4"
    width = stored.shape[-1] if stored.ndim else 0
    _sized(arrays, stored, "descriptors", kind, (count, max(width, 1)))
    if not np.isfinite(stored.sum(dtype=np.float64)):
        raise arrays.damaged("holds descriptors that are NaN or infinite")
    if not short:
        return PlaceIndex(stored)
    mean, components = arrays.checked("projection_mean"), arrays.mapped("projection_components")
    _sized(arrays, mean, "projection_mean", "f4", mean.shape[:1])
    _sized(arrays, components, "projection_components", "f4", (width, len(mean)))
    if not np.isfinite(mean).all() or not np.isfinite(components.sum(dtype=np.float64)):
        raise arrays.damaged("holds a projection that is not finite")
    return PlaceIndex(stored, Projection(mean, components))


def _about(arrays: MappedArrays) -> About:
    """Return the checked `About` of a file."""
    values = _json(arrays, "about")
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise arrays.damaged("is no map of Gossamer (another 'about')")
    version = values.pop("version", None)
    if version != VERSION:
        raise arrays.damaged(f"has version {version} of its format, this program reads {VERSION}")
    try:
        model, recipe = values.pop("model"), values.pop("recipe")
        size, sequences = model.pop("input_size"), values.pop("sequences")
        about = About(
            Identity(input_size=tuple(map(int, size)), **_strings(model)),
            BevRecipe(**recipe),
            sequences=tuple(map(str, sequences)),
            **values,
        )
        fits = about.features in KINDS and about.poses == POSES
        fits = fits and type(about.keypoint_threshold) is int and isinstance(about.root, str)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise arrays.damaged("has an unknown, missing or wrong field in its 'about'") from error
    if not fits:
        raise arrays.damaged("tells of features or poses that this program does not know")
    return about


def _strings(values: dict[str, Any]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in values.values()):
        raise TypeError("a network is told in words")
    return values
