"""Data sets of line segments written as they are published, small enough to be read in a moment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZE = (48, 64)  # height, width
SEGMENTS = [[4.0, 5.0, 40.0, 5.0], [10.0, 8.0, 10.5, 40.0], [3.0, 44.0, 60.0, 20.0]]


def picture(path: Path, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Path:
    """Write a picture of (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1], 90).save(path)
    return path


def python2_pickle(content: dict) -> bytes:
    """Return a dictionary as Python 2 pickles it in protocol 0: text, by hand.

    Args:
        content: Values are text, lists and tuples of numbers, or uint8 arrays.
    """
    return (
        "(dp0\n" + "".join(f"S{key!r}\n{_value(v)}s" for key, v in content.items()) + "."
    ).encode("latin-1")


def _value(value) -> str:
    if isinstance(value, str):
        return f"S{value!r}\n"
    if isinstance(value, bool):
        return f"I0{int(value)}\n"
    if isinstance(value, int):
        return f"I{value}\n"
    if isinstance(value, float):
        return f"F{value!r}\n"
    if isinstance(value, tuple):
        return "(" + "".join(map(_value, value)) + "t"
    if isinstance(value, list):
        return "(l" + "".join(_value(one) + "a" for one in value)
    raw = ascii(value.tobytes().decode("latin-1"))
    shape = "(" + "".join(f"I{side}\n" for side in value.shape) + "t"
    return (
        "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        f"(I1\n{shape}cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
        f"I00\nS{raw}\ntb"
    )


def pointlines(segments=SEGMENTS, size: tuple[int, int] = SIZE, **changes) -> bytes:
    """Return a pickle of `pointlines.zip`."""
    points = [(x, y) for a, b, c, d in segments for x, y in ((a, b), (c, d))]
    content = {
        "imagename": "a.jpg",
        "img": np.zeros((*size, 3), np.uint8),
        "points": points,
        "lines": [(2 * i, 2 * i + 1) for i in range(len(segments))],
    }
    return python2_pickle({**content, **changes})


def wireframe(root: Path) -> Path:
    """Write Wireframe: two training images, one to test."""
    for split, names in (("train", ("00030043", "00031810")), ("test", ("00031546",))):
        for name in names:
            picture(root / "v1.1" / split / f"{name}.jpg")
            truth = root / "pointlines" / f"{name}.pkl"
            truth.parent.mkdir(exist_ok=True)
            truth.write_bytes(pointlines())
    (root / "line_mat").mkdir()
    savemat(root / "line_mat/00031546_line.mat", {"lines": np.array(SEGMENTS)})
    return root


def raw_list(root: Path, *, names=("00030043.png", "00031810.png"), size=SIZE, **changes) -> list:
    """Write images as .jpg and return the entries of a list in the raw style."""
    for name in names:
        picture(root / "images" / Path(name).with_suffix(".jpg"), size)
    entry = {"width": size[1], "height": size[0], "lines": SEGMENTS}
    return [{"filename": name, **entry, **changes} for name in names]


def hawp_list(entries: list) -> list:
    """Return the entries of a raw list in HAWP's training style."""
    found = []
    for entry in entries:
        ends = np.reshape(entry["lines"], (-1, 2)).tolist()
        edges = [[2 * i, 2 * i + 1] for i in range(len(ends) // 2)]
        kept = {key: value for key, value in entry.items() if key != "lines"}
        found.append({**kept, "junctions": ends, "edges_positive": edges, "edges_negative": []})
    return found


def write_json(path: Path, value) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def lcnn(root: Path) -> Path:
    """Write what L-CNN prepares: an image in two mirrorings to train with, one to test."""
    ends = np.reshape(SEGMENTS, (-1, 2, 2)) * (128 / np.array([SIZE[1], SIZE[0]]))
    for split, name, k in (("train", "a", 0), ("train", "a", 1), ("valid", "b", 0)):
        ours = ends.copy()
        if k == 1:
            ours[:, :, 0] = 128 - ours[:, :, 0]
        picture(root / split / f"{name}_{k}.png", (512, 512))
        lpos = np.concatenate([ours[:, :, ::-1], np.zeros((len(ours), 2, 1))], 2)
        np.savez(root / split / f"{name}_{k}_label.npz", lpos=lpos.astype(np.float32))
    return root


def york(root: Path) -> Path:
    """Write two images of York Urban."""
    for name in ("P1020171", "P1020177"):
        picture(root / name / f"{name}.jpg")
        savemat(
            root / name / f"{name}LinesAndVP.mat",
            {"lines": np.reshape(SEGMENTS, (-1, 2)), "vp_association": np.ones((3, 1))},
        )
    return root


def markup(root: Path) -> Path:
    """Write a re-annotated image."""
    picture(root / "images/35.jpg")
    objects = [{"type": "seg", "data": np.reshape(one, (2, 2)).tolist()} for one in SEGMENTS]
    write_json(root / "markup/35.jpg.json", {"size": [SIZE[1], SIZE[0]], "objects": objects})
    return root


def labelme(root: Path) -> Path:
    """Write an image with LabelMe's file, in which a polygon stands too."""
    shapes = [
        {"label": "line", "shape_type": "line", "points": np.reshape(one, (2, 2)).tolist()}
        for one in SEGMENTS
    ]
    shapes.append({"label": "door", "shape_type": "polygon", "points": [[0, 0], [5, 0], [5, 5]]})
    size = {"imagePath": "house.png", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    picture(root / "house.png")
    write_json(root / "house.json", {"version": "5.4.1", "flags": {}, "shapes": shapes, **size})
    return root
