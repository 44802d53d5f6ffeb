"""How much faster is an epoch of the head once the backbone's features are kept?

    .venv/bin/python benchmarks/frozen_features.py [--samples 256 --network mobilenetv2]

Random pictures of two classes in files of 320x240, MobileNetV2 at 224x224, random weights, through
the ordinary training: two epochs of the head alone, once with kept features and once computing them
anew. The bound: the second epoch takes a fifth of the first at most. Seconds are those of
timing.csv, which leave the validation out.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BOUND = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--network", default="mobilenetv2")
    options = parser.parse_args()

    import numpy as np

    from apps.underwater_species.task import TASK
    from core.config import TrainConfig
    from core.data.images import write_image
    from core.training.fit import train

    rng, seconds = np.random.default_rng(0), {}
    with tempfile.TemporaryDirectory() as work:
        root = Path(work) / "data"
        for n in range(options.samples + 4):
            split = "train" if n >= 4 else "val"
            file = root / split / "ab"[n % 2] / f"{n}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_image(file, rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
        index = TASK.read(str(root), "folders")
        for kind in ("kept", "computed"):
            choices = {**TASK.options, "head_epochs": 2, "features": kind}
            config = TrainConfig(
                "aqua", options.network, TASK.network(options.network).check_variant(None),
                data=str(root), format="folders", classes=2, epochs=2, batch=32, augment=False,
                options=choices,
            )  # fmt: skip
            run = train(TASK, config, Path(work) / kind, index=index)
            with run.file("timing.csv").open() as file:
                seconds[kind] = [float(row["seconds"]) for row in csv.DictReader(file)]
    for kind, (first, second) in seconds.items():
        print(
            f"{kind:9s} first epoch {first:6.2f} s, second {second:6.2f} s: {first / second:.1f}x"
        )
    first, second = seconds["kept"]
    if first / second < BOUND:
        sys.exit(f"The second epoch is less than {BOUND:g} times as fast as the first.")


if __name__ == "__main__":
    main()
