"""Make the sample data of the underwater species app: drawn animals, synthetically degraded.

    python tools/make_aqua_sample.py [--out FOLDER]

Run again, it writes the same files.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from apps.underwater_species.simulation import RECORD, SPLITS, simulate

SAMPLE_DATA = Path(__file__).resolve().parent.parent / "apps/underwater_species/sample_data"
KINDS = ("crab", "fish", "fishInGroups", "jellyfish", "starfish", "turtle")
TRAIN = dict(zip(KINDS, (36, 240, 84, 60, 144, 108), strict=True))
TEST = dict(zip(KINDS, (16, 36, 24, 20, 28, 26), strict=True))
SEED = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=SAMPLE_DATA)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.out) as made:
        record = simulate(made, seed=SEED, counts={"train": TRAIN, "test": TEST})
        for name in (*SPLITS, RECORD):
            old = arguments.out / name
            if old.is_dir():
                shutil.rmtree(old)
            (Path(made) / name).replace(old)
    pictures = sum(n for one in record["files"].values() for n in one.values())
    print(f"{pictures} pictures in {arguments.out}")


if __name__ == "__main__":
    main()
