"""A data set of synthetic pedestrians in the layout of Market-1501.

The pictures are drawings, not photographs: they show that training, ranking, compression and
export work, and how methods compare on the same ground. They say nothing of scores on real people.

Every person, camera, walk and picture has a random generator of its own, keyed by the seed and its
number: the files are the same bytes for any number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from apps.person_reid.pedestrians.cameras import draw_cameras, draw_passage, photograph, scene_of
from apps.person_reid.pedestrians.people import draw_person
from core.errors import UserError
from core.files import claim_folder, explained, folder_aside, write_json

RECORD = "about.json"
WHAT = "synthetic pedestrians, not photographs"
VERSION = 1  # of the generator; another one draws other pictures for the same seed
QUALITY = 85
FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
_TRAIN, _QUERY, _TEST = FOLDERS
_PERSON, _CAMERAS, _SCENE, _PASSAGE, _SHOT, _QUERIES = range(1, 7)  # keys of the generators
_STRANGER = 10**6  # people without an identity are numbered from here
_TOGETHER = 32  # pictures a worker takes at a time


@dataclass(frozen=True)
class _Shot:
    """One picture to be taken."""

    folder: str
    identity: int  # in the file name: 0 distractor, -1 junk
    person: int | None
    camera: int
    number: int  # among those of this identity and camera
    misplaced: bool = False

    @property
    def name(self) -> str:
        text = "-1" if self.identity < 0 else f"{self.identity:04d}"
        frame = 1 + 61 * self.number + 7 * self.camera
        return f"{text}_c{self.camera + 1}s1_{frame:06d}_{1 + self.number % 3:02d}.jpg"


@dataclass(frozen=True)
class _World:
    """What all pictures of a data set share."""

    seed: int
    cameras: int
    size: tuple[int, int]


def simulate(
    folder: str | os.PathLike,
    *,
    people: int = 60,
    cameras: int = 4,
    images: int = 3,
    seed: int = 0,
    workers: int = 1,
    size: tuple[int, int] = (128, 64),
    test_people: int | None = None,
    test_images: int | None = None,
    query_cameras: int | None = None,
    distractors: int | None = None,
    junk: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a data set of synthetic pedestrians as Market-1501 is laid out.

    The folder gets `bounding_box_train/`, `query/`, `bounding_box_test/` and, last, `about.json`
    with all parameters. Nothing appears before every picture is drawn.

    Args:
        folder: New or empty.
        people: In training; the test shows others.
        cameras: 2 to 9 (file names have one digit for them).
        images: Pictures of a person by each camera.
        seed: Same seed, same bytes.
        workers: Processes that draw. Above 1, a script needs the usual `__main__` guard.
        size: Height and width in pixels.
        test_people: In query and gallery; None: two for five in training, at least 2.
        test_images: Gallery pictures of a person by each camera; None: as `images`.
        query_cameras: Cameras that take one query of each person; None: all.
        distractors: Gallery pictures with id 0: false alarms of the detector and strangers; None:
            one for eight gallery pictures.
        junk: Gallery pictures with id -1: test people badly cut out; None: one for twenty.
        progress: Called with the pictures done and their number.

    Returns:
        What `about.json` holds.

    Raises:
        UserError: When a number is out of range or the folder holds files or cannot be written.
    """
    test_people = max(2, round(0.4 * people)) if test_people is None else test_people
    test_images = images if test_images is None else test_images
    query_cameras = cameras if query_cameras is None else query_cameras
    gallery = test_people * cameras * test_images
    distractors = round(gallery / 8) if distractors is None else distractors
    junk = round(gallery / 20) if junk is None else junk
    for value, low, high, what in (
        (people, 2, 10**5, "people in training"),
        (test_people, 2, 10**5, "people in the test"),
        (cameras, 2, 9, "cameras"),
        (images, 1, 1000, "images of a person by a camera"),
        (test_images, 1, 1000, "gallery images of a person by a camera"),
        (query_cameras, 1, cameras, "cameras that take queries"),
        (distractors, 0, 10**6, "distractors"),
        (junk, 0, 10**6, "junk images"),
        (seed, 0, 2**63, "as seed"),
        (workers, 1, 256, "workers"),
        (size[0], 32, 512, "rows"),
        (size[1], 16, 512, "columns"),
    ):
        if not low <= value <= high:
            raise UserError(f"Received {value} {what}; choose a number from {low} to {high}.")
    out = claim_folder(folder)
    world = _World(seed, cameras, (int(size[0]), int(size[1])))
    shots = [
        *_training(people, cameras, images),
        *_test(world, people, test_people, test_images, query_cameras),
        *_strangers(world, people, test_people, distractors, junk),
    ]
    record = {
        "what": WHAT,
        "generator": "gossamer reid simulate",
        "version": VERSION,
        "people": people,
        "test_people": test_people,
        "cameras": cameras,
        "images": images,
        "test_images": test_images,
        "query_cameras": query_cameras,
        "distractors": distractors,
        "junk": junk,
        "seed": seed,
        "size": list(world.size),
        "quality": QUALITY,
        "files": {name: sum(shot.folder == name for shot in shots) for name in FOLDERS},
        "views": [asdict(camera) for camera in _cameras(world)],
    }
    with folder_aside(out, "simulating") as aside:
        for done in _drawn(world, shots, aside, workers):
            if progress:
                progress(done, len(shots))
        write_json(aside / RECORD, record)
        with explained(out):
            for name in (*FOLDERS, RECORD):  # which needs no more room
                (aside / name).replace(out / name)
    return record


def _training(people: int, cameras: int, images: int) -> Iterator[_Shot]:
    for person in range(1, people + 1):
        for camera in range(cameras):
            for number in range(images):
                yield _Shot(_TRAIN, person, person, camera, number)


def _test(world: _World, first: int, people: int, images: int, queries: int) -> Iterator[_Shot]:
    for person in range(first + 1, first + people + 1):
        asked = _generator(world, _QUERIES, person).permutation(world.cameras)[:queries]
        for camera in range(world.cameras):
            for number in range(images):
                yield _Shot(_TEST, person, person, camera, number)
            if camera in asked:
                yield _Shot(_QUERY, person, person, camera, images)


def _strangers(
    world: _World, first: int, people: int, distractors: int, junk: int
) -> Iterator[_Shot]:
    """Yield the gallery's pictures that show nobody, a stranger, or a person badly cut out."""
    for number in range(distractors):
        stranger = None if number % 2 else _STRANGER + number
        misplaced = number % 4 == 0
        yield _Shot(_TEST, 0, stranger, number % world.cameras, number, misplaced)
    for number in range(junk):
        person = first + 1 + number % people
        yield _Shot(_TEST, -1, person, number % world.cameras, number, misplaced=True)


def _drawn(world: _World, shots: list[_Shot], folder: Path, workers: int) -> Iterator[int]:
    """Draw and write all pictures, yielding how many are done."""
    parts = [shots[i : i + _TOGETHER] for i in range(0, len(shots), _TOGETHER)]
    for name in FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    done = 0
    if workers == 1:
        for part in parts:
            done += _draw_part(world, part, folder)
            yield done
        return
    # A forked copy of a process with threads (TensorFlow's) may hang: start fresh ones.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_draw_part, world, part, folder) for part in parts]
        try:
            for job in jobs:
                done += job.result()
                yield done
        finally:
            for job in jobs:
                job.cancel()


def _draw_part(world: _World, shots: list[_Shot], folder: Path) -> int:
    for shot in shots:
        path = folder / shot.folder / shot.name
        with explained(folder.parent / shot.folder / shot.name):  # where it is going to stand
            path.write_bytes(_jpeg(_picture(world, shot)))
    return len(shots)


def _picture(world: _World, shot: _Shot) -> np.ndarray:
    camera = _cameras(world)[shot.camera]
    key = shot.identity if shot.identity > 0 else _STRANGER * (2 + shot.identity) + shot.number
    number = shot.number if shot.identity > 0 else 0
    passage = draw_passage(camera, _generator(world, _PASSAGE, key, shot.camera, number // 3))
    return photograph(
        None if shot.person is None else _person(world, shot.person),
        camera,
        _scene(world, shot.camera),
        passage,
        _generator(world, _SHOT, key, shot.camera, number, FOLDERS.index(shot.folder)),
        world.size,
        misplaced=shot.misplaced,
    )


def _generator(world: _World, *key: int) -> np.random.Generator:
    return np.random.default_rng([world.seed, *key])


@lru_cache(maxsize=1)
def _cameras(world: _World):
    return draw_cameras(world.cameras, _generator(world, _CAMERAS))


@lru_cache(maxsize=9)
def _scene(world: _World, camera: int):
    return scene_of(_cameras(world)[camera], _generator(world, _SCENE, camera), world.size)


@lru_cache(maxsize=64)
def _person(world: _World, person: int):
    return draw_person(_generator(world, _PERSON, person))


def _jpeg(picture: np.ndarray) -> bytes:
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", picture[..., ::-1], options)[1].tobytes()
