"""A network over a whole volume: slice by slice, or in overlapping windows.

Windows are those of nnU-Net (F. Isensee et al., Nature Methods 2021, arXiv:1904.08128; code
github.com/MIC-DKFZ/nnUNet): half a window apart, logits weighted with a Gaussian of an eighth of
the window whose middle is 1, so that what is near a border, with less to go by, counts less.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.engines import Engine
from core.model_card import ModelCard
from core.tiling import overlap_starts

SLICES = 8  # that go through the network at once
SIGMA = 1 / 8  # of the window's side


def cut(values: np.ndarray, start: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """Return a part of a volume, zeros (the window's lowest value) where it reaches beyond.

    Args:
        values: (D, H, W, ...).
        start: First voxel along each of the three axes; may be negative.
        size: Voxels of the part along each of them.

    Returns:
        (*size, ...), a view where nothing had to be added.
    """
    inside = [_inside(at, side, n) for at, side, n in zip(start, size, values.shape, strict=False)]
    part = values[tuple(read for read, _ in inside)]
    if part.shape[:3] == tuple(size):
        return part
    whole = np.zeros((*size, *values.shape[3:]), values.dtype)
    whole[tuple(place for _, place in inside)] = part
    return whole


def starts(length: int, side: int) -> tuple[int, ...]:
    """Return where windows begin along an axis: half a window apart, or one around all of it."""
    return ((length - side) // 2,) if length <= side else overlap_starts(length, side, side // 2)


def gaussian(side: int) -> np.ndarray:
    """Return the weights along one axis of a window, float32 (side,): 1 in the middle, never 0."""
    places = np.arange(side) - side // 2
    return np.exp(-0.5 * (places / (SIGMA * side)) ** 2).astype(np.float32)


def blended(engine: Engine, values: np.ndarray, card: ModelCard) -> np.ndarray:
    """Return the logits of a network for volumes, blended from its windows.

    Args:
        engine: Keras or LiteRT; it is given windows of the card's size, one at a time.
        values: uint8 (D, H, W, 1), grey levels.
        card: Of the network.

    Returns:
        float32 (D, H, W, classes).
    """
    shape, size = values.shape[:3], tuple(card.input_size)
    weights = [gaussian(side) for side in size]
    along = [starts(length, side) for length, side in zip(shape, size, strict=True)]
    window = weights[0][:, None, None, None] * np.multiply.outer(*weights[1:])[..., None]
    sums: Any = None
    for start in itertools.product(*along):
        output = engine(card.normalise(cut(values, start, size))[None])[0][0]
        if sums is None:
            sums = np.zeros((*shape, output.shape[-1]), np.float32)
        inside = [_inside(at, side, n) for at, side, n in zip(start, size, shape, strict=True)]
        place, kept = (tuple(parts) for parts in zip(*inside, strict=True))
        sums[place] += (output * window)[kept]
    # The windows lie in rows along each axis, so their weights' sum is a product of three.
    totals = [_total(*axis) for axis in zip(shape, size, along, weights, strict=True)]
    for plane, total in zip(sums, totals[0], strict=True):
        plane /= total * np.multiply.outer(*totals[1:])[..., None]
    return sums


def slice_wise(engine: Engine, values: np.ndarray, card: ModelCard) -> np.ndarray:
    """Return the logits of a network for images for every axial slice of a volume.

    Args:
        engine: Keras or LiteRT; it is given eight slices at a time.
        values: uint8 (D, H, W, 1), grey levels; slices are stretched to the card's size.
        card: Of the network; one for RGB gets three equal channels.

    Returns:
        float32 (D, h, w, classes), h and w the network's.
    """
    depth = len(values)
    together = min(SLICES, depth)
    logits: Any = None
    for first in overlap_starts(depth, together, 0):  # all calls alike, so one trace will do
        at_once = slice(first, first + together)
        images = np.stack([network_slice(plane, card.input_size) for plane in values[at_once]])
        output = engine(card.normalise(images))[0]
        if logits is None:
            logits = np.empty((depth, *output.shape[1:]), np.float32)
        logits[at_once] = output
    return logits


def network_slice(plane: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return an axial slice, uint8 (H, W, 1), at a network's (height, width), as images get there.

    It stays uint8, so that an integer file takes its levels for codes.
    """
    import cv2

    height, width = size
    resized = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized.reshape(height, width, 1)


def _inside(start: int, side: int, length: int) -> tuple[slice, slice]:
    """Return what of a window lies in the volume: where in the volume, and where in the window."""
    low, high = max(0, start), min(length, start + side)
    return slice(low, high), slice(low - start, high - start)


def _total(length: int, side: int, along: tuple[int, ...], weights: np.ndarray) -> np.ndarray:
    total = np.zeros(length, np.float32)
    for start in along:
        place, kept = _inside(start, side, length)
        total[place] += weights[kept]
    return total
