"""Pictures of what a network finds, and of what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.drawing import (
    INK,
    Colour,
    Place,
    Sheet,
    checked,
    dark_to_light,
    heat,
    shortened,
    side_by_side,
    text_width,
)

# Frame colour and words of every verdict; the words serve who cannot tell red from green.
VERDICTS = {
    "right": ((24, 150, 60), "same person"),
    "wrong": ((214, 40, 40), "another person"),
    "unknown": ((140, 140, 140), "person not known"),
    "skipped": ((40, 100, 220), "not counted: same person and camera, or junk"),
}
_BOX = (224, 112)  # room of a picture, height and width
_FRAME, _GAP, _LINE, _MARGIN = 5, 8, 15, 10
_CELL = (_BOX[0] + 2 * _FRAME + 3 * _LINE, _BOX[1] + 2 * _FRAME)
_DASH = 8
_NAME = 20  # characters under a picture
_SPACE = 10  # white columns between the two pictures of an activation map
_HEAT = 0.7  # share of the map in the overlay


@dataclass(frozen=True)
class Hit:
    """One gallery picture that a search returned.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        distance: To the query; smaller is nearer.
        name: Of its file.
        person: Its raw id, None where it is not known; 0 is a distractor, -1 junk.
        camera: From 0, None where it is not known.
    """

    image: np.ndarray
    distance: float
    name: str = ""
    person: int | None = None
    camera: int | None = None


def verdict(person: int | None, camera: int | None, hit: Hit) -> str:
    """Return what the Market-1501 protocol says of a hit: a key of `VERDICTS`.

    Args:
        person, camera: Of the query, as in `Hit`.
        hit: What was found.
    """
    if hit.person == -1:
        return "skipped"
    if person is None or hit.person is None:
        return "unknown"
    if person != hit.person:
        return "wrong"
    return "skipped" if camera is not None and camera == hit.camera else "right"


def search_sheet(
    query_image: np.ndarray,
    results: Sequence[Hit],
    *,
    name: str = "",
    person: int | None = None,
    camera: int | None = None,
    top: int = 10,
    title: str = "",
    synthetic: bool = False,
) -> np.ndarray:
    """Return a query at the left and what was found for it at the right, nearest first.

    A frame is green for the same person, red for another, grey where that is not known, and dashed
    blue for what the protocol removes; ranks count the others only. Cameras are written from 1, as
    in the names of files.

    Args:
        query_image: uint8 (H, W, 3), RGB.
        results: In order of distance.
        name, person, camera: Of the query, as in `Hit`.
        top: Hits shown at most.
        title: Written above.
        synthetic: Say above that these are no photographs.

    Returns:
        uint8 (H, W, 3), as wide as there are hits.
    """
    if top < 1:
        raise ValueError(f"`top` must be 1 or more. Received: top={top}")
    hits = list(results)[:top]
    verdicts = [verdict(person, camera, hit) for hit in hits]
    note = "synthetic pedestrians, not photographs" if synthetic else ""
    heading = ", ".join(part for part in (title, note) if part)
    head = 2 * _LINE if heading else _MARGIN
    legend = _legend(verdicts)
    words = [heading, "   ".join(text for _, text in legend)]
    least = max(map(text_width, words)) + 22 * len(legend) + 2 * _MARGIN
    cells = (len(hits) + 1) * (_CELL[1] + _GAP) + _GAP  # a gap more after the query
    width = max(2 * _MARGIN + cells, round(least))
    sheet = Sheet(head + _CELL[0] + (2 * _LINE if legend else _MARGIN), width)
    if heading:
        sheet.write(heading, (_MARGIN, head / 2), middle=True)
    place = (_MARGIN, head)
    _cell(sheet, place, query_image, INK, ["query", _short(name), _owner(person, camera)])
    left, rank = _MARGIN + _CELL[1] + 2 * _GAP, 0
    for hit, judged in zip(hits, verdicts, strict=True):
        rank += judged != "skipped"
        first = f"{rank}" if judged != "skipped" else "-"
        first += "" if judged == "unknown" else f"  {judged}"
        owner = _owner(hit.person, hit.camera)
        lines = [f"{first}  {hit.distance:.4g}", _short(hit.name), owner]
        dash = _DASH if judged == "skipped" else 0
        _cell(sheet, (left, head), hit.image, VERDICTS[judged][0], lines, dash=dash)
        left += _CELL[1] + _GAP
    left, middle = _MARGIN, head + _CELL[0] + _LINE
    for judged, text in legend:
        dash = 4 if judged == "skipped" else 0
        sheet.outline((left, middle - 5), (11, 15), VERDICTS[judged][0], 3, dash=dash)
        sheet.write(text, (left + 20, middle), middle=True)
        left += 20 + round(text_width(f"{text}   "))
    return sheet.picture()


def activation(features: np.ndarray) -> np.ndarray:
    """Return how strongly every position answers: the channels' squares summed, of L2 norm 1.

    Args:
        features: (h, w, c), the last feature map before pooling.

    Returns:
        float32 (h, w). All zero where no channel answers.
    """
    features = np.asarray(features)
    if features.ndim != 3 or not features.size:
        raise ValueError(f"`features` must be (h, w, c). Received: shape={features.shape}")
    strength = np.square(features.astype(np.float64)).sum(axis=-1)
    return (strength / max(float(np.linalg.norm(strength)), 1e-12)).astype(np.float32)


def activation_map(features: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return an image and, beside it, the image under the map of where the network answers.

    As the authors' library draws it for OSNet (Zhou et al., ICCV 2019): the sum of squares over
    channels, enlarged bilinearly, from blue (its least) to red (its most).

    Args:
        features: (h, w, c), the last feature map before pooling.
        image: uint8 (H, W, 3), RGB.

    Returns:
        uint8 (H, 2 W + gap, 3).
    """
    import cv2

    image = checked(image)
    height, width = image.shape[:2]
    strength = cv2.resize(activation(features), (width, height), interpolation=cv2.INTER_LINEAR)
    mixed = np.rint((1 - _HEAT) * image + _HEAT * heat(strength)).astype(np.uint8)
    return side_by_side(image, mixed, _SPACE)


def embedding_picture(image: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """Return a crop beside its embedding, drawn as a pattern of squares from dark to light.

    Args:
        image: uint8 (H, W, 3).
        embedding: float32 (D,); its largest number is white.

    Returns:
        uint8 (256, 268, 3): the crop of 256x128, a gap, and the pattern of 256x128.
    """
    import cv2

    height, width, gap = 256, 128, 12
    crop = cv2.resize(checked(image), (width, height), interpolation=cv2.INTER_AREA)
    columns = 16
    rows = -(-len(embedding) // columns)
    values = np.zeros(rows * columns, np.float32)
    values[: len(embedding)] = embedding / max(float(np.max(embedding)), 1e-12)
    cells = cv2.resize(
        values.reshape(rows, columns), (width, height), interpolation=cv2.INTER_NEAREST
    )
    return side_by_side(crop, dark_to_light(cells), gap)


def _legend(verdicts: list[str]) -> list[tuple[str, str]]:
    """Return the verdicts that occur, and their words."""
    return [(judged, text) for judged, (_, text) in VERDICTS.items() if judged in verdicts]


def _cell(
    sheet: Sheet,
    place: Place,
    image: np.ndarray,
    colour: Colour,
    lines: list[str],
    *,
    dash: int = 0,
) -> None:
    """Draw a picture in its frame, and lines below it."""
    left, top = place
    sheet.paste(image, (left + _FRAME, top + _FRAME), _BOX)
    size = (_BOX[0] + 2 * _FRAME, _BOX[1] + 2 * _FRAME)
    sheet.outline(place, size, colour, _FRAME - 1, dash=dash)
    for number, line in enumerate(lines):
        sheet.write(line, (left + 2, top + size[0] + 1 + number * _LINE))


def _short(name: str) -> str:
    """Return a file name that fits under a picture, without its suffix."""
    return shortened(name.rsplit(".", 1)[0] if "." in name else name, _NAME)


def _owner(person: int | None, camera: int | None) -> str:
    who = {None: "", 0: "distractor", -1: "junk"}.get(person, f"person {person}")
    where = "" if camera is None else f"camera {camera + 1}"
    return ", ".join(part for part in (who, where) if part)
