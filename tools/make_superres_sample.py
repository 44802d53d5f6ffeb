"""Make the sample photographs of the super-resolution app from those in installed packages.

    python tools/make_superres_sample.py SKIMAGE_DATA [--out FOLDER]

SKIMAGE_DATA is `skimage/data` of scikit-image 0.26.0; the others come from scikit-learn and
matplotlib, which are installed with the suite. JPEG sources are halved first, which removes their
noise. Run again, it writes the same files.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np

from apps.super_resolution.data import SAMPLE_DATA
from apps.super_resolution.imresize import imresize, modcrop
from core.data.images import read_image, write_image

MULTIPLE = 12  # so that scales 2, 3 and 4 need no crop


def pictures(skimage: Path) -> dict[str, np.ndarray]:
    """Return the pictures by the name of their file."""
    sklearn = Path(str(files("sklearn") / "datasets" / "images"))
    matplotlib = Path(str(files("matplotlib") / "mpl-data" / "sample_data"))

    def halved(path: Path) -> np.ndarray:
        image = read_image(path)
        return imresize(image, size=(image.shape[0] // 2, image.shape[1] // 2))

    found = {
        "train/chelsea": read_image(skimage / "chelsea.png"),
        "train/coffee": read_image(skimage / "coffee.png"),
        "train/flower": halved(sklearn / "flower.jpg"),
        "train/hubble": halved(skimage / "hubble_deep_field.jpg")[:240, :240],
        "val/rocket": halved(skimage / "rocket.jpg"),
        "test/astronaut": read_image(skimage / "astronaut.png")[:312, 60:372],
        "test/china": halved(sklearn / "china.jpg"),
        "test/hopper": halved(matplotlib / "grace_hopper.jpg"),
    }
    return {name: modcrop(image, MULTIPLE) for name, image in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("skimage", type=Path, help="skimage/data of scikit-image 0.26.0")
    parser.add_argument("--out", type=Path, default=SAMPLE_DATA)
    arguments = parser.parse_args()
    made = pictures(arguments.skimage)
    for name, image in made.items():
        write_image(arguments.out / f"{name}.png", image)
    print(f"{len(made)} files in {arguments.out}")


if __name__ == "__main__":
    main()
