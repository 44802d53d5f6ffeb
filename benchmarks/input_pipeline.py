"""Does the input pipeline feed a training step at least three times over, on the same cores?

    .venv/bin/python benchmarks/input_pipeline.py

Images per second of the pipeline alone (decoding, resizing, augmentation, batching; the first epoch
from the files, later ones from the cache) against those of MK-UNet-T's training step alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--variant", default="t")
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--source-size", type=int, nargs=2, default=(500, 574))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()

    import numpy as np

    from apps.medical_segmentation.task import TASK
    from core.config import TrainConfig
    from core.data.images import write_image
    from core.data.pipeline import TrainingData
    from core.training.setup import build_trained, compile_model

    config = TrainConfig(
        "medseg",
        "mk_unet",
        options.variant,
        input_size=(256, 256),
        batch=options.batch,
        **{"options": {"multi_scale": "off"}},
    )
    network = TASK.network("mk_unet")
    card = network.card(options.variant)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rng = np.random.default_rng(0)
        height, width = options.source_size
        for i in range(options.images):
            # Smooth noise compresses like a photograph; white noise would not.
            coarse = rng.integers(0, 255, (height // 4, width // 4, 3), np.uint8)
            image = np.repeat(np.repeat(coarse, 4, axis=0), 4, axis=1)
            write_image(root / "train" / "images" / f"{i}.png", image)
            mask = (image[..., 0] > 127).astype(np.uint8) * np.uint8(255)
            write_image(root / "train" / "masks" / f"{i}.png", mask)
        index = TASK.read(str(root), "folder").split("train")
        data = TrainingData(TASK, index, card, config)
        rates = []
        for epoch in range(3):
            data.start_epoch(epoch)
            start = time.perf_counter()
            seen = sum(int(images.shape[0]) for images, _ in data.dataset())
            rates.append(seen / (time.perf_counter() - start))
        _, model = build_trained(TASK, network, card, config)
        compile_model(model, TASK, config)
        images, masks = next(iter(data.dataset()))
        model.train_on_batch(images, masks)
        seconds = []
        for _ in range(options.steps):
            start = time.perf_counter()
            model.train_on_batch(images, masks)
            seconds.append(time.perf_counter() - start)
        data.close()
    step = options.batch / float(np.median(seconds))
    print(f"training step of mk_unet {options.variant} at 256x256: {step:.1f} images/s")
    for name, rate in (("from files", rates[0]), ("from the cache", min(rates[1:]))):
        print(f"pipeline {name}: {rate:.0f} images/s, {rate / step:.1f} times the step")


if __name__ == "__main__":
    main()
