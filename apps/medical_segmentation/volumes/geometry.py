"""A volume and where it lies in the patient: axes, spacing, and the way back to the file.

Everything after reading works on one grid: axial slices from the feet to the head (D), rows from
front to back (H), columns from the patient's right to the left (W), which is the picture a
radiologist looks at. Files store their axes in any order and direction; `Geometry` knows both.
Nothing is resampled here: the axes of an oblique volume are the nearest ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np

# Of RAS+ axes, in rows as D, H, W: to the head, to the back, to the left.
_DIRECTIONS = np.array([[0, 0, 1], [0, -1, 0], [-1, 0, 0]], np.float64)
_FLATTEST = 1e-3  # volume of the cell over the product of its edges: below, its axes are no axes


@dataclass(frozen=True, eq=False)
class Geometry:
    """The grid of a file, and how it becomes (D, H, W).

    Attributes:
        affine: float64 (4, 4), from voxel indices (i, j, k) of the file to millimetres in RAS+ (to
            the right, to the front, to the head), the convention of NIfTI.
        stored_shape: Voxels of the file along i, j and k.
        known: Whether the file says where it lies; if not, the affine holds its spacing and k, j,
            i are taken for D, H and W.
    """

    affine: np.ndarray
    stored_shape: tuple[int, int, int]
    known: bool = True

    def __post_init__(self):
        affine = np.array(self.affine, np.float64)
        wrong = affine_defect(affine)
        if wrong:
            raise ValueError(f"`affine` must be invertible. Received: {wrong}")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "stored_shape", tuple(map(int, self.stored_shape)))

    @cached_property
    def axes(self) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        """Which axis of the file (0, 1, 2 for i, j, k) is D, H and W, and which run backwards."""
        # Cosines between where an axis of the file goes and where one of the grid should.
        cosines = _DIRECTIONS @ (self.affine[:3, :3] / _lengths(self.affine))
        d, h, w = max(
            permutations(range(3)), key=lambda axes: np.abs(cosines[range(3), axes]).sum()
        )
        return (d, h, w), (
            bool(cosines[0, d] < 0),
            bool(cosines[1, h] < 0),
            bool(cosines[2, w] < 0),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along D, H and W."""
        (d, h, w), _ = self.axes
        return (self.stored_shape[d], self.stored_shape[h], self.stored_shape[w])

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between neighbours along D, H and W."""
        (d, h, w), _ = self.axes
        lengths = _lengths(self.affine)
        return (float(lengths[d]), float(lengths[h]), float(lengths[w]))

    @property
    def oriented_affine(self) -> np.ndarray:
        """float64 (4, 4), from indices (d, h, w) to millimetres in RAS+."""
        to_stored = np.eye(4)
        to_stored[:3, :3] = 0
        for place, (axis, backwards) in enumerate(zip(*self.axes, strict=True)):
            to_stored[axis, place] = -1 if backwards else 1
            to_stored[axis, 3] = self.stored_shape[axis] - 1 if backwards else 0
        return self.affine @ to_stored

    def oriented(self, stored: np.ndarray) -> np.ndarray:
        """Return values in the file's order (I, J, K, ...) as (D, H, W, ...); a view."""
        _check(stored, self.stored_shape, "stored")
        order, backwards = self.axes
        turned = stored.transpose(*order, *range(3, stored.ndim))
        return turned[_steps(backwards)]

    def as_stored(self, oriented: np.ndarray) -> np.ndarray:
        """Return values (D, H, W, ...) in the file's order (I, J, K, ...); a view."""
        _check(oriented, self.shape, "oriented")
        order, backwards = self.axes
        back = (order.index(0), order.index(1), order.index(2))
        return oriented[_steps(backwards)].transpose(*back, *range(3, oriented.ndim))

    def distance(self, other: Geometry) -> float:
        """Return how far a corner of one grid lies from the same corner of another, at most.

        Args:
            other: A grid of the same `shape`; its file may store the axes in another order.

        Returns:
            Millimetres.
        """
        if self.shape != other.shape:
            raise ValueError(f"`other` must be {self.shape} voxels. Received: {other.shape}")
        corners = np.indices((2, 2, 2)).reshape(3, -1) * (np.array(self.shape)[:, None] - 1)
        apart = (self.oriented_affine - other.oriented_affine) @ np.vstack([corners, np.ones(8)])
        return float(np.linalg.norm(apart[:3], axis=0).max())


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume as it was measured.

    Attributes:
        values: (D, H, W), int16 or float32: Hounsfield units of a CT, arbitrary units of an MR.
        geometry: Where it lies.
    """

    values: np.ndarray
    geometry: Geometry


def affine_defect(affine: np.ndarray) -> str:
    """Return what keeps a matrix from placing voxels in space, or an empty text."""
    if affine.shape != (4, 4):
        return "its affine is not a matrix of 4 x 4"
    if not np.isfinite(affine).all():
        return "its affine holds NaN or infinite numbers"
    if (affine[3] != (0, 0, 0, 1)).any():
        return "its affine does not end in the row 0 0 0 1"
    lengths = _lengths(affine)
    if not (lengths > 0).all():
        return "its affine has an axis of no length"
    if abs(np.linalg.det(affine[:3, :3] / lengths)) < _FLATTEST:
        return "its affine has axes that lie in one plane"
    return ""


def _lengths(affine: np.ndarray) -> np.ndarray:
    return np.linalg.norm(affine[:3, :3], axis=0)


def _steps(backwards: tuple[bool, bool, bool]) -> tuple[slice, ...]:
    return tuple(slice(None, None, -1 if flipped else 1) for flipped in backwards)


def _check(values: np.ndarray, shape: tuple[int, int, int], name: str) -> None:
    if values.shape[:3] != shape:
        raise ValueError(f"`{name}` must be {shape} voxels. Received: shape={values.shape}")
