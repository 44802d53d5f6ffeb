"""Enlarging a picture of any size with any engine, tile by tile and strip by strip.

The picture stays the array it is; only the tiles in work become floats, and a finished strip is
rounded at once, so that memory follows the width of the picture and not its area.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypedDict, Unpack

import numpy as np

from apps.super_resolution.acs import MULTIPLE, adaptive_crops
from apps.super_resolution.tiling import (
    SCHEMES,
    Grid,
    Span,
    fixed_spans,
    overlap_spans,
    padded_spans,
)
from core.engines import Engine
from core.errors import UserError, one_of
from core.model_card import ModelCard, shown_size
from core.tiling import round_up

RADIUS = 32  # pixels of context where the card does not tell the network's receptive radius
TILE = 256
WHOLE = 2**18  # pictures of so many pixels go through in one piece, where the engine allows it
WHOLE_VALUES = 2**20  # the same in evaluations, where global pooling should see the whole picture

Advance = Callable[[int], None]


class Tiling(TypedDict, total=False):
    """How a picture is cut into tiles; what is left out is chosen by the picture and the network.

    Attributes:
        tile: Side of a tile in pixels of the picture; None is one piece for small pictures (see
            `plan`), else 256.
        overlap: Pixels of context around a padded tile, or that averaged tiles share; None is the
            card's radius (at most a quarter of a fixed tile).
        scheme: "padded" (the default) or "average", see `apps.super_resolution.tiling`.
    """

    tile: int | None
    overlap: int | None
    scheme: str


def scale_of(card: ModelCard) -> int:
    """Return how many times larger a network's result is."""
    return int(card.decode.get("scale", 1))


def levels_of(card: ModelCard) -> float:
    """Return what 1.0 of the network's output is in levels of 0..255.

    255 for networks on [0, 1] and 1 for those on 0..255, as their inputs (the card's `std`) or as
    `card.decode["output_range"]`, the output's highest value or (lowest, highest), says.
    """
    stated = card.decode.get("output_range")
    if stated is None:
        return 255.0 * float(card.std[0])
    return 255.0 / float(stated[-1] if isinstance(stated, list | tuple) else stated)


def enlarge(
    engine: Engine,
    image: np.ndarray,
    card: ModelCard,
    *,
    batch: int = 1,
    advance: Advance | None = None,
    **tiling: Unpack[Tiling],
) -> np.ndarray:
    """Return a picture enlarged by the network's scale, in the picture's own type.

    Args:
        engine: Keras or LiteRT; a fixed input size is tiled for, any size is used freely.
        image: uint8 or uint16 (H, W, 3), RGB. 16 bits go in as fractions of the 256 levels.
        card: Of the network: normalisation, `size_multiple`, `decode["scale"]` and
            `decode["radius"]` (receptive radius in pixels of `image`).
        batch: Tiles of one size per engine call.
        advance: Called with the number of tiles done.
        tiling: How it is cut, see `Tiling`.

    Returns:
        (H·scale, W·scale, 3). For results of gigabytes use `strips`.

    Raises:
        UserError: For a tile or overlap that does not fit, and when the network returns another
            size than its card says, or values that are not finite.
    """
    height, width = _checked(image).shape[:2]
    scale = scale_of(card)
    canvas = np.empty((height * scale, width * scale, 3), image.dtype)
    at = 0
    for strip in strips(engine, image, card, batch=batch, advance=advance, **tiling):
        canvas[at : at + len(strip)] = strip
        at += len(strip)
    return canvas


def strips(
    engine: Engine,
    image: np.ndarray,
    card: ModelCard,
    *,
    batch: int = 1,
    advance: Advance | None = None,
    **tiling: Unpack[Tiling],
) -> Iterator[np.ndarray]:
    """Yield the rows of an enlarged picture from top to bottom, a tile's height at a time.

    Args and Raises: as `enlarge`. Each strip is (rows, W·scale, 3) of the picture's type.
    """
    _checked(image)
    height, width = image.shape[:2]
    grid = plan(engine, (height, width), card, **tiling)
    deep = image.dtype == np.uint16

    def read(rows: Span, columns: Span) -> np.ndarray:
        pixels = window(image, rows, columns)
        return card.normalise(pixels.astype(np.float32) / 257 if deep else pixels)

    gain = np.float32(levels_of(card) * (257 if deep else 1))

    def rounded(values: np.ndarray) -> np.ndarray:
        values = values * gain
        np.rint(values, out=values)
        np.clip(values, 0, np.iinfo(image.dtype).max, out=values)
        return values.astype(image.dtype)

    yield from _strips(engine, grid, card, read, rounded, width, batch, advance)


def enlarge_values(
    engine: Engine,
    values: np.ndarray,
    card: ModelCard,
    *,
    batch: int = 1,
    **tiling: Unpack[Tiling],
) -> np.ndarray:
    """Return the raw output for a whole normalised picture, for evaluations.

    Args:
        values: float32 (H, W, 3), the network's input.
        engine, card, batch, tiling: As in `enlarge`, but pictures of up to a million pixels go
            through in one piece.

    Returns:
        float32 (H·scale, W·scale, 3), neither clipped nor rounded.
    """
    height, width = values.shape[:2]
    grid = plan(engine, (height, width), card, whole=WHOLE_VALUES, **tiling)

    def read(rows: Span, columns: Span) -> np.ndarray:
        return window(values, rows, columns).astype(np.float32, copy=False)

    parts = _strips(engine, grid, card, read, lambda part: part, width, batch, None)
    return np.concatenate(list(parts))


def plan(
    engine: Engine,
    size: tuple[int, int],
    card: ModelCard,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    scheme: str = "padded",
    whole: int = WHOLE,
) -> Grid:
    """Return the tiles of a picture of (height, width) pixels.

    A network that restores pictures at their size and takes sides of multiples of four (IMDN_AS)
    gets others that go through whole in the crops its authors use (`apps.super_resolution.acs`),
    any other network mirrored pixels beyond the end.

    Raises:
        UserError: As `enlarge`.
    """
    one_of(scheme, SCHEMES, "The scheme of the tiles")
    multiple = max(1, card.size_multiple)
    fixed = fixed_size(engine)
    context = round_up(
        int(card.decode.get("radius", RADIUS) if overlap is None else overlap), multiple
    )
    if fixed is not None:
        return _fixed_plan(engine, size, fixed, tile, overlap, context, scheme, multiple)
    if tile is None and math.prod(size) <= whole:
        crops = adaptive_crops(*size) if scale_of(card) == 1 and multiple == MULTIPLE else None
        if crops is not None:
            return crops
        rows, columns = (padded_spans(n, round_up(n, multiple), 0, multiple=multiple) for n in size)
        return Grid(rows, columns)
    side = round_up(TILE if tile is None else tile, multiple)
    if scheme == "padded":
        rows, columns = (padded_spans(n, side, context, multiple=multiple) for n in size)
        return Grid(rows, columns)
    side = min(side, *(round_up(n, multiple) for n in size))
    if overlap is None:
        context = min(context, side // 2 // multiple * multiple)
    _check_overlap(side, context, scheme, multiple)
    rows, columns = (overlap_spans(n, side, context, multiple=multiple) for n in size)
    return Grid(rows, columns, average=True)


def fixed_size(engine: Engine) -> tuple[int, int] | None:
    """Return (height, width) of an engine that takes one input size, or None."""
    shape = getattr(engine, "input_shape", None)
    if shape is None:
        shape = getattr(getattr(engine, "model", None), "input_shape", None)
    if not isinstance(shape, tuple | list) or len(shape) != 4 or None in shape[1:3]:
        return None
    return int(shape[1]), int(shape[2])


def window(image: np.ndarray, rows: Span, columns: Span) -> np.ndarray:
    """Return the pixels a tile reads, mirrored (without the edge itself) beyond the picture."""
    part = image
    for axis, span in enumerate((rows, columns)):
        if span.stop <= image.shape[axis]:
            part = part[span.start : span.stop] if axis == 0 else part[:, span.start : span.stop]
        else:
            part = part.take(_mirrored(span, image.shape[axis]), axis=axis)
    return part


def _mirrored(span: Span, length: int) -> np.ndarray:
    period = max(1, 2 * (length - 1))
    index = np.arange(span.start, span.stop) % period
    return np.minimum(index, period - index) if length > 1 else np.zeros_like(index)


def _fixed_plan(engine, size, fixed, tile, overlap, context, scheme, multiple) -> Grid:
    if tile is not None and (tile, tile) != fixed:
        raise UserError(
            f"{engine.name}: takes tiles of {fixed[0]}x{fixed[1]} pixels and no others; leave out "
            "--tile or export the network for that size."
        )
    if overlap is None:
        share = 4 if scheme == "padded" else 2
        context = min(context, min(fixed) // share // multiple * multiple)
    _check_overlap(min(fixed), context, scheme, multiple)
    spans = fixed_spans if scheme == "padded" else overlap_spans
    rows, columns = (
        spans(n, side, context, multiple=multiple) for n, side in zip(size, fixed, strict=True)
    )
    return Grid(rows, columns, average=scheme == "average")


def _check_overlap(side: int, context: int, scheme: str, multiple: int) -> None:
    needed = 2 * context if scheme == "padded" else context
    if context < 0 or side - needed < multiple:
        raise UserError(
            f"Tiles of {side} pixels leave nothing between overlaps of {context}; use a smaller "
            "--overlap or larger tiles."
        )


def _strips(
    engine: Engine,
    grid: Grid,
    card: ModelCard,
    read: Callable[[Span, Span], np.ndarray],
    finish: Callable[[np.ndarray], np.ndarray],
    width: int,
    batch: int,
    advance: Advance | None,
) -> Iterator[np.ndarray]:
    """Yield finished strips; `read` gives a tile's input, `finish` turns outputs into pixels."""
    if batch < 1:
        raise ValueError(f"`batch` must be 1 or more. Received: batch={batch}")
    if grid.average:
        yield from _averaged(engine, grid, card, read, finish, width, batch, advance)
        return
    scale = scale_of(card)
    for rows in grid.rows:
        strip: Any = None
        for columns, output in _outputs(engine, rows, grid.columns, card, read, batch, advance):
            kept = finish(output[rows.kept(scale), columns.kept(scale)])
            if strip is None:
                strip = np.empty((len(kept), width * scale, kept.shape[-1]), kept.dtype)
            strip[:, columns.placed(scale)] = kept
        yield strip


def _averaged(engine, grid, card, read, finish, width, batch, advance) -> Iterator[np.ndarray]:
    """Yield the means of overlapping tiles; the sums of one row of tiles are held at a time."""
    scale = scale_of(card)
    weights = np.zeros(width * scale, np.float32)
    for span in grid.columns:
        weights[span.placed(scale)] += 1
    sums: Any = None  # of the row above
    counts: Any = None  # of tiles in them
    for number, rows in enumerate(grid.rows):
        tall = (rows.high - rows.low) * scale
        current: Any = None
        for columns, output in _outputs(engine, rows, grid.columns, card, read, batch, advance):
            if current is None:
                current = np.zeros((tall, width * scale, output.shape[-1]), np.float32)
                seen = np.ones(tall, np.float32)
            current[:, columns.placed(scale)] += output[rows.kept(scale), columns.kept(scale)]
        if sums is not None:  # what is left of the row above lies over the top of this one
            current[: len(sums)] += sums
            seen[: len(sums)] += counts
        last = number + 1 == len(grid.rows)
        done = tall if last else (grid.rows[number + 1].low - rows.low) * scale
        current[:done] /= seen[:done, None, None] * weights[:, None]
        yield finish(current[:done])
        sums, counts = current[done:].copy(), seen[done:]


def _outputs(
    engine: Engine, rows: Span, columns: tuple[Span, ...], card: ModelCard, read, batch, advance
) -> Iterator[tuple[Span, np.ndarray]]:
    """Yield each tile of a row with its raw output, tiles of one size batched."""
    at, scale = 0, scale_of(card)
    while at < len(columns):
        length = columns[at].length
        group = [columns[at]]
        for span in columns[at + 1 : at + batch]:
            if span.length != length:
                break
            group.append(span)
        outputs = engine(np.stack([read(rows, span) for span in group]))[0]
        wanted = (rows.length * scale, length * scale)
        found = outputs.shape[1:]
        if found != (*wanted, 3):
            what = "pixels" if found[2:] == (3,) else "values that are no RGB picture"
            raise UserError(
                f"{engine.name}: returned {shown_size(found[:2])} {what} for "
                f"{rows.length}x{length}, but its card says scale {scale}; import it again with "
                "the right --variant."
            )
        if not np.isfinite(outputs).all():
            raise UserError(
                f"{engine.name}: returned values that are not finite; its weights are damaged or "
                "overflow at this precision."
            )
        yield from zip(group, outputs, strict=True)
        if advance is not None:
            advance(len(group))
        at += len(group)


def _checked(image: np.ndarray) -> np.ndarray:
    if image.dtype not in (np.uint8, np.uint16) or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            "`image` must be uint8 or uint16 (H, W, 3). "
            f"Received: {image.dtype} {tuple(image.shape)}"
        )
    return image
