"""Make the sample data of the person re-identification app: synthetic pedestrians.

    python tools/make_reid_sample.py [--out FOLDER] [--workers N]

Run again, it writes the same files.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from apps.person_reid.simulation import FOLDERS, RECORD, simulate

SAMPLE_DATA = Path(__file__).resolve().parent.parent / "apps" / "person_reid" / "sample_data"
PARAMETERS = {
    "people": 60,
    "test_people": 24,
    "cameras": 4,
    "images": 2,
    "query_cameras": 2,
    "distractors": 30,
    "junk": 8,
    "seed": 2,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=SAMPLE_DATA)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.out) as made:
        record = simulate(made, **PARAMETERS, workers=arguments.workers)
        for name in (*FOLDERS, RECORD):
            old = arguments.out / name
            if old.is_dir():
                shutil.rmtree(old)
            (Path(made) / name).replace(old)
    print(f"{sum(record['files'].values())} pictures in {arguments.out}")


if __name__ == "__main__":
    main()
