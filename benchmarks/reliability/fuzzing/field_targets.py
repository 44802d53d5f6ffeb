"""Files of single apps besides their data sets: maps of places, segments that programs found."""

from __future__ import annotations

import dataclasses
import io
import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.reliability.fuzzing.cases import Case, write_case
from benchmarks.reliability.fuzzing.picture_seeds import picture
from benchmarks.reliability.fuzzing.target import Outcome, Target, complaints

_IMAGES = ("a", "b")
_NUMBERED = ("000000", "000001")  # as L-CNN names what it found
_SIDE = (24, 32)


def targets() -> list[Target]:
    """Return the targets of this module."""
    return [
        Target("map", "map of places (.npz)", _maps, _read_map, _import_maps),
        Target(
            "segments",
            "line segments that other programs found",
            _segments,
            _read_segments,
            _import_segments,
            layout=0.2,
            focus=r"found/.*",
        ),
    ]


# --- maps ---------------------------------------------------------------------------------------


def _import_maps() -> None:
    # What looks through maps is compiled once, before anything watches.
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(_maps()):
            _read_map(write_case(case, Path(folder) / str(number)))


@cache
def _view():
    """Return a scan as it is looked up, and the recipe of its image."""
    from apps.bev_localization.images.recipes import BevRecipe
    from apps.bev_localization.maps.views import View
    from apps.bev_localization.pose.estimation import LocalView

    rng = np.random.default_rng(0)
    recipe = BevRecipe("small", half_range=8.0)
    features = rng.standard_normal((20, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    local = LocalView(rng.integers(0, recipe.side, (20, 2)).astype(np.int32), features)
    image = rng.integers(0, 256, (recipe.side, recipe.side)).astype(np.uint8)
    descriptor = rng.standard_normal(16).astype(np.float32)
    return View(image, descriptor / np.linalg.norm(descriptor), local), recipe


def _maps() -> list[Case]:
    """Return maps with features of either kind, whole descriptors and shortened ones."""
    from apps.bev_localization.maps.map_file import About, Place, write_map
    from apps.bev_localization.retrieval.index import build_index
    from core.identity import Identity

    view, recipe = _view()
    rng, found = np.random.default_rng(1), []
    places = []
    for number in range(6):
        pose = np.eye(4)
        pose[:3, 3] = rng.uniform(-9, 9, 3)
        descriptor = view.descriptor + 0.1 * rng.standard_normal(16).astype(np.float32)
        places.append(Place(f"00/{number:06}.bin", pose, view.image, descriptor, view.local))
    side = (recipe.side, recipe.side)
    model = Identity("rein", "r8", "ab" * 32, "published", "float32", side)
    about = About(model, recipe, 10, "int8", "scans", ("00",), True)
    for features, dimensions in (("int8", None), ("float16", 4)):
        index = build_index(np.stack([p.descriptor for p in places]), dimensions=dimensions)
        with tempfile.TemporaryDirectory() as folder:
            told = dataclasses.replace(about, features=features)
            path = write_map(Path(folder) / "map.npz", told, places, index)
            found.append(Case.file(path.name, path.read_bytes()))
    return found


def _read_map(path: Path) -> Outcome:
    """Go the way of `bev localize`, with a scan of the map's own and the picture of it."""
    from apps.bev_localization.maps.localizing import localize
    from apps.bev_localization.maps.map_file import read_map
    from apps.bev_localization.maps.pictures import localized_picture

    found, (view, _) = read_map(path), _view()
    found.bytes_a_place, found.trajectory  # noqa: B018

    def look() -> None:
        fix = localize(found, view)
        localized_picture(found, view.image, fix, name="scan")

    return complaints((look, *(lambda p=place: found.image(p) for place in range(len(found))[:8])))


# --- segments -----------------------------------------------------------------------------------


def _import_segments() -> None:
    import apps.line_segments.predictions
    import apps.line_segments.writing  # noqa: F401


def _segments() -> list[Case]:
    """Return two images with what each kind of program leaves of them."""
    images = {f"images/{name}.png": picture("png", name, shrink=4) for name in _IMAGES}
    rows = [[1.5, 2, 20, 11, 0.9], [3, 4, 5.25, 20, 0.5]]
    text = "\n".join(" ".join(map(str, row)) for row in rows).encode()
    listed = [
        {"filename": f"{name}.png", "width": _SIDE[1], "height": _SIDE[0],
         "lines_pred": [row[:4] for row in rows], "lines_score": [row[4] for row in rows]}
        for name in _IMAGES
    ]  # fmt: skip
    shapes = {
        "imagePath": "a.png", "imageWidth": _SIDE[1], "imageHeight": _SIDE[0],
        "shapes": [{"label": "line", "shape_type": "line", "points": [row[:2], row[2:4]],
                    "score": row[4]} for row in rows],
    }  # fmt: skip
    forms = [
        {f"found/{name}.txt": text for name in _IMAGES},
        {"found/all.json": json.dumps(listed).encode()},
        {f"found/{name}.json": json.dumps(shapes).encode() for name in _IMAGES},
        {f"found/{name}.npz": _archive(rows) for name in _NUMBERED},
    ]
    return [Case({**images, **form}) for form in forms]


def _archive(rows: list[list[float]]) -> bytes:
    ends = np.float32([row[:4] for row in rows]).reshape(-1, 2, 2)[..., ::-1]
    stream = io.BytesIO()
    np.savez(stream, lines=np.concatenate([ends, ends[:1]]), score=np.float32([0.9, 0.5, 0.9]))
    return stream.getvalue()


def _read_segments(path: Path) -> Outcome:
    """Go the way of `lines compare --predictions` up to the scores."""
    from apps.line_segments.predictions import read_predictions
    from core.data.index import Sample

    samples = [Sample(name, (path / "images" / f"{name}.png",)) for name in _IMAGES]
    results, _ = read_predictions(path / "found", samples)
    for _, one in results:
        len(one.segments)
    return []
