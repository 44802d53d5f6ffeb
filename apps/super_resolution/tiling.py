"""Where the tiles of a large picture lie: coordinates only, along one axis at a time.

Three schemes. "Padded" (as Real-ESRGAN): tiles without overlap, each run with extra pixels on the
sides that have neighbours, of which only the inner part is kept; free of seams when the extra
pixels cover the network's receptive radius. "Average" (as the NTIRE challenge script): overlapping
tiles whose results are averaged. Fixed: windows of one size for a file that takes no other, moved
inside the picture, so that its real borders stay borders.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.tiling import check_multiple, overlap_starts, round_up

SCHEMES = ("padded", "average")


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in pixels of the small picture.

    Attributes:
        start, stop: What the network reads; `stop` may lie beyond the picture (mirrored there).
        low, high: The part whose result is kept.
    """

    start: int
    stop: int
    low: int
    high: int

    @property
    def length(self) -> int:
        """Pixels that are read."""
        return self.stop - self.start

    def kept(self, scale: int = 1) -> slice:
        """Return the kept part within the tile's own result."""
        return slice((self.low - self.start) * scale, (self.high - self.start) * scale)

    def placed(self, scale: int = 1) -> slice:
        """Return where the kept part goes in the whole result."""
        return slice(self.low * scale, self.high * scale)


@dataclass(frozen=True)
class Grid:
    """The tiles of a picture: every row span with every column span.

    Attributes:
        rows, columns: Spans from top to bottom and from left to right.
        average: Whether kept parts overlap and are averaged.
    """

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    average: bool = False

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)


def padded_spans(length: int, tile: int, pad: int, *, multiple: int = 1) -> tuple[Span, ...]:
    """Return tiles of `tile` kept pixels with up to `pad` more on sides that have neighbours.

    Args:
        length: Pixels of the axis, 1 or more.
        tile: Kept pixels of a tile, a multiple of `multiple`.
        pad: Extra pixels, a multiple of `multiple`.
        multiple: What the network's input sides are multiples of; the last tile reads mirrored
            pixels beyond the picture to get there.

    Raises:
        ValueError: When `tile` or `pad` is no such multiple.
    """
    check_multiple(multiple, tile=tile, pad=pad)
    end = round_up(length, multiple)
    return tuple(
        Span(max(0, low - pad), min(end, low + tile + pad), low, min(length, low + tile))
        for low in range(0, length, tile)
    )


def overlap_spans(length: int, tile: int, overlap: int, *, multiple: int = 1) -> tuple[Span, ...]:
    """Return overlapping tiles that keep all they read (see `overlap_starts`)."""
    starts = overlap_starts(length, tile, overlap, multiple=multiple)
    return tuple(Span(s, s + tile, s, min(length, s + tile)) for s in starts)


def fixed_spans(length: int, tile: int, pad: int, *, multiple: int = 1) -> tuple[Span, ...]:
    """Return windows of exactly `tile` pixels; what is kept lies `pad` or more from a cut edge.

    A picture smaller than the tile is read once, mirrored beyond its end.

    Raises:
        ValueError: When two pads leave nothing of a tile.
    """
    check_multiple(multiple, tile=tile, pad=pad)
    if tile <= 2 * pad:
        raise ValueError(f"`pad` must be below half a tile. Received: tile={tile}, pad={pad}")
    last = max(0, round_up(length, multiple) - tile)
    spans, start, low = [], 0, 0
    while start < last:
        high = start + tile - pad
        spans.append(Span(start, start + tile, low, high))
        start, low = min(last, high - pad), high
    return (*spans, Span(last, last + tile, low, length))
