"""Cut the sample volumes of the medical segmentation app out of a template of the brain.

    python tools/make_volume_sample.py t1.nii.gz gm.nii.gz wm.nii.gz [--out FOLDER]

The three files are `mni_icbm152_{t1,gm,wm}_tal_nlin_sym_09a_converted.nii.gz` in
`nilearn/datasets/data/` of the Python package nilearn 0.14.1. Run again, it writes the same files.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np

from apps.medical_segmentation.data.volumes import SAMPLE_VOLUMES
from apps.medical_segmentation.volumes.opening import package
from core.files import write_atomic

SHAPE = (197, 233, 189)  # voxels of 1 mm, to the right, to the front, to the head
# The right half, which the left repeats voxel by voxel, from the plane between them outwards.
FIRST = np.array([98, 24, 0])
BLOCK = (38, 31, 40)  # voxels of 2 mm: three blocks from back to front, two from below upwards
PLACES = {
    (0, 0): ("train", "back_lower"),
    (0, 1): ("train", "back_upper"),
    (1, 0): ("train", "middle_lower"),
    (1, 1): ("val", "middle_upper"),
    (2, 0): ("test", "front_lower"),
    (2, 1): ("test", "front_upper"),
}
HALF = 128  # of 255: the probability from which a voxel is called grey or white


def halved(values: np.ndarray) -> np.ndarray:
    """Return the mean of every 2 x 2 x 2 voxels of the right half, float64."""
    size = [side * count for side, count in zip(BLOCK, (1, 3, 2), strict=True)]
    ends = FIRST + 2 * np.array(size)
    part = values[tuple(map(slice, FIRST, ends))].astype(np.float64)
    return part.reshape(size[0], 2, size[1], 2, size[2], 2).mean(axis=(1, 3, 5))


def cut(t1: np.ndarray, grey: np.ndarray, white: np.ndarray, affine, out: Path) -> list[Path]:
    """Write the blocks of a template and of its two tissue maps; return the files.

    Args:
        t1, grey, white: uint8 `SHAPE`.
        affine: (4, 4), of all three.
        out: Folder.
    """
    if {t1.shape, grey.shape, white.shape} != {SHAPE}:
        raise SystemExit(f"expected three volumes of {SHAPE} voxels")
    image = np.rint(halved(t1)).astype(np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    labels[halved(grey) >= HALF] = 1
    labels[halved(white) >= HALF] = 2
    written = []
    for place, (split, name) in PLACES.items():
        start = np.array([0, *place]) * BLOCK
        area = tuple(slice(begin, begin + side) for begin, side in zip(start, BLOCK, strict=True))
        own = np.array(affine, np.float64)
        own[:3, 3] += own[:3, :3] @ (FIRST + 2 * start + 0.5)  # the middle of the first eight
        own[:3, :3] *= 2
        for kind, values in (("images", image[area]), ("labels", labels[area])):
            written.append(write(out / split / kind / f"{name}.nii.gz", values, own))
    return written


def write(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    """Write a volume whose bytes depend on nothing else."""
    image = package("nibabel", "NIfTI").Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, "mni")
    image.set_qform(affine, "mni")
    return write_atomic(path, gzip.compress(image.to_bytes(), mtime=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("t1", "gm", "wm"):
        parser.add_argument(name, type=Path, help=f"mni_icbm152_{name}_….nii.gz")
    parser.add_argument("--out", type=Path, default=SAMPLE_VOLUMES)
    arguments = parser.parse_args()
    load = package("nibabel", "NIfTI").load
    images = [load(path) for path in (arguments.t1, arguments.gm, arguments.wm)]
    files = cut(*(np.asarray(image.dataobj) for image in images), images[0].affine, arguments.out)
    print(f"{len(files)} files in {arguments.out}")


if __name__ == "__main__":
    main()
