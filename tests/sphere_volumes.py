"""Small volumes for tests: a bright ball with a core in noise, as NIfTI files with their labels."""

from pathlib import Path

import numpy as np
from volume_data import nifti

# Turned about and flipped as scanners store them, voxels of 1 x 1 x 1.25 mm.
AFFINE = np.array([[-1, 0, 0, 10], [0, -1, 0, 20], [0, 0, 1.25, -5], [0, 0, 0, 1]], float)
SHAPE = (24, 28, 20)


def sphere(rng: np.random.Generator, shape=SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume, int16, and its labels, uint8 0 to 2, both (I, J, K)."""
    middle = [rng.uniform(0.35, 0.65) * side for side in shape]
    steps = np.indices(shape) - np.reshape(middle, (3, 1, 1, 1))
    far = np.sqrt(np.square(steps * np.reshape((1, 1, 1.25), (3, 1, 1, 1))).sum(0))
    radius = rng.uniform(0.3, 0.4) * min(shape)
    labels = (far < radius).astype(np.uint8) + (far < radius / 2)
    return (rng.normal(0, 60, shape) + 300.0 * labels).astype(np.int16), labels


def write_spheres(root: Path, counts: dict[str, int], shape=SHAPE) -> Path:
    """Write a data set with so many volumes in each split, of another ball each."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for number in range(count):
            values, labels = sphere(rng, shape)
            nifti(root / split / "images" / f"case{number}.nii.gz", values, AFFINE)
            nifti(root / split / "labels" / f"case{number}.nii.gz", labels, AFFINE)
    return root
