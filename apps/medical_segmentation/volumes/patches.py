"""What a training sees of a volume: random slices or windows, a third of them around foreground.

The share of nnU-Net (F. Isensee et al., Nature Methods 2021; code github.com/MIC-DKFZ/nnUNet), and
of its augmentation what costs little: mirroring of all axes, rotation, brightness, contrast and
gamma, with its probabilities and ranges. Rotation is within the slices, as nnU-Net's is where their
distance is large, and the intensities that change are grey levels of the window, not z-scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.medical_segmentation.volumes.windows import cut, network_slice
from core.task import Example

FOREGROUND = 1 / 3  # of all parts
ROTATED, DEGREES = 0.2, 30.0
BRIGHTER, CONTRASTED, SHADES = 0.15, 0.15, (0.75, 1.25)
GAMMA, GAMMAS = 0.3, (0.7, 1.5)
_MOST = 10_000  # remembered voxels of a class, as in nnU-Net


@dataclass(frozen=True)
class VolumeExample(Example):
    """A whole volume, of which a training takes parts.

    Attributes:
        inputs: uint8 (D, H, W, 1), grey levels.
        target: uint8 (D, H, W) class indices, or None.
        size: Sides of a part: (height, width) of a slice, or (depth, height, width).
        foreground: For every class in the volume but the background, int32 (n, 3) places of it.
    """

    size: tuple[int, ...] = ()
    foreground: tuple[np.ndarray, ...] = ()

    def __deepcopy__(self, memo) -> VolumeExample:
        """Return the very example: parts of it are copies, and its arrays cannot be changed."""
        return self


def whole(inputs: np.ndarray, target: np.ndarray | None, size: tuple[int, ...]) -> VolumeExample:
    """Return the example of a volume and its labels on the same grid (see `VolumeExample`)."""
    places = () if target is None else _foreground(target)
    for array in (inputs, target, *places):
        if array is not None:
            array.setflags(write=False)
    return VolumeExample(inputs, target, size, places)


def part(example: VolumeExample, rng: np.random.Generator) -> Example:
    """Return a random part, a third of them around a voxel of a random class of the foreground.

    Returns:
        For networks for images an axial slice at their size, uint8 (h, w, 1) and (h, w); else a
        window, uint8 (d, h, w, 1) and (d, h, w), the window's lowest value and background where
        the volume is smaller.
    """
    shape, size = example.inputs.shape[:3], example.size
    middle = None
    if example.foreground and rng.random() < FOREGROUND:
        places = example.foreground[rng.integers(len(example.foreground))]
        middle = places[rng.integers(len(places))]
    if len(size) == 2:
        depth = int(rng.integers(shape[0]) if middle is None else middle[0])
        return slice_at(example, depth)
    start = []
    for axis, (length, side) in enumerate(zip(shape, size, strict=True)):
        if length <= side:
            start.append((length - side) // 2)
        elif middle is None:
            start.append(int(rng.integers(length - side + 1)))
        else:
            start.append(int(np.clip(middle[axis] - side // 2, 0, length - side)))
    return window_at(example, tuple(start))


def slice_at(example: VolumeExample, depth: int) -> Example:
    """Return an axial slice of a volume at the network's size."""
    import cv2

    height, width = example.size
    image = network_slice(example.inputs[depth], example.size)
    if example.target is None:
        return Example(image)
    mask = cv2.resize(example.target[depth], (width, height), interpolation=cv2.INTER_NEAREST)
    return Example(image, mask)


def window_at(example: VolumeExample, start: tuple[int, ...]) -> Example:
    """Return the window of a volume that begins at a voxel."""
    values, labels = example.inputs, example.target
    mask = None if labels is None else cut(labels, start, example.size).copy()
    return Example(cut(values, start, example.size).copy(), mask)


def augmented(example: Example, rng: np.random.Generator) -> Example:
    """Return a window of a volume, mirrored, turned, and in other grey levels.

    Args:
        example: uint8 (d, h, w, 1) and (d, h, w).
        rng: The source of all randomness.
    """
    values, labels = example.inputs[..., 0], example.target
    mirrored = tuple(slice(None, None, -1 if flip else 1) for flip in rng.random(3) < 0.5)
    values, labels = values[mirrored], None if labels is None else labels[mirrored]
    if rng.random() < ROTATED:
        degrees = rng.uniform(-DEGREES, DEGREES)
        values = _turned(values, degrees, nearest=False)
        labels = None if labels is None else _turned(labels, degrees, nearest=True)
    values = _shades(values, rng)[values]
    return Example(values[..., None], None if labels is None else np.ascontiguousarray(labels))


def _shades(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what becomes of each of the 256 grey levels, uint8 (256,)."""
    levels: np.ndarray = np.arange(256, dtype=np.float32)
    brighter, contrasted, bent = rng.random(3) < (BRIGHTER, CONTRASTED, GAMMA)
    if brighter:
        levels = levels * rng.uniform(*SHADES)
    if contrasted:
        mean = levels[values].mean()
        levels = (levels - mean) * rng.uniform(*SHADES) + mean
    levels = np.clip(levels, 0, 255)
    if bent:
        levels = 255 * (levels / 255) ** rng.uniform(*GAMMAS)
    return np.rint(levels).astype(np.uint8)


def _turned(planes: np.ndarray, degrees: float, *, nearest: bool) -> np.ndarray:
    """Return every slice turned about its middle, mirrored beyond its border."""
    import cv2

    height, width = planes.shape[1:]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.stack(
        [
            cv2.warpAffine(
                np.ascontiguousarray(plane),
                turn,
                (width, height),
                flags=how,
                borderMode=cv2.BORDER_REFLECT_101,
            )
            for plane in planes
        ]
    )


def _foreground(labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return places of every class but the background, the same every time."""
    rng = np.random.default_rng(0)
    counts = np.sum([np.bincount(plane.ravel(), minlength=256) for plane in labels], axis=0)
    found = []
    for value in np.flatnonzero(counts[1:]) + 1:
        places = np.flatnonzero(labels == value)
        if len(places) > _MOST:
            places = places[rng.integers(len(places), size=_MOST)]
        found.append(np.stack(np.unravel_index(places, labels.shape), axis=1).astype(np.int32))
    return tuple(found)
