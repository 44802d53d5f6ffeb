"""A picture of many samples: small, named, with their truth drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import UserError

if TYPE_CHECKING:
    from core.data.index import Index, Sample
    from core.model_card import ModelCard
    from core.task import Task

_CELL, _CAPTION, _GAP, _COLUMNS, _SAMPLES = 192, 14, 6, 4, 16


def write_sheet(task: Task, index: Index, card: ModelCard, path: Path) -> Path:
    """Write samples taken evenly from an index as one PNG, and return its path.

    Files that cannot be read stay away: the check of the data names them.

    Raises:
        UserError: When no sample could be read or the picture cannot be written.
    """
    from core.data.images import write_image

    cells = []
    for sample in _spread(index.samples, _SAMPLES):
        try:
            picture = task.draw_truth(sample, card)
            if picture is None:
                picture = _plain_picture(sample)
        except UserError:
            continue
        named = not sample.split or sample.id.startswith(sample.split)
        cells.append(_cell(picture, sample.id if named else f"{sample.split}: {sample.id}"))
    if not cells:
        raise UserError(f"{index.root}: no sample could be drawn; see the problems.")
    return write_image(path, sheet(cells))


def sheet(cells: list[np.ndarray]) -> np.ndarray:
    """Return cells of equal size side by side in rows: uint8 (H, W, 3)."""
    height, width = cells[0].shape[:2]
    columns = min(_COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    whole = np.full(
        (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), 255, np.uint8
    )
    for number, cell in enumerate(cells):
        top = _GAP + number // columns * (height + _GAP)
        left = _GAP + number % columns * (width + _GAP)
        whole[top : top + height, left : left + width] = cell
    return whole


def _cell(picture: np.ndarray, caption: str) -> np.ndarray:
    """Return a picture fitted into a square, its caption below."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    scale = _CELL / max(image.size)
    fitted = image.resize([max(1, round(side * scale)) for side in image.size], Image.BILINEAR)
    cell = Image.new("RGB", (_CELL, _CELL + _CAPTION), "white")
    cell.paste(fitted, ((_CELL - fitted.width) // 2, (_CELL - fitted.height) // 2))
    shown = caption if len(caption) <= 32 else f"{caption[:15]}..{caption[-15:]}"
    shown = shown.encode("ascii", "replace").decode()  # all the built-in font has for certain
    ImageDraw.Draw(cell).text((0, _CELL), shown, fill="black")
    return np.asarray(cell)


def _plain_picture(sample: Sample) -> np.ndarray:
    from core.data.images import read_image

    return read_image(sample.inputs[0])


def _spread(samples: tuple[Sample, ...], count: int) -> list[Sample]:
    if len(samples) <= count:
        return list(samples)
    return [samples[i * len(samples) // count] for i in range(count)]
