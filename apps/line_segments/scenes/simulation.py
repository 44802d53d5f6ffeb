"""A data set of synthetic wireframe scenes, as JSON lists in the raw style that L-CNN's files have.

The pictures are renderings: they show that training, grouping, compression and export work, and
networks can be pre-trained on them. They are not photographs and say nothing of scores on any.

Every scene has a random generator of its own, keyed by seed, split and number: the files are the
same bytes for any number of workers, and a larger data set begins with a smaller one's scenes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from apps.line_segments.scenes import rendering
from core.data.images import find_images, read_image
from core.errors import UserError
from core.files import claim_folder, explained, folder_aside, write_atomic, write_json

RECORD = "about.json"
WHAT = "synthetic wireframe scenes, rendered with exact segments, not photographs"
VERSION = 2  # of the generator; another one draws other scenes for the same seed
SPLITS = ("train", "valid", "test")
QUALITIES = (78, 96)  # of the JPEG files, drawn for each
_TOGETHER = 16  # scenes a worker takes at a time
_MOST_PHOTOGRAPHS = 64  # a quarter of a megabyte each in memory


@dataclass(frozen=True)
class _Scene:
    """One scene to be rendered."""

    split: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.split}_{self.number:06d}.jpg"


@dataclass(frozen=True)
class _Job:
    """What all scenes of a data set share."""

    size: tuple[int, int]
    seed: int
    photographs: tuple[Path, ...]


def simulate(
    folder: str | os.PathLike,
    *,
    counts: Mapping[str, int] | None = None,
    size: tuple[int, int] = (320, 320),
    seed: int = 0,
    workers: int = 1,
    photographs: str | os.PathLike | None = None,
    advance: Callable[[int], None] = lambda scenes: None,
) -> dict[str, Any]:
    """Write a data set: `images/`, a list for each split and, last, `about.json`.

    Nothing appears before every scene is rendered. The lists hold `filename`, `width`, `height` and
    `lines`, x1, y1, x2, y2 in pixels, the first of which spans 0 to 1.

    Args:
        folder: New or empty.
        counts: Scenes by split, of `SPLITS`; None: 2000, 100 and 100.
        size: Height and width in pixels.
        seed: Same seed, same bytes.
        workers: Processes that render. Above 1, a script needs the usual `__main__` guard.
        photographs: A folder of photographs whose brightness is the texture of some surfaces;
            straight lines in them are not annotated. None has all textures procedural.
        advance: Called with the scenes that were rendered since.

    Returns:
        What `about.json` holds.

    Raises:
        UserError: When a number is out of range, the folder holds files or cannot be written, or
            there are no photographs.
    """
    wanted = {"train": 2000, "valid": 100, "test": 100} if counts is None else dict(counts)
    unknown = set(wanted) - set(SPLITS)
    if unknown:
        raise ValueError(f"`counts` must name splits of {SPLITS}. Received: {sorted(unknown)}")
    for value, low, high, what in (
        (sum(wanted.values()), 1, 10**6, "scenes"),
        (min(wanted.values(), default=0), 0, 10**6, "scenes in a split"),
        (min(size), 64, 2048, "pixels on the shorter side"),
        (max(size), 64, 2048, "pixels on the longer side"),
        (seed, 0, 2**63, "as seed"),
        (workers, 1, 256, "workers"),
    ):
        if not low <= value <= high:
            raise UserError(f"Received {value} {what}; choose a number from {low} to {high}.")
    pictures = () if photographs is None else tuple(find_images(photographs, recursive=True))
    for picture in pictures[:_MOST_PHOTOGRAPHS]:
        read_image(picture, 1)  # one that is damaged is told now
    job = _Job((int(size[0]), int(size[1])), seed, pictures[:_MOST_PHOTOGRAPHS])
    out = claim_folder(folder)
    scenes = [_Scene(split, n) for split in SPLITS for n in range(wanted.get(split, 0))]
    lists: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    kinds: Counter[str] = Counter()
    with folder_aside(out, "simulating") as aside:
        (aside / "images").mkdir()
        for part in _rendered(scenes, aside, out, job, workers):
            for split, kind, entry in part:
                lists[split].append(entry)
                kinds[kind] += 1
            advance(len(part))
        files = [f"{split}.json" for split in SPLITS if lists[split]]
        for split in SPLITS:
            if lists[split]:
                write_json(aside / f"{split}.json", lists[split])
        record = {
            "what": WHAT,
            "generator": "gossamer lines simulate",
            "version": VERSION,
            "seed": seed,
            "size": [int(size[0]), int(size[1])],
            "files": {split: len(lists[split]) for split in SPLITS if lists[split]},
            "photographs": len(job.photographs),
            "kinds": {kind: kinds[kind] for kind in rendering.KINDS},
            "shortest": rendering.SHORTEST,
            "faintest": rendering.FAINTEST,
            "seen_along": rendering.SEEN_ALONG,
            "qualities": list(QUALITIES),
        }
        write_json(aside / RECORD, record)
        with explained(out):
            for name in ("images", *files, RECORD):  # which needs no more room
                (aside / name).replace(out / name)
    return record


_Part = list[tuple[str, str, dict[str, Any]]]


def _rendered(
    scenes: list[_Scene], folder: Path, place: Path, job: _Job, workers: int
) -> Iterator[_Part]:
    """Render and write all scenes, yielding split, kind and entry of those that are done."""
    parts = [scenes[i : i + _TOGETHER] for i in range(0, len(scenes), _TOGETHER)]
    if workers == 1:
        for part in parts:
            yield _render_part(part, folder, place, job)
        return
    # A forked copy of a process with threads (TensorFlow's) may hang: start fresh ones.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_render_part, part, folder, place, job) for part in parts]
        try:
            for one in waiting:
                yield one.result()
        finally:
            for one in waiting:
                one.cancel()


def _render_part(scenes: list[_Scene], folder: Path, place: Path, job: _Job) -> _Part:
    done, size = [], job.size
    for scene in scenes:
        rng = np.random.default_rng([job.seed, SPLITS.index(scene.split), scene.number])
        picture = rendering.render(rng, size, photographs=job.photographs)
        content = jpeg(picture.image, int(rng.integers(*QUALITIES)))
        with explained(place / "images" / scene.name):  # where it is going to stand
            write_atomic(folder / "images" / scene.name, content)
        lines = [[round(end, 3) for end in ends] for ends in picture.segments.tolist()]
        entry = {"filename": scene.name, "width": size[1], "height": size[0], "lines": lines}
        done.append((scene.split, picture.kind, entry))
    return done


def jpeg(picture: np.ndarray, quality: int) -> bytes:
    """Return a picture, uint8 (H, W, 3), as a JPEG file."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", picture[..., ::-1], options)[1].tobytes()
