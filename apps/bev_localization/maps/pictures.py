"""The picture of a scan that was looked for on a map: both scans on each other, and where it is."""

from __future__ import annotations

import numpy as np

from apps.bev_localization.images.recipes import BevRecipe
from apps.bev_localization.maps.localizing import Fix, as_pose
from apps.bev_localization.maps.map_file import PlaceMap
from core.drawing import INK, PALETTE, Sheet, shortened, text_width

MAP_COLOUR, SCAN_COLOUR, BOTH_COLOUR = PALETTE[1], PALETTE[5], INK
_PLACES = (170, 170, 170)
_PANEL, _MARGIN, _LINE = 560, 16, 20  # pixels
_HEADING, _SCALE_BAR = 26, 6  # pixels
_TEXT = 14
_NICE = (1, 2, 5)


def localized_picture(
    found: PlaceMap, image: np.ndarray, fix: Fix, *, name: str, synthetic: bool = False
) -> np.ndarray:
    """Return the picture of a scan that was looked for.

    Left the place's scan and the query's on it, moved by the pose; forward of the place is up.
    Right the map from above, x to the right and y up, with the place and the pose.

    Args:
        found: The map.
        image: uint8 (side, side), the query's density image.
        fix: Where it was found.
        name: Of the query.
        synthetic: Whether it is a simulation.

    Returns:
        uint8 (H, W, 3).
    """
    recipe = found.about.recipe
    transform = None
    if fix.pose is not None:  # which may have been refined since it was estimated
        transform = (np.linalg.inv(found.poses[fix.place]) @ fix.pose)[:2, [0, 1, 3]]
    left = overlay(found.image(fix.place), image, transform, recipe, _PANEL)
    top = _MARGIN + 3 * _LINE
    sheet = Sheet(top + _PANEL + _MARGIN + _LINE, 3 * _MARGIN + 2 * _PANEL)
    for number, line in enumerate(_words(found, fix, name, synthetic or found.about.synthetic)):
        sheet.write(line, (_MARGIN, _MARGIN + number * _LINE), size=_TEXT)
    sheet.paste(left, (_MARGIN, top))
    _legend(
        sheet,
        (_MARGIN, top + _PANEL + _LINE // 2),
        [(MAP_COLOUR, "map"), (SCAN_COLOUR, "scan"), (BOTH_COLOUR, "both")],
    )
    _draw_map(sheet, (2 * _MARGIN + _PANEL, top), found, fix)
    return sheet.picture()


def overlay(
    place: np.ndarray,
    query: np.ndarray,
    transform: np.ndarray | None,
    recipe: BevRecipe,
    pixels: int,
) -> np.ndarray:
    """Return a query's density image on that of a place, uint8 (pixels, pixels, 3).

    Args:
        place, query: uint8 (side, side).
        transform: (2, 3), from the query's frame to the place's; None leaves the query out.
        recipe: Of both images.
        pixels: Of the picture.
    """
    span = recipe.side * recipe.resolution
    step = span / pixels
    # Metres of the pixels' middles in the frame of the place.
    first = recipe.side // 2 * recipe.resolution + recipe.resolution
    metres = first - (np.arange(pixels) + 0.5) * step
    x, y = np.meshgrid(metres, metres, indexing="ij")
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    shown = [_strength(place, grid, recipe), np.zeros(len(grid))]
    if transform is not None:
        back = np.linalg.inv(as_pose(transform))
        moved = grid @ back[:2, :2].T + back[:2, 3]
        shown[1] = _strength(query, moved, recipe)
    # The stronger of both gives the depth of colour, their shares its hue.
    low, high = np.minimum(*shown), np.maximum(*shown)
    both = np.divide(low, high, out=np.zeros_like(low), where=high > 0)[:, None]
    own = np.where((shown[0] >= shown[1])[:, None], MAP_COLOUR, SCAN_COLOUR)
    colour = own * (1 - both) + np.array(BOTH_COLOUR) * both
    picture = 255 - (255 - colour) * high[:, None]
    return np.rint(picture).astype(np.uint8).reshape(pixels, pixels, 3)


def _strength(image: np.ndarray, points: np.ndarray, recipe: BevRecipe) -> np.ndarray:
    """Return how occupied an image is at points in metres (N, 2), 0 to 1; 0 outside of it."""
    cells = recipe.centre - np.floor(points / recipe.resolution).astype(np.int64)
    inside = ((cells >= 0) & (cells < recipe.side)).all(axis=1)
    values = np.zeros(len(points))
    values[inside] = image[cells[inside, 0], cells[inside, 1]] / 255
    return np.where(values > 0, 0.45 + 0.55 * values, 0.0)  # what stands alone is seen too


def _words(found: PlaceMap, fix: Fix, name: str, synthetic: bool) -> list[str]:
    verdict = "" if fix.on_map else "NOT ON THIS MAP; the nearest place: "
    place = shortened(found.ids[fix.place], 40)
    lines = [f"{shortened(name, 60)}{' (simulation)' if synthetic else ''}"]
    lines.append(
        f"{verdict}{place}, descriptors {fix.distance:.3f} apart, {fix.inliers} of {fix.matches} "
        "matches agree"
    )
    if fix.pose is None:
        return [*lines, "no pose: an image has no keypoints"]
    x, y = fix.pose[:2, 3]
    guess = "" if fix.on_map else "its best guess: "
    where = f"x {x:.2f} m, y {y:.2f} m, heading {fix.yaw:.1f} degrees, in the map's frame"
    return [*lines, f"{guess}{where}"]


def _draw_map(sheet: Sheet, corner: tuple[int, int], found: PlaceMap, fix: Fix) -> None:
    """Draw all places from above, the one that was found and the pose."""
    left, top = corner
    sheet.outline(corner, (_PANEL, _PANEL), _PLACES, 1)
    points = found.trajectory[:, :2]
    if fix.pose is not None:
        points = np.vstack([points, fix.pose[:2, 3]])
    low, high = points.min(axis=0), points.max(axis=0)
    room = _PANEL - 4 * _HEADING
    scale = room / max(float((high - low).max()), 10.0)  # pixels a metre

    def at(point) -> tuple[int, int]:
        right, up = (np.asarray(point) - (low + high) / 2) * scale
        return round(left + _PANEL / 2 + right), round(top + _PANEL / 2 - up)

    for point in found.trajectory[:, :2]:
        sheet.dot(at(point), 3, _PLACES)
    sheet.dot(at(found.trajectory[fix.place, :2]), 6, MAP_COLOUR)
    marks = [(_PLACES, "places"), (MAP_COLOUR, "the nearest")]
    if fix.pose is not None:
        here = at(fix.pose[:2, 3])
        ahead = fix.pose[:2, 0] / max(float(np.linalg.norm(fix.pose[:2, 0])), 1e-12)
        tip = round(here[0] + ahead[0] * _HEADING), round(here[1] - ahead[1] * _HEADING)
        sheet.stroke(here, tip, SCAN_COLOUR, 3)
        sheet.dot(here, 5, SCAN_COLOUR)
        marks.append((SCAN_COLOUR, "the scan and its heading"))
    _legend(sheet, (left, top + _PANEL + _LINE // 2), marks)
    _scale_bar(sheet, (left + _PANEL, top + _PANEL), scale)


def _scale_bar(sheet: Sheet, corner: tuple[int, int], scale: float) -> None:
    """Draw a bar of a round number of metres into the lower right corner of the map."""
    most = _PANEL / 4 / scale
    tens = 10.0 ** np.floor(np.log10(most))
    metres = max(nice * tens for nice in _NICE if nice * tens <= most)
    right, bottom = corner[0] - _MARGIN, corner[1] - _MARGIN
    left = round(right - metres * scale)
    sheet.stroke((left, bottom), (right, bottom), INK, 2)
    for x in (left, right):
        sheet.stroke((x, bottom - _SCALE_BAR), (x, bottom + _SCALE_BAR), INK, 2)
    text = f"{metres:g} m"
    middle = (left + right - text_width(text, _TEXT)) / 2
    sheet.write(text, (middle, bottom - _LINE - _SCALE_BAR), size=_TEXT)


def _legend(sheet: Sheet, place: tuple[int, int], marks) -> None:
    """Write what colours mean, in a row."""
    x, y = place
    for colour, text in marks:
        sheet.dot((x + 6, y + _LINE // 2), 5, colour)
        sheet.write(text, (x + 16, y + _LINE // 2), size=_TEXT, middle=True)
        x += 16 + round(text_width(text, _TEXT)) + _MARGIN
