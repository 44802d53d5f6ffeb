"""Where overlapping tiles lie along one axis: coordinates only."""

from __future__ import annotations


def overlap_starts(length: int, tile: int, overlap: int, *, multiple: int = 1) -> tuple[int, ...]:
    """Return the starts of overlapping tiles: steps of tile - overlap, and one tile at the end.

    Args:
        length: Elements of the axis, 1 or more; where a tile is longer, its only start is 0.
        tile: Elements of a tile, a multiple of `multiple`.
        overlap: Elements that neighbours share, fewer than a tile's.
        multiple: What starts and the last end are multiples of.

    Raises:
        ValueError: When `tile` is no such multiple, or the steps would be none.
    """
    check_multiple(multiple, tile=tile)
    step = (tile - overlap) // multiple * multiple
    if step < 1 or overlap < 0:
        raise ValueError(
            f"`overlap` must be in 0..tile - {multiple}. Received: tile={tile}, overlap={overlap}"
        )
    last = max(0, round_up(length, multiple) - tile)
    return (*range(0, last, step), last)


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple that is not below `value`."""
    return -(-value // multiple) * multiple


def check_multiple(multiple: int, **values: int) -> None:
    """Raise a `ValueError` that names a value which is negative or no multiple, or a tile of 0."""
    for name, value in values.items():
        if value < 0 or value % multiple or (name == "tile" and value == 0):
            raise ValueError(f"`{name}` must be a multiple of {multiple}. Received: {name}={value}")
