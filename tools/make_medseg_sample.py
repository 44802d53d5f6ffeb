"""Cut the sample data of the medical segmentation app out of one picture and its mask.

    python tools/make_medseg_sample.py img2d.tif mask2d.tif [--out FOLDER]

The two files are `stardist/data/images/img2d.tif` and `mask2d.tif` of the Python package stardist
0.9.2 (BSD 3-Clause). Run again, it writes the same files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from apps.medical_segmentation.data import SAMPLE_DATA
from core.data.images import read_mask, write_image

TILE = 128
# Test is the right column, an area of its own; the tiles do not overlap.
TEST = {(row, 3) for row in range(4)}
VAL = {(0, 2), (1, 2)}


def cut(image: np.ndarray, mask: np.ndarray, out: Path) -> list[Path]:
    """Write the tiles of an 8-bit image and of its instance mask (as 0 and 255); return files."""
    if image.shape != (4 * TILE, 4 * TILE) or mask.shape != image.shape or image.max() > 255:
        raise SystemExit("expected a 512x512 image with values up to 255 and a mask of its size")
    written = []
    for row in range(4):
        for column in range(4):
            split = "test" if (row, column) in TEST else "val" if (row, column) in VAL else "train"
            area = np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            name = f"nuclei_r{row}_c{column}.png"
            written += [
                write_image(out / split / "images" / name, image[area].astype(np.uint8)),
                write_image(out / split / "masks" / name, mask[area] > 0),
            ]
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path, help="img2d.tif")
    parser.add_argument("mask", type=Path, help="mask2d.tif")
    parser.add_argument("--out", type=Path, default=SAMPLE_DATA)
    arguments = parser.parse_args()
    # The image is 16-bit with values up to 235: its raw values are the 8-bit picture.
    files = cut(read_mask(arguments.image), read_mask(arguments.mask), arguments.out)
    print(f"{len(files)} files in {arguments.out}")


if __name__ == "__main__":
    main()
