"""Adaptive cropping (ACS): IMDN_AS on pictures whose sides are no multiples of four.

Z. Hui et al., ACM MM 2019, Sec. 3.4. The network halves a picture twice, so its sides must be
multiples of four. Other pictures are covered by four overlapping crops, one from each corner;
each quadrant of the result is taken from the crop of its corner. Coordinates only, as in
`apps.super_resolution.tiling`.
"""

from __future__ import annotations

from apps.super_resolution.tiling import Grid, Span

MULTIPLE = 4
SHAVE = 32  # pixels that a crop reaches beyond its quadrant, three fewer at most


def adaptive_crops(height: int, width: int) -> Grid | None:
    """Return the four crops of a picture, all of one size.

    Args:
        height, width: The picture's size in pixels.

    Returns:
        Two rows with two columns each; None where both sides are multiples of four, so that the
        picture needs no crops, and where a side is too short for them (some below 60 pixels).
    """
    if height % MULTIPLE == width % MULTIPLE == 0:
        return None
    rows, columns = _halves(height), _halves(width)
    return Grid(rows, columns) if rows and columns else None


def _halves(side: int) -> tuple[Span, Span] | None:
    """Return the first and the last crop along a side, None if the side is too short."""
    half = side // 2
    size = (half + SHAVE) // MULTIPLE * MULTIPLE
    if size > side:
        return None
    return Span(0, size, 0, half), Span(side - size, side, half, side)
