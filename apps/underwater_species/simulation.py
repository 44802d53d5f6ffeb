"""A data set of drawn animals under a synthetic degradation, as train/<class>/ and test/<class>/.

The pictures are drawings: they show that training, explanation, compression and export work, and
how methods compare on the same ground. They are not AQUA20 and say nothing of scores on it.

Every picture has a random generator of its own, keyed by seed, split, class and number: a larger
data set begins with the pictures of a smaller one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from apps.underwater_species.scenes import KINDS, draw_picture
from core.data.images import find_images, read_image
from core.errors import UserError
from core.files import claim_folder, explained, folder_aside, write_atomic, write_json

RECORD = "about.json"
WHAT = "drawn animals under a synthetic degradation, not photographs and not AQUA20"
VERSION = 1  # of the generator; another one draws other pictures for the same seed
QUALITY = 85
SPLITS = ("train", "test")
# Of the training pictures, by class: as unequal as a data set of one's own soon is.
SHARES = {
    "fish": 40,
    "starfish": 24,
    "turtle": 18,
    "fishInGroups": 14,
    "jellyfish": 10,
    "crab": 6,
}
LEAST_TESTED = 8  # of a class
_LARGEST = 512  # sides in pixels


def counts_of(count: int, tested: float = 0.4) -> dict[str, dict[str, int]]:
    """Return how many pictures each class has in each split, for so many in training."""
    whole = sum(SHARES.values())
    train = {kind: max(1, round(count * SHARES[kind] / whole)) for kind in KINDS}
    test = {kind: max(LEAST_TESTED, round(tested * n)) for kind, n in train.items()}
    return {"train": train, "test": test}


def simulate(
    folder: str | os.PathLike,
    *,
    count: int = 1120,
    seed: int = 0,
    size: int = 112,
    counts: Mapping[str, Mapping[str, int]] | None = None,
    photographs: str | os.PathLike | None = None,
    advance: Callable[[int], None] = lambda pictures: None,
) -> dict[str, Any]:
    """Write a data set, and last `about.json` with every choice behind it.

    Nothing appears before every picture is drawn.

    Args:
        folder: New or empty.
        count: Pictures in training, shared out by `SHARES`.
        seed: Same seed, same bytes.
        size: Sides in pixels.
        counts: Pictures by split and class, instead of `count`.
        photographs: A folder of photographs, parts of which stand for the place; None has places
            drawn too.
        advance: Called with the pictures that were drawn since.

    Returns:
        What `about.json` holds.

    Raises:
        UserError: When a number is out of range, the folder holds files or cannot be written, or
            there are no photographs.
    """
    for value, low, high, what in (
        (count, len(SHARES), 10**6, "pictures in training"),
        (size, 32, _LARGEST, "pixels a side"),
        (seed, 0, 2**63, "as seed"),
    ):
        if not low <= value <= high:
            raise UserError(f"Received {value} {what}; choose a number from {low} to {high}.")
    places = [] if photographs is None else find_images(photographs, recursive=True)
    chosen = counts_of(count) if counts is None else {s: dict(counts[s]) for s in SPLITS}
    out = claim_folder(folder)
    record = {
        "what": WHAT,
        "generator": "gossamer aqua simulate",
        "version": VERSION,
        "seed": seed,
        "size": [size, size],
        "quality": QUALITY,
        "files": chosen,
        "photographs": len(places),
    }
    with folder_aside(out, "simulating") as aside:
        for split, kinds in chosen.items():
            for kind, number in kinds.items():
                inside = aside / split / kind
                inside.mkdir(parents=True)
                for which in range(number):
                    rng = np.random.default_rng(
                        [seed, SPLITS.index(split), KINDS.index(kind), which]
                    )
                    place = read_image(places[rng.integers(0, len(places))]) if places else None
                    picture = draw_picture(kind, rng, size, place)
                    write_atomic(inside / f"{which:05d}.jpg", jpeg(picture))
                    advance(1)
        write_json(aside / RECORD, record)
        with explained(out):
            for name in (*SPLITS, RECORD):
                (aside / name).replace(out / name)
    return record


def jpeg(picture: np.ndarray) -> bytes:
    """Return a picture, uint8 (H, W, 3), as the data set's JPEG file."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", picture[..., ::-1], options)[1].tobytes()
