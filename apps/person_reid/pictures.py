"""Pictures of what a network finds, and of what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
_INK = (30, 30, 30)
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
    from PIL import Image, ImageDraw, ImageFont

    hits = list(results)[:top]
    verdicts = [verdict(person, camera, hit) for hit in hits]
    note = "synthetic pedestrians, not photographs" if synthetic else ""
    heading = ", ".join(part for part in (title, note) if part)
    head = 2 * _LINE if heading else _MARGIN
    font = ImageFont.load_default(11)
    legend = _legend(verdicts)
    words = [heading, "   ".join(text for _, text in legend)]
    least = max(font.getlength(text) for text in words) + 22 * len(legend) + 2 * _MARGIN
    cells = (len(hits) + 1) * (_CELL[1] + _GAP) + _GAP  # a gap more after the query
    width = max(2 * _MARGIN + cells, round(least))
    sheet = Image.new("RGB", (width, head + _CELL[0] + (2 * _LINE if legend else _MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    if heading:
        draw.text((_MARGIN, head / 2), _plain(heading), fill=_INK, font=font, anchor="lm")
    place = (_MARGIN, head)
    _paste(sheet, query_image, place)
    _frame(draw, place, _INK)
    _caption(draw, font, place, ["query", _short(name), _owner(person, camera)])
    left, rank = _MARGIN + _CELL[1] + 2 * _GAP, 0
    for hit, judged in zip(hits, verdicts, strict=True):
        rank += judged != "skipped"
        place = (left, head)
        _paste(sheet, hit.image, place)
        _frame(draw, place, VERDICTS[judged][0], dashed=judged == "skipped")
        first = f"{rank}" if judged != "skipped" else "-"
        first += "" if judged == "unknown" else f"  {judged}"
        owner = _owner(hit.person, hit.camera)
        _caption(draw, font, place, [f"{first}  {hit.distance:.4g}", _short(hit.name), owner])
        left += _CELL[1] + _GAP
    left, middle = _MARGIN, head + _CELL[0] + _LINE
    for judged, text in legend:
        colour = VERDICTS[judged][0]
        swatch = ((left, middle - 5), (left + 14, middle + 5))
        _outline(draw, swatch, colour, 3, dash=4 if judged == "skipped" else 0)
        draw.text((left + 20, middle), text, fill=_INK, font=font, anchor="lm")
        left += 20 + round(font.getlength(f"{text}   "))
    return np.asarray(sheet)


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

    image = _checked(image)
    height, width = image.shape[:2]
    strength = cv2.resize(activation(features), (width, height), interpolation=cv2.INTER_LINEAR)
    low, high = float(strength.min()), float(strength.max())
    levels = np.floor(255 * (strength - low) / (high - low + 1e-12)).astype(np.uint8)
    heat = cv2.applyColorMap(levels, cv2.COLORMAP_JET)[..., ::-1]
    both = np.full((height, 2 * width + _SPACE, 3), 255, np.uint8)
    both[:, :width] = image
    both[:, width + _SPACE :] = np.rint((1 - _HEAT) * image + _HEAT * heat)
    return both


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
    crop = cv2.resize(_checked(image), (width, height), interpolation=cv2.INTER_AREA)
    columns = 16
    rows = -(-len(embedding) // columns)
    values = np.zeros(rows * columns, np.float32)
    values[: len(embedding)] = embedding / max(float(np.max(embedding)), 1e-12)
    cells = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8).reshape(rows, columns)
    pattern = cv2.applyColorMap(
        cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST), cv2.COLORMAP_VIRIDIS
    )[..., ::-1]
    return np.concatenate([crop, np.full((height, gap, 3), 255, np.uint8), pattern], axis=1)


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(
            f"`image` must be uint8 (H, W, 3). Received: {image.dtype} of shape {image.shape}"
        )
    return image


def _legend(verdicts: list[str]) -> list[tuple[str, str]]:
    """Return the verdicts that occur, and their words."""
    return [(judged, text) for judged, (_, text) in VERDICTS.items() if judged in verdicts]


def _paste(sheet, picture: np.ndarray, place: tuple[int, int]) -> None:
    """Fit a picture into the room of a cell, its shape kept."""
    from PIL import Image

    shown = Image.fromarray(np.ascontiguousarray(_checked(picture)))
    scale = min(_BOX[0] / shown.height, _BOX[1] / shown.width)
    size = max(1, round(shown.width * scale)), max(1, round(shown.height * scale))
    left = place[0] + _FRAME + (_BOX[1] - size[0]) // 2
    top = place[1] + _FRAME + (_BOX[0] - size[1]) // 2
    sheet.paste(shown.resize(size, Image.Resampling.BILINEAR), (left, top))


def _frame(draw, place: tuple[int, int], colour, *, dashed: bool = False) -> None:
    left, top = place
    corner = (left + _BOX[1] + 2 * _FRAME - 1, top + _BOX[0] + 2 * _FRAME - 1)
    _outline(draw, (place, corner), colour, _FRAME - 1, dash=_DASH if dashed else 0)


def _outline(draw, box, colour, width: int, *, dash: int) -> None:
    """Draw a rectangle's outline, whole or in dashes of `dash` pixels."""
    draw.rectangle(box, outline=colour, width=width)
    if not dash:
        return
    (left, top), (right, bottom) = box
    for x in range(left + dash, right - width, 2 * dash):
        for y in (top, bottom - width + 1):
            draw.rectangle((x, y, min(x + dash - 1, right - width), y + width - 1), fill="white")
    for y in range(top + dash, bottom - width, 2 * dash):
        for x in (left, right - width + 1):
            draw.rectangle((x, y, x + width - 1, min(y + dash - 1, bottom - width)), fill="white")


def _caption(draw, font, place: tuple[int, int], lines: list[str]) -> None:
    top = place[1] + _BOX[0] + 2 * _FRAME + 1
    for line in lines:
        draw.text((place[0] + 2, top), _plain(line), fill=_INK, font=font)
        top += _LINE


def _short(name: str) -> str:
    """Return a file name that fits under a picture, without its suffix."""
    stem = name.rsplit(".", 1)[0] if "." in name else name
    half = (_NAME - 2) // 2
    return stem if len(stem) <= _NAME else f"{stem[:half]}..{stem[-half:]}"


def _owner(person: int | None, camera: int | None) -> str:
    who = {None: "", 0: "distractor", -1: "junk"}.get(person, f"person {person}")
    where = "" if camera is None else f"camera {camera + 1}"
    return ", ".join(part for part in (who, where) if part)


def _plain(text: str) -> str:
    return text.encode("ascii", "replace").decode()  # all the built-in font has for certain
