"""A picture of many samples: small, named, with their truth drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.data.index import spread
from core.drawing import Sheet, grid, shortened
from core.errors import UserError

if TYPE_CHECKING:
    from core.data.index import Index
    from core.model_card import ModelCard
    from core.task import Task

_CELL, _CAPTION, _GAP, _COLUMNS, _SAMPLES, _CHARACTERS = 192, 14, 6, 4, 16, 32


def write_sheet(task: Task, index: Index, card: ModelCard, path: Path) -> Path:
    """Write samples taken evenly from an index as one PNG, and return its path.

    Files that cannot be read stay away: the check of the data names them.

    Raises:
        UserError: When no sample could be read or the picture cannot be written.
    """
    from core.data.images import write_image

    cells = []
    for sample in spread(index, _SAMPLES).samples:
        try:
            picture = task.draw_truth(sample, card)
            if picture is None:
                picture = task.draw_input(sample, card)
        except UserError:
            continue
        if picture is None:
            raise UserError(f"{task.name}: its samples have no pictures; leave out --out.")
        named = not sample.split or sample.id.startswith(sample.split)
        cells.append(_cell(picture, sample.id if named else f"{sample.split}: {sample.id}"))
    if not cells:
        raise UserError(f"{index.root}: no sample could be drawn; see the problems.")
    return write_image(path, grid(cells, _COLUMNS, _GAP))


def _cell(picture: np.ndarray, caption: str) -> np.ndarray:
    """Return a picture fitted into a square, its caption below."""
    cell = Sheet(_CELL + _CAPTION, _CELL)
    cell.paste(picture, (0, 0), (_CELL, _CELL))
    cell.write(shortened(caption, _CHARACTERS), (0, _CELL), size=10)
    return cell.picture()
