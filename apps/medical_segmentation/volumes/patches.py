"""What a training sees of a volume: random slices or windows, a third of them around foreground.

The share of nnU-Net (F. Isensee et al., Nature Methods 2021; code github.com/MIC-DKFZ/nnUNet), as
is the augmentation of windows (`nnunet_augmentation`). What a rotation brings in from beyond a
window is what the volume holds there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from apps.medical_segmentation import nnunet_augmentation as nnunet
from apps.medical_segmentation.volumes.windows import cut, network_slice
from core.task import Example

FOREGROUND = 1 / 3  # of all parts
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

    @cached_property
    def greys(self) -> nnunet.Greys:
        """Mean and deviation of all of it."""
        return nnunet.greys_of(self.inputs)

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
    if len(example.size) == 3:
        return window_at(example, _start(example, rng))
    middle = _middle(example, rng)
    depth = rng.integers(len(example.inputs)) if middle is None else middle[0]
    return slice_at(example, int(depth))


def augmented_part(example: VolumeExample, rng: np.random.Generator) -> Example:
    """Return a random part as `part` does, augmented as in nnU-Net."""
    if len(example.size) == 2:
        return nnunet.augmented(part(example, rng), rng, example.greys)
    start = _start(example, rng)
    matrix = nnunet.transformation(example.size, rng)
    if matrix is None:
        taken = window_at(example, start)
    else:
        taken = nnunet.resampled(example, matrix, start, example.size, outside=0)
    return nnunet.mirrored(nnunet.recoloured(taken, rng, example.greys), rng)


def _middle(example: VolumeExample, rng: np.random.Generator) -> np.ndarray | None:
    """Return a voxel of a random class for a third of all parts, else None."""
    if not example.foreground or rng.random() >= FOREGROUND:
        return None
    places = example.foreground[rng.integers(len(example.foreground))]
    return places[rng.integers(len(places))]


def _start(example: VolumeExample, rng: np.random.Generator) -> tuple[int, ...]:
    """Return where a random window begins, the middle of a shorter volume in its middle."""
    middle, start = _middle(example, rng), []
    sides = zip(example.inputs.shape[:3], example.size, strict=True)
    for axis, (length, side) in enumerate(sides):
        if length <= side:
            start.append((length - side) // 2)
        elif middle is None:
            start.append(int(rng.integers(length - side + 1)))
        else:
            start.append(int(np.clip(middle[axis] - side // 2, 0, length - side)))
    return tuple(start)


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
